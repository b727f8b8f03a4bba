"""The form of the Run dock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLineEdit, QVBoxLayout, QWidget

from ..inference import PredictOptions
from ..inference.crop import format_region
from .forms import add_row, make_choice, make_collapsible, make_form
from .layer_combo import LayerCombo
from .layers import possible_axes
from .run_region import Ranges, RegionChoice

if TYPE_CHECKING:
    import napari

OUTPUTS = (
    ("Classes", "labels"),
    ("Separate objects", "instances"),
    ("Probabilities", "probabilities"),
)
PLANES = (("Slices along Z", "z"), ("Mean of slices along Z, Y and X", "zyx"))
PLANES_TIP = "How a 2D model sees a volume; three directions take three times as long"
CRF_TIP = "A fully connected CRF afterwards, some seconds per Mpx"
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
BLEND_TIP = "gaussian: smooth; exact: equal to one pass, slower; auto: exact for objects"


class RunForm(QWidget):
    """Asks for an image, the kind of result, and how to run."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.image = LayerCombo(viewer, Image)
        self.axes = make_choice(())
        self.region = RegionChoice(viewer)
        self.output = make_choice(OUTPUTS)
        self.tile = QLineEdit()
        self.tile.setPlaceholderText("auto")
        self.overlap = QDoubleSpinBox()
        self.overlap.setRange(-0.05, 0.95)
        self.overlap.setSingleStep(0.05)
        self.overlap.setValue(-0.05)
        self.overlap.setSpecialValueText("auto")
        self.blend = make_choice([(b, b) for b in ("auto", "gaussian", "exact")])
        self.device = make_choice([(d, d) for d in DEVICES])
        self.device.setEditable(True)
        self.precision = make_choice([(p, p) for p in PRECISIONS])
        self.mirror = QCheckBox("average over mirrored tiles")
        self.crf = QCheckBox("borders to edges in the image")
        self.planes = make_choice(PLANES)
        self._ndim: int | None = None
        self._lay_out()
        self.image.layer_changed.connect(self._offer_axes)
        self.axes.currentTextChanged.connect(self._offer_planes)
        self.planes.currentIndexChanged.connect(self._offer_crf)
        self._offer_axes()

    def fit_to(self, ndim: int | None) -> None:
        """Offer what a model of so many dimensions can do; None if there is no model yet."""
        self._ndim = ndim
        self._offer_planes()

    def options(self) -> PredictOptions:
        """Return what the form asks for.

        Raises
        ------
        InputError
            If the tile is neither "auto" nor numbers, or the part of the image is empty.
        """
        tile: Any = self.tile.text().strip().lower() or "auto"
        if re.fullmatch(r"\d+([\s,x×]+\d+)*", tile):
            numbers = tuple(int(n) for n in re.findall(r"\d+", tile))
            tile = numbers[0] if len(numbers) == 1 else numbers
        ranges = self.cut()
        return PredictOptions(
            output=self.output.currentData(),
            tile=tile,
            overlap=None if self.overlap.value() < 0 else round(self.overlap.value(), 2),
            blend=self.blend.currentData(),
            device=self.device.currentText().strip(),
            precision=self.precision.currentData(),
            tta=self.mirror.isChecked(),
            crf=self.crf.isEnabled() and self.crf.isChecked(),
            planes=self._planes(),
            region=format_region(ranges) if ranges else None,
        )

    def cut(self) -> Ranges:
        """Return start and stop along the axes that the part to segment is cut along."""
        layer = self.image.layer
        return {} if layer is None else self.region.ranges(layer, self.axes.currentText())

    def first(self) -> Ranges:
        """Return what is visible of a whole image, which is to appear first; {} for a part."""
        layer = self.image.layer
        if layer is None or self.cut():
            return {}
        return self.region.visible(layer, self.axes.currentText())

    def _lay_out(self) -> None:
        form = make_form()
        add_row(form, "Image", self.image, "The layer to segment")
        add_row(form, "Axes", self.axes, "T time, C channels, Z slices, Y rows, X columns")
        add_row(form, "Part", self.region, "The result is the same as that part of the whole")
        add_row(form, "Result", self.output, "One layer of classes, of objects, or one per class")
        options = make_form()
        add_row(options, "Tile", self.tile, "Voxels a side, such as 256 or 32, 128, 128")
        add_row(options, "Overlap", self.overlap, "Share of a tile that neighbours have in common")
        add_row(options, "Blend", self.blend, BLEND_TIP)
        add_row(options, "Device", self.device, "auto takes a GPU if there is one")
        add_row(options, "Precision", self.precision, "auto: 16 bits only where the labels stay")
        add_row(options, "Mirror", self.mirror, "Slower, a little more accurate")
        add_row(options, "Planes", self.planes, PLANES_TIP)
        add_row(options, "CRF", self.crf, CRF_TIP)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(
            make_collapsible(
                "Options", options, "Tiles, device and precision; auto is good in most cases"
            )
        )

    def _offer_axes(self) -> None:
        self.axes.clear()
        if self.image.layer is not None:
            self.axes.addItems(possible_axes(self.image.layer))
        self.axes.setEnabled(self.axes.count() > 1)

    def _planes(self) -> str:
        return self.planes.currentData() if self.planes.isEnabled() else "z"

    def _offer_planes(self) -> None:
        """Offer three directions where the model is 2D and the image a volume, or say why not."""
        reason = ""
        if self._ndim == 3:
            reason = "For 2D models only: this one is 3D and sees the whole volume anyway."
        elif "Z" not in self.axes.currentText():
            reason = "For volumes only: the image has no axis Z."
        _enable(self.planes, PLANES_TIP, reason)
        self._offer_crf()

    def _offer_crf(self) -> None:
        mean = self._planes() != "z"
        reason = "The CRF refines slices along Z only; choose these as planes to use it."
        _enable(self.crf, CRF_TIP, reason if mean else "")


def _enable(field: QWidget, tip: str, reason: str) -> None:
    """Enable a field, with `tip` for a tooltip, unless there is a reason not to, which it tells."""
    field.setEnabled(not reason)
    field.setToolTip(reason or tip)
