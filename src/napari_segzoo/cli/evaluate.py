"""`evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, parse_numbers, print_json, progress_bar, say
from .evaluate_pair import Options, Part, evaluate_pair, parse_region

if TYPE_CHECKING:
    from ..metrics import BatchReport


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
    probabilities: Annotated[
        Path | None,
        typer.Option(help="Class probabilities: adds cross-entropy, Brier score, calibration."),
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
    options = Options(
        task,
        parse_numbers(spacing, "--spacing") if spacing else None,
        ignore,
        tolerance,
        centreline,
        per_slice,
        fit,
    )
    if reference.is_dir() and not is_zarr(reference):
        if overlay or per_slice or offset or region or mask or probabilities:
            raise InputError(
                "--overlay, --per-slice, --offset, --region, --mask and --probabilities are for "
                "single images, not for folders."
            )
        _evaluate_folders(reference, prediction, options, csv, json)
        return
    if len(prediction) > 1:
        raise InputError(
            f"{reference} is a single image, but there are {len(prediction)} predictions; several "
            "predictions are compared over folders of images."
        )
    part = Part(
        parse_numbers(offset, "--offset") if offset else None,
        parse_region(region),
        mask,
        probabilities,
    )
    evaluate_pair(reference, prediction[0], options, part, csv, overlay, overwrite, json)


def _evaluate_folders(
    reference: Path,
    predictions: Sequence[Path],
    options: Options,
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
