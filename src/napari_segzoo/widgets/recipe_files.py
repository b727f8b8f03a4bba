"""File names that a copied command or script uses for layers and models."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Layer
from qtpy.QtWidgets import QApplication

from ..model import bundled_models
from ..recipes import Training
from ..training.job import FinetuneOptions
from .layers import file_of
from .shared_model import Choice


class RecipeFiles:
    """Finds the files of layers and models, and remembers what has none yet."""

    def __init__(self) -> None:
        self._missing: dict[str, None] = {}

    def layer(self, layer: Layer, axes: str) -> str:
        """Return the file of a layer, or the name it should be saved under."""
        path = file_of(layer, axes)
        if path is None:
            path = f"{layer.name}.tif"
            self._missing[f"the layer {layer.name} as {path}"] = None
        return path

    def mask(self, shapes: Layer) -> str:
        """Return the name that the inside of a shapes layer should be saved under."""
        path = f"{shapes.name}.tif"
        self._missing[f"the layer {shapes.name}, converted to labels, as {path}"] = None
        return path

    def model(self, choice: Choice) -> str:
        """Return bundled name or file of a model, or the name it should be saved under."""
        if choice.path is None:
            self._missing["the model as model.safetensors"] = None
            return "model.safetensors"
        bundled = {path: name for name, path in bundled_models().items()}
        return bundled.get(choice.path, str(choice.path))

    def copy(self, text: str) -> str:
        """Put `text` into the clipboard and return what to tell the user."""
        QApplication.clipboard().setText(text)
        if not self._missing:
            return "Copied."
        return f"Copied. Before you use it, save {' and '.join(self._missing)}."


def write_down(
    training: Sequence[tuple[Layer, Layer]],
    validation: Sequence[tuple[Layer, Layer]],
    axes: str,
    base: Choice | None,
    options: FinetuneOptions,
    class_names: Sequence[str],
) -> tuple[RecipeFiles, Training]:
    """Return a training on layers as one on files.

    Parameters
    ----------
    training, validation : sequence of (Image, Labels)
        The layers.
    axes : str
        Axes of the images.
    base : Choice or None
        Trained model to start from.
    options : FinetuneOptions
        How to train.
    class_names : sequence of str
        The background first; [] if they have none.
    """
    files = RecipeFiles()
    label_axes = axes.replace("C", "")
    images, labels, scored, truth = (
        tuple(files.layer(pair[n], a) for pair in pairs)
        for pairs in (training, validation)
        for n, a in enumerate((axes, label_axes))
    )
    recipe = Training(
        out=f"{training[0][0].name}.safetensors",
        images=images,
        labels=labels,
        axes=axes,
        base=files.model(base) if base else None,
        options=options,
        class_names=tuple(class_names),
        validation_images=scored,
        validation_labels=truth,
    )
    return files, recipe
