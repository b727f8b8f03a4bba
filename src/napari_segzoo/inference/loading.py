"""A network brought into its engine, in the precision that keeps its labels."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import RunError
from .events import Note
from .forward import Forward, make_forward, to_labels
from .openvino_engine import ConversionError
from .tiling import Tile, round_up

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

    Where the plan has bfloat16 on trial, it is taken if a sample of the image keeps the labels of
    PyTorch in float32: at most 0.1% of the voxels may change, and no more than 1% as many as there
    is foreground. OpenVINO converts a network for float32 only if that is what is taken.

    Raises
    ------
    RunError
        If OpenVINO was asked for and cannot run the network.
    """
    try:
        sample = take_sample(run, reader) if run.plan.on_trial else None
        if sample is None:
            run.plan = replace(run.plan, on_trial=False)
            return _load(run, run.plan.engine, run.plan.precision)
        faster = _load(run, run.plan.engine, "bfloat16")
        by_torch = _load(run, "torch", "float32")
        exact, found = (_labels(f, sample) for f in (by_torch, faster))
        kept = 1 - np.count_nonzero(found != exact) / exact.size
        agree = labels_agree(exact, found)
        chosen = "bfloat16" if agree else "float32"
        run.plan = replace(run.plan, precision=chosen, on_trial=False)
        yield Note(
            f"bfloat16 gives {100 * kept:.2f}% of the voxels of a sample the label that "
            f"float32 gives, so {chosen} is used."
        )
        return faster if agree else _load(run, run.plan.engine, chosen)
    except ConversionError as error:
        if run.options.engine == "openvino":
            raise RunError(
                f"OpenVINO cannot run the network {run.model.info.architecture}: {error}; choose "
                "the engine torch."
            ) from error
        yield Note(f"OpenVINO cannot run this network ({error}), so PyTorch does.")
        run.plan = replace(run.plan, engine="torch")
        return (yield from load_network(run, reader))


def labels_agree(exact: NDArray[Any], found: NDArray[Any]) -> bool:
    """Whether two label images are the same but for single voxels; see `load_network`."""
    changed = np.count_nonzero(found != exact)
    foreground = np.count_nonzero(exact)
    return bool(changed <= min(MOST_CHANGED * exact.size, MOST_CHANGED_OF_FOREGROUND * foreground))


def take_sample(run: Prediction, reader: TileReader) -> NDArray[np.float32] | None:
    """Read a few tiles from all over the image and return that of most contrast; None if empty.

    OpenVINO is bound to the shape of a tile; for PyTorch a part of it has to do.
    """
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
    if not full:
        return None
    richest = max(full, key=_contrast)[None]
    if run.plan.engine == "openvino":
        return richest
    return richest_part(richest, run.plan.tiling.divisor)


def richest_part(tile: NDArray[np.float32], divisor: Sequence[int]) -> NDArray[np.float32]:
    """Return the corner of most contrast of a tile (1, C, [Z,] Y, X), half as long along each axis.

    Sides are rounded up to multiples of `divisor`, which the network can take.
    """
    halves = [round_up(n / 2, d) for n, d in zip(tile.shape[2:], divisor, strict=True)]
    ends = ((slice(0, h), slice(-h, None)) for h in halves)
    corners = (tile[(slice(None), slice(None), *corner)] for corner in product(*ends))
    return np.ascontiguousarray(max(corners, key=_contrast))


def _contrast(values: NDArray[np.float32]) -> float:
    return float(values.std())


def _load(run: Prediction, engine: str, precision: str) -> Forward:
    plan = run.plan
    return make_forward(
        run.model.network,
        shape=(plan.batch, run.model.info.in_channels, *plan.tiling.window_shape),
        device=torch.device(plan.device),
        precision=getattr(torch, precision),
        engine=engine,
        tta=plan.tta,
    )


def _labels(forward: Forward, tile: NDArray[np.float32]) -> NDArray[Any]:
    return to_labels(forward(tile)[0], foreground_only=False)
