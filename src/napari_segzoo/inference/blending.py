"""Finished tiles added up, and what no later tile changes written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .events import TileDone
from .rolling import RollingSum
from .walk import Column, Step

if TYPE_CHECKING:
    from .prediction import Prediction


@dataclass
class Computed:
    """A batch of tiles.

    Parameters
    ----------
    steps : sequence of Step
        Where the tiles lie.
    blocks : sequence of ndarray or None
        What was read for each, None where it is empty.
    scores : sequence of Tensor
        Probabilities (K, [Z,] Y, X) of each tile that is not empty.
    """

    steps: Sequence[Step]
    blocks: Sequence[NDArray[np.float32] | None]
    scores: Sequence[Tensor] = ()


@dataclass
class Blender:
    """Adds tiles in the order of `walk` and writes into the result of a run.

    Parameters
    ----------
    run : Prediction
        Whose result is written.
    total : int
        Tiles of the whole run.
    device : torch.device
        Where the sums are held.
    """

    run: Prediction
    total: int
    device: Any
    _place: tuple[tuple[int, ...], Column] | None = None
    _sums: RollingSum | None = None

    def add(self, batch: Computed) -> list[TileDone]:
        """Add a batch of tiles and tell what each has completed."""
        scores = iter(batch.scores)
        events = []
        for step, block in zip(batch.steps, batch.blocks, strict=True):
            sums = self._sums_at(step)
            if block is None:
                sums.add_background(step.tile)
            else:
                sums.add(step.tile, next(scores))
            region = self._write(step, sums) if step.final else None
            events.append(TileDone(step.number, self.total, region))
        return events

    def _sums_at(self, step: Step) -> RollingSum:
        place = (step.leading, step.column)
        if self._sums is None or self._place != place:
            self._place = place
            self._sums = RollingSum(
                self.run.model.info.num_outputs,
                self.run.plan.tiling.window_shape[0],
                step.column.span,
                self.device,
            )
        self._sums.move_to(step.tile.windows[0].lo)
        return self._sums

    def _write(self, step: Step, sums: RollingSum) -> tuple[slice, ...] | None:
        box = self.run.plan.tiling.clip(step.tile.complete)
        if box is None:
            return None
        if self.run.leaves_background and sums.is_background(box):
            return self.run.place(step.leading, box)
        scores = sums.take(box)
        if self.run.scores is not None:
            self.run.scores[(*step.leading, slice(None), *box)] = scores.cpu().numpy()
        return self.run.write(step.leading, box, scores)
