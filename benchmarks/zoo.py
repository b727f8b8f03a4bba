"""Train every network for the same CPU time on nuclei and score it, as a Markdown table.

usage: python benchmarks/zoo.py DATA RESULTS [--seconds 40] [--seeds 0 1] [--names unet ...]

DATA holds index.csv, train/ and val/ with images/ and labels/ (Data Science Bowl 2018
fluorescence nuclei, BBBC038v1). All networks have a quarter of their published width and random
weights, are trained by one thread with the defaults of `finetune`, and see the same images. The
CPU time of a step is measured first; the number of steps follows from it, so that waiting for
the CPU does not count and `finetune(steps=..., seed=...)` gives the same model again. RESULTS is
a CSV file: each training adds a row, and what is in it already is not trained again.
"""

import argparse
import csv
import itertools
import statistics
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

import napari_segzoo as segzoo
from napari_segzoo.training import Finished, StepDone

TRAIN_IMAGES, VAL_IMAGES = 60, 20
WARM_UP_STEPS, MEASURED_STEPS = 2, 7


@dataclass(frozen=True)
class Result:
    name: str
    seed: int
    seconds: float
    parameters: int
    steps: int
    dice: float


def read_pairs(data, split, count):
    with (data / "index.csv").open() as file:
        rows = [
            row["name"]
            for row in csv.DictReader(file)
            if row["split"] == split
            and row["modality"] == "fluorescence"
            and row["height"] == row["width"] == "256"
        ]
    images = [segzoo.open_image(data / split / "images" / f"{name}.png") for name in rows[:count]]
    labels = [
        segzoo.open_image(data / split / "labels" / f"{name}.tif", labels=True)
        for name in rows[:count]
    ]
    return images, [(np.asarray(label.data[:]) > 0).astype(np.uint8) for label in labels]


def quarter(options):
    """Return the options that make a network a quarter as wide."""
    narrow = {k: options[k] // 4 for k in ("width", "stem_width", "growth_rate") if k in options}
    if "widths" in options:
        narrow["widths"] = tuple(w // 4 for w in options["widths"])
    return narrow


def finetune(spec, images, labels, steps, seed):
    return segzoo.finetune(
        images,
        labels,
        unlabeled="background",
        architecture=spec.name,
        architecture_options=quarter(spec.options),
        steps=steps,
        seed=seed,
        device="cpu",
    )


def step_seconds(spec, images, labels):
    """Measure the CPU seconds of one step."""
    events = finetune(spec, images, labels, WARM_UP_STEPS + MEASURED_STEPS, 0)
    times = [time.process_time() for event in events if isinstance(event, StepDone)]
    steps = itertools.pairwise(times[WARM_UP_STEPS - 1 :])
    return statistics.median(after - before for before, after in steps)


def train_and_score(spec, training, validation, steps, seed):
    *_, last = finetune(spec, *training, steps, seed)
    assert isinstance(last, Finished)
    scores = [
        segzoo.evaluate(truth, segzoo.predict(last.model, image), surfaces=False)["dice"]["1"]
        for image, truth in zip(*validation, strict=True)
    ]
    parameters = sum(p.numel() for p in last.model.network.parameters())
    return parameters, float(np.mean(scores))


def read_results(path):
    with path.open() as file:
        return [
            Result(*(field.type(row[field.name]) for field in fields(Result)))
            for row in csv.DictReader(file)
        ]


def add_result(path, result):
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(result))


def print_table(results):
    seeds = sorted({r.seed for r in results})
    columns = ["network", "family", "parameters", "steps", *(f"Dice, seed {n}" for n in seeds)]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for spec in sorted(segzoo.list_models(ndim=2), key=lambda spec: spec.family):
        own = {r.seed: r for r in results if r.name == spec.name}
        if not own:
            continue
        first = next(iter(own.values()))
        dice = [f"{own[seed].dice:.3f}" if seed in own else "" for seed in seeds]
        size = f"{first.parameters / 1e6:.2f} M"
        cells = [f"`{spec.name}`", spec.family, size, str(first.steps), *dice]
        print(f"| {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--names", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training = read_pairs(arguments.data, "train", TRAIN_IMAGES)
    validation = read_pairs(arguments.data, "val", VAL_IMAGES)
    path, seconds = arguments.results, arguments.seconds
    results = [r for r in (read_results(path) if path.exists() else []) if r.seconds == seconds]
    steps = {r.name: r.steps for r in results}
    done = {(r.name, r.seed) for r in results}
    for seed, spec in itertools.product(arguments.seeds, segzoo.list_models(ndim=2)):
        wanted = not arguments.names or spec.name in arguments.names
        if not wanted or (spec.name, seed) in done:
            continue
        if spec.name not in steps:
            steps[spec.name] = max(1, round(seconds / step_seconds(spec, *training)))
        parameters, dice = train_and_score(spec, training, validation, steps[spec.name], seed)
        results.append(Result(spec.name, seed, seconds, parameters, steps[spec.name], dice))
        add_result(path, results[-1])
    print_table(results)


if __name__ == "__main__":
    main()
