"""What the worker of the Run dock does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ..inference import PredictOptions, TileDone, prepare
from ..io import Image
from .run_region import Ranges
from .shared_model import Choice, load_choice


@dataclass
class RunWork:
    """A run, planned and computed when it is called; yields the plan or the run, then events.

    Parameters
    ----------
    choice : Choice or None
        The model.
    image : Image
        What it runs on.
    options : PredictOptions
        How.
    only_plan : bool
        Whether to yield the plan and stop.
    first : dict
        What to compute first, see `prepare`.
    written : bool
        Whether a part of the result is there.
    """

    choice: Choice | None
    image: Image
    options: PredictOptions
    only_plan: bool
    first: Ranges
    written: bool = False

    def __call__(self) -> Iterator[object]:
        if "torch" not in sys.modules:
            yield "Loading PyTorch…"
        model = load_choice(self.choice)
        prediction = prepare(model, self.image, options=self.options, first=self.first)
        if self.only_plan:
            yield prediction.plan
            return
        yield prediction
        for event in prediction.run():
            self.written |= isinstance(event, TileDone) and event.region is not None
            yield event
