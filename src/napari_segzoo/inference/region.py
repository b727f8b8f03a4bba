"""One region of an image, segmented as it would be within the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..axes import find_layout
from ..preprocess import Normalization
from .options import PredictOptions
from .predict import prepare

if TYPE_CHECKING:
    from ..model import SegmentationModel

AS_IT_IS = Normalization("range", 0.0, 1.0)


@dataclass(frozen=True)
class Region:
    """Part of an image.

    Parameters
    ----------
    leading : tuple of int
        One index per axis that the model does not see (time; Z for a 2D model).
    window : tuple of slice
        One per spatial axis of the model.
    """

    leading: tuple[int, ...]
    window: tuple[slice, ...]

    @property
    def index(self) -> tuple[int | slice, ...]:
        """Where the region lies in a label image."""
        return (*self.leading, *self.window)


def predict_region(
    model: SegmentationModel, image: Any, axes: str, region: Region, device: str = "auto"
) -> NDArray[Any]:
    """Segment one region, with the intensity statistics of the whole image.

    Parameters
    ----------
    model : SegmentationModel
        What to run.
    image : array-like
        The whole image; only samples and the region are read.
    axes : str
        Its axes.
    region : Region
        What to segment.
    device : str
        See `predict`.

    Returns
    -------
    ndarray of int
        Classes, or objects for a model of objects; shape of the window.
    """
    info = model.info
    layout = find_layout(image.shape, axes, ndim=info.ndim, in_channels=info.in_channels)
    intensity = info.normalization.measure(image, layout.channel_axis)
    block = intensity.apply(layout.read(image, region.leading, region.window))
    output = "instances" if info.task == "instances" else "labels"
    prediction = prepare(
        model.with_info(normalization=AS_IT_IS),
        block,
        axes="C" + layout.model_axes,
        options=PredictOptions(output=output, device=device),
    )
    for _ in prediction.run():
        pass
    return np.asarray(prediction.result)
