"""A planned run of a model over an image, tile by tile."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RunError
from .ahead import ahead, compute_alone
from .crop import Ranges
from .device import is_out_of_memory, release_memory
from .events import Event, Note, Stage, TileDone
from .objects import separate
from .order import order_tiles
from .plan import Plan, PredictOptions, shrink_plan
from .planes import average_planes
from .reading import TileReader, within
from .refine import refine
from .remembered import remember
from .walk import Step

if TYPE_CHECKING:
    from torch import Tensor

    from ..model import SegmentationModel
    from ..postprocess import Objects
    from ..preprocess import Intensity
    from .forward import Forward


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
        yield from average_planes(self, start) if self.passes else self._run_tiles(start)
        if self.plan.output == "instances":
            yield Stage("Separating objects.")
            yield from separate(self)

    def _run_tiles(self, start: int) -> Iterator[Event]:
        """Compute the tiles, with less memory if it runs out."""
        planned = self.plan
        while True:
            try:
                yield from self._run_plan(start)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = shrink_plan(self.model, self.plan, self.options)
                if smaller is None:
                    raise RunError(
                        "Memory ran out even with the smallest tile; close other programs or "
                        "use a smaller model."
                    ) from error
                release_memory(self.plan.device)
                self.plan, start, self.blank = smaller, 0, False
                yield Note(f"Memory ran out; going on with less: {smaller.summary()}.")
            else:
                break
        stepped_down = self.plan.tile_bytes < planned.tile_bytes
        if stepped_down and self.plan.device == planned.device and self.options.tile == "auto":
            remember(self.model, self.plan)

    def _run_plan(self, start: int) -> Iterator[TileDone | Note]:
        from .kept_memory import kept_memory
        from .loading import load_network

        layout = self.plan.layout
        if self.options.crf and self.scores is None:
            self.scores = np.zeros(*result_shape(self.model, probabilities_of(self.plan))[1:])
        intensity = self.intensity or self.model.info.normalization.measure(
            self.image, layout.channel_axis
        )
        reader = TileReader(self.image, layout, intensity, self.options.skip_below, self.mask)
        forward = yield from load_network(self, reader)
        by_torch = self.plan.device == "cpu" and self.plan.engine == "torch"
        with kept_memory() if by_torch else nullcontext():
            total = yield from self._compute(forward, reader, start)
        if self.options.crf:
            yield Stage("Refining with the fully connected CRF.")
            yield from (TileDone(total, total, region) for region in refine(self))

    def _compute(
        self, forward: Forward, reader: TileReader, start: int
    ) -> Generator[TileDone | Note, None, int]:
        """Read, compute and blend tiles, all three at the same time; return their number."""
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
        return total

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


def probabilities_of(plan: Plan) -> Plan:
    """Return the same plan with probabilities as its output."""
    return replace(plan, output="probabilities")


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch


def result_shape(
    model: SegmentationModel, plan: Plan
) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Return axes, shape and dtype of the result of a plan.

    Labels have the axes of the image without C, and the smallest unsigned type that holds
    them; instances are uint32; probabilities are float32 with C before the spatial axes.
    """
    layout = plan.layout
    spatial = tuple(stop - start for start, stop in plan.tiling.wanted)
    if plan.output == "probabilities":
        axes = layout.leading_axes + "C" + layout.model_axes
        shape = (*layout.leading_shape, model.info.num_outputs, *spatial)
        return axes, shape, np.dtype(np.float32)
    small = np.uint8 if model.info.num_outputs <= 256 else np.uint16
    dtype = np.uint32 if plan.output == "instances" else small
    return layout.label_axes, layout.leading_shape + spatial, np.dtype(dtype)


def check_image(shape: Sequence[int], dtype: Any) -> None:
    """Raise `InputError` for an empty image or one that does not hold real numbers."""
    if 0 in shape:
        raise InputError(f"The image is empty: its shape is {tuple(shape)}.")
    if np.dtype(dtype).kind not in "buif":
        raise InputError(
            f"The image holds values of type {dtype}; integers or real numbers are needed."
        )
