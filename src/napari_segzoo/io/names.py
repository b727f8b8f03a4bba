"""The images in a folder by their names."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from .files import list_images

DOUBLE = (".ome.tiff", ".ome.tif", ".ome.zarr", ".nii.gz")
"""Endings of two parts."""


def images_by_name(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the images in a folder by their names without ending, by which images are paired.

    Raises
    ------
    InputError
        If there is no such folder, or two images have the same name without ending.
    """
    found: dict[str, Path] = {}
    for path in list_images(folder):
        name = image_stem(path)
        if name in found:
            raise InputError(
                f"{found[name]} and {path} have the same name without ending, so it is not "
                "clear which to take; keep one of them in the folder."
            )
        found[name] = path
    return found


def image_stem(path: Path) -> str:
    """Return the name of an image without its ending."""
    ending = next((e for e in DOUBLE if path.name.lower().endswith(e)), path.suffix)
    return path.name[: len(path.name) - len(ending)]
