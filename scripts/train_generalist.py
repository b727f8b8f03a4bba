"""Train the bundled bases `generalist-2d` and `generalist-3d` on generated structures.

usage: train_generalist.py OUT [--ndim 2] [--nuclei DATA] [--seconds 7800] [--seed 0]
                           [--images 1000] [--base MODEL]

The images come from structures.py; in 2D, --nuclei adds real ones from the folder that
train_nuclei.py takes. All classes are told apart at once, so that few strokes on something new
start from what is already told apart. --base goes on from an earlier model, in 3D also from one
in 2D.
"""

import argparse
from pathlib import Path

import numpy as np
from inflate import inflate
from structures import CLASSES, SHAPE, draw
from train_nuclei import pairs, repeats

import napari_segzoo as segzoo
from napari_segzoo.training import Finished, StepDone
from napari_segzoo.training.data import interior_and_border

LEARNING_RATE = 2e-3
OPTIONS = {
    2: {"widths": (16, 32, 64, 128, 256), "residual": True},
    3: {"widths": (16, 32, 64, 128), "residual": True},
}
DESCRIPTION = "Base to draw on in {}D: nuclei, cells with walls, vesicles, filaments and spots"
NUCLEI = "BBBC038v1 (Caicedo et al. 2019, Nat Methods 16:1247), CC0"
UNSEEN = 60
"""Generated images that the model is scored on."""


def real(data):
    for modality, image, ids in pairs(data, "train"):
        if ids.any():
            yield from [(image, interior_and_border(ids).astype(np.uint8))] * repeats(modality, ids)


def generated(ndim, count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image, classes, spacing = draw(rng, SHAPE[ndim])
        colour = image.ndim > ndim
        axes, scale = "ZYX"[-ndim:] + "C" * colour, (*spacing, 1.0)[: image.ndim]
        yield segzoo.Image(image, axes, scale), classes


def score_generated(model, seed):
    """Return the Dice of each class, summed up over generated images."""
    overlap, size = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    for image, classes in generated(model.info.ndim, UNSEEN, seed):
        predicted = np.asarray(segzoo.predict(model, image))
        overlap += np.bincount(classes[classes == predicted], minlength=len(CLASSES))
        size += np.bincount(classes.ravel(), minlength=len(CLASSES))
        size += np.bincount(predicted.ravel(), minlength=len(CLASSES))
    shown = [k for k in range(1, len(CLASSES)) if size[k]]
    return {CLASSES[k]: round(float(2 * overlap[k] / size[k]), 4) for k in shown}


def score_nuclei(model, data):
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
    parser.add_argument("out", type=Path)
    parser.add_argument("--ndim", type=int, choices=(2, 3), default=2)
    parser.add_argument("--nuclei", type=Path)
    parser.add_argument("--seconds", type=float, default=7800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--base", type=Path)
    arguments = parser.parse_args()
    ndim, data = arguments.ndim, arguments.nuclei
    base = None if arguments.base is None else segzoo.load_model(arguments.base)
    if base is not None and base.info.ndim < ndim:
        base = inflate(base, OPTIONS[ndim]["widths"])
    drawn = [*(real(data) if data else ()), *generated(ndim, arguments.images, arguments.seed)]
    images, labels = (list(part) for part in zip(*drawn, strict=True))
    model = None
    for event in segzoo.finetune(
        images,
        labels,
        base=base,
        learning_rate=LEARNING_RATE,
        unlabeled="background",
        budget=arguments.seconds,
        seed=arguments.seed,
        ndim=ndim,
        class_names=CLASSES,
        architecture_options=OPTIONS[ndim],
    ):
        if isinstance(event, StepDone) and event.step % 50 == 0:
            print(f"{event.seconds:.0f} s, step {event.step}, loss {event.loss:.3f}", flush=True)
        if isinstance(event, Finished):
            model = event.model
    model = model.with_info(
        name=f"generalist-{ndim}d",
        description=DESCRIPTION.format(ndim),
        licence="CC0-1.0",
        voxel_size=None,
        provenance=dict(model.info.provenance)
        | {"data": f"generated structures; {NUCLEI}" if data else "generated structures"},
    )
    model.save(arguments.out, overwrite=True)
    scores = {"generated images, Dice": score_generated(model, arguments.seed + 1)}
    if data:
        scores["nuclei, mean Dice"] = score_nuclei(model, data)
    provenance = dict(model.info.provenance) | {"validation": scores}
    model.with_info(provenance=provenance).save(arguments.out, overwrite=True)
    print(scores)


if __name__ == "__main__":
    main()
