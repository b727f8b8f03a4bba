"""Axis letters, and what a model makes of the axes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .io import check_axes
from .io.image import SPATIAL


@dataclass(frozen=True)
class Layout:
    """How a model with `ndim` spatial dimensions walks through an image.

    Parameters
    ----------
    axes : str
        One letter of T, C, Z, Y, X per dimension of the image.
    shape : tuple of int
        Shape of the image.
    ndim : int
        Spatial dimensions of the model.
    in_channels : int
        Channels of the model. A grey image is repeated for a model of several channels.
    """

    axes: str
    shape: tuple[int, ...]
    ndim: int
    in_channels: int

    @property
    def channel_axis(self) -> int | None:
        """Index of the channel axis, None for a grey image."""
        return self.axes.index("C") if "C" in self.axes else None

    @property
    def model_axes(self) -> str:
        """Spatial axes that the model sees at once."""
        return SPATIAL[-self.ndim :]

    @property
    def leading_axes(self) -> str:
        """Axes that are run through one index at a time (time; Z for a 2D model)."""
        return "".join(a for a in self.axes if a != "C" and a not in self.model_axes)

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Sizes along `leading_axes`."""
        return self._sizes(self.leading_axes)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes along `model_axes`."""
        return self._sizes(self.model_axes)

    @property
    def label_axes(self) -> str:
        """Axes of a label image for this image."""
        return self.leading_axes + self.model_axes

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of a label image for this image."""
        return self.leading_shape + self.spatial_shape

    def read(self, image: Any, leading: Sequence[int], window: Sequence[slice]) -> NDArray[Any]:
        """Read one region as (C, [Z,] Y, X).

        Parameters
        ----------
        image : array-like
            The image, sliced only where asked for.
        leading : sequence of int
            One index per letter of `leading_axes`.
        window : sequence of slice
            One per letter of `model_axes`.
        """
        where: dict[str, int | slice] = dict(zip(self.leading_axes, leading, strict=True))
        where.update(zip(self.model_axes, window, strict=True))
        index = tuple(where.get(a, slice(None)) for a in self.axes)
        block = np.asarray(image[index])
        kept = [a for a in self.axes if a == "C" or a in self.model_axes]
        block = np.moveaxis(block, kept.index("C"), 0) if "C" in kept else block[None]
        if block.shape[0] == 1 and self.in_channels > 1:
            block = np.repeat(block, self.in_channels, axis=0)
        return block

    def _sizes(self, letters: str) -> tuple[int, ...]:
        return tuple(self.shape[self.axes.index(a)] for a in letters)


def find_layout(
    shape: Sequence[int],
    axes: str | None,
    *,
    ndim: int,
    in_channels: int,
    name: str = "The image",
) -> Layout:
    """Match an image with a model.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image.
    axes : str or None
        Its axes, such as ``"ZYX"`` or ``"YXC"``. None is accepted where only one reading
        is possible: as many dimensions as the model has, or one more of which exactly one,
        the first or the last, has the model's number of channels (more than one).
    ndim, in_channels : int
        Spatial dimensions and channels of the model.
    name : str
        What error messages call the image.

    Raises
    ------
    InputError
        If the axes are unknown, wrong, or do not fit the model.
    """
    shape = tuple(int(n) for n in shape)
    if not axes:
        axes = _only_reading(shape, ndim, in_channels, name)
    axes = check_axes(axes, shape, name)
    needed = SPATIAL[-ndim:]
    missing = [a for a in needed if a not in axes]
    if missing:
        raise InputError(
            f"The model is {ndim}D and needs the axes {needed}, but {_within(name)} has {axes}."
        )
    if "".join(a for a in axes if a in SPATIAL) not in (needed, SPATIAL):
        raise InputError(
            f"Spatial axes must come in the order Z, Y, X, but {_within(name)} has {axes}."
        )
    if any(axes.index(a) > axes.index(needed[0]) for a in axes if a not in needed + "C"):
        raise InputError(
            f"Time and slices must come before {needed}, but {_within(name)} has {axes}."
        )
    layout = Layout(axes, shape, ndim, in_channels)
    channels = 1 if layout.channel_axis is None else shape[layout.channel_axis]
    if channels not in (1, in_channels):
        raise InputError(
            f"The model takes {in_channels} channel(s), but {_within(name)} has {channels} "
            f"(axes {axes}, shape {shape}); give it an image of the channels it was trained on "
            "(napari splits them: Split Stack in the menu of the layer)."
        )
    return layout


def _within(name: str) -> str:
    """Return a name as it stands within a sentence."""
    return "the image" if name == "The image" else name


def _only_reading(shape: tuple[int, ...], ndim: int, in_channels: int, name: str) -> str:
    spatial = SPATIAL[-ndim:]
    if len(shape) == ndim:
        return spatial
    if len(shape) == ndim + 1 and in_channels > 1:
        first, last = shape[0] == in_channels, shape[-1] == in_channels
        if first != last:
            return "C" + spatial if first else spatial + "C"
    raise InputError(
        f"{name} has shape {shape} and its axes are not known; name them, one letter of T, C, Z, "
        f"Y, X per dimension, for example --axes {('TCZYX')[-len(shape) :]} "
        f"(axes='{('TCZYX')[-len(shape) :]}' in Python)."
    )
