"""Between napari layers and what the core takes: arrays with axes, and transforms of results."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from ..axes import SPATIAL
from ..errors import InputError, SegzooError
from ..io import Image as CoreImage
from ..io import image_stem, open_image
from ..io.units import PIXEL, length_unit
from ..reader import layer_axes, pixels

if TYPE_CHECKING:
    import napari

COMMON_AXES = {
    2: ("YX",),
    3: ("ZYX", "TYX", "CYX", "YXC"),
    4: ("TZYX", "CZYX", "ZCYX", "TCYX", "ZYXC", "TYXC"),
    5: ("TCZYX", "TZCYX", "TZYXC"),
}
FILE = "napari_segzoo_file"
"""Under this name the metadata of a layer tell its file where napari does not."""
RGB_AXES = {3: ("YXC",), 4: ("ZYXC", "TYXC"), 5: ("TZYXC",)}


def full_array(layer: Image | Labels) -> Any:
    """Return the data of a layer at full resolution, lazy where the layer is."""
    return layer.data[0] if layer.multiscale else layer.data


def place_events(layer: Layer) -> tuple[Any, ...]:
    """Return the events that tell of a change in where the voxels of a layer lie."""
    names = ("data", "scale", "translate", "rotate", "shear", "affine", "units")
    return tuple(getattr(layer.events, name) for name in names)


def is_rgb(layer: Layer) -> bool:
    """Whether the last axis of the data is colour, which napari does not count as an axis."""
    return bool(getattr(layer, "rgb", False))


def possible_axes(layer: Image | Labels) -> list[str]:
    """List how the dimensions of a layer can be read, the likeliest first.

    The axis labels of the layer come first where they are letters of TCZYX, or else what its file
    says; otherwise slices are likelier than time points, and these than channels.
    """
    ndim = np.ndim(full_array(layer))
    choices = list((RGB_AXES if is_rgb(layer) else COMMON_AXES).get(ndim, ()))
    labels = [label.strip().upper() for label in layer.axis_labels]
    named = "".join(labels) + ("C" if is_rgb(layer) else "")
    letters = all(len(label) == 1 for label in labels)
    in_file = _axes_in_file(str(path_of(layer) or ""), tuple(full_array(layer).shape))
    if in_file and (in_file[-1] == "C" or not is_rgb(layer)):
        choices = [in_file, *(c for c in choices if c != in_file)]
    if letters and len(set(named)) == len(named) and {"Y", "X"} <= set(named) <= set("TCZYX"):
        choices = [named, *(c for c in choices if c != named)]
    return choices


@lru_cache(maxsize=256)
def _axes_in_file(path: str, shape: tuple[int, ...]) -> str:
    """Return the axes of an image file that holds data of this shape, "" if it does not tell."""
    try:
        image = open_image(path) if path else None
    except SegzooError:
        return ""
    return image.axes if image is not None and image.shape == shape else ""


def check_axes(layer: Image | Labels, axes: str) -> None:
    """Raise `InputError` if `axes` does not name each dimension of the data of a layer."""
    ndim = np.ndim(full_array(layer))
    if len(axes) == ndim:
        return
    if ndim not in COMMON_AXES:
        raise InputError(
            f"{layer.name} has {ndim} dimensions, but an image needs 2 to 5; take out a part of it."
        )
    raise InputError(
        f"{layer.name} has {ndim} dimensions, which the axes {axes} do not fit; choose other axes, "
        f"or an image with {len(axes)} dimensions."
    )


def core_image(layer: Image | Labels, axes: str) -> CoreImage:
    """Return the data of a layer with axes and voxel size, as the core takes it.

    Raises
    ------
    InputError
        If `axes` does not fit.
    """
    check_axes(layer, axes)
    data = full_array(layer)
    scale = [abs(float(s)) for s in layer.scale] + [1.0] * (np.ndim(data) - layer.ndim)
    units = {length_unit(str(layer.units[axes.index(a)])) for a in SPATIAL if a in axes}
    unit = units.pop() if len(units) == 1 else PIXEL
    return CoreImage(data, axes, tuple(scale), unit, source=layer.name)


def result_transform(layer: Layer, axes: str = "") -> dict[str, Any]:
    """Return the arguments that place a label image exactly over `layer`.

    Parameters
    ----------
    layer : Layer
        The source.
    axes : str
        Axes of its data; a channel axis is left out of the result. Without them, none is.
    """
    kept = [n for n in range(layer.ndim) if axes[n : n + 1] != "C"]
    square = np.ix_(kept, kept)
    affine = np.ix_([*kept, layer.ndim], [*kept, layer.ndim])
    return {
        "scale": np.asarray(layer.scale)[kept],
        "translate": np.asarray(layer.translate)[kept],
        "rotate": np.asarray(layer.rotate)[square],
        "shear": _shear_matrix(layer)[square],
        "affine": np.asarray(layer.affine.affine_matrix)[affine],
        "units": [layer.units[n] for n in kept],
        "axis_labels": [layer.axis_labels[n] for n in kept],
    }


def _shear_matrix(layer: Layer) -> np.ndarray:
    shear = np.asarray(layer.shear)
    if shear.ndim == 2:
        return shear
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, 1)] = shear
    return matrix


def label_shape(layer: Image | Labels, axes: str) -> tuple[int, ...]:
    """Return the shape of a label image for `layer`: all its axes but the channels.

    Raises
    ------
    InputError
        If `axes` does not fit.
    """
    check_axes(layer, axes)
    shape = full_array(layer).shape
    return tuple(int(n) for n, a in zip(shape, axes, strict=True) if a != "C")


def same_place(first: Layer, second: Layer) -> bool:
    """Whether two layers with equally many axes map voxels to the same places."""
    corners = np.vstack([np.zeros(first.ndim), np.eye(first.ndim)])
    return all(
        np.allclose(first.data_to_world(c), second.data_to_world(c), rtol=1e-5, atol=1e-6)
        for c in corners
    )


def path_of(layer: Layer) -> str | None:
    """Return the file that a layer comes from, if it comes from one."""
    return layer.source.path or layer.metadata.get(FILE)


def _is_file(path: str | None, other: str) -> bool:
    return path is not None and Path(path).resolve() == Path(other).resolve()


def add_image_file(viewer: napari.viewer.Viewer, image: CoreImage) -> Image:
    """Return the layer of an image opened from a file with its axes, added if it is not there."""
    for layer in viewer.layers:
        there = isinstance(layer, Image) and _is_file(path_of(layer), image.source)
        if there and tuple(full_array(layer).shape) == image.shape:
            return layer
    rgb = image.axes[-1] == "C" and image.shape[-1] in (3, 4)
    data = pixels(image)
    return viewer.add_image(
        list(image.levels) if image.levels and data is image.data else data,
        name=image_stem(Path(image.source)),
        rgb=rgb,
        metadata={FILE: image.source},
        **layer_axes(image, image.axes[:-1] if rgb else image.axes),
    )


def file_of(layer: Layer, axes: str) -> str | None:
    """Return the whole path of the file that holds the data of a layer as it is, if there is one.

    A layer that is only a part of its file, such as one channel, has none.
    """
    path = path_of(layer)
    if not path:
        return None
    try:
        shape = open_image(path, axes=axes).shape
    except SegzooError:
        return None
    return str(Path(path).absolute()) if shape == tuple(full_array(layer).shape) else None
