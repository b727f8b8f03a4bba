"""The Metrics dock: a predicted labels layer against a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error

from .. import recipes
from ..errors import InputError
from ..follow import Progress, follow
from ..metrics import Entry, Report, error_overlay, evaluate
from .dock import Dock, make_dock_body
from .forms import make_button, make_copy_row, make_row
from .layers import possible_axes
from .recipe_files import RecipeFiles
from .score_errors import add_error_layer
from .score_follow import Follower
from .score_footer import ScoreFooter
from .score_form import Compared, ScoreForm
from .score_hint import object_hint
from .score_history import HistoryPanel, session_history
from .score_pair import class_names, model_name
from .score_panel import ScorePanel
from .shared_model import unwrap
from .visible import go_to
from .worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari


class MetricsDock(Dock):
    """Scores one labels layer against another."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = unwrap(viewer)
        self._job = Job(self, latest=(Progress,))
        self._compared: Compared | None = None
        self._preview: Report | None = None
        self._again = False
        self._kept = False
        self.form = ScoreForm(self._viewer)
        self.measure_button = make_button("Measure", "Compare the two layers", self.measure)
        self.cancel_button = make_button("Cancel", "Stop measuring", self.cancel)
        self.footer = ScoreFooter()
        self.progress, self.status = self.footer.progress, self.footer.status
        self.panel = ScorePanel(self._viewer)
        self.history = HistoryPanel(session_history(self._viewer), self._viewer)
        self._follower = Follower(self, self._viewer)
        self._inputs = Follower(self, self._viewer, pause=0)
        self._lay_out()
        self._set_running(False)
        self._connect()

    @property
    def running(self) -> bool:
        """Whether a measurement goes on."""
        return self._job.running

    def measure(self) -> None:
        """Start comparing; the history will keep the scores."""
        if self._job.running:
            return
        self._kept = True
        if problem := self._measure():
            self._complain(problem)

    def cancel(self) -> None:
        """Stop measuring."""
        self._job.cancel()

    def show_errors(self) -> None:
        """Add a layer that marks right and wrong voxels by colour."""
        report, compared = self.panel.report, self._compared
        if report is None or compared is None or self._job.running:
            return
        pair, task = compared.pair, report.task
        self._start(
            lambda progress: error_overlay(
                pair.reference, pair.prediction, task=task, ignore=pair.ignore, progress=progress
            ),
            f"Marking errors of {compared.prediction.name}",
        )

    def copy_command(self) -> None:
        """Copy the command line that repeats this measurement."""
        self._copy(recipes.evaluate_command)

    def copy_script(self) -> None:
        """Copy the Python script that repeats this measurement."""
        self._copy(recipes.evaluate_script)

    def _lay_out(self) -> None:
        column = make_dock_body(self)
        column.addWidget(self.form)
        column.addLayout(make_row(self.measure_button, self.cancel_button))
        column.addWidget(self.panel)
        column.addWidget(self.history)
        self.history.refresh()
        column.addLayout(make_copy_row(self.copy_command, self.copy_script))
        self.layout().addWidget(self.footer)

    def _connect(self) -> None:
        self._job.yielded.connect(self._on_event)
        self._job.failed.connect(self._show_error)
        self._job.ended.connect(self._on_end)
        self.closed.connect(self._on_close)
        self.form.changed.connect(self.status.forgive)
        self._inputs.changed.connect(self.status.forgive)
        self.form.follow.toggled.connect(self._follow)
        self.form.layers_changed.connect(self._follow)
        self._follower.changed.connect(self._on_change)
        self.panel.slice_clicked.connect(self._go_to_slice)
        self.panel.object_clicked.connect(self._go_to)
        self.panel.errors_wanted.connect(self.show_errors)
        for part in (self.panel, self.history):
            part.said.connect(self.status.say)
            part.complained.connect(self._complain)
        self._viewer.dims.events.current_step.connect(self._mark_slice)

    def _start(self, call: Callable[[Any], Any], description: str) -> None:
        self.status.begin(f"{description}…")
        self.progress.setRange(0, 0)
        self.progress.show()
        self._set_running(True)
        self._job.start(lambda: follow(call))

    def _measure(self) -> str:
        """Start comparing, or return what is in the way."""
        try:
            self._compared = self.form.compared()
        except InputError as error:
            return str(error)
        call = self._evaluation(self._compared)
        self._start(call, f"Measuring {self._compared.prediction.name}")
        return ""

    def _evaluation(self, compared: Compared) -> Callable[[Any], Report]:
        pair, options = compared.pair, self.form.options()
        names = class_names(compared.prediction) or class_names(compared.reference)
        axis = max(0, len(pair.reference.shape) - 3)
        several = len(pair.reference.shape) > 2 and pair.reference.shape[axis] > 1
        self._preview = None

        def preview(report: Report) -> None:
            self._preview = report

        return lambda progress: evaluate(
            pair.reference,
            pair.prediction,
            spacing=compared.spacing,
            ignore=pair.ignore,
            class_names=names,
            per_slice=several and options["task"] == "semantic",
            axis=axis,
            progress=progress,
            preview=preview,
            **options,
        )

    def _on_event(self, event: object) -> None:
        if isinstance(event, Progress):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
            report, self._preview = self._preview, None
            if report is not None:
                self._show(report)
        elif isinstance(event, Report):
            self._show(event)
            if self._kept:
                self._remember()
            self.status.say(self._compared.note)
        elif isinstance(event, np.ndarray):
            self._add_errors(event)

    def _show(self, report: Report) -> None:
        compared, pair = self._compared, self._compared.pair
        axis = max(0, len(pair.origin) - 3)
        hint = object_hint(report, compared.reference, compared.prediction)
        self.panel.show_report(pair.place(report), pair.origin[axis], hint)
        self._mark_slice()

    def _remember(self) -> None:
        compared, report = self._compared, self.panel.report
        name = model_name(compared.prediction) or compared.prediction.name
        entry = Entry(compared.image, name, compared.prediction.name, report)
        session_history(self._viewer).add(entry)
        self.history.show_task(report.task)

    def _add_errors(self, codes: np.ndarray) -> None:
        compared, task = self._compared, self.panel.report.task
        add_error_layer(self._viewer, codes, compared, task)
        compared.prediction.visible = compared.reference.visible = False
        self.panel.show_legend(task)
        self.status.say("")

    def _on_end(self, outcome: str) -> None:
        self.progress.hide()
        self._set_running(False)
        if outcome == "cancelled":
            report = self.panel.report
            part = report is not None and "preview" in report.settings
            rest = " The table shows the part that was read." if part else ""
            self.status.say(f"Cancelled.{rest}")
        if self._again:
            self._on_change()

    def _on_close(self) -> None:
        self.form.follow.setChecked(False)
        self._job.cancel()

    def _follow(self) -> None:
        """Watch what the form shows, if that is wanted."""
        if not self.form.follow.isChecked():
            self._follower.watch((), view=False)
            self._again = False
            return
        self._follower.watch(self.form.watched(), view=self.form.by_view)
        self._on_change()

    def _on_change(self) -> None:
        """Measure again, after the present run if there is one; the history takes no note."""
        wanted = self.form.follow.isChecked()
        self._again = wanted and self._job.running
        if not wanted or self._job.running:
            return
        self._kept = False
        if problem := self._measure():
            self._show_error(problem)

    def _go_to_slice(self, number: int) -> None:
        if self._compared is not None:
            position = self._position()
            position[len(position) - 3] = number
            self._go_to(position, centre=False)

    def _go_to(self, position: Sequence[int], centre: bool = True) -> None:
        """Show the voxel at an index of the reference."""
        if self._compared is not None:
            go_to(self._viewer, self._compared.reference, position, centre)

    def _position(self) -> list[int]:
        """Return the index of the reference at the viewer's sliders."""
        reference = self._compared.reference
        point = self._viewer.dims.point[-reference.ndim :]
        return [round(float(p)) for p in reference.world_to_data(point)]

    def _mark_slice(self, event: object = None) -> None:
        if self.panel.plot is not None and self._compared is not None:
            position = self._position()
            self.panel.plot.mark(position[len(position) - 3])

    def _copy(self, write: Callable[[recipes.Measurement], str]) -> None:
        try:
            compared = self.form.compared()
        except InputError as error:
            self._complain(str(error))
            return
        files = RecipeFiles()
        reference, prediction = compared.reference, compared.prediction
        settings, options = compared.pair.settings, self.form.options()
        measured = recipes.Measurement(
            files.layer(reference, possible_axes(reference)[0]),
            files.layer(prediction, possible_axes(prediction)[0]),
            compared.spacing,
            options["task"],
            ignore=self.form.ignored,
            tolerance=options["tolerance"],
            centreline=options["centreline"] or None,
            fit=settings.get("fit"),
            offset=compared.placement.offset if compared.placement else None,
            region=compared.pair.region if "region" in settings else None,
            mask=files.mask(self.form.shapes.layer) if "mask" in settings else None,
        )
        self.status.say(files.copy(write(measured)))

    def _set_running(self, running: bool) -> None:
        self.measure_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)

    def _show_error(self, sentence: str) -> None:
        """Show an error until what is compared, and how, changes."""
        self.status.complain(sentence)
        self._inputs.watch(self.form.watched(), view=self.form.by_view)

    def _complain(self, sentence: str) -> None:
        self._show_error(sentence)
        show_error(sentence)
