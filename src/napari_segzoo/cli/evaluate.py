"""`evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, parse_numbers, print_json, progress_bar, say

if TYPE_CHECKING:
    from ..io import Image
    from ..metrics import BatchReport, Pair, Placement, Report

MANY_LABELS = 32
"""Above this, labels are likelier to be objects than classes."""


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Label image taken as true, or folder.")],
    prediction: Annotated[
        list[Path],
        typer.Argument(help="Label image to score; or folder, or several folders to compare."),
    ],
    task: Annotated[str, typer.Option(help="semantic or instances.")] = "semantic",
    spacing: Annotated[
        str, typer.Option(help="Voxel size, such as 4,1,1; by default that of the files.")
    ] = "",
    ignore: Annotated[int | None, typer.Option(help="Reference label that does not count.")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Distance that surface Dice (nsd) forgives; one voxel by default."),
    ] = None,
    centreline: Annotated[
        bool, typer.Option("--centreline", help="Also take centreline Dice, for tubes.")
    ] = False,
    fit: Annotated[
        str | None,
        typer.Option(
            help="If shapes differ: crop both to what they share, or resample the prediction."
        ),
    ] = None,
    offset: Annotated[
        str,
        typer.Option(
            help="Where the first voxel of the prediction lies in the reference, such as 0,12,-3; "
            "--fit resample then goes by the voxel sizes instead of the whole extent."
        ),
    ] = "",
    region: Annotated[
        str, typer.Option(help="Part of the reference to score, such as 5:10,0:512,0:512.")
    ] = "",
    mask: Annotated[
        Path | None, typer.Option(help="Image; only voxels where it is not 0 are scored.")
    ] = None,
    per_slice: Annotated[
        bool, typer.Option("--per-slice", help="Also score every slice of the first axis.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write the table to this file; objects go to a second one beside it."),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Write an image of hits and errors to this file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a segmentation against a reference: Dice, IoU, surface distances, objects."""
    from ..errors import InputError
    from ..io import is_zarr
    from ..io.blocks import check_free

    if csv is not None:
        check_free(csv, overwrite=overwrite)
    options = _Options(
        task,
        parse_numbers(spacing, "--spacing") if spacing else None,
        ignore,
        tolerance,
        centreline,
        per_slice,
        fit,
    )
    if reference.is_dir() and not is_zarr(reference):
        if overlay or per_slice or offset or region or mask:
            raise InputError(
                "--overlay, --per-slice, --offset, --region and --mask are for single images, "
                "not for folders."
            )
        _evaluate_folders(reference, prediction, options, csv, json)
        return
    if len(prediction) > 1:
        raise InputError(
            f"{reference} is a single image, but there are {len(prediction)} predictions; several "
            "predictions are compared over folders of images."
        )
    part = _Part(parse_numbers(offset, "--offset") if offset else None, _parse_region(region), mask)
    _evaluate_pair(reference, prediction[0], options, part, csv, overlay, overwrite, json)


@dataclass(frozen=True)
class _Options:
    task: str
    spacing: list[float] | None
    ignore: int | None
    tolerance: float | None
    centreline: bool
    per_slice: bool
    fit: str | None


@dataclass(frozen=True)
class _Part:
    offset: list[float] | None
    region: list[slice] | None
    mask: Path | None


def _evaluate_pair(
    reference: Path,
    prediction: Path,
    options: _Options,
    part: _Part,
    csv: Path | None,
    overlay: Path | None,
    overwrite: bool,
    json: bool,
) -> None:
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
    report = _score(pair, true, options)
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


def _make_pair(true: Image, found: Image, options: _Options, part: _Part) -> Pair:
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


def _score(pair: Pair, true: Image, options: _Options) -> Report:
    from ..metrics import evaluate as score

    with progress_bar(1, "read") as bar:
        report = score(
            pair.reference,
            pair.prediction,
            spacing=options.spacing or true.scale,
            task=options.task,
            ignore=pair.ignore,
            tolerance=options.tolerance,
            centreline=options.centreline,
            per_slice=options.per_slice,
            progress=lambda done, total: bar.update(done / max(total, 1) - bar.n),
        )
    return pair.place(report)


def _parse_region(text: str) -> list[slice] | None:
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


def _evaluate_folders(
    reference: Path,
    predictions: Sequence[Path],
    options: _Options,
    csv: Path | None,
    json: bool,
) -> None:
    from ..metrics import evaluate_folder

    with progress_bar(1, "images") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        batch = evaluate_folder(
            reference,
            predictions,
            spacing=options.spacing,
            task=options.task,
            ignore=options.ignore,
            tolerance=options.tolerance,
            centreline=options.centreline,
            fit=options.fit,
            progress=show,
        )
    if batch.unpaired:
        say(f"Left out, without a reference of the same name: {', '.join(batch.unpaired)}.")
    if csv is not None:
        batch.to_csv(csv)
        say(f"Table written to {csv}.")
    if json:
        print_json(_record(batch))
    else:
        print(batch.to_markdown())


def _record(batch: BatchReport) -> dict[str, Any]:
    """Return the scores of one prediction, or of several by their names and their comparisons."""
    metrics = batch.metrics()
    overall = {m: batch.overall(m) for m in metrics}
    records = {
        name: {
            "images": dict(zip(batch.images, reports, strict=True)),
            "overall": {m: asdict(overall[m][name]) for m in metrics},
        }
        for name, reports in batch.reports.items()
    }
    if len(records) == 1:
        return next(iter(records.values()))
    comparisons = {m: [asdict(c) for c in batch.comparisons(m)] for m in metrics}
    return {"predictions": records, "comparisons": comparisons}
