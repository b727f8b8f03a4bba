"""`export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, print_json, say


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A bundled model or a model file.")],
    out: Annotated[Path, typer.Argument(help="File to write, *.onnx or *.zip.")],
    format: Annotated[
        str | None, typer.Option(help="onnx or bioimageio; by default what the ending names.")
    ] = None,
    author: Annotated[
        list[str], typer.Option("--author", help="For bioimage.io; repeat for each.")
    ] = [],  # noqa: B006
    licence: Annotated[
        str, typer.Option(help="Terms of the weights, if the model states none or others.")
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model for other programs: ONNX, or a package for bioimage.io."""
    from ..export import choose_format, export_model
    from ..io.blocks import check_free
    from ..model import find_model

    chosen = choose_format(out, format)
    check_free(out, overwrite=overwrite)
    find_model(model)
    say(f"Converting {model} takes up to a minute.")
    done = export_model(model, out, chosen, authors=author, licence=licence, overwrite=overwrite)
    for note in done.notes:
        say(f"Note: {note}")
    say(f"Written to {out}; its logits differ by at most {done.largest_difference:.1g}.")
    if json:
        print_json(
            {
                "output": str(out),
                "format": done.format,
                "model": model,
                "axes": done.axes,
                "channels": done.in_channels,
                "divisor": done.divisor,
                "output_channels": done.output_channels,
                "opset": done.opset,
                "checked_shape": done.checked_shape,
                "largest_difference": done.largest_difference,
                "format_version": done.format_version or None,
                "notes": done.notes,
            }
        )
