"""The Model dock: choose a model, see what it is, load and save it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QFrame, QLineEdit, QWidget

from ..errors import SegzooError
from ..model import bundled_models, find_model, read_info
from ..zoo import get_spec, list_models
from ..zoo.facts import parse_tile
from .description import describe
from .dock import Dock, make_dock_body
from .forms import StatusLine, add_row, make_button, make_form, make_row, make_text
from .save_dialog import ask_target, with_ending
from .search_combo import SearchCombo
from .shared_model import Choice, choose_file, load_choice, shared_model, unwrap

if TYPE_CHECKING:
    import napari

KIND = "Models"
ENDING = ".safetensors"


class ModelDock(Dock):
    """Chooses the model that all docks of the viewer work with."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._shared = shared_model(unwrap(viewer))
        self.choices = SearchCombo()
        self.choices.setToolTip("Trained models first, then networks to be trained; type to search")
        self.load_button = make_button("Load…", "Open a model file", self._ask_file)
        self.save_button = make_button("Save as…", "Save the model as one file", self._ask_target)
        self.status = StatusLine()
        self.details = make_text()
        self.tile = QLineEdit()
        self.tile.setPlaceholderText("512, 512 or 64, 128, 128")
        self.tile_row = QWidget()
        form = make_form()
        add_row(form, "Tile", self.tile, "Voxels a side of the tile whose cost is shown")
        self.tile_row.setLayout(form)
        column = make_dock_body(self)
        column.addWidget(self.choices)
        column.addLayout(make_row(self.load_button, self.save_button))
        column.addWidget(_separator())
        column.addWidget(self.status)
        column.addWidget(self.details)
        column.addWidget(self.tile_row)
        self._fill_choices()
        self.choices.activated.connect(self._choose_shown)
        self.choices.nothing_found.connect(self._say_nothing_found)
        self.tile.editingFinished.connect(self._describe)
        self._shared.changed.connect(self._show_choice)
        self._show_choice()

    def load(self, path: str | Path) -> None:
        """Choose the model in a file."""
        try:
            choice = choose_file(Path(path))
        except SegzooError as error:
            self._complain(error)
            return
        self._shared.choose(choice)

    def save(self, path: str | Path) -> None:
        """Save the chosen model; the user has agreed to overwrite what is there."""
        path = with_ending(Path(path), [ENDING])
        choice = self._shared.choice
        try:
            load_choice(choice).save(path, overwrite=True)
        except SegzooError as error:
            self._complain(error)
            return
        self._shared.replace(Choice(path.stem, choice.architecture, choice.info, path))
        self.status.say(f"Saved as {path}.")

    def choose(self, title: str) -> None:
        """Choose an entry of the drop-down by what it shows."""
        self.choices.setCurrentIndex(self.choices.findText(title))
        self._choose_shown()

    def _fill_choices(self) -> None:
        self.choices.offer("Choose a model…", None)
        for name, path in bundled_models().items():
            self.choices.offer(f"{name} (trained)", ("model", name), read_info(path).description)
        for spec in list_models():
            title = f"{spec.title} · {spec.name}"
            self.choices.offer(title, ("network", spec.name), f"{spec.family} {spec.reference}")

    def _say_nothing_found(self, typed: str) -> None:
        self.status.say(f"No model or network matches {typed!r}.")

    def _choose_shown(self) -> None:
        entry = self.choices.currentData()
        if entry is None:
            return
        kind, name = entry
        if kind == "model":
            self.load(find_model(name))
        elif kind == "own":
            self._shared.choose(self._shared.own[name])
        elif kind == "network":
            self._shared.choose(Choice(get_spec(name).title, name))

    def _show_choice(self) -> None:
        choice = self._shared.choice
        self.tile_row.setVisible(choice is not None and choice.info is None)
        self._describe()
        self.save_button.setEnabled(choice is not None and choice.info is not None)
        self._show_in_drop_down(choice)

    def _describe(self) -> None:
        choice = self._shared.choice
        if choice is None:
            self.details.clear()
            self.status.say("Choose a model, load one from a file, or train one in the Train dock.")
            return
        untrained = "This network is not trained yet: draw and train it in the Train dock."
        self.status.say("" if choice.info else untrained)
        try:
            self.details.setText(describe(choice, parse_tile(self.tile.text())))
        except SegzooError as error:
            self.details.setText(describe(choice))
            self.status.complain(str(error))

    def _show_in_drop_down(self, choice: Choice | None) -> None:
        for n in reversed(range(1, self.choices.count())):
            if self.choices.itemData(n)[0] == "own":
                self.choices.removeItem(n)
        for n, own in enumerate(self._shared.own.values()):
            self.choices.insertItem(1 + n, own.title, ("own", own.key))
        if choice is None:
            self.choices.setCurrentIndex(0)
            return
        entry = ("network", choice.architecture)
        if choice.info is not None:
            bundled = {path: name for name, path in bundled_models().items()}
            name = bundled.get(choice.path) if choice.path else None
            entry = ("model", name) if name else ("own", choice.key)
        texts = range(self.choices.count())
        self.choices.setCurrentIndex(next(n for n in texts if self.choices.itemData(n) == entry))

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load a model", "", f"{KIND} (*{ENDING})")
        if path:
            self.load(path)

    def _ask_target(self) -> None:
        choice = self._shared.choice
        name = choice.title.replace("/", "_") if choice else "model"
        path = ask_target(self, "Save the model", f"{name}{ENDING}", {KIND: ENDING})
        if path is not None:
            self.save(path)

    def _complain(self, error: SegzooError) -> None:
        self.status.complain(str(error))
        show_error(str(error))


def _separator() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return line
