"""The forward pass over batches of tiles; a tile that comes again is kept until then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from .blending import Computed
from .forward import Forward
from .reading import stack
from .walk import Step


@dataclass
class TileComputer:
    """Computes batches, and keeps what is needed again.

    Parameters
    ----------
    forward : callable
        See `make_forward`.
    """

    forward: Forward
    _kept: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def compute(self, batch: Computed) -> Computed:
        """Return the batch with the probabilities of its tiles."""
        full = [(s, b) for s, b in zip(batch.steps, batch.blocks, strict=True) if b is not None]
        kept = [self._kept.pop(_key(step), None) for step, _ in full]
        tiles = stack([b for (_, b), scores in zip(full, kept, strict=True) if scores is None])
        new = iter(() if tiles is None else self.forward(tiles))
        found = [next(new) if scores is None else scores for scores in kept]
        for (step, _), scores in zip(full, found, strict=True):
            if step.again:
                self._kept[_key(step)] = scores.clone()
        return replace(batch, scores=found)


def _key(step: Step) -> tuple[int, ...]:
    return (*step.leading, *(w.start for w in step.tile.windows))
