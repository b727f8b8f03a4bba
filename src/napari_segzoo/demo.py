"""The main job on a real image: segment, fine-tune on strokes, score, look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .io.blocks import make_folder
from .training.events import Event

if TYPE_CHECKING:
    from .metrics import Report
    from .model import SegmentationModel

BASE = "nuclei"
BUDGET = 40.0


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Parameters
    ----------
    image, strokes, reference : ndarray, (Y, X)
        Photograph of coins, what was drawn on it, and the true outlines (0 or 1).
    before, after : ndarray of uint8, (Y, X)
        Segmentation by the base model, and by the model fine-tuned on the strokes.
    scores : mapping of str to Report
        Of both, by name.
    model : SegmentationModel
        The fine-tuned one.
    files : list of Path
        Pictures, label images and the model.
    """

    image: NDArray[np.uint8]
    strokes: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    before: NDArray[Any]
    after: NDArray[Any]
    scores: dict[str, Report]
    model: SegmentationModel
    files: list[Path]


def run_demo(
    folder: Path,
    *,
    budget: float = BUDGET,
    progress: Callable[[Event], object] = lambda event: None,
) -> DemoResult:
    """Segment coins with the bundled model, fine-tune it on ten strokes, and score both.

    Parameters
    ----------
    folder : Path
        Where pictures, label images and the model go; made if it is missing, and files of an
        earlier demo in it are replaced.
    budget : float
        Seconds of training.
    progress : callable
        Called with each event of the training.

    Raises
    ------
    InputError
        If nothing can be written there.
    """
    from .inference import predict
    from .metrics import evaluate
    from .model import load_model
    from .sample_data import coins_strokes, load_coins
    from .training import Finished, finetune

    make_folder(folder)
    image, coins = load_coins()
    strokes, reference = coins_strokes(), (coins > 0).astype(np.uint8)
    base = load_model(BASE)
    before = predict(base, image)
    model = base
    for event in finetune(
        image, strokes, base=base, budget=budget, class_names=("background", "coin")
    ):
        progress(event)
        if isinstance(event, Finished):
            model = event.model
    after = predict(model, image)
    scores = {
        f"{BASE}, as it is": evaluate(reference, before),
        "fine-tuned on 10 strokes": evaluate(reference, after),
    }
    files = _write(folder, image, strokes, reference, before, after, model)
    return DemoResult(image, strokes, reference, before, after, scores, model, files)


def _write(
    folder: Path,
    image: NDArray[np.uint8],
    strokes: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    before: NDArray[Any],
    after: NDArray[Any],
    model: SegmentationModel,
) -> list[Path]:
    from .io import save_image

    pictures = {
        "1-image-and-strokes.png": paint(image, strokes, fill=True),
        "2-before.png": paint(image, before),
        "3-after.png": paint(image, after),
        "4-reference.png": paint(image, reference),
    }
    files = [
        save_image(folder / name, picture, "YXC", overwrite=True)
        for name, picture in pictures.items()
    ]
    for name, labels in (("image", image), ("strokes", strokes), ("after", after)):
        files.append(save_image(folder / f"{name}.tif", labels, "YX", overwrite=True))
    files.append(model.save(folder / "coins.safetensors", overwrite=True))
    return files


def paint(
    image: NDArray[np.uint8], labels: NDArray[Any], *, fill: bool = False
) -> NDArray[np.uint8]:
    """Draw labels in their classes' colours on a grey image: filled, or as outlines.

    Returns
    -------
    ndarray of uint8, (Y, X, 3)
    """
    from skimage.segmentation import find_boundaries

    from .model import PALETTE

    picture = np.repeat(image[..., None], 3, axis=2)
    for value in np.unique(labels[labels > 0]):
        color = PALETTE[int(value) % len(PALETTE)]
        where = labels == value
        if not fill:
            where = find_boundaries(where, mode="outer")
        picture[where] = [int(color[n : n + 2], 16) for n in (1, 3, 5)]
    return picture
