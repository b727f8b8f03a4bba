"""What a network learns from the voxels that nobody labelled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .data import IGNORE
from .smoothness import smoothness


@dataclass(frozen=True)
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
    """

    smooth: float = 0.0
    keep: float = 0.0
    teacher: nn.Module | None = None

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
