"""The fully connected CRF over a whole image, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..preprocess import Normalization

if TYPE_CHECKING:
    from ..axes import Layout
    from ..model import SegmentationModel
    from .prediction import Prediction

BLOCK = {2: 512, 3: 96}
"""Sides of the blocks that are refined at once, without the margin around them."""


def block_bytes(model: SegmentationModel, layout: Layout) -> int:
    """Memory that refining one block takes, at most."""
    from ..postprocess.crf import DEFAULT, bytes_per_voxel, halo

    margin = halo(DEFAULT[layout.ndim], spacing_of(model))
    side = BLOCK[layout.ndim]
    sides = (min(n, side + 2 * m) for n, m in zip(layout.spatial_shape, margin, strict=True))
    channels = 1 if layout.channel_axis is None else layout.shape[layout.channel_axis]
    return prod(sides) * bytes_per_voxel(layout.ndim + channels, model.info.num_outputs)


def refine(run: Prediction) -> Iterator[tuple[slice, ...]]:
    """Refine the probabilities in ``run.scores`` and write them as the result.

    Each block is refined together with a margin (`postprocess.crf.halo`), cut off afterwards,
    so that blocks fit together. The blocks do not depend on the tiles of the network.

    Yields
    ------
    tuple of slice
        Region of the result that is final now.
    """
    import torch

    from ..postprocess.crf import DEFAULT, halo, refine_probabilities

    layout = run.plan.layout
    crf, spacing = DEFAULT[layout.ndim], spacing_of(run.model)
    margin = halo(crf, spacing)
    device = torch.device("cpu" if run.plan.device.startswith("mps") else run.plan.device)
    intensity = Normalization().measure(run.image, layout.channel_axis)
    once = replace(layout, in_channels=1)
    boxes = list(_boxes(layout.spatial_shape, BLOCK[layout.ndim]))
    for leading in np.ndindex(*layout.leading_shape):
        for box in boxes:
            around = tuple(
                slice(max(0, s.start - m), min(n, s.stop + m))
                for s, m, n in zip(box, margin, layout.spatial_shape, strict=True)
            )
            scores: Any = np.asarray(run.scores[(*leading, slice(None), *around)])
            image = intensity.apply(once.read(run.image, leading, around))
            with torch.inference_mode():
                refined = refine_probabilities(
                    torch.from_numpy(scores).to(device),
                    torch.from_numpy(image).to(device),
                    crf,
                    spacing,
                )
            inside = tuple(
                slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True)
            )
            yield run.write(leading, box, refined[(slice(None), *inside)])


def spacing_of(model: SegmentationModel) -> tuple[float, ...]:
    """Return the voxel size of the images that a model was trained on; 1 where it is not known."""
    return model.info.voxel_size or (1.0,) * model.info.ndim


def _boxes(shape: Sequence[int], side: int) -> Iterator[tuple[slice, ...]]:
    axes = [[slice(a, min(a + side, n)) for a in range(0, n, side)] for n in shape]
    yield from product(*axes)
