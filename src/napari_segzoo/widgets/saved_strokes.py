"""Strokes that an earlier session saved, offered again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QHBoxLayout, QWidget

from ..errors import SegzooError
from ..io import Image as CoreImage
from ..io import find_strokes, read_strokes, strokes
from .forms import as_html, make_button, make_text
from .layers import core_image, full_array, label_shape, path_of
from .pairs import PairList, PairRow
from .worker import Job


@dataclass(frozen=True)
class Undrawn:
    """An image on which perhaps nothing is drawn; what the worker needs to find its strokes."""

    row: PairRow
    layer: Image
    image: CoreImage
    file: str | None
    labels: list[np.ndarray]
    """Those in which something may be drawn."""

    def saved(self) -> Path | None:
        """Return the file of its strokes if there is one and nothing is drawn."""
        if not self.file and not any(strokes.strokes_folder().glob("*")):
            return None  # without reading the image
        path = find_strokes(self.image, self.file)
        return None if path is None or any(map(np.any, self.labels)) else path


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
        self._offered: tuple[Undrawn, Path] | None = None
        self._again = False
        self._job = Job(self)
        self._job.yielded.connect(self._offer)
        self._job.ended.connect(self._on_end)
        self.text = make_text()
        self.button = make_button("Restore", "Add them as a labels layer", self.restore)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.text, 1)
        line.addWidget(self.button)
        pairs.changed.connect(self._on_change)
        self.hide()

    @property
    def running(self) -> bool:
        """Whether strokes are being looked for."""
        return self._job.running

    def know(self, path: Path) -> None:
        """Do not offer a file, since what it holds is in the viewer."""
        self._known.add(path)
        self._again |= self._job.running

    def look(self) -> None:
        """Offer, some time later, what is saved for the first image on which nothing is drawn."""
        self._again = self._job.running
        if not self._again:
            undrawn = [found for row in self._pairs.rows if (found := self._undrawn(row))]
            self._job.start(lambda: _search(undrawn, self._known))

    def look_again(self) -> None:
        """Hide the offer if something is drawn by now."""
        if self._offered is not None:
            self.look()

    def restore(self) -> Labels | None:
        """Add the strokes offered as a labels layer, and take it for the image."""
        if self._offered is None:
            return None
        found, path = self._offered
        layer = None
        try:
            axes = found.image.axes.replace("C", "")
            layer = self._pairs.add_drawing(found.row, read_strokes(path, axes).data)
        except SegzooError as error:
            show_error(str(error))
        self.know(path)
        self._on_change()
        return layer

    def _on_change(self) -> None:
        self._offer(None)
        self.look()

    def _offer(self, found: tuple[Undrawn, Path] | None) -> None:
        self._offered = None if self._again else found
        if self._offered is not None:
            undrawn, path = self._offered
            saved = datetime.fromtimestamp(path.stat().st_mtime)
            name = as_html(undrawn.layer.name)
            self.text.setText(f"Strokes on {name}, saved {saved:%d %b %Y, %H:%M}.")
            self.setToolTip(str(path))
        self.setVisible(self._offered is not None)

    def _on_end(self) -> None:
        if self._again:
            self.look()

    def _undrawn(self, row: PairRow) -> Undrawn | None:
        layer, axes = row.image.layer, self._pairs.axes.currentText()
        if layer is None or len(axes) != np.ndim(full_array(layer)):
            return None
        labels = row.labels.layer
        own = sum(other.labels.layer is labels for other in self._pairs.rows) == 1
        drawn = [full_array(labels)] if own and labels is not None else []
        drawn = [array for array in drawn if tuple(array.shape) == label_shape(layer, axes)]
        return Undrawn(row, layer, core_image(layer, axes), path_of(layer), drawn)


def _search(images: Sequence[Undrawn], known: set[Path]) -> Iterator[tuple[Undrawn, Path] | None]:
    """Yield the first image with saved strokes and nothing drawn, and their file; else None."""
    for undrawn in images:
        try:
            path = undrawn.saved()
        except Exception:  # an image that cannot be read is no image to draw on
            continue
        if path is not None and path not in known:
            yield undrawn, path
            return
    yield None
