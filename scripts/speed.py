#!/usr/bin/env python3
"""Times this program and the published PyTorch code in turns: same network, batch, optimiser and precision.

    python scripts/speed.py --published FOLDER --work FOLDER --data FOLDER [--bfn PROGRAM] [--pairs N]
        [--precision f32|tf32|bf16] [--published-precision f32|tf32|bf16] [--device cpu|cuda] [MODEL ...]

The folder of --published is a checkout of github.com/nnaisense/bayesian-flow-networks; this repository contains none
of it. For each model both programs start from the same fresh weights, and must agree on the loss and on its gradient
norm for given data, times and noise, in f32: the published code on the CPU, this program on --device. Then each trains
for some steps, draws some samples and, starting from nothing, makes one first step. The programs take turns, `--pairs`
times. In both, a step's time is the median over the steps of a turn. The table has medians of the published time over
ours (above 1: we are faster) with their quartiles, and the same of our peak memory over the published one (below 1: we
need less; on a GPU, the memory that tensors take).

--precision bf16 is autocast in both programs; --published-precision gives the published code a precision of its own,
for example f32 beside our bf16. On a GPU the published code sets tf32 for itself; on a CPU tf32 is f32. The models
mnist and text8, of the published sizes and batches, are for GPUs and must be named.

Needs what parity.py needs, including its folder of data, and the example `given_draws` built beside the program.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import torch
from omegaconf import OmegaConf

import parity

BINARY = {**parity.discrete(2, 3, "BernoulliFactory")}
CHARACTERS = {**parity.discrete(27, 0.75, "CategoricalFactory")}


def unet(width, blocks, multipliers, attention, dropout):
    model = parity.unet()
    model["net"]["parameters"].update(
        model_channels=width,
        out_channels=width,
        num_res_blocks=blocks,
        channel_mult=multipliers,
        attention_resolutions=attention,
        dropout=dropout,
    )
    model["output_adapter"]["parameters"]["input_height"] = 2 * width
    return model


def vdm(width, blocks, outputs=1):
    model = parity.vdm(outputs)
    model["net"]["parameters"].update(embedding_dim=width, n_blocks=blocks, norm_groups=32)
    model["output_adapter"]["parameters"]["input_height"] = width + 1
    return model


# The published widths, with fewer layers and smaller batches where two cores would be too slow; then small models.
MODELS = {
    "unet": parity.experiment(
        {"dataset": "bin_mnist"}, {**unet(128, 2, [1, 2, 2], [8, 16], 0.5), **BINARY}, batch=8, steps=4, rate=1e-4
    ),
    "vdm": parity.experiment(
        {"dataset": "mnist", "num_bins": 256},
        {**vdm(128, 4), **parity.continuous(1e-6, "DeltaFactory", {})},
        batch=8,
        steps=4,
        rate=2e-4,
    ),
    "discretised": parity.experiment(
        {"dataset": "mnist", "num_bins": 256},
        {
            **vdm(128, 4, outputs=2),
            **parity.continuous(1e-6, "DiscretizedNormalFactory", {"num_bins": 256, "clip": True}),
        },
        batch=8,
        steps=4,
        rate=2e-4,
    ),
    "transformer": parity.experiment(
        {"dataset": "text8", "seq_len": 256}, {**parity.gpt(4, 768, 256), **CHARACTERS}, batch=4, steps=6, rate=1e-4
    ),
    "small-unet": parity.experiment(
        {"dataset": "bin_mnist"}, {**unet(32, 1, [1], [], 0.1), **BINARY}, batch=16, steps=40, rate=1e-3
    ),
    "small-transformer": parity.experiment(
        {"dataset": "text8", "seq_len": 64}, {**parity.gpt(2, 64, 64), **CHARACTERS}, batch=16, steps=60, rate=1e-3
    ),
}
# The published sizes and batches, for GPUs only.
MODELS["mnist"] = parity.experiment(
    {"dataset": "bin_mnist"}, {**unet(128, 2, [1, 2, 2], [8, 16], 0.5), **BINARY}, batch=512, steps=20, rate=1e-4
)
MODELS["text8"] = parity.experiment(
    {"dataset": "text8", "seq_len": 256}, {**parity.gpt(24, 768, 256), **CHARACTERS}, batch=416, steps=10, rate=1e-4
)
FOR_GPUS = ["mnist", "text8"]
for name in ["transformer", "text8"]:
    MODELS[name]["model"]["net"]["parameters"]["n_head"] = 12

# The number of samples drawn side by side, and of sampling steps.
SAMPLES = {
    "unet": (4, 5),
    "vdm": (4, 5),
    "discretised": (4, 5),
    "transformer": (2, 6),
    "small-unet": (16, 40),
    "small-transformer": (16, 40),
    "mnist": (64, 20),
    "text8": (64, 20),
}

WARM_UP = 2


def main():
    parser = parity.program_arguments(__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="alternating pairs of measurements")
    precisions = ["f32", "tf32", "bf16"]
    parser.add_argument("--precision", choices=precisions, default="f32", help="of both networks")
    parser.add_argument("--published-precision", choices=precisions, help="of the published network, if another")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where both programs compute")
    parser.add_argument("--only", choices=["train", "sample", "start"], action="append", help="what to time")
    parser.add_argument("--turn", nargs=2, metavar=("WHAT", "STEPS"), help=argparse.SUPPRESS)
    parser.add_argument("model", nargs="*", choices=[*MODELS, []])
    arguments = parser.parse_args()
    arguments.model = arguments.model or [name for name in MODELS if name not in FOR_GPUS]
    arguments.published_precision = arguments.published_precision or arguments.precision
    arguments.published, arguments.work = arguments.published.resolve(), arguments.work.resolve()
    sys.path.insert(0, str(arguments.published))
    parity.MODELS = MODELS
    parity.prepare_data(arguments)
    place = parity.Place(arguments.work, arguments.model[0])
    if arguments.turn:
        what, steps = arguments.turn
        print(json.dumps({"train": trained, "sample": sampled}[what](arguments, place, int(steps))))
        return
    print("| model | parameters | measured | published / ours, median (quartiles) | ours, median |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.model:
        compare(arguments, parity.Place(arguments.work, name))


def compare(arguments, place):
    prepare(arguments, place)
    check(arguments, place)
    fixed = ("pos_feats", "pos_embedding", "count")  # buffers of the published networks
    state = torch.load(place.weights, weights_only=True).items()
    parameters = sum(tensor.numel() for name, tensor in state if not name.endswith(fixed))
    wanted = arguments.only or ["train", "sample", "start"]
    steps = MODELS[place.name]["training"]["n_training_steps"]
    rows = {}

    def add(what, ours, theirs):
        rows.setdefault(what, []).append((ours, theirs))

    for pair in range(arguments.pairs):
        turns = ["ours", "theirs"] if pair % 2 == 0 else ["theirs", "ours"]
        if "train" in wanted:
            both = {turn: train_turn(arguments, place, turn, steps) for turn in turns}
            add("s/training step", *(both[turn]["seconds"] for turn in ["ours", "theirs"]))
            add("peak bytes", *(both[turn]["bytes"] for turn in ["ours", "theirs"]))
        if "sample" in wanted:
            both = {turn: sample_turn(arguments, place, turn) for turn in turns}
            add("s/step of the sampler", *(both[turn]["seconds"] for turn in ["ours", "theirs"]))
        if "start" in wanted:
            both = {turn: train_turn(arguments, place, turn, 1, warm_up=0)["wall"] for turn in turns}
            add("s to the first step", both["ours"], both["theirs"])
        # What is known so far, in case that the series is stopped.
        latest = ", ".join(f"{what} {pairs[-1][0]:.4g} (published {pairs[-1][1]:.4g})" for what, pairs in rows.items())
        print(f"{place.name}, pair {pair + 1} of {arguments.pairs}: {latest}", file=sys.stderr, flush=True)
    for what, pairs in rows.items():
        memory = what == "peak bytes"
        ratios = sorted(ours / theirs if memory else theirs / ours for ours, theirs in pairs)
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        label = "ours / published" if memory else ""
        ours = statistics.median(ours for ours, _ in pairs)
        shown = f"{ours / 2**20:.0f} MiB" if memory else f"{ours:.4g} s"
        print(
            f"| {place.name} | {parameters:,} | {what} {label} | **{middle:.2f}** ({low:.2f} to {high:.2f}) | {shown} |",
            flush=True,
        )


def prepare(arguments, place):
    """Draws fresh weights with the published code and imports them."""
    import utils_train

    place.folder.mkdir(parents=True, exist_ok=True)
    place.config.write_text(OmegaConf.to_yaml(OmegaConf.create(MODELS[place.name])))
    torch.manual_seed(parity.SEED)
    model = utils_train.make_bfn(utils_train.make_config(str(place.config)).model)
    # Layers that start at zero would leave most of the network out of the comparison.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.02)
    torch.save(model.state_dict(), place.weights)
    parity.imported(arguments, place)


def check(arguments, place):
    """Exits, with nothing to time, unless both programs have the same loss and gradient norm for the same draws."""
    from safetensors.torch import load_file

    with torch.enable_grad():
        theirs = parity.losses(arguments, place, count=8, quiet=True)
    ours = load_file(place.folder / "losses.safetensors")
    for name in ["continuous_time", "gradient_norm"]:
        mine, other = ours[name].double().mean().item(), theirs[name].double().mean().item()
        if abs(mine - other) > 2e-4 * abs(other):
            sys.exit(f"{place.name}: {name} is {mine} here and {other} in the published code: nothing to compare")
    print(
        f"<!-- {place.name}: loss {ours['continuous_time'].mean():.6f}, gradient norm {ours['gradient_norm'].item():.6f} "
        f"(published {theirs['gradient_norm'].item():.6f}) -->",
        flush=True,
    )


def train_turn(arguments, place, turn, steps, warm_up=WARM_UP):
    if turn == "theirs":
        return run([*own_command(arguments, place), "--turn", "train", str(steps + warm_up)])
    return bench(arguments, place, "train", "--steps", steps, "--warm-up", warm_up)


def sample_turn(arguments, place, turn):
    count, steps = SAMPLES[place.name]
    if turn == "theirs":
        return run([*own_command(arguments, place), "--turn", "sample", str(steps)])
    return bench(arguments, place, "sample", "--count", count, "--steps", steps, "--warm-up", 1)


def bench(arguments, place, what, *options):
    """Runs a turn of this program and returns the median time of a step, the peak memory and the total time."""
    report = place.folder / "bench.json"
    done = run([
        arguments.bfn, "bench", what, place.run / "experiment.toml", *options, "--json", report,
        "--device", arguments.device, "--set", f"training.precision={arguments.precision}",
    ], arguments.data)  # fmt: skip
    measured = json.loads(report.read_text())
    return {**done, "seconds": measured["seconds_per_step"]["median"], "bytes": measured["peak_memory_bytes"]}


def own_command(arguments, place):
    names = ["published", "work", "data", "published_precision", "device"]
    options = [part for name in names for part in [f"--{name.replace('_', '-')}", getattr(arguments, name)]]
    return [sys.executable, __file__, *options, place.name]


def run(command, data=None):
    """Runs a program to its end and returns what it printed as JSON, and its time from start to end."""
    environment = {**os.environ, **({"BFN_DATA": str(data)} if data else {})}
    started = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, env=environment, text=True)
    wall = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    found = re.findall(r"^\{.*\}$", done.stdout, re.MULTILINE)
    return {**(json.loads(found[-1]) if found else {}), "wall": wall}


def set_arithmetic(arguments):
    """Sets TF32 and the search for the fastest convolutions for the published code, after its files have set theirs."""
    torch.set_float32_matmul_precision("high" if arguments.published_precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = arguments.published_precision == "tf32"
    torch.backends.cudnn.benchmark = True


def synchronise(arguments):
    """Waits until the GPU has finished its work."""
    if arguments.device == "cuda":
        torch.cuda.synchronize()


def trained(arguments, place, steps):
    """Runs the loop of the published train.py without its logging; returns median seconds per step and peak memory."""
    import copy

    import train
    import utils_train
    from accelerate import Accelerator

    config = utils_train.make_config(str(place.config))
    config.data.data_dir = str(arguments.work / "data")
    if arguments.device == "cuda":
        # As in the published configurations. On a few processor cores, the workers would compete with the training.
        config.train_loader.update(num_workers=8, pin_memory=True)
    mixed_precision = "bf16" if arguments.published_precision == "bf16" else "no"
    accelerator = Accelerator(cpu=arguments.device == "cpu", mixed_precision=mixed_precision)
    set_arithmetic(arguments)
    utils_train.seed_everything(1)
    model, loaders, optimizer = train.setup(config)
    model.load_state_dict(torch.load(place.weights, weights_only=True))
    average = copy.deepcopy(model).to(accelerator.device)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loaders["train"])
    batches = utils_train.make_infinite(loader)
    model.train()
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        loss = model(next(batches))
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), config.training.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        utils_train.update_ema(average, model, config.training.ema_decay)
        synchronise(arguments)
        times.append(time.perf_counter() - started)
    if arguments.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        # The peak memory of this process; the value of getrusage would start from that of its parent.
        status = pathlib.Path("/proc/self/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    return {"seconds": statistics.median(times[WARM_UP:] or times), "bytes": peak}


def sampled(arguments, place, steps):
    """Runs the published sampler; returns the median seconds between network outputs, as `bfn bench` measures them."""
    model, config = parity.published(arguments, place)
    model.to(arguments.device)
    set_arithmetic(arguments)
    count, _ = SAMPLES[place.name]
    shape = [count, config.data.seq_len] if config.data.dataset == "text8" else [count, 28, 28, 1]
    forward, moments = model.net.forward, []

    def network(*inputs):
        with torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.published_precision == "bf16"):
            output = forward(*inputs)
        synchronise(arguments)
        moments.append(time.perf_counter())
        return output.float()

    model.net.forward = network
    with torch.inference_mode():
        model.sample(shape, 1)
        synchronise(arguments)
        moments[:] = [time.perf_counter()]
        model.sample(shape, steps)
    return {"seconds": statistics.median(after - before for before, after in zip(moments, moments[1:]))}


if __name__ == "__main__":
    main()
