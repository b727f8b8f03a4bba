"""The form of the Metrics dock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Shapes
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QSpinBox, QVBoxLayout, QWidget

from ..errors import InputError
from ..metrics import Pair, Placement, make_pair
from .forms import add_row, make_choice, make_collapsible, make_form, make_text
from .layer_combo import LayerCombo, topmost
from .layers import full_array, place_events, same_place
from .score_choice import ProposedTask, holds_objects, make_layer_choices
from .score_pair import inside_shapes, placement_of, visible_part

if TYPE_CHECKING:
    import napari

CONVERT = "; an image layer becomes one by Convert to Labels in its menu (right click)"
FITS = (
    ("Voxel by voxel", ""),
    ("Crop to what both cover", "crop"),
    ("Resample the prediction", "resample"),
)
REGIONS = (
    ("Whole image", "whole"),
    ("Visible region", "visible"),
    ("Inside shapes", "shapes"),
    ("Inside shapes, all slices", "through"),
)


@dataclass(frozen=True)
class Compared:
    """Two layers as they are compared.

    Parameters
    ----------
    reference, prediction : Labels
        The layers.
    pair : Pair
        The part of their data that counts.
    placement : Placement or None
        Where the prediction lies, if it was cropped or resampled by that.
    spacing : tuple of float
        Voxel size of the reference.
    note : str
        What the user should know about how the layers fit.
    """

    reference: Labels
    prediction: Labels
    pair: Pair
    placement: Placement | None
    spacing: tuple[float, ...]
    note: str

    @property
    def image(self) -> str:
        """Name of what was compared: the reference, and its part."""
        part = self.pair.settings.get("region")
        inside = ", inside shapes" if "mask" in self.pair.settings else ""
        return f"{self.reference.name} [{part}{inside}]" if part else self.reference.name


class ScoreForm(QWidget):
    """Asks what to compare, and how.

    Signals
    -------
    layers_changed()
        Another layer or region was chosen.
    changed()
        Anything in the form, or the place of a layer, is another now.
    """

    layers_changed = Signal()
    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.reference, self.prediction = make_layer_choices(viewer)
        self.task = ProposedTask()
        self.fit = make_choice(FITS)
        self.region = make_choice(REGIONS)
        self.shapes = LayerCombo(viewer, Shapes, topmost)
        self.follow = QCheckBox("measure again on change")
        self.ignore = QSpinBox()
        self.ignore.setRange(-1, 2**31 - 1)
        self.ignore.setValue(-1)
        self.ignore.setSpecialValueText("nothing")
        self.tolerance = QDoubleSpinBox()
        self.tolerance.setRange(-1, 1e9)
        self.tolerance.setDecimals(3)
        self.tolerance.setValue(-1)
        self.tolerance.setSpecialValueText("one voxel")
        self.centreline = QCheckBox("for vessels and other tubes")
        self.spacing = make_text()
        self._lay_out()
        self._connect()
        self._on_layers()

    @property
    def ignored(self) -> int | None:
        """The reference label that does not count."""
        return None if self.ignore.value() < 0 else self.ignore.value()

    def compared(self) -> Compared:
        """Return what is to be compared; reads no data.

        Raises
        ------
        InputError
            If layers are missing or do not fit.
        """
        reference, prediction = self.reference.layer, self.prediction.layer
        if reference is None or prediction is None or reference is prediction:
            few = "" if len(self.reference.layers) > 1 else CONVERT
            raise InputError(
                f"Choose two different labels layers, one as reference, one as prediction{few}."
            )
        fit = self.fit.currentData() or None
        moved = reference.ndim == prediction.ndim and not same_place(reference, prediction)
        by_place = fit == "crop" or (fit == "resample" and moved)
        if by_place and reference.ndim == prediction.ndim:
            placement = placement_of(reference, prediction)
        else:
            placement = None
        region, mask = self._part(reference)
        pair = make_pair(
            full_array(reference),
            full_array(prediction),
            fit=fit,
            placement=placement,
            region=region,
            mask=mask,
            ignore=self.ignored,
        )
        note = ""
        if fit is None and moved:
            note = (
                f"{prediction.name} has another scale or position than {reference.name}; voxels "
                "were compared one by one, with the voxel size of the reference."
            )
        elif fit is not None:
            note = f"Compared {' × '.join(map(str, pair.reference.shape))} voxels."
        return Compared(reference, prediction, pair, placement, voxel_size(reference), note)

    def options(self) -> dict[str, Any]:
        """Return the options of `evaluate` that the form asks for."""
        tolerance = self.tolerance.value()
        return {
            "task": self.task.currentData(),
            "tolerance": None if tolerance < 0 else tolerance,
            "centreline": self.centreline.isChecked() and self.task.currentData() == "semantic",
        }

    def watched(self) -> list[Any]:
        """Return the layers on which a measurement depends."""
        layers = [self.reference.layer, self.prediction.layer]
        if self._by_shapes():
            layers.append(self.shapes.layer)
        return [layer for layer in layers if layer is not None]

    @property
    def by_view(self) -> bool:
        """Whether a measurement depends on what the viewer shows."""
        return self.region.currentData() == "visible"

    def _part(self, reference: Labels) -> tuple[Any, Any]:
        """Return region and mask."""
        if self.by_view:
            return visible_part(self._viewer, reference), None
        if not self._by_shapes():
            return None, None
        if self.shapes.layer is None:
            raise InputError("There is no shapes layer; add one and draw what is to be measured.")
        through = self.region.currentData() == "through"
        return inside_shapes(self.shapes.layer, reference, through)

    def _by_shapes(self) -> bool:
        return self.region.currentData() in ("shapes", "through")

    def _lay_out(self) -> None:
        self._form = form = make_form()
        add_row(form, "Reference", self.reference, "What is right")
        add_row(form, "Prediction", self.prediction, "What is scored")
        add_row(form, "Compare", self.task, "Classes by value; objects matched by overlap")
        add_row(form, "Region", self.region, "What part of the reference is measured")
        add_row(form, "Shapes", self.shapes, "Rectangles, ellipses and polygons")
        add_row(
            form,
            "Fit",
            self.fit,
            "If the layers differ in shape, scale or position: crop both to what they share, or "
            "take for each voxel of the reference the nearest one of the prediction, by position "
            "or, if both have the same scale and position, stretched over the whole reference",
        )
        add_row(form, "Follow", self.follow, "Layers, shapes or the view")
        more = make_form()
        add_row(more, "Ignore", self.ignore, "Reference value whose voxels do not count")
        add_row(more, "Tolerance", self.tolerance, "Distance that surface Dice (nsd) forgives")
        add_row(more, "Centreline", self.centreline, "Also take centreline Dice (clDice)")
        add_row(more, "Voxel size", self.spacing, "From the scale of the reference layer")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(
            make_collapsible("Options", more, "What does not count, tolerance, and voxel size")
        )

    def _connect(self) -> None:
        for combo in (self.reference, self.prediction, self.shapes):
            combo.layer_changed.connect(self._on_layers)
        self.region.currentIndexChanged.connect(self._on_layers)
        for choice in (self.task, self.fit):
            choice.currentIndexChanged.connect(self.changed)
        for number in (self.ignore, self.tolerance):
            number.valueChanged.connect(self.changed)

    def _on_layers(self) -> None:
        for part in (self.shapes, self._form.labelForField(self.shapes)):
            part.setVisible(self._by_shapes())
        layers = [x for x in (self.reference.layer, self.prediction.layer) if x is not None]
        for layer in layers:
            for event in place_events(layer):
                event.connect(self._show_place)
        self.task.propose("instances" if any(map(holds_objects, layers)) else "semantic")
        self._show_place()
        self.layers_changed.emit()

    def _show_place(self, event: object = None) -> None:
        """Show the voxel size, and offer a fit where the layers need one."""
        if isalive(self):
            self.spacing.setText(_size_text(self.reference.layer))
            self.fit.setEnabled(not self._fits())
            if not self.fit.isEnabled():
                self.fit.setCurrentIndex(0)
            self.changed.emit()

    def _fits(self) -> bool:
        """Whether voxels can be compared one by one."""
        reference, prediction = self.reference.layer, self.prediction.layer
        if reference is None or prediction is None or reference.ndim != prediction.ndim:
            return True
        shapes = [tuple(full_array(layer).shape) for layer in (reference, prediction)]
        return shapes[0] == shapes[1] and same_place(reference, prediction)


def voxel_size(layer: Labels) -> tuple[float, ...]:
    """Return the scale of a layer, without signs."""
    return tuple(abs(float(s)) for s in layer.scale)


def _size_text(layer: Labels | None) -> str:
    if layer is None:
        return ""
    return f"{' × '.join(f'{s:g}' for s in voxel_size(layer))} {layer.units[-1]}"
