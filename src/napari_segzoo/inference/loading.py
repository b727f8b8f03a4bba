"""A network brought into its engine, in the precision that keeps its labels."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import RunError
from .events import Note
from .forward import Forward, make_forward, to_labels
from .openvino_engine import ConversionError
from .tiling import Tile

if TYPE_CHECKING:
    from .prediction import Prediction
    from .reading import TileReader

SAMPLES = 5
"""Tiles of which the one with the most contrast is the sample."""
MOST_CHANGED = 0.001
MOST_CHANGED_OF_FOREGROUND = 0.01


def load_network(run: Prediction, reader: TileReader) -> Generator[Note, None, Forward]:
    """Prepare the forward pass of a run, in Notes saying why so, and return it.

    The plan of the run says afterwards what was chosen.

    Where the plan has bfloat16 on trial, it is taken if a sample tile of the image keeps its
    labels: at most 0.1% of the voxels may change, and no more than 1% as many as there is
    foreground.

    Raises
    ------
    RunError
        If OpenVINO was asked for and cannot run the network.
    """
    try:
        forward = _load(run, run.plan.precision)
        tile = sample_tile(run, reader) if run.plan.on_trial else None
        if tile is not None:
            faster = _load(run, "bfloat16")
            exact, found = (_labels(f, tile) for f in (forward, faster))
            kept = 1 - np.count_nonzero(found != exact) / exact.size
            agree = labels_agree(exact, found)
            if agree:
                forward = faster
                run.plan = replace(run.plan, precision="bfloat16")
            yield Note(
                f"bfloat16 gives {100 * kept:.2f}% of the voxels of a sample tile the label that "
                f"float32 gives, so {'bfloat16' if agree else 'float32'} is used."
            )
        run.plan = replace(run.plan, on_trial=False)
    except ConversionError as error:
        if run.options.engine == "openvino":
            raise RunError(
                f"OpenVINO cannot run the network {run.model.info.architecture}: {error}; choose "
                "the engine torch."
            ) from error
        yield Note(f"OpenVINO cannot run this network ({error}), so PyTorch does.")
        run.plan = replace(run.plan, engine="torch")
        return (yield from load_network(run, reader))
    return forward


def labels_agree(exact: NDArray[Any], found: NDArray[Any]) -> bool:
    """Whether two label images are the same but for single voxels; see `load_network`."""
    changed = np.count_nonzero(found != exact)
    foreground = np.count_nonzero(exact)
    return bool(changed <= min(MOST_CHANGED * exact.size, MOST_CHANGED_OF_FOREGROUND * foreground))


def sample_tile(run: Prediction, reader: TileReader) -> NDArray[np.float32] | None:
    """Read a few tiles from all over the image and return that of most contrast; None if empty."""
    leading_shape = run.plan.layout.leading_shape
    axes = replace(run.plan.tiling, box=None).windows()
    counts = (*leading_shape, *map(len, axes))
    numbers = np.linspace(0, np.prod(counts, dtype=int) - 1, SAMPLES + 2).astype(int)[1:-1]
    blocks = []
    for number in np.unique(numbers):
        index = [int(n) for n in np.unravel_index(number, counts)]
        leading, place = index[: len(leading_shape)], index[len(leading_shape) :]
        tile = Tile(tuple(windows[n] for windows, n in zip(axes, place, strict=True)))
        blocks.append(reader.read(tuple(leading), tile))
    full = [b for b in blocks if b is not None]
    return max(full, key=lambda b: float(b.std()))[None] if full else None


def _load(run: Prediction, precision: str) -> Forward:
    plan = run.plan
    return make_forward(
        run.model.network,
        shape=(plan.batch, run.model.info.in_channels, *plan.tiling.window_shape),
        device=torch.device(plan.device),
        precision=getattr(torch, precision),
        engine=plan.engine,
        tta=plan.tta,
    )


def _labels(forward: Forward, tile: NDArray[np.float32]) -> NDArray[Any]:
    return to_labels(forward(tile)[0], foreground_only=False)
