"""File names that a copied command or script uses for layers and models."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Layer
from qtpy.QtWidgets import QApplication

from ..model import bundled_models
from ..recipes import Training
from .layers import file_of
from .shared_model import Choice
from .train_form import TrainSettings


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
    pairs: Sequence[tuple[Layer, Layer]],
    axes: str,
    settings: TrainSettings,
    class_names: Sequence[str],
) -> tuple[RecipeFiles, Training]:
    """Return a training on layers as one on files.

    Parameters
    ----------
    pairs : sequence of (Image, Labels)
        The layers.
    axes : str
        Axes of the images.
    settings : TrainSettings
        What the form asks for.
    class_names : sequence of str
        The background first; [] if they have none.
    """
    files = RecipeFiles()
    label_axes = axes.replace("C", "")
    training = Training(
        out=f"{pairs[0][0].name}.safetensors",
        images=tuple(files.layer(image, axes) for image, _ in pairs),
        labels=tuple(files.layer(labels, label_axes) for _, labels in pairs),
        axes=axes,
        base=files.model(settings.start) if settings.start else None,
        architecture=settings.architecture,
        task=settings.task,
        unlabeled=settings.unlabeled,
        budget=settings.budget,
        steps=settings.steps,
        ndim=settings.ndim,
        seed=settings.seed,
        device=settings.device,
        class_names=tuple(class_names),
    )
    return files, training
