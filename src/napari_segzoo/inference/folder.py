"""Which file is written for which image."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..io import is_zarr, list_images
from .store import discard, read_progress, store_of


def pair_files(
    source: Path, target: Path, *, overwrite: bool = False, resume: bool = False
) -> list[tuple[Path, Path]]:
    """Pair images with the files that their segmentations go to.

    Parameters
    ----------
    source : Path
        An image, or a folder of images.
    target : Path
        The file to write; for a folder the folder to write to, made if it is missing. The
        files in it are called like the images: ``.nii.gz`` for NIfTI, ``.zarr`` for Zarr, and
        ``.tif`` for all else.
    overwrite : bool
        Whether existing files may be replaced.
    resume : bool
        Leave out images whose file is there already, and not about to be replaced by a run that
        was interrupted.

    Returns
    -------
    list of (Path, Path)

    Raises
    ------
    InputError
        If there is no image, two images would go to one file, or a file exists that may not
        be replaced.
    """
    if not source.is_dir() or is_zarr(source):
        return [] if resume and _is_complete(target) else [(source, target)]
    images = list_images(source)
    if not images:
        raise InputError(f"The folder {source} holds no images that can be opened.")
    if target.exists() and not target.is_dir():
        raise InputError(f"{source} is a folder, so the output must be one too, not {target}.")
    target.mkdir(parents=True, exist_ok=True)
    pairs = [(image, target / _result_name(image)) for image in images]
    taken: dict[Path, Path] = {}
    for image, result in pairs:
        if result in taken:
            raise InputError(
                f"{taken[result].name} and {image.name} would both be written to {result}; "
                "rename one of them."
            )
        taken[result] = image
        if result.exists() and not (overwrite or resume):
            raise InputError(
                f"{result} exists already; choose another folder, overwrite, or resume."
            )
    return [(i, r) for i, r in pairs if not (resume and _is_complete(r))]


def _is_complete(result: Path) -> bool:
    """Whether a file is there and nothing is left to do; removes what was left of a clean-up."""
    store = store_of(result)
    if not result.exists() or read_progress(store) is not None:
        return False
    discard(store)
    return True


def _result_name(image: Path) -> str:
    name = image.name
    for ending, kept in ((".nii.gz", ".nii.gz"), (".nii", ".nii.gz"), (".zarr", ".zarr")):
        if name.lower().endswith(ending):
            return name[: -len(ending)].removesuffix(".ome") + kept
    return image.stem.removesuffix(".ome") + ".tif"
