"""File names that a copied command or script uses for layers and models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import QApplication

from ..io import find_strokes, read_strokes
from ..model import bundled_models
from ..recipes import Training
from ..training.job import FinetuneOptions
from .layers import core_image, file_of, full_array, path_of
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

    def drawing(self, image: Image, labels: Labels, axes: str) -> str:
        """Return the file of what is drawn on an image with `axes`, its saved strokes too."""
        label_axes = axes.replace("C", "")
        if file_of(labels, label_axes) is None:
            saved = find_strokes(core_image(image, axes), path_of(image))
            drawn = np.asarray(full_array(labels))
            if saved and np.array_equal(read_strokes(saved, label_axes).data, drawn):
                return str(saved)
        return self.layer(labels, label_axes)

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


@dataclass(frozen=True)
class NotedTraining:
    """A training on layers.

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

    training: Sequence[tuple[Image, Labels]]
    validation: Sequence[tuple[Image, Labels]]
    axes: str
    base: Choice | None
    options: FinetuneOptions
    class_names: Sequence[str]

    def write_down(self) -> tuple[RecipeFiles, Training]:
        """Return it as a training on files, named as they are now."""
        files, axes = RecipeFiles(), self.axes
        images, scored = (
            tuple(files.layer(image, axes) for image, _ in pairs)
            for pairs in (self.training, self.validation)
        )
        labels, truth = (
            tuple(files.drawing(image, drawn, axes) for image, drawn in pairs)
            for pairs in (self.training, self.validation)
        )
        recipe = Training(
            out=f"{self.training[0][0].name}.safetensors",
            images=images,
            labels=labels,
            axes=axes,
            base=files.model(self.base) if self.base else None,
            options=self.options,
            class_names=tuple(self.class_names),
            validation_images=scored,
            validation_labels=truth,
        )
        return files, recipe
