"""What the Train dock asks for besides images and labels."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from ..project import Project
from ..training.data import Labelling
from ..training.finetune import DEFAULT_BUDGET
from ..training.job import LOSS_NAMES, TUNES, FinetuneOptions
from ..zoo.option_text import format_options, parse_options
from .forms import add_row, make_choice, make_collapsible, make_form
from .run_form import DEVICES
from .shared_model import Choice, SharedModel
from .start_combo import StartCombo

TUNE_TEXTS = {
    "all": "all weights",
    "decoder": "the decoder",
    "norm": "normalisation layers",
    "low-rank": "all, by low-rank updates",
}
HELD_OUT = 0.2
"""Share of the strokes that are held out, if the project in hand does not say another."""


class TrainForm(QWidget):
    """Asks what to start from, when to stop, and how to train."""

    changed = Signal()

    def __init__(self, shared: SharedModel) -> None:
        super().__init__()
        self.start = StartCombo(shared)
        self._axes = ""
        self.amount = QSpinBox()
        self.amount.setRange(1, 10_000_000)
        self.amount.setValue(round(DEFAULT_BUDGET))
        self.unit = make_choice((("seconds", "budget"), ("steps", "steps")))
        self.task = make_choice((("Classes", "semantic"), ("Separate objects", "instances")))
        self.unlabeled = make_choice((("is ignored", "ignore"), ("is background", "background")))
        self.tune = make_choice([(TUNE_TEXTS[t], t) for t in TUNES])
        self.hold_out = QCheckBox("Hold out some strokes for a score")
        self.hold_out.setChecked(True)
        self._hold_out_by(HELD_OUT)
        self._validated = False
        self.loss = make_choice([(name.replace("_", " "), name) for name in LOSS_NAMES])
        self.ndim = make_choice((("auto", None), ("2D", 2), ("3D", 3)))
        self.network = QLineEdit()
        self.network.setPlaceholderText("as published")
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.device = make_choice([(d, d) for d in DEVICES])
        self.device.setEditable(True)
        self._lay_out()
        self._enable()
        shared.changed.connect(self._enable)
        self.start.currentIndexChanged.connect(self._on_start)
        self.task.currentIndexChanged.connect(self._suggest)
        for combo in (self.task, self.unlabeled):
            combo.currentIndexChanged.connect(self._enable)
            combo.currentIndexChanged.connect(self.changed)

    def labelling(self) -> Labelling:
        """Return what the values of the labels mean."""
        return Labelling(self.task.currentData(), self.unlabeled.currentData())

    def choice(self) -> Choice | None:
        """Return the trained model to start from; None for a new network."""
        return self.start.base

    def options(self) -> FinetuneOptions:
        """Return how to train.

        Raises
        ------
        InputError
            If the options of the network are not as in ``widths=[16,32] norm=group``.
        """
        amount = self.amount.value()
        seconds = self.unit.currentData() == "budget"
        new = self.choice() is None
        held_out = self.hold_out.isEnabled() and self.hold_out.isChecked()
        return FinetuneOptions(
            architecture=self.start.architecture,
            architecture_options=parse_options(self.network.text()) if new else {},
            ndim=self.ndim.currentData() if new else None,
            task=self.task.currentData(),
            unlabeled=self.unlabeled.currentData(),
            budget=float(amount) if seconds else None,
            steps=None if seconds else amount,
            seed=self.seed.value(),
            device=self.device.currentText().strip(),
            loss=self.loss.currentData(),
            tune="all" if new else self.tune.currentData(),
            hold_out=self._share if held_out else 0.0,
        )

    def follow(self, axes: str) -> None:
        """Note the axes of the images."""
        self._axes = axes
        self._suggest()

    def validate(self, on: bool) -> None:
        """Note whether there are validation images, which leave no need to hold out strokes."""
        self._validated = on
        self._enable()

    def show_project(self, project: Project) -> None:
        """Show the options of a project."""
        options = project.options
        if project.model is None:
            self.start.choose(options.architecture)
        for combo, value in (
            (self.unit, "budget" if options.steps is None else "steps"),
            (self.task, options.task),
            (self.unlabeled, options.unlabeled),
            (self.ndim, options.ndim),
            (self.loss, options.loss),
            (self.tune, options.tune),
        ):
            combo.setCurrentIndex(combo.findData(value))
        self.amount.setValue(round(options.steps or options.budget or DEFAULT_BUDGET))
        self.seed.setValue(options.seed)
        self.device.setCurrentText(options.device)
        self.network.setText(format_options(options.architecture_options))
        strokes = Labelling(options.task, options.unlabeled).sparse
        if strokes and not project.validation_images:
            self.hold_out.setChecked(options.hold_out > 0)
        self._hold_out_by(options.hold_out or HELD_OUT)

    def _hold_out_by(self, share: float) -> None:
        """Take a share of the strokes, and tell it."""
        self._share = share
        self.hold_out.setToolTip(
            f"{100 * share:.0f}% of the strokes of each class that has enough separate ones are "
            "not trained on; the model is scored on them"
        )

    def _lay_out(self) -> None:
        stop = QWidget()
        row = QHBoxLayout(stop)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.amount, 1)
        row.addWidget(self.unit, 1)
        form = make_form()
        add_row(
            form, "Start from", self.start, "A trained model, which learns from less, or a new one"
        )
        add_row(form, "Find", self.task, "Classes of voxels, or objects numbered 1, 2, 3, …")
        add_row(form, "Stop after", stop, "Stop earlier at any time and keep the best model so far")
        options = make_form()
        add_row(options, "Not drawn", self.unlabeled, "Whether 0 in the labels is background")
        add_row(options, "Change", self.tune, "What the training may change of a trained model")
        add_row(options, "Loss", self.loss, "What the training minimises")
        add_row(
            options, "2D or 3D", self.ndim, "Of a new network; auto: 3D if the image has slices (Z)"
        )
        add_row(options, "Network", self.network, "Options of a new one, such as widths=[8,16]")
        add_row(options, "Seed", self.seed, "The same seed and steps give the same model on a CPU")
        add_row(options, "Device", self.device, "auto takes a GPU if there is one")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(self.hold_out)
        column.addWidget(
            make_collapsible("Options", options, "How to train; what is set is good in most cases")
        )

    def _on_start(self) -> None:
        self.network.clear()
        self._enable()

    def _enable(self) -> None:
        """Offer what has an effect."""
        new = self.choice() is None
        self.tune.setEnabled(not new)
        self.ndim.setEnabled(new)
        self.network.setEnabled(new)
        self.hold_out.setEnabled(self.labelling().sparse and not self._validated)

    def _suggest(self) -> None:
        """Suggest the bundled model that is made for such a training."""
        if "Z" in self._axes:
            self.start.suggest("generalist-3d")
        elif self.task.currentData() == "instances":
            self.start.suggest("nuclei")
        else:
            self.start.suggest("generalist-2d")
