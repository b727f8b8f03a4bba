"""`benchmark`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .app import app, print_json, say

if TYPE_CHECKING:
    from ..benchmark import Measured


@app.command()
def benchmark(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    engine: Annotated[str, typer.Option(help="auto, torch or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is told.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast bundled models run on this machine, beside plain PyTorch."""
    import torch

    from .. import __version__
    from ..benchmark import SHAPES, measure

    found = []
    for name in SHAPES:
        say(f"Measuring {name}.")
        found.append(
            measure(name, device=device, engine=engine, precision=precision, rounds=rounds)
        )
    if json:
        print_json(
            {
                "napari_segzoo": __version__,
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "models": [asdict(measured) for measured in found],
            }
        )
    else:
        _print_table(found)


def _print_table(found: Sequence[Measured]) -> None:
    row = "{:14} {:8} {:9} {:9} {:12} {:>9} {:>9} {:>8} {:>8}"
    titles = ("model", "device", "engine", "precision", "tile", "M/s", "plain M/s")
    print(row.format(*titles, "outside", "memory"))
    for m in found:
        print(
            row.format(
                m.model,
                m.device,
                m.engine,
                m.precision,
                "×".join(map(str, m.tile)),
                f"{m.voxels_per_second / 1e6:.3g}",
                f"{m.plain_voxels_per_second / 1e6:.3g}",
                f"{100 * m.outside:.0f}%",
                f"{m.peak_memory_bytes / 2**20:.0f} MiB",
            )
        )
    print(
        "M/s: million pixels (2D) or voxels (3D) of the image per second, to labels; plain:\n"
        "forward passes of the same tiles in float32; outside: share of the time beyond forward\n"
        "passes; memory: peak above that of the program."
    )
