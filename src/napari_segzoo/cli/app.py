"""What the commands share: the application, output, progress."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="napari-segzoo",
    help="Segment microscopy and medical images with neural networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    epilog="Add --debug to any command to see a traceback if it fails.",
)

SeedOption = Annotated[
    int, typer.Option(min=0, help="The same seed and length give the same model.")
]


@app.callback()
def _top() -> None:
    """Segment microscopy and medical images with neural networks."""


def say(message: str) -> None:
    """Print a line for people, to stderr."""
    print(message, file=sys.stderr, flush=True)


def print_json(record: Mapping[str, Any]) -> None:
    """Print one JSON object as the last line of stdout; what is not a number becomes null."""
    print(json.dumps(_plain(record), ensure_ascii=False), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def progress_bar(total: float, unit: str, *, shown: bool = True) -> Any:
    """Return a tqdm bar on stderr that stays out of pipes."""
    from tqdm import tqdm

    layout = "{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}]{postfix}"
    return tqdm(
        total=total, unit=unit, disable=None if shown else True, file=sys.stderr, bar_format=layout
    )


def parse_numbers(text: str, name: str) -> list[float]:
    """Read numbers with commas between them."""
    from ..errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{name} takes numbers with commas between them, not {text!r}.") from None
