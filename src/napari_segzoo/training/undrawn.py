"""What a network learns from the voxels that nobody labelled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batch import Batch
from .data import IGNORE
from .smoothness import smoothness

LEAST_WRONG = 50
"""So few voxels to be corrected in a batch weigh less together."""
GROWING = 40
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
        Weight of the divergence (Kullback & Leibler 1951), on voxels that are not drawn, from what
        `teacher` says, which keeps what a trained network knows (learning without forgetting: Li &
        Hoiem 2016, ECCV, arXiv:1606.09282), or without one from pseudo-labels; then it grows to
        this over the first `GROWING` batches with any.
    teacher : Module or None
        The network as it was before training.
    keep_doubted : float or None
        What `keep` becomes once what is drawn turns out not to be learnt beside what the teacher
        says; None to hold on to it.
    correct : float
        Weight of the cross-entropy on drawn voxels that the teacher gets wrong, times the share
        of those that it gets right: a few corrections would be lost among older strokes.
    """

    smooth: float = 0.0
    keep: float = 0.0
    teacher: nn.Module | None = None
    keep_doubted: float | None = None
    correct: float = 0.0
    _steps: int = 0
    _guessed: int = 0
    _right: float = 1.0

    @property
    def wants_guesses(self) -> bool:
        """Whether it learns from pseudo-labels."""
        return self.keep > 0 and self.teacher is None

    def to(self, device: torch.device) -> UndrawnLoss:
        """Return the same with the teacher on a device."""
        return self if self.teacher is None else replace(self, teacher=self.teacher.to(device))

    def __call__(
        self,
        logits: Tensor,
        batch: Batch,
        precision: torch.dtype,
    ) -> Tensor:
        """Return one number.

        Parameters
        ----------
        logits : Tensor, (N, K, [Z,] Y, X)
            What the network makes of the batch.
        batch : Batch
            On the same device.
        precision : torch.dtype
            Of the teacher's forward pass.
        """
        if self.keep_doubted is not None:
            self._look_at(logits, batch.target)
        total = torch.zeros((), device=logits.device)
        undrawn = batch.target == IGNORE
        if self.smooth:
            total = total + self.smooth * smoothness(logits, batch.x)
        if self.teacher is not None:
            amp = torch.autocast(logits.device.type, precision, enabled=precision != torch.float32)
            with torch.no_grad(), amp:
                wanted = torch.softmax(self.teacher(batch.unchanged).float(), dim=1)
            total = total + self.keep * _disagreement(logits, wanted, undrawn)
            if self.correct:
                total = total + self.correct * _corrections(logits, batch.target, wanted)
        elif batch.guess is not None:
            self._guessed += 1
            undrawn &= batch.guess.sum(dim=1) > 0
            weight = self.keep * min(1.0, self._guessed / GROWING)
            total = total + weight * _disagreement(logits, batch.guess, undrawn)
        return total

    def expect_corrections(self) -> None:
        """Hold on to what the teacher says even if what is drawn from now on is not learnt."""
        self.keep_doubted = None

    def _look_at(self, logits: Tensor, target: Tensor) -> None:
        """Doubt the teacher if what is drawn is not learnt."""
        right = logits.argmax(dim=1) == target
        drawn = [target == c for c in range(logits.shape[1])]
        worst = min((float(right[d].float().mean()) for d in drawn if d.any()), default=1.0)
        self._steps += 1
        self._right += MEMORY * (worst - self._right)
        if self._steps >= PATIENCE and self._right < LEARNT and self.keep_doubted is not None:
            self.keep, self.keep_doubted = self.keep_doubted, None


def _corrections(logits: Tensor, target: Tensor, wanted: Tensor) -> Tensor:
    """Mean cross-entropy on drawn voxels that the teacher gets wrong, times its share of others."""
    drawn = target != IGNORE
    wrong = drawn & (wanted.argmax(dim=1) != target)
    entropy = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
    right = 1 - wrong.sum() / drawn.sum().clamp_min(1)
    return right * (entropy * wrong).sum() / wrong.sum().clamp_min(LEAST_WRONG)


def _disagreement(logits: Tensor, wanted: Tensor, where: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence from wanted probabilities (N, K, ...) over some voxels."""
    surplus = torch.xlogy(wanted, wanted) - wanted * F.log_softmax(logits, dim=1)
    return (surplus.sum(dim=1) * where).sum() / where.sum().clamp_min(1)
