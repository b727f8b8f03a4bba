"""`evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, parse_numbers, print_json, progress_bar, say


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Label image taken as true.")],
    prediction: Annotated[Path, typer.Argument(help="Label image to score.")],
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
    from ..io import check_output, open_image, save_image
    from ..io.blocks import check_free
    from ..metrics import error_map
    from ..metrics import evaluate as score

    if overlay is not None:
        check_output(overlay, overwrite=overwrite)
    if csv is not None:
        check_free(csv, overwrite=overwrite)
    true, found = (open_image(path, labels=True) for path in (reference, prediction))
    steps: Any = parse_numbers(spacing, "--spacing") if spacing else true.scale
    with progress_bar(1, "read") as bar:
        report = score(
            true.data,
            found.data,
            spacing=steps,
            task=task,
            ignore=ignore,
            per_slice=per_slice,
            progress=lambda done, total: bar.update(done / max(total, 1) - bar.n),
        )
    if csv is not None:
        report.to_csv(csv)
        say(f"Table written to {csv}.")
    if overlay is not None:
        errors = error_map(true.data, found.data, task=task, ignore=ignore)
        axes = true.axes or "TZYX"[-errors.ndim :]
        save_image(overlay, errors, axes, scale=true.scale, unit=true.unit, overwrite=overwrite)
        say(f"Hits and errors written to {overlay}.")
    if json:
        print_json(report)
    else:
        print(report.to_markdown())
