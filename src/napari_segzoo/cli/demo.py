"""`demo`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, progress_bar, say

if TYPE_CHECKING:
    from ..demo import DemoResult


@app.command()
def demo(
    gui: Annotated[bool, typer.Option("--gui", help="Open napari on the result.")] = False,
    out: Annotated[
        Path, typer.Option(help="Folder for pictures, label images and the model.")
    ] = Path("demo-output"),
) -> None:
    """Segment a real image, fine-tune on a few strokes, score both, and write pictures."""
    from ..demo import run_demo
    from ..training import StepDone

    say("Segmenting coins with the bundled model, then fine-tuning it on ten strokes.")
    with progress_bar(100, "%") as bar:

        def show(event: Any) -> None:
            if isinstance(event, StepDone):
                bar.set_postfix_str(f"step {event.step}, loss {event.loss:.3f}", refresh=False)
                bar.update(100 * event.progress - bar.n)

        result = run_demo(out, progress=show)
    print(f"{'model':28} {'Dice':>7} {'IoU':>7} {'HD95':>7}")
    for name, report in result.scores.items():
        dice, iou, hd95 = (report[key]["1"] for key in ("dice", "iou", "hd95"))
        print(f"{name:28} {dice:7.3f} {iou:7.3f} {hd95:7.1f}")
    print(f"Pictures, label images and the model are in {out.resolve()}:")
    for path in result.files:
        print(f"  {path.name}")
    if gui or _wants_gui():
        _open_napari(result)


def _wants_gui() -> bool:
    """Ask whether to open napari, where there is a display and someone to answer."""
    shown = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not (shown and sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return typer.confirm("Open napari on the result?", default=False)


def _open_napari(result: DemoResult) -> None:
    from ..errors import RunError

    try:
        from ..widgets.demo import show_demo
    except ImportError as error:
        raise RunError(
            'napari has no window here; install one with pip install "napari-segzoo[all]".'
        ) from error
    show_demo(result)
