"""A planned run of a model over an image, tile by tile."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from .ahead import ahead, compute_alone
from .crop import Ranges
from .device import is_out_of_memory, release_memory
from .events import Event, Note, Stage, TileDone
from .objects import separate
from .options import PredictOptions
from .order import order_tiles
from .plan import Plan, shrink_plan
from .planes import average_planes
from .reading import TileReader, within
from .refine import refine
from .remembered import remember
from .result import probabilities_of, result_shape
from .walk import Step

if TYPE_CHECKING:
    from torch import Tensor

    from ..model import SegmentationModel
    from ..postprocess import Objects
    from ..preprocess import Intensity
    from .forward import Forward

BLANK = "The image has the same value everywhere, or no finite values, so all of it is background."


@dataclass
class Prediction:
    """A run that is planned and can be started.

    Parameters
    ----------
    model : SegmentationModel
        What runs.
    image : array-like
        What it runs on; read region by region.
    options : PredictOptions
        What was asked for.
    plan : Plan
        What will be done.
    axes : str
        Axes of `result`.
    result : array-like
        Filled while `run` goes on: a NumPy array, or anything that takes slices.
    scores : array-like or None
        With the option crf, the network's probabilities of the whole image, from which the
        result is refined; made in memory if none are given.
    objects : Objects or None
        With the output "instances": separates the classes in `result` into another array. If
        none is given, they are separated in place.
    mask : array-like or None
        What lies outside, where it is 0, becomes background; see `check_mask`.
    intensity : Intensity or None
        How the image is normalised, where that has been measured already.
    origin : tuple of int
        Where `result` begins, along the spatial axes; () if it holds the whole image.
    passes : tuple of Prediction
        The runs through slices along Z, Y and X whose mean is the result, with the option planes.
    stretch : int
        How many times as finely those along Y and X see Z.
    first : dict
        Start and stop, per axis letter, of a part of a whole image that is computed before the
        rest, with the same result; see `order_tiles`. {} for the plain order, which `passes` keep.
    scratch : Path or None
        Folder for what these keep meanwhile; None for the one for temporary files.
    blank : bool
        Whether `result` is 0 before the run, so that background need not be written.
    notes : tuple of str
        What is to be said before the run.
    """

    model: SegmentationModel
    image: Any
    options: PredictOptions
    plan: Plan
    axes: str
    result: Any
    scores: Any = None
    objects: Objects | None = None
    mask: Any = None
    intensity: Intensity | None = None
    origin: tuple[int, ...] = ()
    passes: tuple[Prediction, ...] = ()
    stretch: int = 1
    first: Ranges = field(default_factory=dict)
    scratch: Path | None = None
    blank: bool = False
    notes: tuple[str, ...] = ()

    @property
    def object_ndim(self) -> int:
        """Spatial dimensions of single objects."""
        return 3 if self.passes else self.plan.layout.ndim

    def run(self, *, start: int = 0) -> Generator[Event, None, None]:
        """Compute; closing the generator stops after the tile in hand and keeps what is done.

        Parameters
        ----------
        start : int
            Tiles to take as done, a value of `TileDone.done` of an earlier run of the same plan.

        Yields
        ------
        TileDone, BlockSeparated or Note
            Progress. If memory runs out, a smaller plan is made, said in a Note, and the
            run starts again.
        """
        self.measure()
        yield from map(Note, self.notes)
        try:
            yield from average_planes(self, start) if self.passes else self.run_tiles(start)
            if self.options.crf:
                yield from refine(self, order_tiles(self.plan, self.first, start)[0])
            if self.plan.output == "instances":
                yield Stage("Separating objects.")
                yield from separate(self)
        finally:
            release_memory(self.plan.device)

    def run_tiles(self, start: int) -> Generator[Event, None, None]:
        """Compute the tiles, with less memory if it runs out."""
        planned = self.plan
        while lost := (yield from self._out_of_memory(start)):
            release_memory(self.plan.device)
            smaller = shrink_plan(self.model, self.plan, self.options)
            if smaller is None:
                raise RunError(
                    "Memory ran out even with the smallest tile; close other programs or "
                    "use a smaller model."
                ) from lost
            self.plan, start, self.blank = smaller, 0, False
            yield Note(f"Memory ran out; going on with less: {smaller.summary()}.")
        stepped_down = self.plan.tile_bytes < planned.tile_bytes
        if stepped_down and self.plan.device == planned.device and self.options.tile == "auto":
            remember(self.model, self.plan)

    def _out_of_memory(self, start: int) -> Generator[Event, None, Exception | None]:
        """Run the plan; return the error if memory ran out, without what keeps its tile alive."""
        try:
            yield from self._run_plan(start)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return error.with_traceback(None)
        return None

    def _run_plan(self, start: int) -> Iterator[TileDone | Note]:
        from .kept_memory import kept_memory
        from .loading import load_network

        layout = self.plan.layout
        if self.options.crf and self.scores is None:
            self.scores = np.zeros(*result_shape(self.model, probabilities_of(self.plan))[1:])
        reader = TileReader(self.image, layout, self.measure(), self.options.skip_below, self.mask)
        forward = yield from load_network(self, reader)
        by_torch = self.plan.device == "cpu" and self.plan.engine == "torch"
        with kept_memory() if by_torch else nullcontext():
            yield from self._compute(forward, reader, start)

    def _compute(
        self, forward: Forward, reader: TileReader, start: int
    ) -> Iterator[TileDone | Note]:
        """Read, compute and blend tiles, all three at the same time."""
        import torch

        from .blending import Blender, Computed
        from .compute import TileComputer

        plan = self.plan
        total, steps = order_tiles(plan, self.first, start)
        blender = Blender(self, total, torch.device(plan.device))
        computer = TileComputer(forward)

        def read(steps: list[Step]) -> Computed:
            return Computed(steps, [reader.read(s.leading, s.tile) for s in steps])

        told = False
        batches = _batched(steps, plan.batch)
        with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as blending:
            compute_alone(blending)
            computed = (computer.compute(batch) for batch in ahead(reading, read, batches))
            for events in ahead(blending, blender.add, computed):
                if reader.unusual and not told:
                    told = True
                    yield Note(
                        "The image holds NaN or infinite values; NaN is treated as the "
                        "darkest intensity, infinite values as the darkest or brightest."
                    )
                yield from (event for event in events if event.done > start)

    def measure(self) -> Intensity:
        """Return how the image is normalised, measured once; a note says if it is constant."""
        if self.intensity is None:
            self.intensity = self.model.info.normalization.measure(
                self.image, self.plan.layout.channel_axis, allow_blank=True
            )
            if self.intensity.is_blank:
                self.notes = (*self.notes, BLANK)
        return self.intensity

    @property
    def leaves_background(self) -> bool:
        """Whether background need not be written, as `result` holds it already."""
        return self.blank and self.plan.output != "probabilities" and self.scores is None

    def place(self, leading: tuple[int, ...], box: tuple[slice, ...]) -> tuple[slice, ...]:
        """Return where in `result` a box lies."""
        every = tuple(slice(n, n + 1) for n in leading)
        classes = (slice(0, self.model.info.num_outputs),)
        origin = self.origin or (0,) * len(box)
        within = tuple(slice(s.start - o, s.stop - o) for s, o in zip(box, origin, strict=True))
        return (*every, *(classes if self.plan.output == "probabilities" else ()), *within)

    def write(
        self, leading: tuple[int, ...], box: tuple[slice, ...], scores: Tensor
    ) -> tuple[slice, ...]:
        """Write the probabilities (K, ...) of a box, in the form asked for, and return where."""
        from .forward import to_labels

        region = self.place(leading, box)
        block: NDArray[Any]
        if self.plan.output == "probabilities":
            block = scores.cpu().numpy()
        else:
            objects = self.model.info.task == "instances"
            block = to_labels(scores, foreground_only=objects and self.plan.output == "labels")
        if self.mask is not None:
            block = np.where(within(self.mask, leading, box), block, self._background(block))
        self.result[region] = block[(None,) * len(leading)]
        return region

    def _background(self, block: NDArray[Any]) -> NDArray[Any]:
        """Return what a block that holds background and nothing else looks like."""
        nothing = np.zeros_like(block)
        if self.plan.output == "probabilities":
            nothing[0] = 1
        return nothing


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch
