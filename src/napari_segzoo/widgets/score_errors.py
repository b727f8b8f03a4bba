"""The layer that shows by colour where two labels layers differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..metrics import LEGENDS
from ..model import SegmentClass
from .layer_combo import RESULT
from .results import add_class_layer
from .score_pair import part_transform

if TYPE_CHECKING:
    import napari

    from .score_form import Compared


def add_error_layer(
    viewer: napari.viewer.Viewer, codes: NDArray[np.uint8], compared: Compared, task: str
) -> None:
    """Add what `error_overlay` found, over the part of the reference that was compared."""
    names = {"reference": compared.reference.name, "prediction": compared.prediction.name}
    legend = LEGENDS[task].values()
    add_class_layer(
        viewer,
        codes,
        [SegmentClass("", ""), *(SegmentClass(e.name, e.colour) for e in legend)],
        f"{compared.prediction.name} errors",
        {
            **part_transform(compared.reference, compared.pair.origin),
            "metadata": {RESULT: {"errors": names}},
        },
    )
