"""Open and save images: TIFF, OME-Zarr, NIfTI, HDF5 (read only), PNG, JPEG and NumPy files.

The libraries behind each format are imported when it is first used.
"""

from .blocks import is_zarr, written_whole
from .files import check_holds, check_output, list_images, open_image, save_image
from .image import Image, LazyArray, check_axes
from .keep import keep_image
from .names import image_stem, images_by_name
from .strokes import find_strokes, read_strokes, save_strokes

__all__ = [
    "Image",
    "LazyArray",
    "check_axes",
    "check_holds",
    "check_output",
    "find_strokes",
    "image_stem",
    "images_by_name",
    "is_zarr",
    "keep_image",
    "list_images",
    "open_image",
    "read_strokes",
    "save_image",
    "save_strokes",
    "written_whole",
]
