"""The Metrics dock: a predicted labels layer against a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QProgressBar, QSpinBox, QWidget

from .. import recipes
from ..metrics import LEGENDS, Report, error_overlay, evaluate
from ..model import SegmentClass
from .forms import (
    LayerCombo,
    StatusLine,
    add_row,
    lowest,
    make_button,
    make_choice,
    make_copy_row,
    make_dock_body,
    make_form,
    make_row,
    make_text,
    topmost,
)
from .layers import full_array, possible_axes, result_transform, same_place
from .recipe_files import RecipeFiles
from .results import add_class_layer
from .score_panel import ScorePanel
from .shared_model import unwrap
from .worker import Job, Progress, follow

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


class MetricsDock(QWidget):
    """Scores one labels layer against another."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = unwrap(viewer)
        self._job = Job(self, latest=(Progress,))
        self._measured: tuple[Labels, Labels] | None = None
        self._note = ""
        self.reference = LayerCombo(self._viewer, Labels, lowest)
        self.prediction = LayerCombo(self._viewer, Labels, topmost)
        self.task = make_choice((("Classes", "semantic"), ("Separate objects", "instances")))
        self.ignore = QSpinBox()
        self.ignore.setRange(-1, 2**31 - 1)
        self.ignore.setValue(-1)
        self.ignore.setSpecialValueText("nothing")
        self.spacing = make_text()
        self.measure_button = make_button("Measure", "Compare the two layers", self.measure)
        self.cancel_button = make_button("Cancel", "Stop measuring", self.cancel)
        self.progress = QProgressBar()
        self.progress.hide()
        self.status = StatusLine()
        self.panel = ScorePanel(self._viewer.theme)
        self._lay_out()
        self._set_running(False)
        self._connect()
        self._show_spacing()

    @property
    def running(self) -> bool:
        """Whether a measurement goes on."""
        return self._job.running

    def measure(self) -> None:
        """Start comparing."""
        reference, prediction = self.reference.layer, self.prediction.layer
        if self._job.running:
            return
        if reference is None or prediction is None or reference is prediction:
            self._complain(
                "Choose two different labels layers, one as reference, one as prediction."
            )
            return
        self._measured = (reference, prediction)
        self._note = _compare_places(reference, prediction)
        self._start(self._evaluation(reference, prediction), f"Measuring {prediction.name}")

    def cancel(self) -> None:
        """Stop measuring."""
        self._job.cancel()

    def show_errors(self) -> None:
        """Add a layer that marks right and wrong voxels by colour."""
        report = self.panel.report
        if report is None or self._measured is None or self._job.running:
            return
        reference, prediction = (full_array(layer) for layer in self._measured)
        task, ignore = report.task, report.settings["ignore"]
        self._start(
            lambda progress: error_overlay(
                reference, prediction, task=task, ignore=ignore, progress=progress
            ),
            f"Marking errors of {self._measured[1].name}",
        )

    def copy_command(self) -> None:
        """Copy the command line that repeats this measurement."""
        self._copy(recipes.evaluate_command)

    def copy_script(self) -> None:
        """Copy the Python script that repeats this measurement."""
        self._copy(recipes.evaluate_script)

    def _lay_out(self) -> None:
        form = make_form()
        add_row(form, "Reference", self.reference, "What is right")
        add_row(form, "Prediction", self.prediction, "What is scored")
        add_row(form, "Compare", self.task, "Classes by value; objects matched by overlap")
        add_row(form, "Ignore", self.ignore, "Reference value whose voxels do not count")
        add_row(form, "Voxel size", self.spacing, "From the scale of the reference layer")
        column = make_dock_body(self)
        column.addLayout(form)
        column.addLayout(make_row(self.measure_button, self.cancel_button))
        column.addWidget(self.progress)
        column.addWidget(self.status)
        column.addWidget(self.panel)
        column.addLayout(make_copy_row(self.copy_command, self.copy_script))

    def _connect(self) -> None:
        self._job.yielded.connect(self._on_event)
        self._job.failed.connect(self.status.complain)
        self._job.ended.connect(self._on_end)
        self.reference.layer_changed.connect(self._show_spacing)
        self.panel.slice_clicked.connect(self._go_to_slice)
        self.panel.object_clicked.connect(self._go_to)
        self.panel.errors_wanted.connect(self.show_errors)
        self.panel.said.connect(self.status.say)
        self.panel.complained.connect(self._complain)

    def _start(self, call: Callable[[Any], Any], description: str) -> None:
        self.status.begin(f"{description}…")
        self.progress.setRange(0, 0)
        self.progress.show()
        self._set_running(True)
        self._job.start(lambda: follow(call), description)

    def _evaluation(self, reference: Labels, prediction: Labels) -> Callable[[Any], Report]:
        first, second = full_array(reference), full_array(prediction)
        task, ignore = self.task.currentData(), self._ignored()
        spacing, names = _spacing(reference), _class_names(prediction)
        by_slice = first.ndim > 2 and task == "semantic"
        return lambda progress: evaluate(
            first,
            second,
            spacing=spacing,
            task=task,
            ignore=ignore,
            class_names=names,
            per_slice=by_slice,
            axis=max(0, first.ndim - 3),
            progress=progress,
        )

    def _on_event(self, event: object) -> None:
        if isinstance(event, Progress):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
            self._job.show_progress(event.done, event.total)
        elif isinstance(event, Report):
            self.panel.show_report(event)
            self.status.say(self._note)
        elif isinstance(event, np.ndarray):
            self._add_errors(event)

    def _add_errors(self, codes: np.ndarray) -> None:
        reference, prediction = self._measured
        legend = LEGENDS[self.panel.report.task]
        layer = add_class_layer(
            self._viewer,
            codes,
            [SegmentClass("", ""), *(SegmentClass(e.name, e.colour) for e in legend.values())],
            f"{prediction.name} errors",
            result_transform(reference, possible_axes(reference)[0]),
        )
        layer.metadata["napari_segzoo"] = {
            "errors": {"reference": reference.name, "prediction": prediction.name}
        }
        prediction.visible = False
        self.status.say(
            "<br>".join(
                f'<span style="color:{e.colour}">■</span> {e.name}: {e.meaning}'
                for e in legend.values()
            )
        )

    def _on_end(self, outcome: str) -> None:
        self.progress.hide()
        self._set_running(False)
        if outcome == "cancelled":
            self.status.say("Cancelled.")

    def _go_to_slice(self, number: int) -> None:
        if self._measured is not None:
            ndim = self._measured[0].ndim
            position = [round(p) for p in self._measured[0].world_to_data(self._point())]
            position[ndim - 3] = number
            self._go_to(position)

    def _go_to(self, position: Any) -> None:
        """Show the voxel at an index of the measured layers."""
        if self._measured is None:
            return
        place = self._measured[0].data_to_world(position)
        first = self._viewer.dims.ndim - len(place)
        self._viewer.dims.set_point(range(first, self._viewer.dims.ndim), place)

    def _point(self) -> tuple[float, ...]:
        assert self._measured is not None
        return self._viewer.dims.point[-self._measured[0].ndim :]

    def _show_spacing(self) -> None:
        layer = self.reference.layer
        if layer is None:
            self.spacing.setText("")
            return
        size = " × ".join(f"{s:g}" for s in _spacing(layer))
        self.spacing.setText(f"{size} {layer.units[-1]}")

    def _ignored(self) -> int | None:
        return None if self.ignore.value() < 0 else self.ignore.value()

    def _copy(self, write: Callable[..., str]) -> None:
        reference, prediction = self.reference.layer, self.prediction.layer
        if reference is None or prediction is None:
            self._complain("Choose two labels layers first.")
            return
        files = RecipeFiles()
        axes = possible_axes(reference)[0]
        names = files.layer(reference, axes), files.layer(prediction, axes)
        measured = recipes.Measurement(
            *names, _spacing(reference), self.task.currentData(), self._ignored()
        )
        self.status.say(files.copy(write(measured)))

    def _set_running(self, running: bool) -> None:
        self.measure_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)

    def _complain(self, sentence: str) -> None:
        self.status.complain(sentence)
        show_error(sentence)


def _spacing(layer: Labels) -> tuple[float, ...]:
    return tuple(abs(float(s)) for s in layer.scale)


def _class_names(layer: Labels) -> dict[int, str] | None:
    """Return the names that a result layer carries."""
    table = layer.features
    if "class" not in table or "index" not in table:
        return None
    return {int(n): str(name) for n, name in zip(table["index"], table["class"], strict=True)}


def _compare_places(reference: Labels, prediction: Labels) -> str:
    if reference.ndim != prediction.ndim or same_place(reference, prediction):
        return ""
    return (
        f"{prediction.name} has another scale or position than {reference.name}, "
        f"whose voxel size was used."
    )
