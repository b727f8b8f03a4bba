"""Train the bundled base model `generalist-2d` on nuclei and on generated structures.

usage: train_generalist.py DATA OUT [--seconds 7800] [--seed 0] [--images 1000] [--base MODEL]

DATA is the folder that train_nuclei.py takes; the other images come from structures.py. All
classes of both are told apart at once, so that few strokes on something new start from what
is already told apart. --base goes on from an earlier model.
"""

import argparse
from pathlib import Path

import numpy as np
from structures import CLASSES, draw
from train_nuclei import pairs, repeats

import napari_segzoo as segzoo
from napari_segzoo.training import Finished, StepDone
from napari_segzoo.training.data import interior_and_border

LEARNING_RATE = 2e-3
DESCRIPTION = "Base to draw on in 2D: nuclei, cells with walls, vesicles, filaments and spots"


def real(data):
    for modality, image, ids in pairs(data, "train"):
        if ids.any():
            yield from [(image, interior_and_border(ids).astype(np.uint8))] * repeats(modality, ids)


def generated(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image, classes = draw(rng)
        yield segzoo.Image(image, "YXC" if image.ndim == 3 else "YX"), classes


def validate(model, data):
    """Return per modality the mean Dice of the foreground of the nuclei."""
    dice = {}
    for modality, image, ids in pairs(data, "val"):
        predicted = np.asarray(segzoo.predict(model, image))
        found = segzoo.evaluate(ids > 0, predicted > 0, surfaces=False)["dice"]["1"]
        dice.setdefault(modality, []).append(found)
    return {modality: round(float(np.nanmean(values)), 4) for modality, values in dice.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=7800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--base", type=Path)
    arguments = parser.parse_args()
    drawn = [*real(arguments.data), *generated(arguments.images, arguments.seed)]
    images, labels = (list(part) for part in zip(*drawn, strict=True))
    model = None
    for event in segzoo.finetune(
        images,
        labels,
        base=arguments.base,
        learning_rate=LEARNING_RATE,
        unlabeled="background",
        budget=arguments.seconds,
        seed=arguments.seed,
        class_names=CLASSES,
        architecture_options={"widths": (16, 32, 64, 128, 256), "residual": True},
        batch=4,
    ):
        if isinstance(event, StepDone) and event.step % 50 == 0:
            print(f"{event.seconds:.0f} s, step {event.step}, loss {event.loss:.3f}", flush=True)
        if isinstance(event, Finished):
            model = event.model
    scores = validate(model, arguments.data)
    provenance = dict(model.info.provenance) | {
        "data": "BBBC038v1 (Caicedo et al. 2019, Nat Methods 16:1247), CC0; generated structures",
        "validation": {"nuclei, mean Dice": scores},
    }
    model = model.with_info(
        name="generalist-2d",
        description=DESCRIPTION,
        licence="CC0-1.0",
        voxel_size=None,
        provenance=provenance,
    )
    model.save(arguments.out, overwrite=True)
    print(scores)


if __name__ == "__main__":
    main()
