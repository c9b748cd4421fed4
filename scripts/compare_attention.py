#!/usr/bin/env python3
"""Times PyTorch's fused attention on this CPU, as it is and with widened heads, beside two products and a softmax.

    python scripts/compare_attention.py [--threads N] [--precision f32|bf16]

Prints the median time of a forward and backward pass in milliseconds, then that of each layer in one block of the
small transformer of speed.py, and the rate of one large matrix product. bf16 is autocast. The choices in
crates/bfn-nets/src/networks/attention.rs rest on these measurements. Needs torch.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

# Examples, heads, positions, channels of a head.
SHAPES = [(16, 4, 64, 16), (16, 4, 49, 16), (8, 4, 128, 32), (8, 4, 256, 32), (4, 12, 256, 64), (16, 4, 784, 8)]
WIDENED = 16


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
        measure(torch.bfloat16 if arguments.precision == "bf16" else torch.float32)


def measure(kind):
    print("| examples, heads, positions, channels | fused | fused, 16 channels | products |")
    print("| --- | --- | --- | --- |")
    for shape in SHAPES:
        channels = shape[-1]
        ways = [lambda *qkv: fused(*qkv, channels), lambda *qkv: fused(*qkv, max(channels, WIDENED)), products]
        times = [milliseconds(way, shape, kind) for way in ways]
        print(f"| {', '.join(map(str, shape))} | " + " | ".join(f"{time:.2f}" for time in times) + " |", flush=True)
    print("\n| layer of the block | how many | each |\n| --- | --- | --- |")
    for name, count, layer, width in block(64):
        print(f"| {name} | {count} | {1e3 * median(backwards(layer, torch.randn(16, 64, width)), 200):.2f} |", flush=True)
    matrix = torch.randn(2048, 2048)
    seconds = median(lambda: matrix @ matrix, 10)
    print(f"\na product of matrices of 2048: {2 * 2048**3 / seconds / 1e9:.0f} GFLOP/s")


def fused(queries, keys, values, width):
    channels = queries.shape[-1]
    wide = [F.pad(part, (0, width - channels)) for part in (queries, keys, values)]
    return F.scaled_dot_product_attention(*wide, scale=channels**-0.5)[..., :channels]


def products(queries, keys, values):
    queries, keys, values = (part.flatten(0, 1) for part in (queries, keys, values))
    weights = torch.softmax(torch.bmm(queries * queries.shape[-1] ** -0.5, keys.transpose(1, 2)), -1)
    return torch.bmm(weights, values)


def milliseconds(way, shape, kind):
    batch, heads, length, channels = shape
    projected = torch.randn(batch, length, 3, heads, channels, dtype=kind, requires_grad=True)
    gradient = torch.randn(batch, length, heads * channels, dtype=kind)

    def step():
        projected.grad = None
        parts = projected.permute(2, 0, 3, 1, 4)
        if way is products:
            parts = parts.contiguous()
        attended = way(*parts.unbind(0)).view(batch, heads, length, channels)
        attended.transpose(1, 2).reshape(gradient.shape).backward(gradient)

    return 1e3 * median(step, 60 if length < 200 else 8)


def block(width):
    """Returns the layers of a transformer block, each with its name, its number in the block and its input width."""
    linear = torch.nn.Linear
    return [
        ("attention", 1, lambda x: attended(x, 4), 3 * width),
        ("map to queries, keys and values", 1, linear(width, 3 * width), width),
        ("map after attention", 1, linear(width, width), width),
        ("map into the perceptron", 1, linear(width, 4 * width), width),
        ("map out of it", 1, linear(4 * width, width), 4 * width),
        ("GELU", 1, torch.nn.GELU(approximate="tanh"), 4 * width),
        ("layer norm", 2, torch.nn.LayerNorm(width), width),
    ]


def attended(projected, heads):
    batch, length, width = projected.shape
    parts = projected.view(batch, length, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4).contiguous()
    return products(*parts.unbind(0)).view(batch, heads, length, -1).transpose(1, 2).flatten(2)


def backwards(layer, values):
    values.requires_grad_()
    gradient = torch.ones_like(layer(values))
    return lambda: layer(values).backward(gradient)


def median(body, count):
    times = []
    for _ in range(count + 2):
        started = time.perf_counter()
        body()
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
