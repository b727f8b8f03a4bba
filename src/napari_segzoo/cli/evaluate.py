"""`evaluate`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from .app import app, parse_numbers, print_json, progress_bar, say


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Label image taken as true, or folder.")],
    prediction: Annotated[Path, typer.Argument(help="Label image to score, or folder.")],
    task: Annotated[str, typer.Option(help="semantic or instances.")] = "semantic",
    spacing: Annotated[
        str, typer.Option(help="Voxel size, such as 4,1,1; by default that of the files.")
    ] = "",
    ignore: Annotated[int | None, typer.Option(help="Reference label that does not count.")] = None,
    per_slice: Annotated[
        bool, typer.Option("--per-slice", help="Also score every slice of the first axis.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Write an image of hits and errors to this file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a segmentation against a reference: Dice, IoU, surface distances, objects."""
    from ..io import is_zarr
    from ..io.blocks import check_free

    if csv is not None:
        check_free(csv, overwrite=overwrite)
    options = _Options(
        task, parse_numbers(spacing, "--spacing") if spacing else None, ignore, per_slice
    )
    if reference.is_dir() and not is_zarr(reference):
        _evaluate_folder(reference, prediction, options, csv, overlay, json)
    else:
        _evaluate_pair(reference, prediction, options, csv, overlay, overwrite, json)


@dataclass(frozen=True)
class _Options:
    task: str
    spacing: list[float] | None
    ignore: int | None
    per_slice: bool


def _evaluate_pair(
    reference: Path,
    prediction: Path,
    options: _Options,
    csv: Path | None,
    overlay: Path | None,
    overwrite: bool,
    json: bool,
) -> None:
    from ..io import check_output, open_image, save_image
    from ..metrics import error_overlay
    from ..metrics import evaluate as score

    if overlay is not None:
        check_output(overlay, overwrite=overwrite)
    true, found = (open_image(path, labels=True) for path in (reference, prediction))
    with progress_bar(1, "read") as bar:
        report = score(
            true.data,
            found.data,
            spacing=options.spacing or true.scale,
            task=options.task,
            ignore=options.ignore,
            per_slice=options.per_slice,
            progress=lambda done, total: bar.update(done / max(total, 1) - bar.n),
        )
    if csv is not None:
        report.to_csv(csv)
        say(f"Table written to {csv}.")
    if overlay is not None:
        errors = error_overlay(true.data, found.data, task=options.task, ignore=options.ignore)
        axes = true.axes or "TZYX"[-errors.ndim :]
        save_image(overlay, errors, axes, scale=true.scale, unit=true.unit, overwrite=overwrite)
        say(f"Hits and errors written to {overlay}.")
    if json:
        print_json(report)
    else:
        print(report.to_markdown())


def _evaluate_folder(
    reference: Path,
    prediction: Path,
    options: _Options,
    csv: Path | None,
    overlay: Path | None,
    json: bool,
) -> None:
    from ..errors import InputError
    from ..metrics import evaluate_folder

    if overlay is not None or options.per_slice:
        raise InputError("--overlay and --per-slice are for single images, not for folders.")
    with progress_bar(1, "images") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        batch = evaluate_folder(
            reference,
            prediction,
            spacing=options.spacing,
            task=options.task,
            ignore=options.ignore,
            progress=show,
        )
    if csv is not None:
        batch.to_csv(csv)
        say(f"Table written to {csv}.")
    overall = {m: next(iter(batch.overall(m).values())) for m in batch.metrics()}
    if json:
        reports = next(iter(batch.reports.values()))
        print_json(
            {
                "images": dict(zip(batch.images, reports, strict=True)),
                "overall": {m: asdict(summary) for m, summary in overall.items()},
            }
        )
        return
    print(f"{'score':32} {'mean':>8} {'median':>8} {'95% interval of the mean':>26}")
    for metric, s in overall.items():
        print(f"{metric:32} {s.mean:8.3f} {s.median:8.3f} {s.low:14.3f} to {s.high:.3f}")
