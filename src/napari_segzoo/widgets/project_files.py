"""Saving and opening all that the Train dock works on, as a project file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from ..errors import InputError, SegzooError
from ..io import keep_image, save_strokes
from ..model import bundled_models, find_model
from ..project import Project, open_project, save_project
from .class_table import ClassTable
from .forms import StatusLine, make_button
from .layers import FILE, add_image_file, core_image, file_of, full_array
from .pairs import PairList
from .save_dialog import ask_target, with_ending
from .saved_strokes import SavedStrokes
from .shared_model import Choice, choose_file, load_choice, shared_model
from .train_form import TrainForm
from .train_run import Drawing, StrokesSaved
from .worker import Job

if TYPE_CHECKING:
    import napari

KIND = "Project"
ENDING = ".json"


@dataclass(frozen=True)
class ImageSaved:
    """The file that holds an image."""

    index: int
    path: str


@dataclass(frozen=True)
class ModelSaved:
    """The file that holds a model."""

    choice: Choice
    path: Path


@dataclass(frozen=True)
class SaveRun:
    """The work of saving a project, called in the worker.

    Parameters
    ----------
    path : Path
        The project file; images and models that have no file yet are saved beside it.
    project : Project
        All but the files.
    choice : Choice or None
        The model to go on from.
    drawings : list of Drawing
        What to learn from, then what is for validation.
    trained : int
        How many of them to learn from.
    """

    path: Path
    project: Project
    choice: Choice | None
    drawings: list[Drawing]
    trained: int

    def __call__(self) -> Iterator[object]:
        for drawing in self.drawings:
            if not np.any(drawing.labels):
                raise InputError(
                    f"Nothing is drawn on {drawing.image.source}; a project needs strokes on each "
                    "image."
                )
        images, labels = [], []
        for n, drawing in enumerate(self.drawings):
            images.append(drawing.file or keep_image(drawing.image, self.path.absolute().parent))
            yield ImageSaved(n, images[-1])
            strokes = save_strokes(drawing.labels, drawing.image, images[-1])
            labels.append(str(strokes))
            yield StrokesSaved(strokes)
        model = None
        if self.choice is not None:
            path = self.choice.path or self._save_model(self.choice)
            yield ModelSaved(self.choice, path)
            bundled = {path: name for name, path in bundled_models().items()}
            model = bundled.get(path, str(path))
        project = replace(
            self.project,
            images=tuple(images[: self.trained]),
            labels=tuple(labels[: self.trained]),
            validation_images=tuple(images[self.trained :]),
            validation_labels=tuple(labels[self.trained :]),
            model=model,
        )
        save_project(self.path, project, overwrite=True)
        yield f"Saved as {self.path.name}: open it to go on, also after moving its whole folder."

    def _save_model(self, choice: Choice) -> Path:
        names = (f"-{n}" if n > 1 else "" for n in count(1))
        paths = (self.path.with_name(f"{self.path.stem}{n}.safetensors") for n in names)
        return load_choice(choice).save(next(p for p in paths if not p.exists()))


class ProjectButtons(QWidget):
    """Saves what the parts of the Train dock show, and shows it again.

    Signals
    -------
    opened()
        When another project is about to be shown.
    """

    opened = Signal()

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        pairs: PairList,
        saved: SavedStrokes,
        classes: ClassTable,
        form: TrainForm,
        status: StatusLine,
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._shared = shared_model(viewer)
        self._pairs, self._saved, self._classes = pairs, saved, classes
        self._form, self._status = form, status
        self._saving: list[Layer] = []
        self._job = Job(self)
        self._job.yielded.connect(self._on_event)
        self._job.failed.connect(status.complain)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(5)
        tip = "Keep images, strokes, model and options in one file, to go on another day"
        line.addWidget(make_button("Save project", tip, self._ask_target), 1)
        tip = "Go on with a project that was saved; not during a training"
        self.open_button = make_button("Open project", tip, self._ask_file)
        line.addWidget(self.open_button, 1)

    @property
    def running(self) -> bool:
        """Whether a project is being saved."""
        return self._job.running

    def save(self, path: str | Path) -> None:
        """Save a project file; the user has agreed to overwrite what is there."""
        path = with_ending(Path(path), [ENDING])
        axes = self._pairs.axes.currentText()
        try:
            training = self._pairs.complete()
            pairs = training + self._pairs.complete(validation=True)
            drawings = [
                Drawing(core_image(image, axes), file_of(image, axes), full_array(layer))
                for image, layer in pairs
            ]
            options = self._form.options()
        except SegzooError as error:
            self._complain(error)
            return
        names = self._classes.class_names() if options.task == "semantic" else []
        project = Project((), (), axes, class_names=tuple(names), options=options)
        self._saving = [image for image, _ in pairs]
        run = SaveRun(path, project, self._form.choice(), drawings, len(training))
        self._job.start(run)

    def open(self, path: str | Path) -> None:
        """Show the images, strokes, model and options of a project file."""
        try:
            project = open_project(path)
            pairs = [
                (image, labels[...]) for image, labels in project.read() + project.read_validation()
            ]
            model = project.model and choose_file(find_model(project.model))
        except SegzooError as error:
            self._complain(error)
            return
        self.opened.emit()
        layers = [add_image_file(self._viewer, image) for image, _ in pairs]
        for file in (*project.labels, *project.validation_labels):
            self._saved.know(Path(file))
        self._pairs.show_images(layers, project.axes, len(project.validation_images))
        for row, (_, drawn) in zip(self._pairs.rows, pairs, strict=True):
            self._pairs.add_drawing(row, drawn)
        if model:
            self._shared.choose(model)
        self._viewer.reset_view()
        self._form.show_project(project)
        self._classes.set_class_names(project.class_names)
        self._status.begin(f"Opened {Path(path).name}: draw more, or press Train.")

    def _on_event(self, event: object) -> None:
        if isinstance(event, StrokesSaved):
            self._saved.know(event.path)
        elif isinstance(event, ImageSaved):
            self._saving[event.index].metadata[FILE] = event.path
        elif isinstance(event, ModelSaved):
            if self._shared.choice is event.choice:
                self._shared.choose(replace(event.choice, path=event.path))
        else:
            self._status.say(str(event))

    def _ask_target(self) -> None:
        path = ask_target(self, "Save the project", f"project{ENDING}", {KIND: ENDING})
        if path is not None:
            self.save(path)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a project", "", f"{KIND} (*{ENDING})")
        if path:
            self.open(path)

    def _complain(self, error: SegzooError) -> None:
        self._status.complain(str(error))
        show_error(str(error))
