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
from .io.blocks import stored_blocks
from .io.image import Region

SAMPLE_VOXELS = 1_000_000
FARTHEST = 1_000_000
"""Times the spread of an image; what lies further away was measured by no detector."""
KINDS = ("percentile", "zscore", "range", "fixed")


@dataclass(frozen=True)
class Intensity:
    """What normalisation subtracts and multiplies by, per channel.

    Parameters
    ----------
    offset, gain : tuple of float
        One per channel; the normalised value is ``(value - offset) * gain``.
    lowest, highest : tuple of float
        Intensities, one per channel, that infinite ones count as, and finite ones further than
        `FARTHEST` from 0 once they are normalised.
    """

    offset: tuple[float, ...]
    gain: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    @property
    def is_blank(self) -> bool:
        """Whether the image is constant in all channels."""
        return not any(self.gain)

    def apply(self, channels_first: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise (C, ...) to float32; NaN becomes 0, and infinities `lowest` and `highest`."""
        raw = channels_first
        exact = _exact(raw.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            result = self._normalize(raw, exact)
            if _is_narrow(raw.dtype) or _all_within(result):
                return result
            column = (-1,) + (1,) * (raw.ndim - 1)
            low, high = (
                self._normalize(np.reshape(end, column), exact)
                for end in (self.lowest, self.highest)
            )
            np.copyto(result, 0, where=np.isnan(result))
            np.copyto(result, low, where=result < -FARTHEST)
            np.copyto(result, high, where=result > FARTHEST)
        return result

    def _normalize(self, values: NDArray[Any], kind: type) -> NDArray[np.float32]:
        column = (-1,) + (1,) * (values.ndim - 1)
        result: NDArray[Any] = values.astype(kind)
        result -= np.asarray(self.offset, kind).reshape(column)
        result *= np.asarray(self.gain, kind).reshape(column)
        return result.astype(np.float32, copy=False)


def _is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether a type holds integers of 8 or 16 bits."""
    return dtype.kind in "bui" and dtype.itemsize <= 2


def _exact(dtype: np.dtype[Any]) -> type:
    """Return the type to compute in: float32 where it holds all values of `dtype`."""
    small = _is_narrow(dtype) or (dtype.kind == "f" and dtype.itemsize <= 4)
    return np.float32 if small else np.float64


def _all_within(normalized: NDArray[np.float32]) -> bool:
    """Whether all values are finite and within `FARTHEST` of 0."""
    low, high = normalized.min(initial=0), normalized.max(initial=0)
    return bool(low >= -FARTHEST and high <= FARTHEST)


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
        if self.kind == "range" and not self.low < self.high:
            raise InputError(
                f"The range of normalisation must rise, but goes from {self.low} to {self.high}."
            )

    def measure(
        self, image: Any, channel_axis: int | None, *, allow_blank: bool = False
    ) -> Intensity:
        """Take the statistics of an image.

        Parameters
        ----------
        image : array-like
            Anything with `shape`, `dtype` and slicing; large ones are sampled in blocks. Where
            the sample is constant, the first part of the image that is not counts instead.
        channel_axis : int or None
            Axis with one set of statistics per index.
        allow_blank : bool
            Accept an image that is constant: see `Intensity.is_blank`.

        Raises
        ------
        InputError
            If all channels are constant or without finite values.
        """
        channels = 1 if channel_axis is None else int(image.shape[channel_axis])
        if self.kind == "fixed":
            full = np.iinfo(image.dtype).max if np.dtype(image.dtype).kind in "iu" else 1.0
            offset, gain = [m * full for m in self.mean], [1 / (s * full) for s in self.std]
            ends = (0.0,) * len(offset), (float(full),) * len(offset)
            return Intensity(tuple(offset), tuple(gain), *ends)
        if self.kind == "range":
            gain = [1 / (self.high - self.low)] * channels
            ends = (self.low,) * channels, (self.high,) * channels
            return Intensity(ends[0], tuple(gain), *ends)
        measured = self._measure_blocks(_sample_blocks(image, channel_axis), channel_axis)
        if measured.is_blank:
            varied = _varied_block(image, channel_axis)
            measured = self._measure_blocks(varied, channel_axis) if varied else measured
        if measured.is_blank and not allow_blank:
            raise InputError(
                "The image has the same value everywhere, or no finite values, so there is "
                "nothing to segment in it."
            )
        return measured

    def _measure_blocks(
        self, blocks: Sequence[NDArray[Any]], channel_axis: int | None
    ) -> Intensity:
        channels = 1 if channel_axis is None else blocks[0].shape[channel_axis]
        flat = (
            np.concatenate([_channel(b, channel_axis, c).ravel() for b in blocks])
            for c in range(channels)
        )
        return Intensity(*zip(*map(self._measure_channel, flat), strict=True))

    def _measure_channel(self, values: NDArray[Any]) -> tuple[float, float, float, float]:
        """Return offset, gain, lowest and highest."""
        wide = not _is_narrow(values.dtype)
        values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if values.size == 0:
            return 0.0, 0.0, 0.0, 0.0
        values = values.astype(np.float64)
        if self.kind == "zscore":
            values = _plausible(values, *np.percentile(values, [1, 99])) if wide else values
            offset, spread = float(values.mean()), float(values.std())
        else:
            offset, high = (
                float(v) for v in np.percentile(values, [self.low, self.high], overwrite_input=True)
            )
            values = _plausible(values, offset, high) if wide else values
            spread = high - offset
            if spread <= 0:
                offset, spread = float(values.min()), float(np.ptp(values))
        gain = 1 / spread if spread > 0 else 0.0
        return offset, gain, float(values.min()), float(values.max())


def _plausible(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Leave out what is further than `FARTHEST` spreads from the range of most values."""
    far = FARTHEST * (high - low)
    if far <= 0 or (values.min() >= low - far and values.max() <= high + far):
        return values
    return values[(values >= low - far) & (values <= high + far)]


def _channel(block: NDArray[Any], axis: int | None, index: int) -> NDArray[Any]:
    return block if axis is None else np.take(block, index, axis=axis)


def _varied_block(image: Any, channel_axis: int | None) -> list[NDArray[Any]]:
    """Return the first part of the image that is not constant, in a list, which may be empty."""
    for where in stored_blocks(image, channel_axis):
        block = np.asarray(image[where])
        finite = block[np.isfinite(block)]
        if finite.size and finite.min() < finite.max():
            return [block]
    return []


def _sample_blocks(image: Any, channel_axis: int | None) -> list[NDArray[Any]]:
    """Read blocks that together hold at most `SAMPLE_VOXELS` voxels per channel."""
    return [np.asarray(image[r]) for r in sample_regions(image.shape, channel_axis)]


def sample_regions(
    shape: Sequence[int], channel_axis: int | None, per_axis: int = 6
) -> list[Region]:
    """Return regions that together hold at most `SAMPLE_VOXELS` voxels per channel.

    A small image is one region. A larger one is cut into a regular grid of cells, and the
    middle of each is taken.
    """
    shape = tuple(int(n) for n in shape)
    free = [a for a in range(len(shape)) if a != channel_axis]
    if prod(shape[a] for a in free) <= SAMPLE_VOXELS:
        return [tuple(slice(0, n) for n in shape)]
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
        tuple(slice(a, a + s) for a, s in zip(corner, sides, strict=True))
        for corner in product(*starts)
    ]
