"""The model that all docks of one viewer work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

from ..errors import InputError
from ..model import ModelInfo, SegmentationModel, bundled_models, read_info
from ..zoo import get_spec

if TYPE_CHECKING:
    import napari


@dataclass(frozen=True)
class Choice:
    """What was chosen: a trained model, or a network that has to be trained first.

    Parameters
    ----------
    title : str
        Shown to the user.
    architecture : str
        Name of the network in the registry.
    info : ModelInfo or None
        None for a network without training.
    path : Path or None
        Where the model is stored; None as long as it is not saved.
    model : SegmentationModel or None
        The model itself where it is in memory already.
    """

    title: str
    architecture: str
    info: ModelInfo | None = None
    path: Path | None = None
    model: SegmentationModel | None = None

    @property
    def key(self) -> str:
        """Tells it from the other models of a session: its file, or its title."""
        return str(self.path or self.title)


class SharedModel(QObject):
    """Holds the choice of one viewer and tells the docks when it changes."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._choice: Choice | None = None
        self._trainings = 0
        self.own: dict[str, Choice] = {}
        """Models that were trained or loaded in this session, by key, the latest first."""

    @property
    def choice(self) -> Choice | None:
        """The present choice."""
        return self._choice

    def choose(self, choice: Choice | None) -> None:
        """Make `choice` the model of all docks; None is no model."""
        self._choice = choice
        if choice is not None and choice.info and choice.path not in bundled_models().values():
            others = {k: c for k, c in self.own.items() if k != choice.key}
            self.own = {choice.key: choice, **others}
        self.changed.emit()

    def replace(self, choice: Choice) -> None:
        """Make `choice` the model of all docks, in the place of the present one."""
        self.forget(self._choice)
        self.choose(choice)

    def forget(self, choice: Choice | None) -> None:
        """Do not offer a model any more."""
        if choice is not None:
            self.own.pop(choice.key, None)

    def title_of_training(self, name: str) -> str:
        """Return a title for a model that has been trained on `name`; no other one has it."""
        self._trainings += 1
        return f"{name} (training {self._trainings})"


def choose_file(path: Path) -> Choice:
    """Return the choice of the model in a file, which is not loaded yet.

    Raises
    ------
    InputError
        If it is no model of a network that is known.
    """
    info = read_info(path)
    get_spec(info.architecture)
    bundled = path in bundled_models().values()
    title = info.name if bundled and info.name else path.stem
    return Choice(title, info.architecture, info, path)


def load_choice(choice: Choice | None) -> SegmentationModel:
    """Return the chosen model, read from its file where needed; imports PyTorch.

    Raises
    ------
    InputError
        If nothing is chosen, or a network without training.
    """
    if choice is None:
        raise InputError("No model is chosen; choose one in the Model dock, or train one.")
    if choice.model is not None:
        return choice.model
    if choice.path is None:
        raise InputError(
            f"{choice.title} has not been trained yet; train it in the Train dock first."
        )
    return SegmentationModel.load(choice.path)


_BY_VIEWER: WeakKeyDictionary[napari.viewer.Viewer, SharedModel] = WeakKeyDictionary()


def unwrap(viewer: napari.viewer.Viewer) -> napari.viewer.Viewer:
    """Return the viewer itself where napari hands out a proxy of it."""
    return getattr(viewer, "__wrapped__", viewer)


def shared_model(viewer: napari.viewer.Viewer) -> SharedModel:
    """Return the one shared model of a viewer."""
    return _BY_VIEWER.setdefault(unwrap(viewer), SharedModel())
