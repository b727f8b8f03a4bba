"""What the Metrics dock compares: two layers, how they lie, and the part that counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from ..errors import InputError
from ..io import LazyArray
from ..metrics import Placement
from .layer_combo import RESULT
from .layers import full_array, result_transform
from .visible import ranges_seen

if TYPE_CHECKING:
    import napari

FLAT = 0.5
"""Voxels by which the corners of a shape may leave its plane."""
ELLIPSE_CORNERS = 128
Region = tuple[slice, ...]


def placement_of(reference: Labels, prediction: Labels) -> Placement:
    """Return where the voxels of a layer lie over those of another.

    Raises
    ------
    InputError
        If one is rotated or sheared against the other.
    """
    corners = np.vstack([np.zeros(reference.ndim), np.eye(reference.ndim)])
    places = np.array([prediction.world_to_data(reference.data_to_world(c)) for c in corners])
    matrix = (places[1:] - places[0]).T
    step = np.diagonal(matrix)
    if (step <= 0).any() or np.abs(matrix - np.diag(step)).max() > 1e-3 * step.min():
        raise InputError(
            f"{prediction.name} is rotated, sheared or mirrored against {reference.name}, so it "
            "can be neither cropped nor resampled; transform and export it first."
        )
    offset = np.round(-places[0] / step, 6) + 0.0
    return Placement(tuple(map(float, offset)), tuple(map(float, np.round(step, 9))))


def visible_part(viewer: napari.viewer.Viewer, layer: Labels) -> Region:
    """Return what the canvas shows of a layer: in 2D a part of the current slice.

    Raises
    ------
    InputError
        If the layer is out of sight.
    """
    seen = ranges_seen(viewer, layer)
    if any(start >= stop for start, stop in seen):
        raise InputError(f"The viewer shows no part of {layer.name}; move it into view.")
    return tuple(slice(*span) for span in seen)


def inside_shapes(shapes: Shapes, layer: Labels, through: bool) -> tuple[Region, LazyArray]:
    """Return the box around all shapes, and a mask of the voxels of `layer` inside of them.

    Parameters
    ----------
    shapes : Shapes
        Rectangles, ellipses and polygons count; lines and paths have no inside.
    layer : Labels
        Its shape is that of the mask.
    through : bool
        Whether a shape counts in all slices, or only in that in which it was drawn. Shapes
        with fewer axes than `layer` lie in no slice and count in all.

    Raises
    ------
    InputError
        If there is no shape, or one does not lie in a plane of the layer.
    """
    outlines = [
        _to_voxels(_outline(corners, kind), shapes, layer)
        for corners, kind in zip(shapes.data, shapes.shape_type, strict=True)
        if kind in ("rectangle", "ellipse", "polygon")
    ]
    if not outlines:
        raise InputError(
            f"{shapes.name} holds no shape with an inside; draw a rectangle, ellipse or polygon."
        )
    size = tuple(int(n) for n in full_array(layer).shape)
    planes = [_plane(outline, shapes.name) for outline in outlines]
    through = through or shapes.ndim < layer.ndim

    def read(region: Region) -> NDArray[np.bool_]:
        inside = np.zeros([s.stop - s.start for s in region], bool)
        for outline, plane in zip(outlines, planes, strict=True):
            _draw(inside, region, outline, plane, through)
        return inside

    low = np.min([outline.min(axis=0) for outline in outlines], axis=0)
    high = np.max([outline.max(axis=0) for outline in outlines], axis=0)
    box = []
    for axis, n in enumerate(size):
        whole = through and any(axis not in plane for plane in planes)
        first, last = (0, n - 1) if whole else (round(low[axis]), round(high[axis]))
        box.append(slice(max(0, first), min(n, last + 1)))
    if any(s.start >= s.stop for s in box):
        raise InputError(f"The shapes of {shapes.name} lie outside of {layer.name}.")
    return tuple(box), LazyArray(size, np.dtype(bool), read)


def part_transform(layer: Labels, origin: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments that place an image whose first voxel is that of `layer` at `origin`."""
    arguments = result_transform(layer)
    own = {name: arguments[name] for name in ("scale", "translate", "rotate", "shear")}
    return {**arguments, "translate": Affine(**own)(origin)}


def class_names(layer: Labels) -> dict[int, str] | None:
    """Return the names that a result layer carries."""
    table = layer.features
    if "class" not in table or "index" not in table:
        return None
    return {int(n): str(name) for n, name in zip(table["index"], table["class"], strict=True)}


def model_name(layer: Labels) -> str:
    """Return the name of the model that made a layer, "" if none did."""
    made = layer.metadata.get(RESULT, {}).get("model") or ""
    return Path(made).stem if made.endswith(".safetensors") else made


def _outline(corners: NDArray, kind: str) -> NDArray[np.float64]:
    """Return the corners of a polygon; an ellipse is given by those of the box around it."""
    corners = np.asarray(corners, float)
    if kind != "ellipse":
        return corners
    middle = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
    return middle + np.cos(angle) * first + np.sin(angle) * second


def _to_voxels(outline: NDArray, shapes: Shapes, layer: Labels) -> NDArray[np.float64]:
    """Turn positions in a shapes layer into those of a labels layer with as many axes or more."""
    world = np.array([shapes.data_to_world(corner) for corner in outline])
    missing = layer.ndim - world.shape[1]
    if missing > 0:
        world = np.hstack([np.zeros((len(world), missing)), world])
    return np.array([layer.world_to_data(corner[-layer.ndim :]) for corner in world])


def _plane(outline: NDArray, name: str) -> tuple[int, int]:
    """Return the two axes along which a polygon lies."""
    extent = np.ptp(outline, axis=0)
    plane = sorted(np.argsort(extent)[-2:].tolist())
    if any(extent[axis] > FLAT for axis in range(len(extent)) if axis not in plane):
        raise InputError(
            f"A shape of {name} lies in no single slice of the reference; draw it in a slice."
        )
    return plane[0], plane[1]


def _draw(
    inside: NDArray[np.bool_],
    region: Region,
    outline: NDArray,
    plane: tuple[int, int],
    through: bool,
) -> None:
    """Set the voxels of a polygon that lie in a region."""
    from skimage.draw import polygon

    start = [region[axis].start for axis in plane]
    size = [region[axis].stop - region[axis].start for axis in plane]
    drawn = np.zeros(size, bool)
    drawn[polygon(*(outline[:, list(plane)] - start).T, shape=size)] = True
    where: list[slice] = []
    for axis, part in enumerate(region):
        place = round(float(outline[0, axis])) - part.start
        own = axis not in plane and not through
        where.append(slice(max(0, place), max(0, place + 1)) if own else slice(None))
    flat = tuple(axis for axis in range(len(region)) if axis not in plane)
    inside[tuple(where)] |= np.expand_dims(drawn, flat)
