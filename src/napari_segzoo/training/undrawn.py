"""What a network learns from the voxels that nobody labelled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .data import IGNORE
from .smoothness import smoothness

PATIENCE, LEARNT, MEMORY = 40, 0.82, 0.05
"""From this step on, so much of the worst drawn class must be right, on average over the latest
steps, each of which counts so much."""


@dataclass
class UndrawnLoss:
    """A loss that needs no labels.

    Parameters
    ----------
    smooth : float
        Weight of `smoothness`, which draws borders to where the image changes.
    keep : float
        Weight of the cross-entropy against `teacher` on voxels that are not drawn, which
        keeps what a trained network knows (learning without forgetting: Li & Hoiem 2016,
        ECCV, arXiv:1606.09282).
    teacher : Module or None
        The network as it was before training; None for `keep` 0.
    keep_doubted : float or None
        What `keep` becomes once what is drawn turns out not to be learnt beside what the teacher
        says; None to hold on to it.
    """

    smooth: float = 0.0
    keep: float = 0.0
    teacher: nn.Module | None = None
    keep_doubted: float | None = None
    _steps: int = 0
    _right: float = 1.0

    def to(self, device: torch.device) -> UndrawnLoss:
        """Return the same with the teacher on a device."""
        return self if self.teacher is None else replace(self, teacher=self.teacher.to(device))

    def __call__(
        self,
        logits: Tensor,
        x: Tensor,
        unchanged: Tensor,
        target: Tensor,
        precision: torch.dtype,
    ) -> Tensor:
        """Return one number.

        Parameters
        ----------
        logits : Tensor, (N, K, [Z,] Y, X)
            What the network makes of `x`.
        x, unchanged : Tensor of float, (N, C, [Z,] Y, X)
            The patches, and the same before their intensities were changed.
        target : Tensor of int64, (N, [Z,] Y, X)
            `IGNORE` where nothing is drawn.
        precision : torch.dtype
            Of the teacher's forward pass.
        """
        if self.keep_doubted is not None:
            self._look_at(logits, target)
        total = torch.zeros((), device=logits.device)
        if self.smooth:
            total = total + self.smooth * smoothness(logits, x)
        if self.teacher is not None:
            amp = torch.autocast(x.device.type, precision, enabled=precision != torch.float32)
            with torch.no_grad(), amp:
                wanted = torch.softmax(self.teacher(unchanged).float(), dim=1)
            entropy = -(wanted * F.log_softmax(logits, dim=1)).sum(dim=1)
            undrawn = target == IGNORE
            total = total + self.keep * (entropy * undrawn).sum() / undrawn.sum().clamp_min(1)
        return total

    def _look_at(self, logits: Tensor, target: Tensor) -> None:
        """Doubt the teacher if what is drawn is not learnt."""
        right = logits.argmax(dim=1) == target
        drawn = [target == c for c in range(logits.shape[1])]
        worst = min((float(right[d].float().mean()) for d in drawn if d.any()), default=1.0)
        self._steps += 1
        self._right += MEMORY * (worst - self._right)
        if self._steps >= PATIENCE and self._right < LEARNT and self.keep_doubted is not None:
            self.keep, self.keep_doubted = self.keep_doubted, None
