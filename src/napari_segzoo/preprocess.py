"""Intensity normalisation, with statistics of the whole image so that all tiles look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .io.blocks import grid_blocks

SAMPLE_VOXELS = 1_000_000
KINDS = ("percentile", "zscore", "range", "fixed")


@dataclass(frozen=True)
class Intensity:
    """What normalisation subtracts and multiplies by, per channel.

    Parameters
    ----------
    offset, gain : tuple of float
        One per channel; the normalised value is ``(value - offset) * gain``.
    """

    offset: tuple[float, ...]
    gain: tuple[float, ...]

    def apply(self, channels_first: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise (C, ...) to float32; NaN becomes 0 and infinities the nearest finite value."""
        shape = (-1,) + (1,) * (channels_first.ndim - 1)
        offset = np.asarray(self.offset, np.float32).reshape(shape)
        gain = np.asarray(self.gain, np.float32).reshape(shape)
        result = (channels_first.astype(np.float32) - offset) * gain
        if channels_first.dtype.kind == "f":
            np.nan_to_num(result, copy=False, nan=0.0, posinf=1e4, neginf=-1e4)
        return result


@dataclass(frozen=True)
class Normalization:
    """How intensities are brought to a common scale.

    Parameters
    ----------
    kind : {"percentile", "zscore", "range", "fixed"}
        "percentile" maps the `low` and `high` percentiles of each channel to 0 and 1;
        "zscore" subtracts the mean and divides by the standard deviation; "range" maps the
        intensities `low` to `high` to 0 and 1, the same for all images; "fixed" subtracts
        `mean` and divides by `std` after scaling integers to 0..1 (ImageNet statistics).
    low, high : float
        Percentiles in [0, 100] or intensities, see `kind`.
    mean, std : tuple of float
        One per channel, for "fixed".
    """

    kind: str = "percentile"
    low: float = 1.0
    high: float = 99.8
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"normalisation must be one of {', '.join(KINDS)}, not {self.kind!r}.")

    def measure(self, image: Any, channel_axis: int | None) -> Intensity:
        """Take the statistics of an image.

        Parameters
        ----------
        image : array-like
            Anything with `shape`, `dtype` and slicing; large ones are sampled in blocks. Where
            the sample is constant, the first part of the image that is not counts instead.
        channel_axis : int or None
            Axis with one set of statistics per index.

        Raises
        ------
        InputError
            If a channel has no finite values, or all channels are constant.
        """
        channels = 1 if channel_axis is None else int(image.shape[channel_axis])
        if self.kind == "fixed":
            full = np.iinfo(image.dtype).max if np.dtype(image.dtype).kind in "iu" else 1.0
            return Intensity(
                tuple(m * full for m in self.mean), tuple(1 / (s * full) for s in self.std)
            )
        if self.kind == "range":
            return Intensity((self.low,) * channels, (1 / (self.high - self.low),) * channels)
        measured = self._measure_blocks(_sample_blocks(image, channel_axis), channel_axis)
        if all(gain == 0 for _, gain in measured):
            measured = (
                self._measure_blocks(_varied_block(image, channel_axis), channel_axis) or measured
            )
        if all(gain == 0 for _, gain in measured):
            raise InputError(
                "The image has the same value everywhere, so there is nothing to segment in it."
            )
        return Intensity(tuple(m[0] for m in measured), tuple(m[1] for m in measured))

    def _measure_blocks(
        self, blocks: Sequence[NDArray[Any]], channel_axis: int | None
    ) -> list[tuple[float, float]]:
        if not blocks:
            return []
        channels = 1 if channel_axis is None else blocks[0].shape[channel_axis]
        flat = [
            np.concatenate([_channel(b, channel_axis, c).ravel() for b in blocks])
            for c in range(channels)
        ]
        return [self._measure_channel(values, c) for c, values in enumerate(flat)]

    def _measure_channel(self, values: NDArray[Any], channel: int) -> tuple[float, float]:
        values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if values.size == 0:
            raise InputError(f"Channel {channel} of the image holds no finite values.")
        values = values.astype(np.float64)
        if self.kind == "zscore":
            offset, spread = float(values.mean()), float(values.std())
        else:
            offset, high = (
                float(v) for v in np.percentile(values, [self.low, self.high], overwrite_input=True)
            )
            spread = high - offset
            if spread <= 0:
                offset, spread = float(values.min()), float(np.ptp(values))
        return offset, 1 / spread if spread > 0 else 0.0


def _channel(block: NDArray[Any], axis: int | None, index: int) -> NDArray[Any]:
    return block if axis is None else np.take(block, index, axis=axis)


def _varied_block(image: Any, channel_axis: int | None) -> list[NDArray[Any]]:
    """Return the first part of the image that is not constant, in a list, which may be empty."""
    chunks = getattr(image, "chunks", None) or (1,) * len(image.shape)
    sides = [max(c) if isinstance(c, tuple) else int(c) for c in chunks]
    if channel_axis is not None:
        sides[channel_axis] = int(image.shape[channel_axis])
    for where in grid_blocks(image.shape, sides, np.dtype(image.dtype).itemsize):
        block = np.asarray(image[where])
        finite = block[np.isfinite(block)]
        if finite.size and finite.min() < finite.max():
            return [block]
    return []


def _sample_blocks(image: Any, channel_axis: int | None, per_axis: int = 6) -> list[NDArray[Any]]:
    """Read blocks that together hold at most `SAMPLE_VOXELS` voxels per channel.

    A small image is one block. A larger one is cut into a regular grid of cells, and the
    middle of each is taken.
    """
    shape = tuple(int(n) for n in image.shape)
    free = [a for a in range(len(shape)) if a != channel_axis]
    if prod(shape[a] for a in free) <= SAMPLE_VOXELS:
        return [np.asarray(image[tuple(slice(0, n) for n in shape)])]
    counts = [min(n, per_axis) if a in free else 1 for a, n in enumerate(shape)]
    sides = [n // c for n, c in zip(shape, counts, strict=True)]
    while prod(sides[a] * counts[a] for a in free) > SAMPLE_VOXELS:
        longest = max(free, key=lambda a: sides[a])
        sides[longest] = max(1, sides[longest] // 2)
    starts = [
        [(2 * i + 1) * n // (2 * c) - s // 2 for i in range(c)]
        for n, c, s in zip(shape, counts, sides, strict=True)
    ]
    return [
        np.asarray(image[tuple(slice(a, a + s) for a, s in zip(corner, sides, strict=True))])
        for corner in product(*starts)
    ]
