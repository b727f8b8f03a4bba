"""The Run dock: the shared model over a whole image, tile by tile."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QProgressBar

from .. import recipes
from ..errors import InputError, SegzooError
from ..inference import BlockSeparated, Note, Plan, Prediction, Stage, TileDone
from ..model import default_classes
from .dock import Dock, make_dock_body
from .forms import StatusLine, as_html, make_button, make_copy_row, make_row, make_text
from .layer_combo import RESULT, is_result
from .layers import core_image, result_transform
from .preview import hide_earlier
from .recipe_files import RecipeFiles
from .results import LiveLayers, add_class_layer, add_probability_layers, in_levels
from .run_form import RunForm
from .run_region import in_words, moved
from .run_work import RunWork
from .shared_model import shared_model, unwrap
from .uncover import uncover
from .worker import Job

if TYPE_CHECKING:
    import napari


class RunDock(Dock):
    """Runs the shared model over an image layer."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = unwrap(viewer)
        self._shared = shared_model(self._viewer)
        self._job = Job(self, latest=(TileDone, BlockSeparated))
        self._live = LiveLayers(self, self._viewer)
        self._work: RunWork | None = None
        self._made: dict[str, Any] = {}
        self._source: Image | None = None
        self._part = ""
        self._hidden: list[Layer] = []
        self._task = ""
        self._begin = 0.0
        self._tiles = 0
        self.model = make_text()
        self.form = RunForm(self._viewer)
        self.check_button = make_button("Check", "Say what a run would do", self.check)
        self.run_button = make_button("Run", "Segment the whole image", self.run)
        self.cancel_button = make_button("Cancel", "Stop and keep what is done", self.cancel)
        self.progress = QProgressBar()
        self.progress.hide()
        self.plan = make_text()
        self.status = StatusLine()
        self._lay_out()
        self._set_running(False)
        self._job.yielded.connect(self._on_event)
        self._job.failed.connect(self.status.complain)
        self._job.ended.connect(self._on_end)
        self._shared.changed.connect(self._on_model)
        self._shared.changed.connect(self.status.forgive)
        self.form.image.layer_changed.connect(self.status.forgive)
        self.closed.connect(self._job.cancel)
        self._on_model()

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self._job.running

    def check(self) -> None:
        """Say what a run would do, without starting it."""
        self._start(only_plan=True)

    def run(self) -> None:
        """Start a run."""
        self._start(only_plan=False)

    def cancel(self) -> None:
        """Stop after the tile in hand; what is done stays as a partial layer."""
        self.status.say("Stopping after this tile…")
        self._job.cancel()

    def copy_command(self) -> None:
        """Copy the command line that repeats this run."""
        self._copy(recipes.predict_command)

    def copy_script(self) -> None:
        """Copy the Python script that repeats this run."""
        self._copy(recipes.predict_script)

    def _lay_out(self) -> None:
        column = make_dock_body(self)
        column.addWidget(self.model)
        column.addWidget(self.form)
        column.addLayout(make_row(self.check_button, self.run_button, self.cancel_button))
        column.addWidget(self.progress)
        column.addWidget(self.plan)
        column.addWidget(self.status)
        column.addLayout(make_copy_row(self.copy_command, self.copy_script))

    def _start(self, only_plan: bool) -> None:
        if self._job.running:
            return
        self.plan.clear()
        try:
            self._work = self._make_work(only_plan)
        except SegzooError as error:
            self._complain(str(error))
            return
        self._live.watch(())
        self._hidden = []
        self._begin = time.perf_counter()
        self._tiles = 0
        self.progress.setRange(0, 0)
        self.progress.show()
        self.status.begin("Preparing…")
        self._set_running(True)
        self._job.start(self._work)

    def _make_work(self, only_plan: bool) -> RunWork:
        """Return what the form asks for, and note what its result is made of and where it lies."""
        layer, choice = self.form.image.layer, self._shared.choice
        if layer is None:
            raise InputError("There is no image layer; open an image first.")
        self._source = layer
        axes = self.form.axes.currentText()
        image, options = core_image(layer, axes), self.form.options()
        ranges = self.form.cut()
        self._part = in_words(ranges, axes)
        offset = tuple(ranges.get(a, (0, 0))[0] for a in axes if a != "C")
        self._placement = moved(result_transform(layer, axes), offset)
        self._made = {
            "model": str(choice.path or choice.title) if choice else "",
            "source": layer.name,
            "axes": axes,
            "options": asdict(options),
        }
        return RunWork(choice, image, options, only_plan, self.form.first())

    def _on_event(self, event: object) -> None:
        if isinstance(event, Prediction):
            self.plan.setText(event.plan.summary())
            self.status.say("Running…")
            self._add_layers(event)
        elif isinstance(event, Plan):
            self.plan.setText(event.summary())
            self.status.say(f"Ready to run on {self._part}." if self._part else "Ready to run.")
        elif isinstance(event, TileDone | BlockSeparated):
            if isinstance(event, TileDone):
                self._tiles = event.done
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
            self._live.changed()
            if not self._live.layers:
                self._job.cancel()
        elif isinstance(event, Note):
            passing = isinstance(event, Stage)
            (self.status.say if passing else self.status.note)(event.message)
        elif isinstance(event, str):
            self.status.say(event)

    def _add_layers(self, prediction: Prediction) -> None:
        info, output = prediction.model.info, prediction.plan.output
        name = f"{self._made['source']} {output}"
        how = {**self._placement, "metadata": {RESULT: {**self._made, "partial": True}}}
        active = self._viewer.layers.selection.active
        if not self.form.cut():
            self._hidden = hide_earlier(self._viewer, self._made["source"])
        if output == "probabilities":
            classes = info.classes
            if info.task == "instances":
                classes = default_classes(3, ("background", "interior", "border"))
            layers = add_probability_layers(
                self._viewer,
                prediction.result,
                prediction.axes.index("C"),
                classes,
                name,
                how,
            )
        elif output == "instances":
            shown = in_levels(prediction.result)
            layers = [self._viewer.add_labels(shown, name=name, **how)]
        else:
            shown = in_levels(prediction.result)
            layers = [add_class_layer(self._viewer, shown, info.classes, name, how)]
        if self._source in self._viewer.layers:
            self._hidden += uncover(self._viewer, self._source)
        if isinstance(active, Labels) and not is_result(active):
            self._viewer.layers.selection.active = active
        self._live.watch(layers)

    def _on_end(self, outcome: str) -> None:
        done, written = self._tiles, self._work is not None and self._work.written
        self.progress.hide()
        self._set_running(False)
        self._live.redraw()
        layers = self._live.layers
        if outcome == "done":
            for layer in layers:
                layer.metadata[RESULT]["partial"] = False
            if layers:
                seconds = time.perf_counter() - self._begin
                found = _count_objects(layers[0])
                self.status.say(f"Done: {done} tile(s) in {seconds:.1f} s.{found}")
            return
        for layer in layers:
            if written:
                layer.name = f"{layer.name} (partial)"
            else:
                self._viewer.layers.remove(layer)
        if not written:
            for layer in self._hidden:
                layer.visible = True
        if outcome == "cancelled":
            kept = "; what is done is kept as a partial layer" if layers and written else ""
            self.status.say(f"Cancelled after {done} tile(s){kept}.")

    def _set_running(self, running: bool) -> None:
        self.run_button.setEnabled(not running)
        self.check_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)

    def _on_model(self) -> None:
        choice = self._shared.choice
        self.form.fit_to(choice.info.ndim if choice and choice.info else None)
        if choice is None:
            self.model.setText("<b>Model</b>: none yet; choose one in the Model dock")
        elif choice.info is None:
            self.model.setText(f"<b>Model</b>: {as_html(choice.title)}, not trained yet")
        else:
            self.model.setText(f"<b>Model</b>: {as_html(choice.title)} ({choice.info.ndim}D)")
            self._offer_result(choice.info.task)

    def _offer_result(self, task: str) -> None:
        """Propose what a model of this task is for, unless the last one was for the same."""
        if task != self._task:
            kind = "instances" if task == "instances" else "labels"
            self.form.output.setCurrentIndex(self.form.output.findData(kind))
        self._task = task

    def _copy(self, write: Any) -> None:
        layer, choice = self.form.image.layer, self._shared.choice
        if layer is None or choice is None or choice.info is None:
            self._complain("Choose a trained model and an image first.")
            return
        try:
            options = self.form.options()
        except SegzooError as error:
            self._complain(str(error))
            return
        axes = self.form.axes.currentText()
        files = RecipeFiles()
        model, image = files.model(choice), files.layer(layer, axes)
        target = f"{layer.name} {options.output}.tif"
        self.status.say(files.copy(write(model, image, target, axes, options)))

    def _complain(self, sentence: str) -> None:
        self.status.complain(sentence)
        show_error(sentence)


def _count_objects(layer: Layer) -> str:
    """Tell how many objects a result in memory holds; they are numbered without gaps."""
    objects = layer.metadata[RESULT]["options"]["output"] == "instances"
    if not objects or not isinstance(layer.data, np.ndarray):
        return ""
    return f" {int(layer.data.max(initial=0)):,} object(s) found."
