"""What `evaluate` does with one pair of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .app import print_json, progress_bar, say

if TYPE_CHECKING:
    from ..io import Image
    from ..metrics import Pair, Placement, Report

MANY_LABELS = 32
"""Above this, labels are likelier to be objects than classes."""


@dataclass(frozen=True)
class Options:
    """What holds for single images and for folders."""

    task: str
    spacing: list[float] | None
    ignore: int | None
    tolerance: float | None
    centreline: bool
    per_slice: bool
    fit: str | None


@dataclass(frozen=True)
class Part:
    """What holds for single images only."""

    offset: list[float] | None
    region: list[slice] | None
    mask: Path | None
    probabilities: Path | None


def evaluate_pair(
    reference: Path,
    prediction: Path,
    options: Options,
    part: Part,
    csv: Path | None,
    overlay: Path | None,
    overwrite: bool,
    json: bool,
) -> None:
    """Score one image, write the files asked for, and print the scores."""
    import numpy as np

    from ..io import check_output, open_image, save_image
    from ..io.blocks import check_free
    from ..metrics import error_overlay
    from ..metrics.report import objects_file

    if overlay is not None:
        check_output(overlay, overwrite=overwrite)
    if csv is not None and options.task == "instances":
        check_free(objects_file(csv), overwrite=overwrite)
    true, found = (open_image(path, labels=True) for path in (reference, prediction))
    pair = _make_pair(true, found, options, part)
    report = _score(pair, true, options, part.probabilities)
    if options.task == "semantic" and len(report["labels"]) > MANY_LABELS:
        say(
            f"There are {len(report['labels'])} labels; if they are single objects, "
            "compare them with --task instances."
        )
    if csv is not None:
        report.save(csv)
        say(f"Table written to {csv}.")
    if overlay is not None:
        errors = np.zeros(true.shape, np.uint8)
        error_overlay(
            pair.reference,
            pair.prediction,
            task=options.task,
            ignore=pair.ignore,
            out=errors[pair.region],
        )
        axes = true.axes or "TZYX"[-errors.ndim :]
        save_image(overlay, errors, axes, scale=true.scale, unit=true.unit, overwrite=overwrite)
        say(f"Hits and errors written to {overlay}.")
    if json:
        print_json(report)
    else:
        print(report.to_markdown())


def _make_pair(true: Image, found: Image, options: Options, part: Part) -> Pair:
    from ..io import open_image
    from ..metrics import make_pair

    pair = make_pair(
        true.data,
        found.data,
        fit=options.fit,
        placement=_placement(true, found, part.offset),
        region=part.region,
        mask=None if part.mask is None else open_image(part.mask, labels=True).data,
        ignore=options.ignore,
    )
    if true.shape != found.shape:
        done = {"crop": "Cropped both to", "resample": "Resampled the prediction; compared"}
        say(
            f"The reference has shape {true.shape}, the prediction {found.shape}. "
            f"{done[str(options.fit)]} {tuple(pair.reference.shape)}."
        )
    return pair


def _placement(true: Image, found: Image, offset: Sequence[float] | None) -> Placement | None:
    from ..errors import InputError
    from ..metrics import Placement

    if offset is None:
        return None
    if len(offset) != len(true.shape) or len(offset) != len(found.shape):
        raise InputError(
            f"--offset has {len(offset)} numbers, but the images have {len(true.shape)} and "
            f"{len(found.shape)} axes; give one number per axis."
        )
    step = tuple(a / b for a, b in zip(true.scale, found.scale, strict=True))
    return Placement(tuple(offset), step)


def _score(pair: Pair, true: Image, options: Options, probabilities: Path | None) -> Report:
    from ..io import open_image
    from ..metrics import evaluate as score

    soft = None if probabilities is None else _classes_first(open_image(probabilities))

    with progress_bar(1, "read") as bar:
        report = score(
            pair.reference,
            pair.prediction,
            spacing=options.spacing or true.scale,
            task=options.task,
            ignore=pair.ignore,
            tolerance=options.tolerance,
            centreline=options.centreline,
            probabilities=None if soft is None else pair.window(soft),
            per_slice=options.per_slice,
            progress=lambda done, total: bar.update(done / max(total, 1) - bar.n),
        )
    return pair.place(report)


def _classes_first(image: Image) -> Any:
    """Return the pixels of an image with its channel axis, if any, in front."""
    import numpy as np

    from ..io import LazyArray

    place = image.axes.find("C")
    if place < 1:
        return image.data

    def read(region: tuple[slice, ...]) -> Any:
        first, *others = region
        block = image.data[(*others[:place], first, *others[place:])]
        return np.moveaxis(np.asarray(block), place, 0)

    shape = (image.shape[place], *image.shape[:place], *image.shape[place + 1 :])
    return LazyArray(shape, np.dtype(image.data.dtype), read)


def parse_region(text: str) -> list[slice] | None:
    """Read ranges such as ``5:10,:,20:``."""
    from ..errors import InputError

    if not text:
        return None
    try:
        ends = [
            [int(end) if end.strip() else None for end in part.split(":")]
            for part in text.split(",")
        ]
        if any(len(pair) != 2 for pair in ends):
            raise ValueError(text)
    except ValueError:
        raise InputError(
            f"--region takes one range first:end per axis, such as 5:10,0:512,:, not {text!r}."
        ) from None
    return [slice(*pair) for pair in ends]
