"""The patches of one step of a training on what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .augment import Augmentation, change_intensity, draw_centre, sample_patch
from .data import TrainingImage


@dataclass(frozen=True)
class Batch:
    """Patches around drawn voxels.

    Parameters
    ----------
    x, unchanged : Tensor of float32, (N, C, [Z,] Y, X)
        The patches, and the same before their intensities were changed.
    target : Tensor of int64, (N, [Z,] Y, X)
        `IGNORE` where nothing is drawn.
    guess : Tensor of float32, (N, K, [Z,] Y, X), or None
        Pseudo-labels: class probabilities, 0 where there are none.
    """

    x: Tensor
    unchanged: Tensor
    target: Tensor
    guess: Tensor | None

    def to(self, device: torch.device, layout: torch.memory_format) -> Batch:
        """Return the same on a device."""
        return Batch(
            self.x.to(device).contiguous(memory_format=layout),
            self.unchanged.to(device).contiguous(memory_format=layout),
            self.target.to(device),
            None if self.guess is None else self.guess.to(device),
        )


def draw_batch(
    items: Sequence[TrainingImage],
    classes: Sequence[int],
    patch: Sequence[int],
    count: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Batch:
    """Cut `count` patches of size `patch`; each of `classes` is as likely in their middles."""
    changed, unchanged, targets, guesses = [], [], [], []
    for _ in range(count):
        item, centre = draw_centre(items, classes, rng)
        image, target, guess = sample_patch(item, centre, patch, augmentation, rng)
        changed.append(change_intensity(image, augmentation, rng))
        unchanged.append(image)
        targets.append(target)
        if guess is not None:
            guesses.append(guess)
    return Batch(
        torch.stack(changed),
        torch.stack(unchanged),
        torch.stack(targets),
        torch.stack(guesses) if guesses else None,
    )
