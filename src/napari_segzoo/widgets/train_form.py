"""What the Train dock asks for besides images and labels."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QSpinBox, QVBoxLayout, QWidget
from superqt import QSearchableComboBox

from ..project import Project
from ..training.data import Labelling
from ..training.finetune import DEFAULT_BUDGET
from ..zoo import list_models
from .forms import add_row, make_choice, make_collapsible, make_form, narrow
from .run_form import DEVICES
from .shared_model import Choice, SharedModel


@dataclass(frozen=True)
class TrainSettings:
    """What the form asks for; see `finetune`.

    Parameters
    ----------
    start : Choice or None
        Trained model to start from.
    architecture : str
        Network to train from scratch otherwise.
    """

    start: Choice | None
    architecture: str
    task: str
    unlabeled: str
    budget: float | None
    steps: int | None
    ndim: int | None
    seed: int
    device: str


class TrainForm(QWidget):
    """Asks what to start from, when to stop, and how to train."""

    changed = Signal()

    def __init__(self, shared: SharedModel) -> None:
        super().__init__()
        self._shared = shared
        self.start = QSearchableComboBox()
        narrow(self.start)
        self.amount = QSpinBox()
        self.amount.setRange(1, 10_000_000)
        self.amount.setValue(round(DEFAULT_BUDGET))
        self.unit = make_choice((("seconds", "budget"), ("steps", "steps")))
        self.task = make_choice((("Classes", "semantic"), ("Separate objects", "instances")))
        self.unlabeled = make_choice((("is ignored", "ignore"), ("is background", "background")))
        self.ndim = make_choice((("auto", None), ("2D", 2), ("3D", 3)))
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.device = make_choice([(d, d) for d in DEVICES])
        self.device.setEditable(True)
        self._lay_out()
        self._offer_starts()
        shared.changed.connect(self._offer_starts)
        self.task.currentIndexChanged.connect(self.changed)
        self.unlabeled.currentIndexChanged.connect(self.changed)

    def labelling(self) -> Labelling:
        """Return what the values of the labels mean."""
        return Labelling(self.task.currentData(), self.unlabeled.currentData())

    def settings(self) -> TrainSettings:
        """Return what the form asks for."""
        architecture = self.start.currentData()
        amount = self.amount.value()
        seconds = self.unit.currentData() == "budget"
        return TrainSettings(
            start=None if architecture else self._shared.choice,
            architecture=architecture or "unet",
            task=self.task.currentData(),
            unlabeled=self.unlabeled.currentData(),
            budget=float(amount) if seconds else None,
            steps=None if seconds else amount,
            ndim=self.ndim.currentData(),
            seed=self.seed.value(),
            device=self.device.currentText().strip(),
        )

    def show_project(self, project: Project) -> None:
        """Show the options of a project."""
        unit = "steps" if project.steps is not None else "budget"
        amount = project.budget if project.steps is None else project.steps
        if project.model is None:
            self.start.setCurrentIndex(self.start.findData(project.architecture))
        for combo, value in (
            (self.unit, unit),
            (self.task, project.task),
            (self.unlabeled, project.unlabeled),
            (self.ndim, project.ndim),
        ):
            combo.setCurrentIndex(combo.findData(value))
        self.amount.setValue(round(amount or DEFAULT_BUDGET))
        self.seed.setValue(project.seed)
        self.device.setCurrentText(project.device)

    def _lay_out(self) -> None:
        stop = QWidget()
        row = QHBoxLayout(stop)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.amount, 1)
        row.addWidget(self.unit, 1)
        form = make_form()
        add_row(form, "Start from", self.start, "A trained model, or a network that knows nothing")
        add_row(form, "Find", self.task, "Classes of voxels, or objects numbered 1, 2, 3, …")
        add_row(form, "Stop after", stop, "Stop earlier at any time and keep the best model so far")
        options = make_form()
        add_row(options, "Not drawn", self.unlabeled, "Whether 0 in the labels is background")
        add_row(options, "Network", self.ndim, "auto: 3D if the image has slices (Z)")
        add_row(options, "Seed", self.seed, "The same seed and steps give the same model on a CPU")
        add_row(options, "Device", self.device, "auto takes a GPU if there is one")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(make_collapsible("Options", options))

    def _offer_starts(self) -> None:
        choice = self._shared.choice
        self.start.clear()
        if choice is not None and choice.info is not None:
            self.start.addItem(choice.title, "")
        for spec in list_models():
            self.start.addItem(f"new {spec.title}", spec.name)
        if choice is not None and choice.info is None:
            self.start.setCurrentIndex(self.start.findData(choice.architecture))
