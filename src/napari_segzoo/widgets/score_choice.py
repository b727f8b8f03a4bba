"""What the Metrics dock proposes to compare, until the user chooses by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Labels, Layer
from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox

from ..io.files import STROKES
from .forms import narrow
from .layer_combo import DRAWN_ON, RESULT, LayerCombo, is_result
from .layers import path_of
from .score_pair import class_names

if TYPE_CHECKING:
    import napari

STROKES_NAME = re.compile(r"(.* )?(drawn|strokes)( \[\d+\])?")
"""Names of saved drawings, of sample strokes, and of copies of drawings."""
TASKS = (("Classes", "semantic"), ("Separate objects", "instances"))


def is_strokes(layer: Layer) -> bool:
    """Whether a layer was drawn for a training."""
    saved = (path_of(layer) or "").endswith(STROKES)
    return saved or DRAWN_ON in layer.metadata or STROKES_NAME.fullmatch(layer.name) is not None


def holds_objects(layer: Layer) -> bool:
    """Whether a dock made a layer in which each object has its own number."""
    made = layer.metadata.get(RESULT, {})
    by_run = made.get("options", {}).get("output") == "instances"
    return by_run or ("preview" in made and class_names(layer) is None)


def propose(
    layers: Sequence[Layer], reference: Layer | None = None, prediction: Layer | None = None
) -> dict[str, Layer | None]:
    """Return a reference and a prediction among some labels layers, the lowest first.

    The newest result is scored, or else the topmost other layer. Strokes are never taken as
    reference, a result only where the user scores a layer that is none.

    Parameters
    ----------
    layers : sequence of Layer
        All labels layers.
    reference, prediction : Layer, optional
        What the user has chosen.
    """
    made = [x for x in layers if is_result(x) and "errors" not in x.metadata[RESULT]]
    own = [x for x in layers if not is_result(x) and not is_strokes(x)]
    strokes = [x for x in layers if not is_result(x) and is_strokes(x)]
    if reference is None:
        others = (*own, *reversed(made)) if prediction in own else own
        reference = next((x for x in others if x is not prediction), None)
    if prediction is None:
        offered = (*reversed(made), *reversed(own), *reversed(strokes))
        prediction = next((x for x in offered if x is not reference), None)
    return {"reference": reference, "prediction": prediction}


class ProposedLayer(LayerCombo):
    """Drop-down of labels layers; what it proposes is chosen anew when layers come or go.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose layers.
    role : {"reference", "prediction"}
        What the layer is for.
    by_hand : dict of str to Layer
        What the user has chosen for either role, common to both drop-downs.

    Signals
    -------
    chosen()
        The user has chosen a layer.
    """

    chosen = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, role: str, by_hand: dict[str, Layer]) -> None:
        self._role = role
        self._by_hand = by_hand
        super().__init__(viewer, Labels, lambda layers: propose(layers, **by_hand)[role])
        self.currentIndexChanged.connect(self._note)
        self.activated.connect(self._note)

    def set_layer(self, layer: Layer) -> None:
        """Show `layer`, as if the user had chosen it."""
        super().set_layer(layer)
        self._note()

    def refresh(self, event: object = None) -> None:
        """Take over layers that came or went, and propose one unless the user has chosen."""
        if not isalive(self):
            return
        for role, layer in tuple(self._by_hand.items()):
            if layer not in self._viewer.layers:
                del self._by_hand[role]
        if self._role not in self._by_hand and getattr(event, "type", "") != "reordered":
            with QSignalBlocker(self):
                self.setCurrentIndex(-1)
        super().refresh(event)

    def _note(self, index: int = 0) -> None:
        if self.layer is not None:
            self._by_hand[self._role] = self.layer
            self.chosen.emit()


def make_layer_choices(viewer: napari.viewer.Viewer) -> tuple[ProposedLayer, ProposedLayer]:
    """Return drop-downs for reference and prediction; neither proposes what the other shows."""
    by_hand: dict[str, Layer] = {}
    reference = ProposedLayer(viewer, "reference", by_hand)
    prediction = ProposedLayer(viewer, "prediction", by_hand)
    reference.chosen.connect(prediction.refresh)
    prediction.chosen.connect(reference.refresh)
    return reference, prediction


class ProposedTask(QComboBox):
    """Drop-down of what can be compared."""

    def __init__(self) -> None:
        super().__init__()
        narrow(self)
        for text, task in TASKS:
            self.addItem(text, task)
        self._by_hand = False
        self.currentIndexChanged.connect(self._note)
        self.activated.connect(self._note)

    def propose(self, task: str) -> None:
        """Show a task unless the user has chosen one."""
        if not self._by_hand:
            with QSignalBlocker(self):
                self.setCurrentIndex(self.findData(task))

    def _note(self, index: int) -> None:
        self._by_hand = True
