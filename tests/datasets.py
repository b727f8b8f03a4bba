"""Tiny training data on disk, in the three layouts."""

import json

import numpy as np
from tiny import squares

from napari_segzoo import save_image


def write(path, array, axes="YX", **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, array, axes, **how)


def write_folders(folder, count=4, size=48, parts=("",), ndim=2, suffix=".png"):
    axes = "ZYX"[-ndim:]
    for part_number, part in enumerate(parts):
        for n in range(count):
            image, truth = squares(size, 10 * part_number + n, ndim)
            write(folder / "images" / part / f"{n}{suffix}", image, axes)
            write(folder / "labels" / part / f"{n}{suffix}", truth.astype(np.uint8), axes)
    return folder


def write_voc(folder, sizes=((40, 50), (50, 40), (44, 44)), validation=1):
    """Colour photographs with palette PNG as labels: 0, 15 (person), and 255 around it."""
    import PIL.Image

    rng = np.random.default_rng(0)
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    names = []
    for n, (height, width) in enumerate(sizes):
        labels = np.zeros((height, width), np.uint8)
        labels[8:32, 8:32] = 255
        labels[10:30, 10:30] = 15
        photo = np.where((labels == 15)[..., None], (200, 60, 40), (30, 90, 180))
        photo = (photo + rng.normal(0, 8, photo.shape)).clip(0, 255).astype(np.uint8)
        names.append(f"2007_{n:06}")
        PIL.Image.fromarray(photo).save(folder / "JPEGImages" / f"{names[-1]}.jpg", quality=95)
        indexed = PIL.Image.fromarray(labels, "L").convert("P")
        indexed.putdata(labels.ravel().tolist())
        indexed.putpalette(rng.integers(0, 256, 768).tolist())
        indexed.save(folder / "SegmentationClass" / f"{names[-1]}.png")
    lists = folder / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("\n".join(names[:-validation]) + "\n")
    (lists / "val.txt").write_text("\n".join(names[-validation:]) + "\n")
    return folder


def write_decathlon(folder, count=3, size=24):
    """Two-channel NIfTI volumes; the four axes on disk are X, Y, Z, modality."""
    pairs = []
    for n in range(count):
        image, truth = squares(size + 8, n, 3)
        image, truth = image[:size, :size, :size], truth[:size, :size, :size]
        both = np.stack([image, 255 - image])
        write(folder / "imagesTr" / f"case_{n}.nii.gz", both, "TZYX", unit="millimeter")
        write(folder / "labelsTr" / f"case_{n}.nii.gz", 2 * truth.astype(np.uint8), "ZYX")
        name = f"case_{n}.nii.gz"
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    record = {
        "name": "Blocks",
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "oedema", "2": "tumour"},
        "training": pairs,
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(record))
    return folder
