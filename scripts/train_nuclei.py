"""Train the bundled model `nuclei` on the Data Science Bowl 2018 nuclei (BBBC038v1, CC0).

usage: train_nuclei.py DATA OUT [--seconds 3600] [--seed 0] [--base MODEL] [--tissue 250]

DATA holds index.csv (name, modality, split), train/images, train/labels, val/images and
val/labels, with label images of object numbers. Scores on val are printed and written
into the model's provenance. --base goes on from an earlier model; --tissue says how many
generated images of crowded tissue are mixed in.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import tissue
import torch

import napari_segzoo as segzoo
from napari_segzoo.training import Finished, StepDone

REPEATS = {"fluorescence": 1, "histology_purple": 3, "brightfield_gray": 10}
"""How often the images of a rare modality are counted, so that it is seen."""
LEARNING_RATE = 2e-3
TIGHTER = 0.2
"""Added to the bias of the background at the end; chosen by the scores on val."""


def pairs(data, split):
    for row in csv.DictReader((data / "index.csv").open()):
        if row["split"] == split:
            image = segzoo.open_image(data / split / "images" / f"{row['name']}.png")
            labels = segzoo.open_image(data / split / "labels" / f"{row['name']}.tif", labels=True)
            yield row["modality"], image, np.asarray(labels.data[:])


def repeats(modality, ids):
    """How often an image is counted: rare kinds and large images more often."""
    return max(REPEATS[modality], round(ids.size / 2**17))


def train(data, seconds, seed, base, made):
    images, labels = [], []
    for modality, image, ids in pairs(data, "train"):
        if ids.any():
            images += [image] * repeats(modality, ids)
            labels += [ids] * repeats(modality, ids)
    rng = np.random.default_rng(seed)
    for image, ids in (tissue.draw(rng) for _ in range(made)):
        images.append(image)
        labels.append(ids)
    for event in segzoo.finetune(
        images,
        labels,
        base=base,
        learning_rate=LEARNING_RATE,
        task="instances",
        unlabeled="background",
        budget=seconds,
        seed=seed,
        class_names=("background", "nucleus"),
        architecture_options={"widths": (16, 32, 64, 128, 256), "residual": True},
        batch=6,
    ):
        if isinstance(event, StepDone) and event.step % 50 == 0:
            print(f"{event.seconds:.0f} s, step {event.step}, loss {event.loss:.3f}", flush=True)
        if isinstance(event, Finished):
            with torch.no_grad():
                event.model.network.head.bias[0] += TIGHTER
            return event.model
    raise RuntimeError("training ended without a model")


def score(model, data):
    """Return per modality the mean Dice over images and AP at IoU 0.5 pooled over images."""
    dice, matched, objects = defaultdict(list), defaultdict(int), defaultdict(int)
    for modality, image, ids in pairs(data, "val"):
        foreground = segzoo.predict(model, image)
        predicted = segzoo.predict(model, image, output="instances")
        report = segzoo.evaluate(ids > 0, foreground > 0, surfaces=False)
        dice[modality].append(report["dice"]["1"])
        found = segzoo.evaluate(ids, predicted, task="instances")
        both = found["n_reference"] + found["n_prediction"]
        hits = round(found["f1"]["0.5"] * both / 2) if both else 0
        matched[modality] += hits
        objects[modality] += both - hits
    return {
        modality: {
            "images": len(values),
            "mean_dice": round(float(np.nanmean(values)), 4),
            "ap50_pooled": round(matched[modality] / max(objects[modality], 1), 4),
        }
        for modality, values in dice.items()
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--tissue", type=int, default=250)
    arguments = parser.parse_args()
    model = train(
        arguments.data, arguments.seconds, arguments.seed, arguments.base, arguments.tissue
    )
    model = model.with_info(
        name="nuclei",
        description="Nuclei in fluorescence, H&E histology and brightfield images, 2D",
        licence="CC0-1.0",
        voxel_size=None,
    )
    scores = score(model, arguments.data)
    provenance = dict(model.info.provenance)
    provenance |= {
        "data": "BBBC038v1 (Caicedo et al. 2019, Nat Methods 16:1247), CC0; "
        f"{arguments.tissue} generated images of crowded tissue"
    }
    model = model.with_info(provenance=provenance | {"validation": scores})
    model.save(arguments.out, overwrite=True)
    for modality, values in scores.items():
        print(modality, values)


if __name__ == "__main__":
    main()
