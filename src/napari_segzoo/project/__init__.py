"""Project files: a fine-tuning as one JSON file, to go on with another day."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

from .errors import InputError
from .io import Image, open_image, read_strokes, written_whole
from .io.files import STROKES
from .io.units import PIXEL
from .model import bundled_models, find_model, read_info
from .training.job import FinetuneOptions
from .zoo import get_spec

FORMAT = "napari-segzoo-project"
FORMAT_VERSION = 1
LARGEST = 1 << 24
"""Bytes of a project file."""


@dataclass(frozen=True)
class Project:
    """A fine-tuning on files; see `finetune` for the options.

    Parameters
    ----------
    images, labels : tuple of str
        Files, in pairs.
    axes : str
        Axes of the images.
    model : str or None
        Bundled name or file of the model to go on from; None for a new `architecture`.
    class_names : tuple of str
        Names of the classes, the background first; () if they have none.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    axes: str
    model: str | None = None
    class_names: tuple[str, ...] = ()
    architecture: str = "unet"
    task: str = "semantic"
    unlabeled: str = "ignore"
    budget: float | None = None
    steps: int | None = None
    ndim: int | None = None
    seed: int = 0
    device: str = "auto"

    def read(self) -> list[tuple[Image, Any]]:
        """Open the images and their labels; pixels are read when they are asked for.

        Where an image file tells no voxel size, that of its labels holds.

        Raises
        ------
        InputError
            If a file is missing or damaged, or the shapes of a pair do not fit.
        """
        if len(self.images) != len(self.labels) or not self.images:
            raise InputError(
                f"A project needs images and as many labels, not {len(self.images)} image(s) and "
                f"{len(self.labels)} labels."
            )
        return [
            _open_pair(image, labels, self.axes)
            for image, labels in zip(self.images, self.labels, strict=True)
        ]

    def changed(self, given: Mapping[str, Any]) -> Project:
        """Return the project with other values of some fields.

        `steps` and `budget` replace each other, and an `architecture` without a `model` means
        a new network.
        """
        changes = dict(given)
        if "steps" in given:
            changes.setdefault("budget", None)
        if "budget" in given:
            changes.setdefault("steps", None)
        if "architecture" in given:
            changes.setdefault("model", None)
        return replace(self, **changes)

    def options(self) -> dict[str, Any]:
        """Return the arguments of `finetune` besides images and labels."""
        options = {f.name: getattr(self, f.name) for f in fields(self)}
        del options["images"], options["labels"], options["model"]
        return {**options, "base": self.model}


def save_project(
    path: str | os.PathLike[str], project: Project, *, overwrite: bool = False
) -> Path:
    """Write a project as JSON, with paths relative to its folder.

    Raises
    ------
    InputError
        If `path` exists and `overwrite` is not set, or its folder does not exist.
    RunError
        If the disk is full or may not be written.
    """
    path = Path(path)
    folder = path.absolute().parent
    record = asdict(project)
    record["images"] = [_relative(file, folder) for file in project.images]
    record["labels"] = [_relative(file, folder) for file in project.labels]
    if project.model is not None and project.model not in bundled_models():
        record["model"] = _relative(project.model, folder)
    whole = {"format": FORMAT, "version": FORMAT_VERSION, **record}
    with written_whole(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return path


def open_project(path: str | os.PathLike[str]) -> Project:
    """Read a project file and check what it names; nothing in it is executed.

    Returns
    -------
    Project
        With absolute paths.

    Raises
    ------
    InputError
        If the file is missing or no project, if it holds anything that is not known, or if a
        file that it names is missing, damaged, or of a shape that does not fit.
    """
    path = Path(path)
    record = _record(path)
    folder = path.absolute().parent
    for name in ("images", "labels"):
        record[name] = tuple(_absolute(file, folder) for file in record[name])
    record["class_names"] = tuple(record["class_names"])
    if record["model"] is not None and record["model"] not in bundled_models():
        record["model"] = _absolute(record["model"], folder)
    project = Project(**record)
    get_spec(project.architecture)
    FinetuneOptions(project.task, project.unlabeled, project.budget, project.steps)
    if project.model is not None:
        read_info(find_model(project.model))
    project.read()
    return project


def _open_pair(image_file: str, label_file: str, axes: str) -> tuple[Image, Any]:
    image = open_image(image_file, axes=axes)
    label_axes = axes.upper().replace("C", "")
    if label_file.endswith(STROKES):
        labels = read_strokes(label_file, label_axes)
    else:
        labels = open_image(label_file, axes=label_axes, labels=True)
    shape = tuple(n for n, a in zip(image.shape, image.axes, strict=True) if a != "C")
    if labels.shape != shape:
        raise InputError(
            f"{label_file} has the shape {labels.shape}, but labels on {image_file} need {shape}."
        )
    return _with_voxel_size(image, labels), labels.data


def _with_voxel_size(image: Image, labels: Image) -> Image:
    """Return an image whose file tells no voxel size with that of its labels."""
    if image.unit != PIXEL or set(image.voxel_size) != {1.0}:
        return image
    size = dict(zip(labels.spatial_axes, labels.voxel_size, strict=True))
    scale = tuple(size.get(a, s) for a, s in zip(image.axes, image.scale, strict=True))
    return replace(image, scale=scale, unit=labels.unit)


def _record(path: Path) -> dict[str, Any]:
    """Read the fields of a project file and check their names and types."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError
        record = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a project file, or it is damaged.") from error
    if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
        raise InputError(f"{path} is not a project file of napari-segzoo.")
    version = record.pop("version", None)
    if not _is_whole(version) or version < 1:
        raise InputError(f"{path} does not tell its version as a whole number from 1 up.")
    if version > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer napari-segzoo; update to open it.")
    if unknown := sorted(set(record) - set(_RIGHT)):
        raise InputError(f"{path} holds {unknown[0]!r}, which no project has.")
    for name, (fits, words) in _RIGHT.items():
        if name not in record:
            raise InputError(f"{path} lacks {name!r}, which must be {words}.")
        if not fits(record[name]):
            raise InputError(f"{path}: {name!r} must be {words}, not {_short(record[name])}.")
    return record


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(v) for v in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


_Rule = tuple[Callable[[Any], bool], str]
_RIGHT: dict[str, _Rule] = {
    "images": (lambda v: _is_text_list(v) and v != [], "a list of files"),
    "labels": (lambda v: _is_text_list(v) and v != [], "a list of files"),
    "axes": (_is_text, "letters such as ZYX"),
    "model": (lambda v: v is None or _is_text(v), "a model or null"),
    "class_names": (_is_text_list, "a list of names"),
    "architecture": (_is_text, "the name of a network"),
    "task": (_is_text, "semantic or instances"),
    "unlabeled": (_is_text, "ignore or background"),
    "budget": (lambda v: v is None or _is_number(v), "a number of seconds or null"),
    "steps": (lambda v: v is None or _is_whole(v), "a whole number or null"),
    "ndim": (lambda v: v is None or (_is_whole(v) and v in (2, 3)), "2, 3 or null"),
    "seed": (lambda v: _is_whole(v) and 0 <= v < 2**31, "a whole number from 0 up"),
    "device": (_is_text, "a device such as auto"),
}
"""What each field of a project file must be."""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _relative(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(Path(file).absolute(), folder)).as_posix()
    except ValueError:  # another drive
        return str(Path(file).absolute())


def _absolute(file: str, folder: Path) -> str:
    return os.path.normpath(folder / file)
