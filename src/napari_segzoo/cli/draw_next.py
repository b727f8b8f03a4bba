"""`draw-next`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, print_json, progress_bar, say


@app.command("draw-next")
def draw_next(
    model: Annotated[str, typer.Argument(help="A bundled model or a model file.")],
    image: Annotated[Path, typer.Argument(help="Image to draw on.")],
    labels: Annotated[
        Path | None, typer.Option(help="What is drawn already; such places are left out.")
    ] = None,
    count: Annotated[int, typer.Option(help="Places to list at most.")] = 20,
    axes: Annotated[str, typer.Option(help="Axes of the image, such as ZYX or YXC.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List where strokes would teach a model most: where it is least sure and nothing is drawn."""
    from ..inference import Note, TileDone
    from ..model import load_model
    from ..training import Places, where_to_draw

    events = where_to_draw(
        load_model(model), image, labels, axes=axes or None, count=count, device=device
    )
    with progress_bar(1, "tiles") as bar:
        for event in events:
            if isinstance(event, TileDone):
                bar.total = event.total
                bar.update(event.done - bar.n)
            elif isinstance(event, Note):
                say(event.message)
            elif isinstance(event, Places):
                found = event
    if json:
        places = [{"center": p.center, "uncertainty": p.uncertainty} for p in found.places]
        print_json({"axes": found.axes, "places": places})
    elif found.places:
        _print_table(found.axes, [(p.center, p.uncertainty) for p in found.places])
    else:
        say("The model is sure wherever nothing is drawn.")


def _print_table(axes: str, rows: list[tuple[tuple[int, ...], float]]) -> None:
    print("".join(f"{a:>7}" for a in axes) + "  uncertainty")
    for center, uncertainty in rows:
        print("".join(f"{n:7}" for n in center) + f"{uncertainty:13.3f}")
