"""The Train dock: a network learns from what the user draws."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from superqt import QToggleSwitch

from .. import recipes
from ..errors import SegzooError
from ..inference import TileDone
from ..training import Finished, Note, Places, Redrawn, Scored, Started, StepDone
from .class_table import ClassTable
from .dock import Dock, make_dock_body
from .draw_next import DrawNext, SearchRun
from .forms import StatusLine, make_button, make_copy_row, make_row
from .layers import core_image, full_array, path_of
from .more_strokes import MoreStrokes
from .pairs import PairList
from .preview import LivePreview
from .project_files import ProjectButtons
from .recipe_files import NotedTraining
from .saved_strokes import SavedStrokes
from .shared_model import Choice, shared_model, unwrap
from .train_form import TrainForm
from .train_progress import TrainProgress
from .train_run import Drawing, PreviewDone, StrokesSaved, TrainRun
from .uncover import topmost_visible
from .undo import Undo
from .worker import Job

if TYPE_CHECKING:
    import napari

TASK = "napari_segzoo_task"
"""Under this name the metadata of a drawing tell whether it was taken for classes or objects."""


class TrainDock(Dock):
    """Trains the shared model on image and labels layers."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = unwrap(viewer)
        self._shared = shared_model(self._viewer)
        self._job = Job(self)
        self._stop = threading.Event()
        self._name = ""
        self.status = StatusLine()
        self._last: NotedTraining | None = None
        self.pairs = PairList(self._viewer)
        self.saved = SavedStrokes(self.pairs)
        self.classes = ClassTable()
        self.form = TrainForm(self._shared)
        self.preview_switch = QToggleSwitch("Live preview of what is visible")
        self.preview_switch.setChecked(True)
        self.preview_switch.setToolTip("Show, while it learns, what the model makes of the view")
        self._live = LivePreview(self._viewer, self.preview_switch.isChecked)
        self._more = MoreStrokes(self)
        self._undo = Undo(self._shared, self._live, self.form.start)
        self.train_button = make_button("Train", "Learn from what is drawn", self.train)
        self.stop_button = make_button("Stop", "Stop and keep the best model so far", self.stop)
        self.next_button = make_button(
            "Where to draw next",
            "Go to where the model is least sure and nothing is drawn; again for the next place",
            self.draw_next,
        )
        self._next = DrawNext(self._viewer)
        self.undo_button = make_button(
            "Undo training",
            "Go back to the model from before the last training; what is drawn stays",
            self.undo,
        )
        self.project = ProjectButtons(
            self._viewer, self.pairs, self.saved, self.classes, self.form, self.status
        )
        self.progress = TrainProgress(self._viewer)
        self._lay_out()
        self._set_running(False)
        for changed in (self.pairs.changed, self.form.changed, self.classes.painted):
            changed.connect(self.status.forgive)
        self.pairs.changed.connect(self._watch_drawing)
        self.pairs.changed.connect(self._next.forget)
        self.pairs.complained.connect(self._complain)
        self.classes.counted.connect(self.saved.look_again)
        self.form.changed.connect(self._watch_drawing)
        self.project.opened.connect(self._forget)
        self._shared.changed.connect(self._on_model)
        self._job.yielded.connect(self._on_event)
        self._job.failed.connect(self.status.complain)
        self._job.ended.connect(self._on_end)
        self.closed.connect(self._on_close)
        self._find_as_before()
        self._watch_drawing()
        self.saved.look()

    @property
    def running(self) -> bool:
        """Whether training goes on."""
        return self._job.running

    @property
    def plot(self) -> Any:
        """The loss curve; None before the first training."""
        return self.progress.plot

    def train(self) -> None:
        """Start training; annotations and the present model stay as they are until it succeeds."""
        if self._job.running:
            return
        try:
            pairs = self.pairs.complete()
            images = [image for image, _ in (*self.pairs.complete(validation=True), *pairs)]
            shown = topmost_visible(self._viewer, images)
            run = self._make_run(shown)
            self._last = self._noted()
        except SegzooError as error:
            self._complain(str(error))
            return
        self._name = pairs[0][0].name
        self._begin()
        self._undo.begin()
        self._live.start(shown, self.pairs.axes.currentText())
        self.progress.begin_curve()
        self._more.begin([layer for _, layer in pairs])
        self._job.start(run)

    def draw_next(self) -> None:
        """Go to the next place of the last image where the model is unsure."""
        if self._job.running:
            return
        if self._next.known:
            self.status.begin(self._next.go_on())
            return
        try:
            layer, drawn = self.pairs.complete()[-1]
            image = core_image(layer, self.pairs.axes.currentText())
        except SegzooError as error:
            self._complain(str(error))
            return
        device = self.form.device.currentText().strip()
        run = SearchRun(image, full_array(drawn), self._shared.choice, device, self._stop.is_set)
        self._next.begin(drawn)
        self._begin()
        self._job.start(run)

    def stop(self) -> None:
        """End the training after the step in hand and keep the best model so far."""
        self.status.say("Stopping…")
        self._stop.set()

    def undo(self) -> None:
        """Go back to the model and the preview from before the last training."""
        if self._undo.possible and not self._job.running:
            self.progress.forget()
            self.status.begin(self._undo.go_back())

    def copy_command(self) -> None:
        """Copy the command line of the last training; of another one if the form describes it."""
        self._copy(recipes.finetune_command)

    def copy_script(self) -> None:
        """Copy the Python script of the last training; of another one if the form describes it."""
        self._copy(recipes.finetune_script)

    def _lay_out(self) -> None:
        column = make_dock_body(self)
        column.addWidget(self.pairs)
        column.addWidget(self.saved)
        column.addWidget(self.classes)
        column.addWidget(self.form)
        column.addWidget(self.preview_switch)
        column.addLayout(make_row(self.train_button, self.stop_button))
        column.addLayout(make_row(self.next_button, self.undo_button))
        column.addWidget(self.progress)
        column.addWidget(self.status)
        column.addWidget(self.project)
        column.addLayout(make_copy_row(self.copy_command, self.copy_script))

    def _complain(self, sentence: str) -> None:
        self.status.complain(sentence)
        show_error(sentence)

    def _copy(self, write: Callable[[recipes.Training], str]) -> None:
        try:
            last = self._last if self._last and self._last.options == self.form.options() else None
            files, training = (last or self._noted()).write_down()
        except SegzooError as error:
            self._complain(str(error))
            return
        self.status.say(files.copy(write(training)))

    def _make_run(self, shown: Image) -> TrainRun:
        axes, options = self.pairs.axes.currentText(), self.form.options()
        return TrainRun(
            _drawings(self.pairs.complete(), axes),
            _drawings(self.pairs.complete(validation=True), axes),
            self.form.choice(),
            options,
            self.classes.class_names() if options.task == "semantic" else [],
            self._stop.is_set,
            self._more.take,
            core_image(shown, axes),
            self._live.visible,
        )

    def _noted(self) -> NotedTraining:
        """Note the training that the form describes."""
        return NotedTraining(
            self.pairs.complete(),
            self.pairs.complete(validation=True),
            self.pairs.axes.currentText(),
            self.form.choice(),
            self.form.options(),
            self.classes.class_names(),
        )

    def _find_as_before(self) -> None:
        """Take what is drawn already for what it was taken for in an earlier dock."""
        drawn = [labels for _, labels in self.pairs.pairs() if labels is not None]
        tasks = [labels.metadata[TASK] for labels in drawn if TASK in labels.metadata]
        if tasks:
            self.form.task.setCurrentIndex(self.form.task.findData(tasks[0]))

    def _watch_drawing(self) -> None:
        layers = [labels for _, labels in self.pairs.pairs() if labels is not None]
        for labels in layers:
            labels.metadata[TASK] = self.form.task.currentData()
        self.classes.watch(layers, self.form.labelling())
        self.form.follow(self.pairs.axes.currentText())
        self.form.validate(bool(self.pairs.pairs(validation=True)))

    def _begin(self) -> None:
        self._stop.clear()
        self.status.begin("Preparing…")
        self.progress.begin()
        self._set_running(True)

    def _on_model(self) -> None:
        self._next.forget()
        self._set_running(self._job.running)

    def _on_event(self, event: object) -> None:
        if isinstance(event, Started):
            self.status.say(f"Training {event.parameters:,} parameters on {event.device}…")
        elif isinstance(event, Redrawn):
            self.status.begin("")
            self.status.note(f"What is drawn meanwhile counts from step {event.step + 1} on.")
        elif isinstance(event, StepDone):
            self.progress.add_step(event)
            self._live.look()
            self.status.say(f"Step {event.step}: loss {event.loss:.3f}, {event.seconds:.0f} s.")
        elif isinstance(event, Scored):
            self.progress.add_score(event)
        elif isinstance(event, PreviewDone):
            if missing := self._live.show(event.region, event.labels, event.model.info.classes):
                self.status.note(missing)
        elif isinstance(event, TileDone):
            self.progress.fill(event.done / event.total)
        elif isinstance(event, Places):
            self._next.keep(event)
            self.status.say(self._next.go_on())
        elif isinstance(event, StrokesSaved):
            self.saved.know(event.path)
            self.status.note(f"What is drawn is saved as {event.path.name}.")
        elif isinstance(event, Note):
            self.status.note(event.message)
        elif isinstance(event, str):
            self.status.say(event)
        elif isinstance(event, Finished):
            self._finish(event)

    def _forget(self) -> None:
        """Forget the trainings of before."""
        self._last = None
        self._undo.forget()
        self.progress.forget()
        self._set_running(False)

    def _finish(self, event: Finished) -> None:
        if event.steps == 0:
            self.status.say("Stopped before the first step; the model is as it was.")
            return
        model = event.model.with_info(name=self._name)
        title = self._shared.title_of_training(self._name)
        choice = Choice(title, model.info.architecture, model.info, model=model)
        self._undo.keep(choice)
        self._shared.choose(choice)
        self.status.say(
            f"Done: {event.steps} steps in {event.seconds:.0f} s, loss {event.loss:.3f}. "
            "Use the new model in the Run dock, save it in the Model dock."
        )

    def _on_end(self, outcome: str) -> None:
        self.progress.end()
        self._more.end()
        self._undo.give_up()
        self._set_running(False)
        if outcome == "cancelled":
            self.status.say("Cancelled; the model is as it was.")

    def _on_close(self) -> None:
        if self._undo.under_way:
            show_info("The Train dock was closed: its training ends, and the model is as it was.")
        self._job.abandon()

    def _set_running(self, running: bool) -> None:
        self.project.open_button.setEnabled(not running)
        self.train_button.setEnabled(not running)
        self.stop_button.setEnabled(running)
        choice = self._shared.choice
        trained = choice is not None and choice.info is not None
        self.next_button.setEnabled(trained and not running)
        self.undo_button.setEnabled(self._undo.possible and not running)


def _drawings(pairs: Sequence[tuple[Any, Any]], axes: str) -> list[Drawing]:
    return [
        Drawing(core_image(image, axes), path_of(image), full_array(layer))
        for image, layer in pairs
    ]
