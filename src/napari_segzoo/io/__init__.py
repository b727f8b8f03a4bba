"""Open and save images: TIFF, OME-Zarr, NIfTI, HDF5 (read only), PNG, JPEG and NumPy files.

The libraries behind each format are imported when it is first used.
"""

from .blocks import is_zarr, written_whole
from .files import check_output, list_images, open_image, save_image
from .image import Image, LazyArray, check_axes

__all__ = [
    "Image",
    "LazyArray",
    "check_axes",
    "check_output",
    "is_zarr",
    "list_images",
    "open_image",
    "save_image",
    "written_whole",
]
