"""Runs on a part of an image, which give what the whole run would give there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..axes import Layout
from ..errors import InputError
from .plan import Plan

Ranges = dict[str, tuple[int, int]]
"""Start and stop per axis letter."""


def parse_region(text: str, layout: Layout) -> Ranges:
    """Read a region.

    Parameters
    ----------
    text : str
        Ranges with commas between them: ``"y=0:512,x=100:900"``; or without letters, for the
        last axes of the label image: ``"0:512,100:900"``. Start or stop may be left out, as
        in Python.
    layout : Layout
        Of the image.

    Returns
    -------
    dict
        Start and stop for every axis of the label image.

    Raises
    ------
    InputError
        If it cannot be read, or does not lie in the image.
    """
    sizes = dict(zip(layout.label_axes, layout.label_shape, strict=True))
    parts = [re.fullmatch(r"(?:([A-Za-z])=)?(\d*):(\d*)", p.strip()) for p in text.split(",")]
    named = [p.group(1).upper() for p in parts if p and p.group(1)]
    letters = named or list(layout.label_axes[-len(parts) :])
    if not all(parts) or len(letters) != len(parts) or len(set(letters)) != len(parts):
        raise InputError(
            f"region must be ranges such as y=0:512,x=100:900, or 0:512,100:900, not {text!r}."
        )
    ranges = {a: (0, n) for a, n in sizes.items()}
    for letter, part in zip(letters, parts, strict=True):
        if letter not in sizes:
            raise InputError(
                f"region names the axis {letter}, but it can be cut along {layout.label_axes} only."
            )
        assert part is not None
        start, stop = int(part.group(2) or 0), int(part.group(3) or sizes[letter])
        if not start < stop <= sizes[letter]:
            raise InputError(
                f"region asks for {start}:{stop} along {letter}, where the image has 0:"
                f"{sizes[letter]}."
            )
        ranges[letter] = (start, stop)
    return ranges


def format_region(ranges: Mapping[str, tuple[int, int]]) -> str:
    """Write a region as `parse_region` reads it."""
    return ",".join(f"{a.lower()}={start}:{stop}" for a, (start, stop) in ranges.items())


@dataclass(frozen=True)
class Crop:
    """A view of a part of an array, read when it is sliced.

    Parameters
    ----------
    array : array-like
        The whole.
    ranges : tuple of (start, stop)
        Per dimension.
    """

    array: Any
    ranges: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the part."""
        return tuple(stop - start for start, stop in self.ranges)

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: tuple[int | slice, ...]) -> Any:
        """Read a region given by one integer or slice with step 1 per dimension."""
        return self.array[self._within(key)]

    def __setitem__(self, key: tuple[int | slice, ...], block: Any) -> None:
        self.array[self._within(key)] = block

    def _within(self, key: tuple[int | slice, ...]) -> tuple[int | slice, ...]:
        where: list[int | slice] = []
        for k, (start, stop) in zip(key, self.ranges, strict=True):
            if isinstance(k, slice):
                first, last, _ = k.indices(stop - start)
                where.append(slice(start + first, start + last))
            else:
                where.append(start + int(k))
        return tuple(where)


def crop_leading(array: Any, axes: str, ranges: Ranges, letters: str) -> Any:
    """Restrict an array along those of its axes that are in `letters`."""
    whole = [(0, int(n)) for n in array.shape]
    wanted = [ranges[a] if a in letters else full for a, full in zip(axes, whole, strict=True)]
    return array if wanted == whole else Crop(array, tuple(wanted))


def restrict(plan: Plan, ranges: Ranges) -> Plan:
    """Return the plan of a run on a part of the image, with the tiles of the whole."""
    layout = plan.layout
    shape = tuple(
        ranges[a][1] - ranges[a][0] if a in layout.leading_axes else n
        for a, n in zip(layout.axes, layout.shape, strict=True)
    )
    box = tuple(ranges[a] for a in layout.model_axes)
    return replace(plan, layout=replace(layout, shape=shape), tiling=replace(plan.tiling, box=box))
