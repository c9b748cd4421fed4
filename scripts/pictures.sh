#!/usr/bin/env bash
# Regenerates the pictures of README.md and docs/ from runs, and trains the runs that are missing.
#
#     scripts/pictures.sh [RUNS]      RUNS is the folder of the runs (default: "runs")
#
# Needs bfn on PATH (cargo xtask install) and MNIST (bfn data list). Training takes about half an hour on two CPU cores.
# The first picture, mnist.png, comes from minutes of training on a GPU and is made where bfn finds one.
# When the script was stopped, running it again continues from where it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${1:-runs}

train() { # EXPERIMENT NAME: starts the run, continues it, or finds it complete
    bfn train "experiments/$1.toml" --out "$runs/$2" --resume
}

if bfn check experiments/mnist_short.toml --device cuda >/dev/null 2>&1; then
    train mnist_short mnist-short
    bfn sample "$runs/mnist-short" --count 64 --steps 200 --seed 0 --out docs/images/mnist.png
fi

train digits digits
bfn sample "$runs/digits" --count 64 --steps 100 --seed 0 --out docs/images/digits.png

train small/mnist mnist
bfn sample "$runs/mnist" --count 64 --steps 100 --seed 0 --out docs/images/small-mnist.png
bfn inpaint "$runs/mnist" --example 3 --hide right --count 8 --steps 50 --particles 16 --seed 0 --out docs/images/inpainting.png

train small/mnist_classes mnist-classes
bfn sample "$runs/mnist-classes" --class each --count 100 --solver sde2 --steps 20 --guidance 1 --seed 0 --out docs/images/mnist-classes.png

train small/superres superres
bfn sample "$runs/superres" --like test:0-7 --count 48 --steps 50 --solver sde2 --seed 0 --out docs/images/superres.png
