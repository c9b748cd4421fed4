#!/usr/bin/env python3
"""Runs every command of docs/GUIDE.md and puts its output into the guide.

    python scripts/run_guide.py --work FOLDER [--from COMMAND]

Commands are the lines that begin with "$ " in blocks marked ```console. bash runs them one by one in FOLDER, which
is created as a clone of the repository's last commit if it does not exist. bfn must be on PATH (cargo xtask install).
Of progress only the last line is kept, and the middle of long outputs is left out. --from begins at the first command
that contains this text and keeps the outputs before it.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "GUIDE.md"
LONGEST, KEPT = 34, 15
PROGRESS = re.compile(r"^(training|sampling|evaluating|training the classifier|filling in|measuring) [0-9]+/[0-9]+")


def shortened(output):
    lines = [line.rstrip() for line in output.splitlines()]
    following = [*lines[1:], ""]
    lines = [a for a, b in zip(lines, following) if not (PROGRESS.match(a) and PROGRESS.match(b))]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) > LONGEST:
        lines = [*lines[:KEPT], f"[{len(lines) - 2 * KEPT} lines]", *lines[-KEPT:]]
    return lines


def run(command, folder):
    print("$", command, flush=True)
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return shortened(done.stdout.replace(f"{folder}/", "").replace(str(ROOT), "."))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--from", dest="first", default="", metavar="COMMAND")
    options = parser.parse_args()
    if shutil.which("bfn") is None:
        sys.exit("bfn is not on PATH: run cargo xtask install")
    folder = options.work.resolve()
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    kept, inside, running, skipping = [], False, not options.first, False
    for line in GUIDE.read_text().splitlines():
        if line.startswith("```"):
            inside, skipping = line == "```console" and not inside, False
        elif inside and line.startswith("$ "):
            command = line[2:]
            running = running or options.first in command
            skipping = running
            kept.append(line)
            if running:
                kept.extend(run(command, folder))
            continue
        if not (inside and skipping):
            kept.append(line)
    GUIDE.write_text("\n".join(kept) + "\n")


if __name__ == "__main__":
    main()
