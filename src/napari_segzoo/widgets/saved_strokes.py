"""Strokes that an earlier session saved, offered again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QHBoxLayout, QWidget

from ..errors import SegzooError
from ..io import find_strokes, read_strokes
from .forms import make_button, make_text
from .layers import core_image, full_array, label_shape, path_of
from .pairs import PairList, PairRow


class SavedStrokes(QWidget):
    """One line that shows while there are saved strokes for an image on which nothing is drawn.

    Parameters
    ----------
    pairs : PairList
        The images, and where restored strokes go.
    """

    def __init__(self, pairs: PairList) -> None:
        super().__init__()
        self._pairs = pairs
        self._known: set[Path] = set()
        self._offered: tuple[PairRow, Path] | None = None
        self.text = make_text()
        self.button = make_button("Restore", "Add them as a labels layer", self.restore)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.text, 1)
        line.addWidget(self.button)
        pairs.changed.connect(self.look)
        self.hide()

    def know(self, path: Path) -> None:
        """Do not offer a file, since what it holds is in the viewer."""
        self._known.add(path)

    def look(self) -> None:
        """Offer what is saved for the first image on which nothing is drawn."""
        self._offered = next(filter(None, map(self._find, self._pairs.rows)), None)
        if self._offered is not None:
            row, path = self._offered
            saved = datetime.fromtimestamp(path.stat().st_mtime)
            self.text.setText(f"Strokes on {row.image.layer.name}, saved {saved:%d %b %Y, %H:%M}.")
            self.setToolTip(str(path))
        self.setVisible(self._offered is not None)

    def look_again(self) -> None:
        """Hide the offer if something is drawn by now."""
        if self._offered is not None:
            self.look()

    def restore(self) -> Labels | None:
        """Add the strokes offered as a labels layer, and take it for the image."""
        if self._offered is None:
            return None
        row, path = self._offered
        layer = None
        try:
            axes = self._pairs.axes.currentText().replace("C", "")
            layer = self._pairs.add_drawing(row, read_strokes(path, axes).data)
        except SegzooError as error:
            show_error(str(error))
        self.know(path)
        self.look()
        return layer

    def _find(self, row: PairRow) -> tuple[PairRow, Path] | None:
        image, axes = row.image.layer, self._pairs.axes.currentText()
        if image is None or len(axes) != np.ndim(full_array(image)):
            return None
        path = find_strokes(core_image(image, axes), path_of(image))
        if path is None or path in self._known:
            return None
        labels = row.labels.layer
        own = sum(other.labels.layer is labels for other in self._pairs.rows) == 1
        return None if own and _is_drawn_on(labels, image, axes) else (row, path)


def _is_drawn_on(labels: Labels | None, image: Image, axes: str) -> bool:
    if labels is None or tuple(full_array(labels).shape) != label_shape(image, axes):
        return False
    return bool(np.any(full_array(labels)))
