#!/usr/bin/env python3
"""Compares this program with the published PyTorch code, run beside it.

    python scripts/parity.py --published FOLDER --work FOLDER --data FOLDER [--bfn PROGRAM] STAGE [MODEL ...]

The folder of --published is a checkout of github.com/nnaisense/bayesian-flow-networks; this repository contains none
of it. The folder of --data holds the data of the models named: in mnist/ MNIST's four IDX files, plain or .gz; in
text8/ the file text8, text8.gz, text8.zip, text8-prefix or text8-prefix.gz, the last two with the beginning of text8.
`bfn data fetch NAME --root FOLDER` downloads mnist and text8. The stages, in order:

    train     trains small models with the published train.py (some hundred steps, on a CPU)
    import    imports them with `bfn import`
    losses    compares losses for given data, times and noise, number by number
    evaluate  compares continuous-time, n-step and reconstruction losses, each program with its own draws
    export    exports them with `bfn export` and loads the files with the published code
    starts    compares the parameters of fresh networks, group by group

Needs torch, torchvision, accelerate, omegaconf, rich, matplotlib, requests and safetensors.
"""

import argparse
import copy
import gzip
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import torch
from omegaconf import OmegaConf

SEED = 1
FEW = 16  # groups of fewer numbers are compared without their standard deviation
TERMS = ["0", "10", "reconstruction"]  # terms of the loss: continuous time, ten steps, reconstruction
MNIST = [f"{part}-{what}-ubyte" for part in ["train", "t10k"] for what in ["images-idx3", "labels-idx1"]]
TEXT8 = ["text8", "text8.gz", "text8.zip", "text8-prefix", "text8-prefix.gz"]  # the first found is used, as in bfn


def unet():
    return {
        "net": {
            "class_name": "UNetModel",
            "parameters": {
                "image_size": 28,
                "in_channels": 2,
                "model_channels": 32,
                "out_channels": 32,
                "num_res_blocks": 1,
                "attention_resolutions": [4],
                "dropout": 0.1,
                "channel_mult": [1, 2, 2],
                "num_heads": 4,
                "project_input": True,
                "skip": True,
            },
        },
        "input_adapter": {
            "class_name": "FourierImageInputAdapter",
            "parameters": {"input_channels": 1, "input_shape": [28, 28], "output_height": 2, "add_pos_feats": False},
        },
        "output_adapter": {
            "class_name": "OutputAdapter",
            "parameters": {"input_height": 64, "output_channels": 1, "output_height": 1},
        },
    }


def vdm(outputs):
    return {
        "net": {
            "class_name": "UNetVDM",
            "parameters": {
                "embedding_dim": 32,
                "n_blocks": 2,
                "n_attention_heads": 1,
                "dropout_prob": 0.1,
                "norm_groups": 8,
                "input_channels": 1,
                "image_size": 28,
            },
        },
        "input_adapter": {
            "class_name": "FourierImageInputAdapter",
            "parameters": {
                "input_channels": 1,
                "input_shape": [28, 28],
                "output_height": 1,
                "add_pos_feats": False,
                "add_mask": False,
            },
        },
        "output_adapter": {
            "class_name": "OutputAdapter",
            "parameters": {"input_height": 33, "output_channels": 1, "output_height": outputs},
        },
    }


def gpt(layers, width, length):
    return {
        "net": {
            "class_name": "GPT",
            "parameters": {"vocab_size": 27, "n_layer": layers, "n_head": 4, "n_embd": width, "skip": True},
        },
        "input_adapter": {
            "class_name": "TextInputAdapter",
            "parameters": {"vocab_size": 27, "seq_len": length, "output_size": width},
        },
        "output_adapter": None,
    }


def discrete(classes, max_sqrt_beta, factory):
    return {
        "bayesian_flow": {
            "class_name": "DiscreteBayesianFlow",
            "parameters": {"n_classes": classes, "max_sqrt_beta": max_sqrt_beta},
        },
        "loss": {"class_name": "DiscreteBayesianFlowLoss", "parameters": {}},
        "distribution_factory": {"class_name": factory, "parameters": {}},
    }


def continuous(min_variance, factory, parameters):
    return {
        "bayesian_flow": {"class_name": "CtsBayesianFlow", "parameters": {"min_variance": min_variance}},
        "loss": {"class_name": "CtsBayesianFlowLoss", "parameters": {"noise_pred": True}},
        "distribution_factory": {"class_name": factory, "parameters": parameters},
    }


def experiment(data, model, batch, steps, rate):
    return {
        "data": data,
        "train_loader": {"batch_size": batch, "pin_memory": False},
        "val_loader": {"batch_size": 100, "pin_memory": False},
        "model": model,
        "optimizer": {"lr": rate, "betas": [0.9, 0.98], "weight_decay": 0.01, "eps": 1e-8},
        "training": {
            "n_training_steps": steps,
            "checkpoint_interval": steps,
            "val_interval": 10**9,
            "ema_decay": 0.98,
            "grad_clip_norm": 5.0,
        },
    }


# The dropout of the first and the attention on its own level test the import of these settings.
MODELS = {
    "binary": experiment(
        {"dataset": "bin_mnist"}, {**unet(), **discrete(2, 3, "BernoulliFactory")}, batch=32, steps=300, rate=1e-3
    ),
    "text": experiment(
        {"dataset": "text8", "seq_len": 64},
        {**gpt(2, 64, 64), **discrete(27, 0.75, "CategoricalFactory")},
        batch=64,
        steps=1000,
        rate=1e-3,
    ),
    "continuous": experiment(
        {"dataset": "mnist", "num_bins": 256},
        {**vdm(1), **continuous(1e-6, "DeltaFactory", {})},
        batch=32,
        steps=300,
        rate=1e-3,
    ),
    "continuous_16": experiment(
        {"dataset": "mnist", "num_bins": 16},
        {**vdm(1), **continuous(1e-3, "DeltaFactory", {})},
        batch=32,
        steps=300,
        rate=1e-3,
    ),
    "discretised": experiment(
        {"dataset": "mnist", "num_bins": 16},
        {**vdm(2), **continuous(1e-3, "DiscretizedNormalFactory", {"num_bins": 16, "clip": True})},
        batch=32,
        steps=300,
        rate=1e-3,
    ),
    # Small enough for a test: crates/bfn-exp/tests/published holds the results of `train` and `losses` for it.
    "tiny": experiment(
        {"dataset": "text8", "seq_len": 12},
        {**gpt(1, 16, 12), **discrete(27, 0.75, "CategoricalFactory")},
        batch=64,
        steps=100,
        rate=1e-2,
    ),
}


class Place:
    """The files of one model."""

    def __init__(self, work, name):
        self.name = name
        self.folder = work / name
        self.config = self.folder / "published.yaml"
        self.weights = self.folder / "ema_model.pt"
        self.run = self.folder / "run"


def main():
    parser = program_arguments(__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="examples of the test split to evaluate")
    parser.add_argument("--repeats", type=int, default=10, help="evaluations of each term, each with its own draws")
    parser.add_argument("--terms", nargs="+", choices=TERMS, default=TERMS, help="terms of the loss to evaluate")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of this program's losses")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("model", nargs="*", default=list(MODELS))
    arguments = parser.parse_args()
    arguments.published, arguments.work = arguments.published.resolve(), arguments.work.resolve()
    sys.path.insert(0, str(arguments.published))
    prepare_data(arguments)
    for name in arguments.model:
        STAGES[arguments.stage](arguments, Place(arguments.work, name))


def program_arguments(description):
    """Returns a parser for what every comparison needs: the two programs, and folders for data and results."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=pathlib.Path, required=True, help="checkout of the published code")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for all files that are created")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with mnist/ and text8/ (see above)")
    parser.add_argument("--bfn", default="target/release/bfn", help="the bfn program (default: target/release/bfn)")
    return parser


def prepare_data(arguments):
    """Writes the data that the models need to the place where the published code looks for them."""
    wanted = {MODELS[name]["data"]["dataset"] for name in arguments.model}
    raw = arguments.work / "data" / "MNIST" / "raw"
    if wanted & {"mnist", "bin_mnist"} and not is_filled(raw):
        fill(raw, {name: unpacked(arguments.data, "mnist", [name, f"{name}.gz"]) for name in MNIST})
    text = arguments.work / "data" / "text8"
    if "text8" in wanted and not is_filled(text):
        characters = np.frombuffer(unpacked(arguments.data, "text8", TEXT8), np.uint8)
        ids = np.where(characters == 32, 0, characters - 96).astype(np.uint16)
        bounds = [0, int(len(ids) * 0.9), int(len(ids) * 0.95), len(ids)]
        splits = zip(["train", "val", "test"], bounds, bounds[1:])
        fill(text, {f"{split}.bin": ids[first:last].tobytes() for split, first, last in splits})


def unpacked(data, dataset, names):
    """Returns the content of the first of these files that exists, unpacked if it is .gz or .zip."""
    file = next((data / dataset / name for name in names if (data / dataset / name).is_file()), None)
    if file is None:
        sys.exit(
            f"{data / dataset} has none of {', '.join(names)}: put one there, name another folder by --data, or run\n"
            f"    bfn data fetch {dataset} --root {data}"
        )
    if file.suffix == ".gz":
        return gzip.decompress(file.read_bytes())
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            return archive.read(archive.namelist()[0])
    return file.read_bytes()


def is_filled(folder):
    return folder.is_dir() and any(folder.iterdir())


def fill(folder, files):
    """Writes files into a folder that gets its name once all are written, so that a failure leaves none to be used."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, content in files.items():
        (partial / name).write_bytes(content)
    partial.rename(folder)


def train(arguments, place):
    if place.weights.exists():
        return
    place.folder.mkdir(parents=True, exist_ok=True)
    place.config.write_text(OmegaConf.to_yaml(OmegaConf.create(MODELS[place.name])))
    # The folders belong to this machine and stay out of the file that is imported.
    local = copy.deepcopy(MODELS[place.name])
    local["data"]["data_dir"] = str(arguments.work / "data")
    local["training"]["checkpoint_dir"] = str(place.folder / "checkpoints")
    local_config = place.folder / "local.yaml"
    local_config.write_text(OmegaConf.to_yaml(OmegaConf.create(local)))
    command = [sys.executable, "train.py", f"config_file={local_config}"]
    # Without neptune the published code fails right after its first checkpoint, which here is also the last.
    subprocess.run(command, cwd=arguments.published, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    weights = next((place.folder / "checkpoints").rglob("last/ema_model.pt"), None)
    if weights is None:
        sys.exit(f"{place.name}: the published train.py wrote no checkpoint; run it by hand: {' '.join(command)}")
    shutil.move(weights, place.weights)
    shutil.rmtree(place.folder / "checkpoints")


def imported(arguments, place):
    shutil.rmtree(place.run, ignore_errors=True)
    bfn(arguments, "import", "--config", place.config, "--weights", place.weights, "--out", place.run)


def bfn(arguments, *command):
    environment = {**os.environ, "BFN_DATA": str(arguments.data)}
    subprocess.run([arguments.bfn, *map(str, command)], check=True, env=environment, stdout=subprocess.DEVNULL)


def published(arguments, place, weights=None):
    """Returns the model of the published code, with the weights that it trained or others, and its configuration."""
    import utils_train

    config = utils_train.make_config(str(place.config))
    model = utils_train.make_bfn(config.model)
    model.load_state_dict(torch.load(weights or place.weights, weights_only=True))
    return model.eval(), config


def examples_of(arguments, config, count):
    """Returns the first examples of the published test split; for text, windows that do not overlap."""
    import data

    config.data.data_dir = str(arguments.work / "data")
    test = data.make_datasets(config.data)[-1]
    stride = config.data.get("seq_len", 1)
    count = min(count, len(test) // stride)
    return torch.utils.data.Subset(test, range(0, count * stride, stride))


def classes_of(config):
    flow = config.model.bayesian_flow
    return flow.parameters.n_classes if flow.class_name == "DiscreteBayesianFlow" else None


class Given:
    """A context manager in which the published code draws these normal numbers and no others."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __enter__(self):
        self.kept = torch.randn, torch.distributions.Normal.rsample, torch.distributions.Normal.sample
        torch.randn = lambda shape, device=None: self.numbers.reshape(shape)

        def draw(normal, shape=torch.Size()):
            # Shapes broadcast: one deviation for many means.
            mean, deviation = torch.broadcast_tensors(normal.loc, normal.scale)
            return mean + deviation * self.numbers.reshape(list(shape) + list(mean.shape))

        torch.distributions.Normal.rsample = torch.distributions.Normal.sample = draw

    def __exit__(self, *_):
        torch.randn, torch.distributions.Normal.rsample, torch.distributions.Normal.sample = self.kept


@torch.no_grad()
def losses(arguments, place, count=None, quiet=False):
    """Compares the losses of both programs, which must be the same for every example, given x, t and noise."""
    from safetensors.torch import load_file, save_file

    count, steps = count or (8 if place.name == "tiny" else 64), 20
    model, config = published(arguments, place)
    torch.manual_seed(SEED)
    x = torch.stack([example for example in examples_of(arguments, config, count)])
    classes = classes_of(config)
    bins = config.data.get("num_bins", 256)
    stored = x if classes else torch.round((x + 1) * bins / 2 - 0.5)
    width = stored[0].numel() * (classes or 1)
    t = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    draws = {
        "x": stored.reshape(count, -1).long().contiguous(),
        "t": t,
        "t_step": torch.floor(t * steps) / steps,
        "steps": torch.tensor(steps),
    }
    for name in ["noise", "noise_step", "noise_reconstruction", "sender_noise"]:
        draws[name] = torch.randn(count, width)
    save_file(draws, place.folder / "draws.safetensors")
    program = pathlib.Path(arguments.bfn).parent / "examples" / "given_draws"
    files = [place.folder / "draws.safetensors", place.folder / "losses.safetensors"]
    subprocess.run([program, place.run, *files, arguments.device], check=True)
    ours = {name: loss.mean(1) if loss.ndim == 2 else loss for name, loss in load_file(files[1]).items()}

    def outputs(noise, t):
        t = torch.ones_like(x, dtype=torch.float32) * t.float().reshape([-1] + [1] * (x.ndim - 1))
        with Given(draws[noise]):
            theta = model.bayesian_flow(x, t)
        return model.net(model.bayesian_flow.params_to_net_inputs(theta), t), theta, t

    theirs = {}
    with torch.enable_grad():
        output, theta, times = outputs("noise", t)
        loss = model.loss.cts_time_loss(x, output, theta, times)
        gradients = torch.autograd.grad(loss.mean(), list(model.parameters()), allow_unused=True)
    norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
    theirs["continuous_time"] = loss.detach()
    output, theta, times = outputs("noise_step", draws["t_step"])
    with Given(draws["sender_noise"]):
        theirs["step"] = model.loss.discrete_time_loss(x, output, theta, times, steps, n_samples=1)
    # PyTorch keeps the weights of a mixture from falling below the spacing of numbers at one.
    kept, torch.distributions.utils.clamp_probs = torch.distributions.utils.clamp_probs, lambda p: p.clamp(min=1e-38)
    with Given(draws["sender_noise"]):
        theirs["step, unclamped"] = model.loss.discrete_time_loss(x, output, theta, times, steps, n_samples=1)
    torch.distributions.utils.clamp_probs = kept
    output, theta, _ = outputs("noise_reconstruction", torch.ones(count))
    theirs["reconstruction"] = model.loss.reconstruction_loss(x, output, theta)
    theirs = {name: loss.reshape(count, -1).mean(1).contiguous() for name, loss in theirs.items()}
    save_file(theirs, place.folder / "published.safetensors")
    if quiet:
        return {**theirs, "gradient_norm": norm}
    for name, loss in [*theirs.items(), ("gradient_norm", norm)]:
        # The difference is relative; losses below the mean have few digits, so theirs is relative to the mean.
        difference = (ours[name.split(",")[0]] - loss).abs() / loss.abs().clamp(min=loss.abs().mean())
        print(f"| {place.name} | {name} | {loss.mean():.6f} | {difference.mean():.1e} | {difference.max():.1e} |")


def evaluate(arguments, place):
    """Compares means over the same examples, each program with its own draws; continues an interrupted evaluation."""
    model, config = published(arguments, place)
    examples = examples_of(arguments, config, arguments.examples)
    record = place.folder / "parity.json"
    both = {program: {term: [] for term in TERMS} for program in ["published", "bfn"]}
    if record.exists():
        both = json.loads(record.read_text())
    while terms := [term for term in arguments.terms if len(both["bfn"][term]) < arguments.repeats]:
        repeat = min(len(both["bfn"][term]) for term in terms)
        terms = [term for term in terms if len(both["bfn"][term]) == repeat]
        steps = [{"0": "inf"}.get(term, term) for term in terms if term != "reconstruction"] or ["inf"]
        file = place.folder / "evaluation.json"
        bfn(
            arguments, "evaluate", place.run, "--steps", ",".join(steps), "--limit", len(examples), "--seed", repeat,
            "--repeats", 3, "--factorised-receiver", "--probability-floor", "--json", file,
        )  # fmt: skip
        rows = {str(row["steps"]): row for row in json.loads(file.read_text())["results"]}
        for term in terms:
            # Each model, term and repeat has its own seed, so that deviations are independent.
            torch.manual_seed(zlib.crc32(f"{place.name} {term} {repeat}".encode()))
            both["published"][term].append(loss_of(model, examples, term))
            if term == "reconstruction":
                both["bfn"][term].append(rows[steps[0]]["reconstruction_nats_per_dim"])
            else:
                both["bfn"][term].append(rows["inf" if term == "0" else term]["loss_nats_per_dim"])
        record.write_text(json.dumps(both))
    for term in TERMS:
        (mine, my_error), (other, other_error) = spread(both["bfn"][term]), spread(both["published"][term])
        joint = math.hypot(my_error, other_error)
        print(
            f"| {place.name} | {label(term)} | {other:.6f} ± {other_error:.6f} | {mine:.6f} ± {my_error:.6f} "
            f"| {len(both['bfn'][term])} | {(mine - other) / joint:+.2f} | {100 * joint / other:.2f} % |",
            flush=True,
        )


@torch.inference_mode()
def loss_of(model, examples, term):
    """Returns the published loss of a term: a number of steps, "0" for continuous time, or "reconstruction".

    The times are given and equally spaced over the examples. Independent times have the same mean and need four times
    as many evaluations.
    """
    count = len(examples)
    t = ((torch.randperm(count) + torch.rand(1)) / count).clamp(max=1 - 1e-7)
    n = None if term == "reconstruction" else int(term)
    t = torch.floor(t * n) / n if n else t
    total = first = 0
    for batch in torch.utils.data.DataLoader(examples, batch_size=100):
        if n is None:
            loss = model.compute_reconstruction_loss(batch)
        else:
            times = t[first : first + len(batch)].reshape([-1] + [1] * (batch.ndim - 1))
            loss = model(batch, t=torch.ones_like(batch, dtype=torch.float32) * times, n_steps=n)
        total += loss.item() * len(batch)
        first += len(batch)
    return total / count


def spread(values):
    return np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))


def label(term):
    return {"0": "continuous time", "10": "10 steps"}.get(term, term)


def exported(arguments, place):
    """Checks that torch.load and the published code find in the exports what was imported."""
    file = place.folder / "exported.pt"
    bfn(arguments, "export", place.run, "--out", file)
    bfn(arguments, "export", place.run, "--out", file.with_suffix(".safetensors"))
    from safetensors.torch import load_file

    original, copies = torch.load(place.weights, weights_only=True), torch.load(file, weights_only=True)
    for copy_ in [copies, load_file(file.with_suffix(".safetensors"))]:
        assert original.keys() == copy_.keys(), original.keys() ^ copy_.keys()
        buffers = [name for name in original if name.endswith(("pos_feats", "pos_embedding"))]
        assert all(torch.equal(original[name], copy_[name]) for name in original if name not in buffers)
        assert all((original[name] - copy_[name]).abs().max() < 1e-4 for name in buffers)
    published(arguments, place, file)
    print(f"{place.name}: {len(copies)} tensors, all as they were, and loaded by the published code")


def starts(arguments, place):
    """Checks that fresh parameters of both programs are zero or one in the same places, and otherwise spread alike."""
    torch.manual_seed(SEED)
    import utils_train

    theirs = utils_train.make_bfn(utils_train.make_config(str(place.config)).model).state_dict()
    fresh, file = place.folder / "fresh", place.folder / "fresh.pt"
    shutil.rmtree(fresh, ignore_errors=True)
    changes = ["training.steps=1", "training.batch=1", "optimiser.learning_rate=0.0"]
    settings = [part for change in changes for part in ["--set", change]]
    bfn(arguments, "train", place.run / "experiment.toml", "--out", fresh, *settings)
    bfn(arguments, "export", fresh, "--weights", "last", "--out", file)
    ours = torch.load(file, weights_only=True)
    groups = {}
    for name, their in theirs.items():
        our = ours[name]
        # A group consists of names that differ only in numbers.
        group = groups.setdefault((".".join(part for part in name.split(".") if not part.isdigit()), their.ndim), [])
        if their.numel() == 1:
            continue
        if their.unique().numel() == 1:
            assert torch.equal(their, our), name
        elif not name.endswith(("pos_feats", "pos_embedding")):
            group.append((their / their.std(), our / their.std()))
    worst = 0.0
    for (name, _), pairs in groups.items():
        if pairs:
            their, our = (torch.cat([one.flatten() for one in side]) for side in zip(*pairs))
            if our.numel() < FEW:
                # A few numbers have no meaningful deviation; they must be within ten times the largest published one.
                assert our.abs().max() < 10 * their.abs().max(), f"{name}: {our.tolist()}, published {their.tolist()}"
                continue
            # The standard error of a standard deviation is at most 1/√(2n) for normally distributed numbers.
            error = abs(our.std() / their.std() - 1) * math.sqrt(our.numel())
            worst = max(worst, error.item())
            assert error < 5, f"{name}: deviation {our.std():.4f}, published {their.std():.4f}"
            assert abs(our.mean()) * math.sqrt(our.numel()) < 5, f"{name}: mean {our.mean():.2e}"
    print(f"{place.name}: {len(groups)} groups alike, the worst deviation off by {worst:.1f} standard errors")


STAGES = {
    "train": train,
    "import": imported,
    "losses": losses,
    "evaluate": evaluate,
    "export": exported,
    "starts": starts,
}

if __name__ == "__main__":
    main()
