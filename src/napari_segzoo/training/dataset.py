"""Which images and labels a folder of training data holds, in three usual layouts.

``folders``: ``images/`` and ``labels/`` with files of equal names; with sub-folders ``train``
and ``val`` in both, or both in ``train/`` and ``val/``, the split is taken from there. A text
file ``classes.txt`` may name the classes, one a line, the background first.

``voc``: PASCAL VOC's ``JPEGImages/``, ``SegmentationClass/`` and ``ImageSets/Segmentation/``.

``msd``: the ``dataset.json`` of the Medical Segmentation Decathlon, with its files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..io import images_by_name

LAYOUTS = ("auto", "folders", "voc", "msd")
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


@dataclass(frozen=True)
class Sample:
    """Files of an image and of its labels."""

    image: Path
    labels: Path


@dataclass(frozen=True)
class Dataset:
    """Training data on disk, not read yet.

    Parameters
    ----------
    folder : Path
        Where it lies.
    layout : {"folders", "voc", "msd"}
        How.
    training, validation : tuple of Sample
        `validation` may be empty.
    class_names : tuple of str
        From the background on; () if nothing names them.
    channels : int or None
        Channels of each image where a description tells.
    photographs : bool
        Whether up and down differ, so that images are mirrored from left to right only, and
        objects are large, so that crops are taken anywhere.
    """

    folder: Path
    layout: str
    training: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    class_names: tuple[str, ...] = ()
    channels: int | None = None
    photographs: bool = False


def find_dataset(
    folder: str | os.PathLike[str],
    *,
    layout: str = "auto",
    seed: int = 0,
    validation_share: float = 0.2,
) -> Dataset:
    """List the images and labels in a folder.

    Parameters
    ----------
    folder : path
        See the module's description.
    layout : {"auto", "folders", "voc", "msd"}
        "auto": "msd" with a ``dataset.json``, "voc" with ``JPEGImages``, else "folders".
    seed : int
        Picks the validation images where the folder does not.
    validation_share : float
        Share of the images that is picked, in [0, 1); one at least if it is above 0 and there
        are two images.

    Raises
    ------
    InputError
        If a folder or file is missing, or an image has no labels.
    """
    folder = Path(folder)
    if layout not in LAYOUTS:
        raise InputError(f"layout must be folders, voc or msd, not {layout!r}.")
    if not 0 <= validation_share < 1:
        raise InputError(
            f"The share of validation images must be from 0 to below 1, not {validation_share}."
        )
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    if layout == "auto":
        layout = "folders"
        if (folder / "JPEGImages").is_dir():
            layout = "voc"
        elif (folder / "dataset.json").is_file():
            layout = "msd"
    find = {"folders": _find_folders, "voc": _find_voc, "msd": _find_msd}[layout]
    dataset = find(folder)
    if not dataset.training:
        raise InputError(f"{folder} holds no training images.")
    if dataset.validation or not validation_share:
        return dataset
    training, validation = _split(dataset.training, seed, validation_share)
    return replace(dataset, training=training, validation=validation)


def _split(
    samples: Sequence[Sample], seed: int, share: float
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    count = min(max(1, round(share * len(samples))), len(samples) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(samples))[:count].tolist())
    training = tuple(s for n, s in enumerate(samples) if n not in chosen)
    return training, tuple(s for n, s in enumerate(samples) if n in chosen)


def _find_folders(folder: Path) -> Dataset:
    def pairs(part: str) -> tuple[Sample, ...]:
        for images, labels in (
            (folder / "images" / part, folder / "labels" / part),
            (folder / part / "images", folder / part / "labels"),
        ):
            if images.is_dir():
                return _pair(images, labels)
        return ()

    training = pairs("train")
    if not training and not (folder / "images").is_dir():
        raise InputError(
            f"{folder} holds no folder images, beside which labels would lie; it has no "
            "dataset.json (Decathlon) and no JPEGImages (PASCAL VOC) either."
        )
    names = folder / "classes.txt"
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    return Dataset(
        folder,
        "folders",
        training or pairs("."),
        pairs("val") if training else (),
        tuple(line.strip() for line in lines if line.strip()),
    )


def _pair(images: Path, labels: Path) -> tuple[Sample, ...]:
    if not labels.is_dir():
        raise InputError(f"There is no folder {labels} with the labels of {images}.")
    found, samples = images_by_name(labels), []
    for name, image in images_by_name(images).items():
        if name not in found:
            raise InputError(f"{image} has no labels: {labels} holds no image called {name}.")
        samples.append(Sample(image, found[name]))
    return tuple(samples)


def _find_voc(folder: Path) -> Dataset:
    def samples(part: str, *, needed: bool) -> tuple[Sample, ...]:
        path = folder / "ImageSets" / "Segmentation" / f"{part}.txt"
        if not path.is_file():
            if needed:
                raise InputError(f"{path}, which lists the images of a VOC tree, is missing.")
            return ()
        names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
        found = []
        for name in names:
            image = folder / "JPEGImages" / f"{name}.jpg"
            labels = folder / "SegmentationClass" / f"{name}.png"
            missing = [p for p in (image, labels) if not p.is_file()]
            if missing:
                raise InputError(f"{path} lists {name}, but there is no {missing[0]}.")
            found.append(Sample(image, labels))
        return tuple(found)

    training, validation = samples("train", needed=True), samples("val", needed=False)
    return Dataset(folder, "voc", training, validation, VOC_CLASSES, 3, photographs=True)


def _find_msd(folder: Path) -> Dataset:
    path = folder / "dataset.json"
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        labels = {int(value): str(name) for value, name in record["labels"].items()}
        channels = len(record.get("modality") or record.get("channel_names") or {}) or None
        parts = {
            part: tuple(
                Sample(_named(folder, entry["image"]), _named(folder, entry["label"]))
                for entry in record.get(part, ())
            )
            for part in ("training", "validation")
        }
    except OSError as error:
        raise InputError(f"There is no {path} that could be read.") from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no description of a Decathlon task: it needs labels from number to name, "
            "and training, a list of pairs of image and label."
        ) from error
    names = tuple(labels.get(n, f"class {n}") for n in range(max(labels, default=-1) + 1))
    return Dataset(folder, "msd", parts["training"], parts["validation"], names, channels)


def _named(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(f"{folder / 'dataset.json'} lists {name}, which is missing.")
    return path
