"""Train every network for the same time on nuclei and score it, as a Markdown table.

usage: python benchmarks/zoo.py DATA [--seconds 30] [--seed 0] [--names unet ...]

DATA holds index.csv, train/ and val/ with images/ and labels/ (Data Science Bowl 2018
fluorescence nuclei, BBBC038v1). All networks are a quarter of their published width, see
the same images in the same order of seeds, and are trained from random weights.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

import napari_segzoo as segzoo
from napari_segzoo.training import Finished

TRAIN_IMAGES, VAL_IMAGES = 60, 20


def pairs(data, split, count):
    rows = [
        row["name"]
        for row in csv.DictReader((data / "index.csv").open())
        if row["split"] == split and row["modality"] == "fluorescence" and row["height"] == "256"
    ]
    for name in rows[:count]:
        image = segzoo.open_image(data / split / "images" / f"{name}.png")
        labels = segzoo.open_image(data / split / "labels" / f"{name}.tif", labels=True)
        yield image, (np.asarray(labels.data[:]) > 0).astype(np.uint8)


def narrow(options):
    """Return the options that make a network a quarter as wide."""
    small = {}
    if "widths" in options:
        small["widths"] = tuple(w // 4 for w in options["widths"])
    if "width" in options:
        small["width"] = max(8, options["width"] // 4)
    if "stem_width" in options:
        small["stem_width"] = options["stem_width"] // 4
    return small


def train(name, options, images, labels, seconds, seed):
    for event in segzoo.finetune(
        images,
        labels,
        unlabeled="background",
        architecture=name,
        architecture_options=options,
        budget=seconds,
        seed=seed,
    ):
        if isinstance(event, Finished):
            return event
    raise RuntimeError("training ended without a model")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--names", nargs="*")
    arguments = parser.parse_args()
    images, labels = zip(*pairs(arguments.data, "train", TRAIN_IMAGES), strict=True)
    val = list(pairs(arguments.data, "val", VAL_IMAGES))
    print("| network | parameters | steps | Dice on val |\n|---|---|---|---|", flush=True)
    for spec in segzoo.list_models(ndim=2):
        if arguments.names and spec.name not in arguments.names:
            continue
        finished = train(
            spec.name,
            narrow(spec.options),
            list(images),
            list(labels),
            arguments.seconds,
            arguments.seed,
        )
        dice = [
            segzoo.evaluate(truth, segzoo.predict(finished.model, image), surfaces=False)["dice"]
            for image, truth in val
        ]
        parameters = sum(p.numel() for p in finished.model.network.parameters())
        mean = float(np.nanmean([d["1"] for d in dice]))
        print(
            f"| `{spec.name}` | {parameters / 1e6:.2f} M | {finished.steps} | {mean:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
