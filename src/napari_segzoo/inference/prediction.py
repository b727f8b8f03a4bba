"""A planned run of a model over an image, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RunError
from .device import is_out_of_memory
from .events import Event, Note, TileDone
from .objects import separate
from .plan import Plan, PredictOptions, shrink_plan
from .refine import refine

if TYPE_CHECKING:
    from torch import Tensor

    from ..model import SegmentationModel
    from ..postprocess import Objects
    from ..preprocess import Intensity
    from .rolling import Column, RollingSum
    from .tiling import Tile, Window


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
    """

    model: SegmentationModel
    image: Any
    options: PredictOptions
    plan: Plan
    axes: str
    result: Any
    scores: Any = None
    objects: Objects | None = None

    def run(self, *, start: int = 0) -> Iterator[Event]:
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
                self.plan, start = smaller, 0
                yield Note(f"Memory ran out; going on with less: {smaller.summary()}.")
            else:
                break
        if self.plan.output == "instances":
            yield Note("Separating objects.")
            yield from separate(self)

    def _run_plan(self, start: int) -> Iterator[TileDone | Note]:
        import torch

        from .forward import make_forward
        from .rolling import cut_columns

        plan, layout = self.plan, self.plan.layout
        device = torch.device(plan.device)
        if self.options.crf and self.scores is None:
            self.scores = np.zeros(*result_shape(self.model, probabilities_of(plan))[1:])
        forward = make_forward(
            self.model.network,
            ndim=layout.ndim,
            device=device,
            precision=getattr(torch, plan.precision),
            tta=plan.tta,
        )
        intensity = self.model.info.normalization.measure(self.image, layout.channel_axis)
        columns = cut_columns(plan.tiling, plan.column_voxels)
        rows = len(plan.tiling.windows()[0])
        total = int(np.prod(layout.leading_shape, dtype=int)) * sum(map(len, columns)) * rows
        done = 0
        told = False
        with ThreadPoolExecutor(1) as reader:
            for leading in np.ndindex(*layout.leading_shape):
                for column in columns:
                    size = len(column) * rows
                    if done + size <= start:
                        done += size
                        continue
                    walk = _Walk(self, leading, column, intensity, reader, device)
                    for region in walk.tiles(forward, skip=max(0, start - done)):
                        done += 1
                        if walk.unusual and not told:
                            told = True
                            yield Note(
                                "The image holds NaN or infinite values; NaN is treated as the "
                                "darkest intensity, infinite values as the darkest or brightest."
                            )
                        if done > start:
                            yield TileDone(done, total, region)
        if self.options.crf:
            yield Note("Refining with the fully connected CRF.")
            yield from (TileDone(total, total, region) for region in refine(self))

    def write(
        self, leading: tuple[int, ...], box: tuple[slice, ...], scores: Tensor
    ) -> tuple[slice, ...]:
        """Write the probabilities (K, ...) of a box, in the form asked for, and return where."""
        from .forward import to_labels

        every = tuple(slice(n, n + 1) for n in leading)
        if self.plan.output == "probabilities":
            region = (*every, slice(0, scores.shape[0]), *box)
            block: NDArray[Any] = scores.cpu().numpy()
        else:
            region = (*every, *box)
            objects = self.model.info.task == "instances"
            block = to_labels(scores, foreground_only=objects and self.plan.output == "labels")
        self.result[region] = block[(None,) * len(every)]
        return region


@dataclass
class _Walk:
    """One pass along the first axis, for one leading index and one column."""

    prediction: Prediction
    leading: tuple[int, ...]
    column: Column
    intensity: Intensity
    reader: ThreadPoolExecutor
    device: Any
    unusual: bool = False

    def tiles(self, forward: Any, skip: int) -> Iterator[tuple[slice, ...] | None]:
        """Compute the tiles of the column and yield what each completes.

        The first `skip` tiles are taken as written: None is yielded for them, and only
        those that reach into later rows are computed.
        """
        from .rolling import RollingSum

        plan = self.prediction.plan
        first = plan.tiling.windows()[0]
        sums = RollingSum(
            self.prediction.model.info.num_outputs,
            plan.tiling.window_shape[0],
            self.column.span,
            self.device,
        )
        per_row = len(self.column)
        for row, window in enumerate(first):
            sums.move_to(window.lo)
            written = min(max(skip - row * per_row, 0), per_row)
            if written == per_row and window.hi <= first[skip // per_row].lo:
                yield from repeat(None, per_row)
            else:
                yield from self._row(window, sums, forward, written)

    def _row(
        self, window: Window, sums: RollingSum, forward: Any, written: int
    ) -> Iterator[tuple[slice, ...] | None]:
        batches = _batched(self.column.tiles(window), self.prediction.plan.batch)
        pending = ((b, self.reader.submit(self._read, [t for t, _ in b])) for b in batches)
        number = 0
        for (batch, blocks), _ in pairwise(chain(pending, [([], None)])):
            assert blocks is not None
            scores = forward(blocks.result())
            for (tile, own), tile_scores in zip(batch, scores, strict=True):
                sums.add(tile, tile_scores)
                number += 1
                if not (own and number > written):
                    yield None
                    continue
                scores = sums.take(tile.complete)
                if self.prediction.scores is not None:
                    where = (*self.leading, slice(None), *tile.complete)
                    self.prediction.scores[where] = scores.cpu().numpy()
                yield self.prediction.write(self.leading, tile.complete, scores)

    def _read(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """Read, normalise and pad tiles: (N, C, [Z,] Y, X)."""
        layout = self.prediction.plan.layout
        blocks = []
        for tile in tiles:
            inside = [
                slice(s.start, min(s.stop, n))
                for s, n in zip(tile.read, layout.spatial_shape, strict=True)
            ]
            raw = layout.read(self.prediction.image, self.leading, inside)
            if raw.dtype.kind == "f" and not np.isfinite(raw).all():
                self.unusual = True
            missing = [s.stop - i.stop for s, i in zip(tile.read, inside, strict=True)]
            pad = [(0, 0), *((0, m) for m in missing)]
            blocks.append(np.pad(self.intensity.apply(raw), pad, mode="reflect"))
        return np.stack(blocks)


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
    if plan.output == "probabilities":
        axes = layout.leading_axes + "C" + layout.model_axes
        shape = (*layout.leading_shape, model.info.num_outputs, *layout.spatial_shape)
        return axes, shape, np.dtype(np.float32)
    small = np.uint8 if model.info.num_outputs <= 256 else np.uint16
    dtype = np.uint32 if plan.output == "instances" else small
    return layout.label_axes, layout.label_shape, np.dtype(dtype)


def check_image(shape: Sequence[int], dtype: Any) -> None:
    """Raise `InputError` for an empty image or one that does not hold real numbers."""
    if 0 in shape:
        raise InputError(f"The image is empty: its shape is {tuple(shape)}.")
    if np.dtype(dtype).kind not in "buif":
        raise InputError(
            f"The image holds values of type {dtype}; integers or real numbers are needed."
        )
