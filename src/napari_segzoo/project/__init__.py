"""Project files: a fine-tuning as one JSON file, to go on with another day."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io import Image, open_image, read_strokes, written_whole
from ..io.files import STROKES
from ..io.units import PIXEL
from ..model import bundled_models, find_model, read_info
from ..training import Event, finetune
from ..training.job import FinetuneOptions
from ..zoo import get_spec
from .record import FORMAT, FORMAT_VERSION, read_record

_FILES = ("images", "labels", "validation_images", "validation_labels")


@dataclass(frozen=True)
class Project:
    """A fine-tuning on files.

    Parameters
    ----------
    images, labels : tuple of str
        Files, in pairs.
    axes : str
        Axes of the images.
    model : str or None
        Bundled name or file of the model to go on from; None for a new network.
    class_names : tuple of str
        Names of the classes, the background first; () if they have none.
    validation_images, validation_labels : tuple of str
        Files on which the best model is chosen, in pairs; () if there are none.
    options : FinetuneOptions
        How to train.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    axes: str
    model: str | None = None
    class_names: tuple[str, ...] = ()
    validation_images: tuple[str, ...] = ()
    validation_labels: tuple[str, ...] = ()
    options: FinetuneOptions = field(default_factory=FinetuneOptions)

    def read(self) -> list[tuple[Image, Any]]:
        """Open the images and their labels; pixels are read when they are asked for.

        Where an image file tells no voxel size, that of its labels holds.

        Raises
        ------
        InputError
            If a file is missing or damaged, or the shapes of a pair do not fit.
        """
        if not self.images:
            raise InputError("A project needs at least one image with its labels.")
        return _open_pairs(self.images, self.labels, self.axes)

    def read_validation(self) -> list[tuple[Image, Any]]:
        """Open the validation images and their labels in the same way."""
        return _open_pairs(self.validation_images, self.validation_labels, self.axes)

    def train(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Run `finetune` as the project says; `stop` ends it."""
        images, labels = zip(*self.read(), strict=True)
        scored = self.read_validation()
        return finetune(
            list(images),
            list(labels),
            base=self.model,
            axes=self.axes,
            class_names=self.class_names,
            validation=([i for i, _ in scored], [drawn for _, drawn in scored]) if scored else None,
            stop=stop,
            **self.options.arguments(),
        )

    def changed(self, given: Mapping[str, Any]) -> Project:
        """Return the project with other values of some fields and options.

        What cannot go together replaces each other: `steps` and `budget`, `hold_out` and
        validation images. An `architecture` without a `model` means a new network.
        """
        own = {name: value for name, value in given.items() if name in _OWN}
        options = {name: value for name, value in given.items() if name not in _OWN}
        if "steps" in given:
            options.setdefault("budget", None)
        if "budget" in given:
            options.setdefault("steps", None)
        if given.get("hold_out"):
            own = {"validation_images": (), "validation_labels": (), **own}
        if given.get("validation_images"):
            options.setdefault("hold_out", 0.0)
        if "architecture" in given:
            own.setdefault("model", None)
            options = {"architecture_options": {}, "tune": "all", **options}
        return replace(self, options=replace(self.options, **options), **own)


_OWN = {f.name for f in fields(Project)} - {"options"}


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
    for name in _FILES:
        record[name] = [_relative(file, folder) for file in record[name]]
    if project.model is not None and project.model not in bundled_models():
        record["model"] = _relative(project.model, folder)
    record |= record.pop("options")
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
    record = read_record(path)
    folder = path.absolute().parent
    for name in _FILES:
        record[name] = tuple(_absolute(file, folder) for file in record[name])
    record["class_names"] = tuple(record["class_names"])
    if record["model"] is not None and record["model"] not in bundled_models():
        record["model"] = _absolute(record["model"], folder)
    own = {name: record.pop(name) for name in _OWN}
    chosen = record.pop("architecture_options")
    record["architecture_options"] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()
    }
    project = Project(**own, options=FinetuneOptions(**record))
    get_spec(project.options.architecture)
    if project.model is not None:
        read_info(find_model(project.model))
    project.read()
    project.read_validation()
    return project


def _open_pairs(images: Sequence[str], labels: Sequence[str], axes: str) -> list[tuple[Image, Any]]:
    if len(images) != len(labels):
        raise InputError(
            f"A project needs images and as many labels, not {len(images)} image(s) and "
            f"{len(labels)} labels."
        )
    return [_open_pair(image, drawn, axes) for image, drawn in zip(images, labels, strict=True)]


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


def _relative(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(Path(file).absolute(), folder)).as_posix()
    except ValueError:  # another drive
        return str(Path(file).absolute())


def _absolute(file: str, folder: Path) -> str:
    return os.path.normpath(folder / file)
