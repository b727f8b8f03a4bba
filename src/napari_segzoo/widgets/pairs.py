"""Pairs of an image layer and the labels drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from ..errors import InputError, SegzooError
from ..model import DRAWING_PALETTE
from .forms import add_row, make_button, make_choice, make_form, make_row
from .layer_combo import DRAWN_ON, LayerCombo, is_result, topmost_drawn
from .layers import check_axes, full_array, label_shape, possible_axes, result_transform
from .uncover import uncover
from .visible import go_to

if TYPE_CHECKING:
    import napari

BRUSH_SHARE = 60
"""A new brush is this part of the shorter side of the image."""
NO_IMAGE = "There is no image layer; open an image first."


class PairRow(QWidget):
    """Asks for one image and its labels."""

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.image = LayerCombo(viewer, Image)
        self.labels = LayerCombo(viewer, Labels, self._drawn_on_it)
        form = make_form()
        add_row(form, "Image", self.image, "The image that was drawn on")
        add_row(form, "Labels", self.labels, "What was drawn: 1 background, 2, 3, … classes")
        self.setLayout(form)
        self.validation = QCheckBox("For validation only")
        self.validation.setToolTip("Not learnt from; the model that does best on it is kept")
        form.addRow("", self.validation)
        self.validation.hide()
        self.validation.toggled.connect(self.changed)
        self.image.layer_changed.connect(self._show_its_drawing)
        self.image.layer_changed.connect(self.changed)
        self.labels.layer_changed.connect(self.changed)

    def _show_its_drawing(self) -> None:
        """Show what was drawn on the image shown, and nothing that was drawn on another one."""
        shown, image = self.labels.layer, self.image.layer
        if image is None:
            return
        own = [x for x in self.labels.layers if x.metadata.get(DRAWN_ON) == image.unique_id]
        if own and shown not in own:
            self.labels.set_layer(own[-1])
        elif shown is not None and not self._fits(shown):
            self.labels.set_layer(None)

    def _drawn_on_it(self, layers: Sequence[Layer]) -> Layer | None:
        return topmost_drawn([layer for layer in layers if self._fits(layer)])

    def _fits(self, labels: Layer) -> bool:
        others = [x.unique_id for x in self.image.layers if x is not self.image.layer]
        return labels.metadata.get(DRAWN_ON) not in others


class PairList(QWidget):
    """One pair, or as many as the user adds; the axes of the first image hold for all.

    Signals
    -------
    changed()
        Other images, labels or axes are shown.
    complained(str)
        Something to show the user.
    """

    changed = Signal()
    complained = Signal(str)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.rows: list[PairRow] = []
        self.axes = make_choice(())
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 0, 0)
        self._remove = make_button("Remove pair", "Take the last pair out", self.remove_pair)
        form = make_form()
        add_row(form, "Axes", self.axes, "T time, C channels, Z slices, Y rows, X columns")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(self._column)
        whole.addLayout(form)
        whole.addWidget(
            make_button("New labels layer", "Make an empty layer to draw in", self.add_labels)
        )
        whole.addLayout(
            make_row(
                make_button("Add pair", "Train on one more image", self.add_pair), self._remove
            )
        )
        self.add_pair()
        self.axes.currentIndexChanged.connect(self.changed)

    def pairs(self, validation: bool = False) -> list[tuple[Image | None, Labels | None]]:
        """Return what the rows show: those to train on, or those for validation."""
        rows = [row for row in self.rows if row.validation.isChecked() == validation]
        return [(row.image.layer, row.labels.layer) for row in rows]

    def complete(self, validation: bool = False) -> list[tuple[Image, Labels]]:
        """Return what the rows show: those to train on, or those for validation.

        Raises
        ------
        InputError
            If an image or its labels are missing, there is none to train on, or the axes do not
            fit an image.
        """
        pairs = self.pairs(validation)
        if not pairs and not validation:
            raise InputError("All images are for validation only; train on at least one.")
        if any(image is None for image, _ in pairs):
            raise InputError(NO_IMAGE)
        for image, _ in pairs:
            check_axes(image, self.axes.currentText())
        if any(labels is None for _, labels in pairs):
            raise InputError("There is no labels layer; press New labels layer and paint.")
        return pairs

    def show_images(self, layers: Sequence[Image], axes: str, validated: int = 0) -> None:
        """Show these images in as many rows, the last `validated` for validation."""
        while len(self.rows) < len(layers):
            self.add_pair()
        while len(self.rows) > len(layers):
            self.remove_pair()
        for n, (row, layer) in enumerate(zip(self.rows, layers, strict=True)):
            row.image.set_layer(layer)
            row.validation.setChecked(n >= len(layers) - validated)
        self.axes.setCurrentIndex(max(0, self.axes.findText(axes)))

    def add_pair(self) -> None:
        """Ask for one more pair."""
        row = PairRow(self._viewer)
        shown = [other.image.layer for other in self.rows]
        if row.image.layer in shown:
            others = [x for x in row.image.layers if x not in shown and not is_result(x)]
            if others:
                row.image.set_layer(others[0])
        row.changed.connect(self._on_change)
        self.rows.append(row)
        self._column.addWidget(row)
        self._on_change()

    def remove_pair(self) -> None:
        """Take out the last pair; the layers stay."""
        row = self.rows.pop()
        self._column.removeWidget(row)
        row.deleteLater()
        self._on_change()

    def add_labels(self) -> Labels | None:
        """Add an empty labels layer over the last image, ready to be painted, or tell why not.

        If one is there on which nothing is drawn yet, it is that one.
        """
        row = self.rows[-1]
        try:
            layer = self._empty_drawing(row)
            if layer is None:
                layer = self.add_drawing(row, self._nothing_drawn(row.image.layer))
        except SegzooError as error:
            self.complained.emit(str(error))
            return None
        uncover(self._viewer, row.image.layer)
        self._viewer.layers.selection.active = layer
        return layer

    def _empty_drawing(self, row: PairRow) -> Labels | None:
        image, layer = row.image.layer, row.labels.layer
        if image is None or layer is None or DRAWN_ON not in layer.metadata:
            return None
        data = full_array(layer)
        fits = tuple(data.shape) == label_shape(image, self.axes.currentText())
        return layer if fits and not np.any(data) else None

    def _nothing_drawn(self, image: Image | None) -> NDArray:
        if image is None:
            raise InputError(NO_IMAGE)
        shape = label_shape(image, self.axes.currentText())
        try:
            return np.zeros(shape, np.uint16)
        except MemoryError as error:
            raise InputError(
                f"Labels for all of {image.name}, {' × '.join(map(str, shape))} voxels, do not "
                "fit into memory; save a part of the image and draw on that."
            ) from error

    def add_drawing(self, row: PairRow, drawn: NDArray) -> Labels:
        """Add a labels layer over the image of a row, ready to be painted, and take it there."""
        image = row.image.layer
        layer = self._viewer.add_labels(
            drawn,
            name=f"{image.name} drawn",
            colormap=CyclicLabelColormap(colors=DRAWING_PALETTE),
            metadata={DRAWN_ON: image.unique_id},
            **result_transform(image, self.axes.currentText()),
        )
        layer.brush_size = max(3, min(drawn.shape[-2:]) // BRUSH_SHARE)
        layer.selected_label = 1
        layer.mode = "paint"
        row.labels.set_layer(layer)
        if drawn.ndim > 2 and drawn.any():
            somewhere = np.unravel_index(np.argmax(drawn != 0), drawn.shape)
            go_to(self._viewer, layer, somewhere, centre=False)
        return layer

    def _on_change(self) -> None:
        several = len(self.rows) > 1
        self._remove.setEnabled(several)
        for row in self.rows:
            row.validation.setVisible(several)
            row.validation.setChecked(several and row.validation.isChecked())
        image = self.rows[0].image.layer
        offered = [] if image is None else possible_axes(image)
        if offered != [self.axes.itemText(n) for n in range(self.axes.count())]:
            self.axes.clear()
            self.axes.addItems(offered)
        self.axes.setEnabled(len(offered) > 1)
        self.changed.emit()
