"""`import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..zoo.option_text import parse_option
from .app import app, print_json, say


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="Weights as torch.save or safetensors wrote them.")],
    out: Annotated[Path, typer.Argument(help="Model file to write, *.safetensors.")],
    architecture: Annotated[str, typer.Option(help="Network of the zoo, such as u2net.")],
    option: Annotated[
        list[str], typer.Option("--option", help="key=value of the network; repeat for more.")
    ] = [],  # noqa: B006
    class_name: Annotated[
        list[str], typer.Option("--class-name", help="Background first; repeat for each class.")
    ] = [],  # noqa: B006
    licence: Annotated[str, typer.Option(help="Terms of the weights.")] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing model file.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a model of a public checkpoint: U²-Net, torchvision's FCN and DeepLabV3, ..."""
    from ..imported import import_model
    from ..model import check_model_target

    check_model_target(out, overwrite=overwrite)
    model = import_model(
        file,
        architecture,
        options=dict(parse_option(o) for o in option),
        class_names=class_name,
        licence=licence,
    )
    model.save(out, overwrite=overwrite)
    info = model.info
    say(f"Model written to {out}: {info.ndim}D, {info.in_channels} channel(s).")
    if json:
        print_json(
            {
                "output": str(out),
                "architecture": info.architecture,
                "ndim": info.ndim,
                "in_channels": info.in_channels,
                "classes": [c.name for c in info.classes],
                "licence": info.licence,
                "provenance": info.provenance,
            }
        )
