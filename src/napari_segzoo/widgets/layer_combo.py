"""Which layers of the viewer a dock works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from .forms import narrow

if TYPE_CHECKING:
    import napari

DRAWN_ON = "napari_segzoo_drawn_on"
"""Under this name the metadata of a drawing tell the identity of the image layer below it."""
RESULT = "napari_segzoo"
"""Under this name the metadata of a layer that a dock made tell how, from its beginning on."""


def is_result(layer: Layer) -> bool:
    """Whether a dock made this layer."""
    return RESULT in layer.metadata


def lowest(layers: Sequence[Layer]) -> Layer:
    """Return the lowest layer, one that no dock made if there is one."""
    return next((layer for layer in layers if not is_result(layer)), layers[0])


def topmost_drawn(layers: Sequence[Layer]) -> Layer | None:
    """Return the topmost visible layer that no dock made, if there is one."""
    drawn = (layer for layer in reversed(layers) if layer.visible and not is_result(layer))
    return next(drawn, None)


def topmost(layers: Sequence[Layer]) -> Layer:
    """Return the topmost layer."""
    return layers[-1]


class LayerCombo(QComboBox):
    """Drop-down of the viewer's layers of one type; follows the layer list.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose layers.
    kind : type
        Type of the layers offered.
    prefer : callable
        Chooses among the layers offered, or none of them, when none is shown yet. By default the
        selected one, or else the lowest that no dock made.

    Signals
    -------
    layer_changed()
        Another layer is shown, or the one shown has got data of another number of dimensions.
    """

    layer_changed = Signal()

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        kind: type[Layer],
        prefer: Callable[[Sequence[Layer]], Layer | None] | None = None,
    ) -> None:
        super().__init__()
        narrow(self)
        self._viewer = viewer
        self._kind = kind
        self._prefer = prefer or self._selected_or_lowest
        self._offered: list[Layer] = []
        self._shown: tuple[Layer | None, int] = (None, 0)
        self.refresh()
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self.refresh)
        self.currentIndexChanged.connect(self._announce)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers offered, from the lowest up."""
        return tuple(self._offered)

    @property
    def layer(self) -> Layer | None:
        """The layer shown."""
        n = self.currentIndex()
        return self._offered[n] if 0 <= n < len(self._offered) else None

    def set_layer(self, layer: Layer | None) -> None:
        """Show `layer`."""
        self.setCurrentIndex(-1 if layer is None else self._offered.index(layer))

    def refresh(self, event: object = None) -> None:
        """Take over layers that came or went; the one shown stays if it can."""
        if not isalive(self):
            return
        shown = self.layer
        self.blockSignals(True)
        self.clear()
        self._offered = [x for x in self._viewer.layers if isinstance(x, self._kind)]
        for layer in self._offered:
            self.addItem(layer.name)
            layer.events.name.connect(self._rename)
            layer.events.data.connect(self._announce)
        if self._offered:
            kept = shown if shown in self._offered else self._prefer(self._offered)
            self.setCurrentIndex(-1 if kept is None else self._offered.index(kept))
        self.blockSignals(False)
        self._announce()

    def _selected_or_lowest(self, layers: Sequence[Layer]) -> Layer:
        selected = self._viewer.layers.selection.active
        return selected if selected in layers and not is_result(selected) else lowest(layers)

    def _rename(self, event: object = None) -> None:
        if isalive(self):
            for n, layer in enumerate(self._offered):
                self.setItemText(n, layer.name)

    def _announce(self, event: object = None) -> None:
        if not isalive(self):
            return
        shown = self.layer, 0 if self.layer is None else self.layer.ndim
        if shown != self._shown:
            self._shown = shown
            self.layer_changed.emit()
