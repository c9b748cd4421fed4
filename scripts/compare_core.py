#!/usr/bin/env python3
"""Times bfn-core's equations beside the same formulas in NumPy and PyTorch.

    python scripts/compare_core.py [--kinds text binary ...] [--precisions f32 f64] [--rounds 3] [--threads 1]

In every round the equations of a kind of data are timed by the benches of bfn-core (`cargo bench -p bfn-core`, at the
paper's sizes), then in NumPy, then in PyTorch, so that other load on the machine affects all of them. Ratios are formed
within a round; the table shows their median and range. Sizes and distributions of the inputs are those of the benches.
With more than one thread the benches use the feature `rayon` and PyTorch as many threads; NumPy stays as it is.

Needs numpy, scipy and torch.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import scipy.special
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH, ALPHA, BEFORE, FROM, TO = 64, 0.5, 0.4, 0.5, 0.6
BETA_1, SIGMA_1 = 0.75, 1e-3
BESIDE = ["loop", "NumPy", "PyTorch"]
EQUATIONS = ["flow", "update", "continuous-time loss", "n-step loss", "reconstruction loss", "sampler step"]

NUMPY = SimpleNamespace(
    exp=np.exp,
    log=np.log,
    expm1=np.expm1,
    clip=np.clip,
    where=np.where,
    sum_last=lambda a: a.sum(-1),
    softmax=lambda a: scipy.special.softmax(a, -1),
    log_softmax=lambda a: scipy.special.log_softmax(a, -1),
    log_sum_exp=lambda a: scipy.special.logsumexp(a, -1),
    cdf=scipy.special.ndtr,
    log_cdf=scipy.special.log_ndtr,
    gather=lambda a, k: np.take_along_axis(a, k[..., None], -1)[..., 0],
    real=lambda k, like: k.astype(like.dtype),
    concat=lambda parts: np.concatenate(parts, -1),
)
TORCH = SimpleNamespace(
    exp=torch.exp,
    log=torch.log,
    expm1=torch.expm1,
    clip=torch.clamp,
    where=torch.where,
    sum_last=lambda a: a.sum(-1),
    softmax=lambda a: torch.softmax(a, -1),
    log_softmax=lambda a: torch.log_softmax(a, -1),
    log_sum_exp=lambda a: torch.logsumexp(a, -1),
    cdf=torch.special.ndtr,
    log_cdf=torch.special.log_ndtr,
    gather=lambda a, k: a.gather(-1, k[..., None])[..., 0],
    real=lambda k, like: k.to(like.dtype),
    concat=lambda parts: torch.cat(parts, -1),
)


class Discrete:
    """Logits of K classes; messages of K numbers."""

    def __init__(self, variables, classes):
        self.variables, self.classes, self.outputs = variables, classes, 1 if classes == 2 else classes
        self.message = (BATCH, variables, classes)

    def prepare(self, lib, given):
        self.lib, self.given = lib, given
        given.t = given.t[:, None, None]
        given.alpha = ALPHA + 0 * given.t
        given.theta, given.y = self.flow(), self.send(given.alpha, given.sender_noise)
        given.other = self.signal()

    def send(self, alpha, noise):
        out = (alpha * self.classes) ** 0.5 * noise - alpha
        peak = self.classes * alpha[..., 0] * self.given.ones
        out.reshape(-1, self.classes)[self.given.rows, self.given.x.reshape(-1)] += peak.reshape(-1)
        return out

    def logits(self):
        network = self.given.network
        return self.lib.concat([0 * network, network]) if self.classes == 2 else network

    def signal(self):
        return self.classes * self.lib.softmax(self.logits()) - 1

    def flow(self):
        return self.send(BETA_1 * self.given.t**2, self.given.noise)

    def update(self):
        return self.given.theta + self.given.y

    def continuous_time_loss(self):
        p = self.lib.softmax(self.logits())
        distance = 1 - 2 * self.lib.gather(p, self.given.x) + self.lib.sum_last(p * p)
        return self.classes * BETA_1 * self.given.t[..., 0] * distance

    def n_step_loss(self):
        y = self.send(self.given.alpha, self.given.sender_noise)
        receiver = self.lib.log_sum_exp(self.lib.log_softmax(self.logits()) + y)
        return self.lib.gather(y, self.given.x) - receiver

    def reconstruction_loss(self):
        return -self.lib.gather(self.lib.log_softmax(self.logits()), self.given.x)

    def sampler_step(self):
        root = [(BETA_1 * t**2) ** 0.5 for t in (BEFORE, FROM, TO)]
        accuracy = root[2] ** 2 - root[1] ** 2
        slope = (root[2] - root[1]) ** 2 * (root[1] + 2 * root[2]) / 3 / (root[1] - root[0])
        given, signal = self.given, self.signal()
        noise = (self.classes * accuracy) ** 0.5 * given.sender_noise
        return given.theta + accuracy * signal + slope * (signal - given.other) + noise


class Continuous:
    """Normal beliefs and a point mass."""

    outputs = 1

    def __init__(self, variables):
        self.variables, self.classes, self.message = variables, 256, (BATCH, variables)

    def prepare(self, lib, given):
        self.lib, self.given = lib, given
        given.t, given.network = given.t[:, None], given.network if self.outputs > 1 else given.network[..., 0]
        given.theta, given.y = self.flow(), self.data() + ALPHA**-0.5 * given.sender_noise
        given.last, given.one = self.flow_at(1 + 0 * given.t), 1 + 0 * given.t
        given.other = self.mean(given.last, given.one)

    def data(self):
        return self.given.reals

    def flow_at(self, t):
        gamma = -self.lib.expm1(2 * math.log(SIGMA_1) * t)
        return gamma * self.data() + (gamma * (1 - gamma)) ** 0.5 * self.given.noise

    def ratios(self, t):
        rest = self.lib.exp(2 * math.log(SIGMA_1) * t)
        return 1 / (1 - rest), (rest / (1 - rest)) ** 0.5

    def mean(self, mu, t):
        scale, ratio = self.ratios(t)
        return self.lib.clip(scale * mu - ratio * self.given.network, -1, 1)

    def flow(self):
        return self.flow_at(self.given.t)

    def update(self):
        rho = self.lib.exp(-2 * math.log(SIGMA_1) * self.given.t)
        return rho / (rho + ALPHA) * self.given.theta + ALPHA / (rho + ALPHA) * self.given.y

    def continuous_time_loss(self):
        rate = -math.log(SIGMA_1) * self.lib.exp(-2 * math.log(SIGMA_1) * self.given.t)
        return rate * (self.data() - self.mean(self.given.theta, self.given.t)) ** 2

    def n_step_loss(self):
        return 0.5 * ALPHA * (self.data() - self.mean(self.given.theta, self.given.t)) ** 2

    def reconstruction_loss(self):
        error = (self.data() - self.mean(self.given.last, self.given.one)) / SIGMA_1
        return 0.5 * error**2 + (math.log(SIGMA_1) + 0.5 * math.log(2 * math.pi))

    def sampler_step(self):
        beta = [SIGMA_1 ** (-2 * t) - 1 for t in (BEFORE, FROM, TO)]
        accuracy, after = beta[2] - beta[1], 1 / (1 + beta[2])
        growth = [0.5 * math.log(beta[i + 1] / beta[i]) for i in (0, 1)]
        slope = accuracy * after * 0.5 * growth[1] / growth[0]
        signal = self.mean(self.given.theta, self.given.t)
        state = (1 + beta[1]) * after * self.given.theta
        noise = accuracy**0.5 * after * self.given.sender_noise
        return state + accuracy * after * signal + slope * (signal - self.given.other) + noise


class Discretised(Continuous):
    """Normal beliefs and a normal discretised to K bins: exact differences of Φ, through logarithms of its tails."""

    outputs = 2

    def __init__(self, variables, bins):
        super().__init__(variables)
        self.classes = bins

    def data(self):
        return self.centres(self.lib.real(self.given.x, self.given.noise))

    def centres(self, k):
        return (2 * k + 1) / self.classes - 1

    def normal(self, mu, t):
        scale, ratio = self.ratios(t)
        deviation = ratio * self.lib.exp(self.lib.clip(self.given.network[..., 1], -10, 10))
        return scale * mu - ratio * self.given.network[..., 0], self.lib.clip(deviation, 1e-3, 10)

    def mean(self, mu, t):
        mean, deviation = self.normal(mu, t)
        below = self.lib.sum_last(self.lib.cdf((self.given.edges - mean[..., None]) / deviation[..., None]))
        return 1 - 1 / self.classes - 2 / self.classes * below

    def inner(self, k, mean, deviation):
        half, distance = 1 / self.classes, -abs(self.centres(k) - mean)
        near, far = self.lib.log_cdf((distance + half) / deviation), self.lib.log_cdf((distance - half) / deviation)
        return near + self.lib.log(-self.lib.expm1(self.lib.clip(far - near, None, -1e-30)))

    def log_mass(self, k, mean, deviation):
        right, left = self.centres(k) + 1 / self.classes - mean, mean - self.centres(k) + 1 / self.classes
        tail = self.lib.log_cdf(self.lib.where(k == 0, right, left) / deviation)
        outermost = (k == 0) | (k == self.classes - 1)
        return self.lib.where(outermost, tail, self.inner(k, mean, deviation))

    def log_masses(self, mean, deviation):
        first = self.lib.log_cdf((self.given.edges[:1] - mean) / deviation)
        last = self.lib.log_cdf((mean - self.given.edges[-1:]) / deviation)
        return self.lib.concat([first, self.inner(self.given.all[1:-1], mean, deviation), last])

    def n_step_loss(self):
        mean, deviation = self.normal(self.given.theta, self.given.t)
        log_p = self.log_masses(mean[..., None], deviation[..., None])
        noise = self.given.sender_noise
        distance = ALPHA**0.5 * (self.data()[..., None] - self.centres(self.given.all))
        receiver = self.lib.log_sum_exp(log_p - 0.5 * (distance + noise[..., None]) ** 2)
        return -0.5 * noise**2 - receiver

    def reconstruction_loss(self):
        k = self.lib.real(self.given.x, self.given.noise)
        return -self.log_mass(k, *self.normal(self.given.last, self.given.one))


KINDS = {
    "binary": lambda: Discrete(784, 2),
    "text": lambda: Discrete(256, 27),
    "continuous": lambda: Continuous(3072),
    "discretised": lambda: Discretised(3072, 256),
}


def inputs(kind, precision):
    """Returns the inputs of the equations as NumPy arrays."""
    draw, real = np.random.default_rng(1), {"f32": np.float32, "f64": np.float64}[precision]
    x = draw.integers(0, kind.classes, (BATCH, kind.variables))
    k = np.arange(kind.classes)
    return {
        "x": x,
        "rows": np.arange(x.size),
        "ones": np.ones(x.shape, real),
        "all": k.astype(real),
        "reals": ((2 * x + 1) / kind.classes - 1).astype(real),
        "edges": (2 * k[1:] / kind.classes - 1).astype(real),
        "t": ((np.arange(BATCH) + 0.5) / BATCH).astype(real),
        "noise": draw.standard_normal(kind.message).astype(real),
        "sender_noise": draw.standard_normal(kind.message).astype(real),
        "network": (0.5 * draw.standard_normal((BATCH, kind.variables, kind.outputs))).astype(real),
    }


def prepared(name, precision):
    """Returns the equations in NumPy and in PyTorch, after checking that both compute the same."""
    kinds = []
    # As in the benches: once a large block has been freed, the C library keeps freed memory.
    np.empty(31 << 20, np.uint8)
    for lib, convert in [(NUMPY, np.array), (TORCH, torch.tensor)]:
        kind = KINDS[name]()
        kind.prepare(lib, SimpleNamespace(**{key: convert(a) for key, a in inputs(kind, precision).items()}))
        kinds.append(kind)
    for equation in EQUATIONS:
        ours, theirs = (np.asarray(function(kind, equation)()) for kind in kinds)
        assert ours.dtype == theirs.dtype == {"f32": np.float32, "f64": np.float64}[precision], (name, equation)
        tolerance = 5e-3 if precision == "f32" else 1e-8
        error = (abs(ours - theirs) / np.maximum(abs(ours), 1)).max()
        assert error < tolerance, f"{name}, {equation}, {precision}: NumPy and PyTorch differ by {error}"
    return kinds


def function(kind, equation):
    return getattr(kind, equation.replace(" ", "_").replace("-", "_"))


def timed(run, seconds=0.5):
    """Returns the median time of a call, over at least three calls."""
    run()
    times = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def benched(name, precision, threads, target):
    """Runs the benches and returns the median times of bfn-core's equations and of their plain loops."""
    features = ["--features", "rayon"] if threads > 1 else []
    command = ["cargo", "bench", "--quiet", "-p", "bfn-core", "--bench", "paper_sizes", *features]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    pattern = f"^{name}/.*/{precision}/"
    subprocess.run([*command, "--", "--noplot", pattern], cwd=ROOT, env=environment, check=True, capture_output=True)
    times = {}
    for equation in EQUATIONS:
        for what in ["bfn", "loop"]:
            found = target / "criterion" / name / f"{equation}_{precision}_{what}" / "new" / "estimates.json"
            times[equation, what] = json.loads(found.read_text())["median"]["point_estimate"] * 1e-9
    return times


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--precisions", nargs="+", choices=["f32", "f64"], default=["f32", "f64"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, capture_output=True
    )
    target = pathlib.Path(json.loads(metadata.stdout)["target_directory"])
    print("| kind | equation | | bfn-core, ms | loop / bfn | NumPy / bfn | PyTorch / bfn |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.kinds:
        for precision in options.precisions:
            numpy_kind, torch_kind = prepared(name, precision)
            rounds = []
            for _ in range(options.rounds):
                times = benched(name, precision, options.threads, target)
                for equation in EQUATIONS:
                    times[equation, "NumPy"] = timed(function(numpy_kind, equation))
                    times[equation, "PyTorch"] = timed(function(torch_kind, equation))
                rounds.append(times)
            for equation in EQUATIONS:
                bfn = [times[equation, "bfn"] for times in rounds]
                ratios = [[times[equation, what] / times[equation, "bfn"] for times in rounds] for what in BESIDE]
                cells = " | ".join(spread(ratio) for ratio in ratios)
                print(f"| {name} | {equation} | {precision} | {1e3 * statistics.median(bfn):.3g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
