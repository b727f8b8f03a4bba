"""One training, as the Train dock runs it in a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SegzooError
from ..io import Image, save_strokes
from ..training import Finished, Note, Snapshot, finetune
from .shared_model import load_choice
from .train_form import TrainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..inference.region import Region
    from ..model import SegmentationModel


@dataclass(frozen=True)
class PreviewDone:
    """A region as the model sees it now."""

    region: Region
    labels: NDArray
    model: SegmentationModel


@dataclass(frozen=True)
class StrokesSaved:
    """The file that now holds what is drawn on one image."""

    path: Path


@dataclass(frozen=True)
class TrainRun:
    """The work of one training, called in the worker.

    Parameters
    ----------
    images, files, labels : list
        The images, the files they come from, and what is drawn on them.
    settings : TrainSettings
        What the form asks for.
    class_names : list of str
        The background first; [] if they have none.
    stop : callable
        Whether to end the training and keep the best model.
    more : callable
        All labels anew if something was drawn since it was asked last, else None.
    visible : mapping
        What to preview, by the dimensions of the model.
    """

    images: list[Image]
    files: list[str | None]
    labels: list[Any]
    settings: TrainSettings
    class_names: list[str]
    stop: Callable[[], bool]
    more: Callable[[], list[Any] | None]
    visible: Mapping[int, Region | None]

    def __call__(self) -> Iterator[object]:
        yield from self._save_strokes(self.labels)
        if "torch" not in sys.modules:
            yield "Loading PyTorch…"
            import torch  # noqa: F401  so that loading does not count as training time
        drawn = self.labels

        def more() -> list[Any] | None:
            nonlocal drawn
            found = self.more()
            drawn = drawn if found is None else found
            return found

        s = self.settings
        base = load_choice(s.start) if s.start is not None else None
        for event in finetune(
            self.images,
            self.labels,
            base=base,
            task=s.task,
            unlabeled=s.unlabeled,
            budget=s.budget,
            steps=s.steps,
            seed=s.seed,
            device=s.device,
            ndim=s.ndim,
            architecture=s.architecture,
            class_names=self.class_names,
            stop=self.stop,
            more=more,
        ):
            if isinstance(event, Finished) and drawn is not self.labels:
                yield from self._save_strokes(drawn)
            if isinstance(event, Snapshot | Finished):
                yield from self._preview(event.model)
            yield event

    def _save_strokes(self, drawn: list[Any]) -> Iterator[StrokesSaved | Note]:
        for image, file, labels in zip(self.images, self.files, drawn, strict=True):
            try:
                path = save_strokes(labels, image, file)
            except Exception as error:  # whatever it is, the training does not depend on it
                yield Note(f"What is drawn on {image.source} is not saved: {error}")
                continue
            if path is not None:
                yield StrokesSaved(path)

    def _preview(self, model: SegmentationModel) -> Iterator[PreviewDone | Note]:
        from ..inference.region import predict_region

        image = self.images[-1]
        region = self.visible.get(model.info.ndim)
        if region is None:
            return
        try:
            labels = predict_region(model, image.data, image.axes, region, self.settings.device)
        except (SegzooError, RuntimeError) as error:
            yield Note(f"The preview is left out: {error}")
            return
        yield PreviewDone(region, labels, model)
