"""One training, as the Train dock runs it in a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SegzooError
from ..io import Image
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
class TrainRun:
    """The work of one training, called in the worker."""

    images: list[Image]
    labels: list[Any]
    settings: TrainSettings
    class_names: list[str]
    stop: Callable[[], bool]
    visible: Mapping[int, Region | None]

    def __call__(self) -> Iterator[object]:
        if "torch" not in sys.modules:
            yield "Loading PyTorch…"
            import torch  # noqa: F401  so that loading does not count as training time
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
        ):
            if isinstance(event, Snapshot | Finished):
                yield from self._preview(event.model)
            yield event

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
