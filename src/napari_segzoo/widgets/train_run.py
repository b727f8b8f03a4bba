"""One training, as the Train dock runs it in a worker."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SegzooError
from ..io import Image, save_strokes
from ..training import Finished, Note, Snapshot, finetune
from ..training.job import FinetuneOptions
from .shared_model import Choice, load_choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..inference.region import Region
    from ..model import SegmentationModel

PREVIEW_REST = 5
"""How many times as long as the last preview took the training goes on before the next one."""


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
class Drawing:
    """What is drawn on an image.

    Parameters
    ----------
    image : Image
        With its axes.
    file : str or None
        The file that it comes from.
    labels : array-like of int
        The axes of the image without C.
    """

    image: Image
    file: str | None
    labels: Any

    def save(self) -> Iterator[StrokesSaved | Note]:
        """Save it beside the image if anything is drawn; if that fails, tell why."""
        try:
            path = save_strokes(self.labels, self.image, self.file)
        except Exception as error:  # whatever it is, the training does not depend on it
            yield Note(f"What is drawn on {self.image.source} is not saved: {error}")
            return
        if path is not None:
            yield StrokesSaved(path)


@dataclass
class LaterStrokes:
    """Strokes that are drawn during a training: handed over to it, and saved.

    Parameters
    ----------
    drawings : list of Drawing
        What was drawn when it began.
    ask : callable
        Returns all labels anew if something was drawn since it was asked last, else None.
    """

    drawings: list[Drawing]
    ask: Callable[[], list[Any] | None]
    _unsaved: list[Drawing] = field(default_factory=list)
    _wait_until: float = 0.0

    def take(self) -> list[Any] | None:
        """Ask, and keep in mind what there is to save."""
        found = self.ask()
        if found is not None:
            both = zip(self.drawings, found, strict=True)
            self._unsaved = [replace(drawing, labels=labels) for drawing, labels in both]
        return found

    @property
    def due(self) -> bool:
        """Whether to save now, so that saving takes no more than a tenth of the training."""
        return bool(self._unsaved) and time.monotonic() >= self._wait_until

    def save(self) -> Iterator[StrokesSaved | Note]:
        """Save what is not saved yet."""
        began = time.monotonic()
        while self._unsaved:
            yield from self._unsaved.pop().save()
        now = time.monotonic()
        self._wait_until = now + 10 * (now - began)


@dataclass(frozen=True)
class TrainRun:
    """The work of one training, called in the worker.

    Parameters
    ----------
    training, validation : list of Drawing
        What to learn from, and what to choose the best model on.
    base : Choice or None
        Trained model to start from.
    options : FinetuneOptions
        How to train.
    class_names : list of str
        The background first; [] if they have none.
    stop : callable
        Whether to end the training and keep the best model.
    more : callable
        All labels to learn from anew if something was drawn since it was asked last, else None.
    previewed : Image
        Of what to show previews.
    visible : mapping
        Which part of it, by the dimensions of the model.
    """

    training: list[Drawing]
    validation: list[Drawing]
    base: Choice | None
    options: FinetuneOptions
    class_names: list[str]
    stop: Callable[[], bool]
    more: Callable[[], list[Any] | None]
    previewed: Image
    visible: Mapping[int, Region | None]

    def __call__(self) -> Iterator[object]:
        for drawing in (*self.training, *self.validation):
            yield from drawing.save()
        if "torch" not in sys.modules:
            yield "Loading PyTorch…"
            import torch  # noqa: F401  so that loading does not count as training time
        base = load_choice(self.base) if self.base is not None else None
        scored = [d.image for d in self.validation], [d.labels for d in self.validation]
        later, rested = LaterStrokes(self.training, self.more), 0.0
        try:
            for event in finetune(
                [d.image for d in self.training],
                [d.labels for d in self.training],
                base=base,
                validation=scored if self.validation else None,
                class_names=self.class_names,
                stop=self.stop,
                more=later.take,
                **self.options.arguments(),
            ):
                if later.due or isinstance(event, Finished):
                    yield from later.save()
                due = isinstance(event, Snapshot) and time.monotonic() >= rested
                if due or isinstance(event, Finished):
                    began = time.monotonic()
                    yield from self._preview(event.model)
                    rested = (1 + PREVIEW_REST) * time.monotonic() - PREVIEW_REST * began
                yield event
        finally:
            deque(later.save(), maxlen=0)

    def _preview(self, model: SegmentationModel) -> Iterator[PreviewDone | Note]:
        from ..inference.region import predict_region

        image = self.previewed
        region = self.visible.get(model.info.ndim)
        if region is None:
            return
        try:
            labels = predict_region(model, image.data, image.axes, region, self.options.device)
        except (SegzooError, RuntimeError) as error:
            yield Note(f"The preview is left out: {error}")
            return
        yield PreviewDone(region, labels, model)
