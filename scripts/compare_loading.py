#!/usr/bin/env python3
"""Times bfn-data's batches beside PyTorch's DataLoader with the published data sets, transforms and settings.

    python scripts/compare_loading.py --published FOLDER --data FOLDER --work FOLDER [--workers 8] [--rounds 3]

The folder of --published holds the published PyTorch code (nnaisense/bayesian-flow-networks). The folder of --data
holds MNIST's IDX files in mnist/, CIFAR-10's binary version in cifar-10-batches-bin/ and text in text8/ (text8, or its
beginning in text8-prefix.gz). In the folder of --work these data are laid out as the published code expects them. Data
sets that are missing are left out.

Every round times both, one after the other: first bfn-data by its benches (`cargo bench -p bfn-data`), which use one
core and as many images of random bytes as MNIST and CIFAR-10 have, then the DataLoader with its workers, which may use
all cores. Ratios are formed within a round; the table shows their median and range.

Needs torch, torchvision, and what the published data.py imports.
"""

import argparse
import gzip
import importlib
import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

ROOT = pathlib.Path(__file__).resolve().parent.parent
MNIST = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
WINDOW = 256


class Cifar10(torch.utils.data.Dataset):
    """CIFAR-10 from its binary version, treated as by torchvision's class, which reads the pickled version only."""

    def __init__(self, folder, transform):
        files = [np.fromfile(folder / f"data_batch_{i}.bin", np.uint8).reshape(-1, 3073) for i in range(1, 6)]
        self.images = np.concatenate(files)[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index]))


def mnist(published, data, work):
    raw = work / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name in MNIST:
        plain = data / "mnist" / name
        content = plain.read_bytes() if plain.exists() else gzip.decompress(plain.with_suffix(".gz").read_bytes())
        (raw / name).write_bytes(content)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Lambda(published.bin_mnist_transform)])
    return published.MNIST(root=work, train=True, download=False, transform=transform)


def cifar10(published, data, work):
    quantise = published.MyLambda(published.rgb_image_transform, 256)
    return Cifar10(data / "cifar-10-batches-bin", transforms.Compose([transforms.ToTensor(), quantise]))


def text8(published, data, work):
    plain = data / "text8" / "text8"
    content = plain.read_bytes() if plain.exists() else gzip.decompress(plain.with_name("text8-prefix.gz").read_bytes())
    bytes_ = np.frombuffer(content, np.uint8)
    symbols = np.where(bytes_ == ord(" "), 0, bytes_ - np.uint8(ord("a") - 1)).astype(np.uint16)
    (work / "text8").mkdir(parents=True, exist_ok=True)
    symbols[: int(0.9 * len(symbols))].tofile(work / "text8" / "train.bin")
    return published.Text8Dataset(work, "train", download=False, seq_len=WINDOW)


# Name, data set, published batch size, units counted per example, and bench of bfn-data as group and name.
COMPARED = [
    ("MNIST images, binarised", mnist, 512, 1, ("images", "MNIST's size, binarised, batches of 512")),
    ("CIFAR-10 images, 256 bins", cifar10, 32, 1, ("images", "CIFAR-10's size, as they are, batches of 32")),
    ("characters of text, windows of 256", text8, 416, WINDOW, ("text", "characters, in windows of 256, batches of 416")),
]


def loaded(dataset, batch, workers, seconds):
    """Returns the examples per second that a DataLoader yields after its first batch."""
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    batches = iter(loader)
    next(batches)
    examples, start = 0, time.perf_counter()
    for _ in batches:
        examples += batch
        if time.perf_counter() - start > seconds:
            break
    return examples / (time.perf_counter() - start)


def benched(group, name, target):
    """Runs a bench of bfn-data and returns its elements per second."""
    pattern = f"^{group}/{name}$"
    command = ["cargo", "bench", "--quiet", "-p", "bfn-data", "--bench", "loading", "--", "--noplot", pattern]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for found in (target / "criterion" / group).glob("*/new/benchmark.json"):
        about = json.loads(found.read_text())
        if about["function_id"] == name:
            estimates = json.loads(found.with_name("estimates.json").read_text())
            return about["throughput"]["Elements"] / (1e-9 * estimates["median"]["point_estimate"])
    sys.exit(f"no bench named {group}/{name} was found under {target / 'criterion'}")


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["--published", "--data", "--work"]:
        parser.add_argument(name, type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="seconds to time a DataLoader in each round")
    options = parser.parse_args()
    sys.path.insert(0, str(options.published))
    published = importlib.import_module("data")
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = subprocess.run(metadata, cwd=ROOT, check=True, capture_output=True)
    target = pathlib.Path(json.loads(metadata.stdout)["target_directory"])
    print(f"| per second | bfn-data, one core | DataLoader, {options.workers} workers | ratio |")
    print("| --- | --- | --- | --- |")
    for name, make, batch, unit, bench in COMPARED:
        try:
            dataset = make(published, options.data, options.work)
        except (FileNotFoundError, RuntimeError) as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
            continue
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(benched(*bench, target))
            theirs.append(unit * loaded(dataset, batch, options.workers, options.seconds))
        ratios = [a / b for a, b in zip(ours, theirs)]
        cells = f"{statistics.median(ours):,.0f} | {statistics.median(theirs):,.0f} | {spread(ratios, ',.0f')}"
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
