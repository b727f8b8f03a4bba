"""HDF5, read by region: a file with one dataset, or one dataset of many."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .image import LETTERS, SPATIAL, Image, LazyArray, Region, check_content, native, reading
from .units import PIXEL

ENDINGS = (".h5", ".hdf5")
MOST_NAMES = 5


def split_hdf5(path: Path) -> tuple[Path, str] | None:
    """Split ``file.h5/inner/path`` into the file and the path within it; None for other files."""
    for place in (path, *path.parents):
        if place.suffix.lower() in ENDINGS and place.is_file():
            return place, path.relative_to(place).as_posix().removeprefix(".")
    return None


def open_hdf5(path: Path, inner: str) -> Image:
    """Open a dataset.

    Axes come from the dimensions' labels (h5py, NetCDF) or from ilastik's ``axistags``; the voxel
    size from ``element_size_um``.

    Parameters
    ----------
    path : Path
        The file.
    inner : str
        Path of the dataset within it; "" if there is but one.

    Raises
    ------
    InputError
        If h5py is not installed, the file is damaged, or the dataset is missing, ambiguous or
        no image.
    """
    h5py = _h5py()
    name = f"{path}/{inner}" if inner else str(path)
    with reading(path):
        file = h5py.File(path, "r")
        try:
            dataset = _find(h5py, file, path, inner)
            shape = tuple(int(n) for n in dataset.shape or ())
            check_content(Path(name), shape, dataset.dtype)
            axes = _axes(dataset)
            scale, unit = _voxel_size(dataset, axes)
        except BaseException:
            file.close()
            raise

    def read(region: Region) -> NDArray[Any]:
        with reading(path):
            return np.asarray(dataset[region])

    data = LazyArray(shape, native(dataset.dtype), read, dataset.chunks)
    return Image(data, axes, scale, unit, name)


def _find(h5py: ModuleType, file: Any, path: Path, inner: str) -> Any:
    node = file.get(inner) if inner else file
    if node is None:
        raise InputError(f"{path} holds no {inner}; it holds {_listed(_datasets(h5py, file))}.")
    if isinstance(node, h5py.Dataset):
        return node
    names = _datasets(h5py, node)
    if len(names) != 1:
        raise InputError(
            f"{path} holds {_listed(names)}; name the one to open, such as "
            f"{path.name}/{names[0] if names else 'data'}."
        )
    return file[names[0]]


def _datasets(h5py: ModuleType, group: Any) -> list[str]:
    """Paths of the datasets in a group that could be images."""
    found: list[str] = []

    def visit(_: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 2 and node.dtype.kind in "buif":
            found.append(node.name.lstrip("/"))

    group.visititems(visit)
    return found


def _listed(names: list[str]) -> str:
    if not names:
        return "no image"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"the images {', '.join(names[:MOST_NAMES])}{more}"


def _axes(dataset: Any) -> str:
    """Return the axes as letters of TCZYX, "" if they are not known."""
    labels = [str(dimension.label) for dimension in dataset.dims]
    if "axistags" in dataset.attrs:
        labels = [str(a["key"]) for a in json.loads(dataset.attrs["axistags"])["axes"]]
    axes = "".join(label.upper() if len(label) == 1 else "?" for label in labels)
    known = set(axes) <= set(LETTERS) and len(set(axes)) == dataset.ndim and {"Y", "X"} <= set(axes)
    return axes if known else ""


def _voxel_size(dataset: Any, axes: str) -> tuple[tuple[float, ...], str]:
    sizes = np.ravel(dataset.attrs.get("element_size_um", ())).astype(float)
    spatial = [a for a in axes if a in SPATIAL] or list(SPATIAL[-dataset.ndim :])
    if sizes.size < len(spatial) or (not axes and dataset.ndim != len(spatial)):
        return (), PIXEL
    size = dict(zip(spatial, sizes[-len(spatial) :].tolist(), strict=True))
    return tuple(size.get(a, 1.0) for a in axes or spatial), "micrometer"


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            'HDF5 files need one more package: pip install "napari-segzoo[hdf5]".'
        ) from error
    module: ModuleType = h5py
    return module
