"""The fully connected CRF over a whole image, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from ..preprocess import Intensity, Normalization
from .device import is_out_of_memory, release_memory
from .events import Note, Stage, TileDone

if TYPE_CHECKING:
    from torch import Tensor

    from ..axes import Layout
    from ..model import SegmentationModel
    from .prediction import Prediction

BLOCK = {2: 512, 3: 96}
"""Sides of the blocks that are refined at once, without the margin around them."""
SMALLEST = 16
"""Side of the smallest blocks, where memory is short."""


def block_bytes(model: SegmentationModel, layout: Layout) -> int:
    """Memory that refining one block takes, at most."""
    from ..postprocess.crf import DEFAULT, bytes_per_voxel, halo

    margin = halo(DEFAULT[layout.ndim], spacing_of(model))
    side = BLOCK[layout.ndim]
    sides = (min(n, side + 2 * m) for n, m in zip(layout.spatial_shape, margin, strict=True))
    channels = 1 if layout.channel_axis is None else layout.shape[layout.channel_axis]
    return prod(sides) * bytes_per_voxel(layout.ndim + channels, model.info.num_outputs)


def refine(run: Prediction, tiles: int) -> Iterator[TileDone | Note]:
    """Refine the probabilities in ``run.scores`` and write them as the result.

    Each block is refined together with a margin (`postprocess.crf.halo`), cut off afterwards,
    so that blocks fit together. The blocks do not depend on the tiles of the network. Where
    memory runs out, the CPU takes over from a GPU, and then blocks are halved.

    Parameters
    ----------
    run : Prediction
        Whose tiles are done.
    tiles : int
        Their number.
    """
    yield Stage("Refining with the fully connected CRF.")
    layout = run.plan.layout
    device = "cpu" if run.plan.device.startswith("mps") else run.plan.device
    intensity = Normalization().measure(run.image, layout.channel_axis, allow_blank=True)
    for leading in np.ndindex(*layout.leading_shape):
        boxes = list(_boxes(layout.spatial_shape, BLOCK[layout.ndim]))[::-1]
        while boxes:
            box = boxes.pop()
            lost = None
            try:
                refined = _refine_box(run, intensity, leading, box, device)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                lost = error.with_traceback(None)
            if lost is None:
                yield TileDone(tiles, tiles, run.write(leading, box, refined))
                continue
            release_memory(device)
            smaller = [box] if device != "cpu" else _halves(box)
            if not smaller:
                raise RunError(
                    "Memory ran out in the CRF even with the smallest blocks; close other programs "
                    "or leave out crf."
                ) from lost
            boxes, device = boxes + smaller, "cpu"
            yield Note("Memory ran out in the CRF; going on with smaller blocks on the CPU.")


def _refine_box(
    run: Prediction,
    intensity: Intensity,
    leading: tuple[int, ...],
    box: tuple[slice, ...],
    device: str,
) -> Tensor:
    """Return the refined probabilities (K, ...) of a box."""
    import torch

    from ..postprocess.crf import DEFAULT, halo, refine_probabilities

    layout = run.plan.layout
    crf, spacing = DEFAULT[layout.ndim], spacing_of(run.model)
    around = tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(box, halo(crf, spacing), layout.spatial_shape, strict=True)
    )
    scores: Any = np.asarray(run.scores[(*leading, slice(None), *around)])
    image = intensity.apply(replace(layout, in_channels=1).read(run.image, leading, around))
    with torch.inference_mode():
        refined = refine_probabilities(
            torch.from_numpy(scores).to(device), torch.from_numpy(image).to(device), crf, spacing
        )
    inside = (slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True))
    return refined[(slice(None), *inside)]


def _halves(box: tuple[slice, ...]) -> list[tuple[slice, ...]]:
    """Cut a box across its longest side; [] if it is small already."""
    sides = [s.stop - s.start for s in box]
    axis = sides.index(max(sides))
    if sides[axis] < 2 * SMALLEST:
        return []
    middle = box[axis].start + sides[axis] // 2
    ends = slice(middle, box[axis].stop), slice(box[axis].start, middle)
    return [(*box[:axis], end, *box[axis + 1 :]) for end in ends]


def spacing_of(model: SegmentationModel) -> tuple[float, ...]:
    """Return the voxel size of the images that a model was trained on; 1 where it is not known."""
    return model.info.voxel_size or (1.0,) * model.info.ndim


def _boxes(shape: Sequence[int], side: int) -> Iterator[tuple[slice, ...]]:
    axes = [[slice(a, min(a + side, n)) for a in range(0, n, side)] for n in shape]
    yield from product(*axes)
