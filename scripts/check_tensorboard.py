"""Reads the event files of a run with TensorBoard's own reader and compares them with the log.

    python scripts/check_tensorboard.py RUN

The event files must contain every line of RUN/metrics.jsonl exactly once, with its numbers, and nothing else; pictures
must be complete PNG files. Needs the package `tensorboard`. If anything differs, reports it and exits with status 1.
"""

import json
import math
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRAINING = {
    "loss/nats_per_dim": lambda line: line["loss_nats_per_dim"],
    "loss/bits_per_dim": lambda line: line["loss_bits_per_dim"],
    "optimiser/learning_rate": lambda line: line["learning_rate"],
    "optimiser/gradient_norm": lambda line: line["gradient_norm"],
    "time/backward": lambda line: line["shares"]["backward"],
}
VALIDATION = {
    "validation/nats_per_example": lambda line: line["validation_nats_per_example"],
    "validation/bits_per_dim": lambda line: line["validation_bits_per_dim"],
}


def scalars(events, tag):
    if tag not in events.Tags()["scalars"]:
        return []
    return [(event.step, event.value) for event in events.Scalars(tag)]


def same(found, expected):
    close = lambda a, b: a == b or math.isclose(a, b, rel_tol=1e-5) or (math.isnan(a) and math.isnan(b))
    return len(found) == len(expected) and all(
        step == line_step and close(value, line_value)
        for (step, value), (line_step, line_value) in zip(found, expected)
    )


def main():
    run = Path(sys.argv[1])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # Zero keeps every event of every kind.
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    wrong = []
    for tags, key in [(TRAINING, "loss_nats_per_dim"), (VALIDATION, "validation_bits_per_dim")]:
        chosen = [line for line in lines if key in line]
        for tag, value in tags.items():
            number = lambda line: math.nan if value(line) is None else value(line)
            expected = [(line["step"], number(line)) for line in chosen]
            found = scalars(events, tag)
            if not same(found, expected):
                wrong.append(f"{tag}: the log has {expected}, the event files have {found}")
    validated = [line for line in lines if "validation_bits_per_dim" in line]
    for line in validated:
        for bin in line["loss_by_time"]:
            tag = f"loss_by_time/t_{bin['from']:.2f}_to_{bin['to']:.2f}"
            found = dict(scalars(events, tag))
            mean = math.nan if bin["nats_per_dim"] is None else bin["nats_per_dim"]
            if not same([(0, found.get(line["step"], math.inf))], [(0, mean)]):
                wrong.append(f"{tag} after {line['step']} steps: {mean} became {found.get(line['step'])}")
    pictures = {tag: events.Images(tag) for tag in events.Tags()["images"]}
    for tag, images in pictures.items():
        for image in images:
            if not image.encoded_image_string.startswith(b"\x89PNG") or not (image.width and image.height):
                wrong.append(f"{tag} after {image.step} steps is no PNG file")
        steps = [image.step for image in images]
        if steps != sorted(set(steps)):
            wrong.append(f"{tag}: pictures after {steps} steps")
    for problem in wrong:
        print(problem, file=sys.stderr)
    counts = {tag: len(images) for tag, images in pictures.items()}
    print(f"{len(lines)} lines of the log, pictures {counts}: {'differences' if wrong else 'all as in the log'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
