"""Where a fine-tuning starts: the network, and what it shall keep."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference.tiling import round_up
from ..model import ModelInfo, SegmentationModel
from .adapt import adapt
from .augment import choose_augmentation
from .data import count_objects
from .head import HeadFit, fit_head
from .job import Job
from .undrawn import UndrawnLoss

SMOOTHNESS, SMOOTHNESS_KNOWN = 2.0, 0.5
"""Weight of the smoothness of what is not drawn; less if the base knows the drawn classes. It fades
out the more is drawn."""
KEEP_OWN, KEEP_KNOWN, KEEP_FITTED = 30.0, 10.0, 0.1
"""Weight of what the base says where nothing is drawn: if it was made for the drawn classes, not by
strokes, and recognises them; if it is corrected, was made by strokes, or knows them by other names;
and if only its last layer was fitted to them, or if outputs of other names that seemed to stand for
them do not leave the strokes to be learnt."""
CORRECT = 1.0
"""Weight of what is drawn where a base that strokes made is wrong; less the more is drawn."""
AGREE = 4.0
"""Weight of pseudo-labels in 2D; it fades out the more is drawn, too."""
HALF_WAY = 60
"""Outlined objects by which a base that finds such objects already goes half of the way."""
LEAST = 0.25
"""Least share of the way, however few are outlined."""
MANY = 0.9
"""Share of the way from a base on which its normalisation layers may measure anew."""


@dataclass(frozen=True)
class Start:
    """Where a training starts.

    Parameters
    ----------
    network : Module
        In training mode.
    patch : tuple of int
        Size of its patches.
    undrawn : UndrawnLoss
        Its loss without labels.
    share : float
        How far the final weights go from those at the start to the trained ones, in (0, 1].
    contradicted : bool
        Whether the base, which is kept, takes nearly all that is drawn for another class.
    """

    network: nn.Module
    patch: tuple[int, ...]
    undrawn: UndrawnLoss
    share: float = 1.0
    contradicted: bool = False


class Merged(nn.Module):
    """A network whose outputs are added up into fewer classes.

    Parameters
    ----------
    network : Module
        Maps (N, C, [Z,] Y, X) to logits (N, C', [Z,] Y, X).
    stands_for : Tensor of int64, (C',)
        The class that each output counts for.
    count : int
        Number of classes.
    """

    def __init__(self, network: nn.Module, stands_for: Tensor, count: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("outputs", F.one_hot(stands_for, count).float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithms of the probabilities, (N, K, [Z,] Y, X)."""
        probabilities = torch.softmax(self.network(x).float(), dim=1)
        merged: Tensor = torch.einsum("nc...,ck->nk...", probabilities, self.outputs)
        return merged.clamp_min(1e-6).log()


def make_start(job: Job) -> Start:
    """Build the network of a job, with a last layer that fits the drawn classes.

    From a base model and few strokes or outlines, normalisation layers keep their statistics,
    which a few patches would only make worse. With strokes, the network stays near what it was
    where nothing is drawn; with few outlines of objects that it can find already, its weights
    stay near what they were.
    """
    sparse = job.options.sparse
    if job.base is None:
        network = SegmentationModel.create(job.info).network
        undrawn = _learn_alone(job.info.ndim, job.drawn.sparsity if sparse else 0.0)
        return Start(network.train(), _fit_patch(job, network.divisor), undrawn)  # type: ignore[arg-type]
    network = adapt(job.base, job.info).network
    old = adapt(job.base, _with_old_classes(job)).network.eval()
    patch = _fit_patch(job, network.divisor)  # type: ignore[arg-type]
    count = job.info.num_outputs
    fit = fit_head(
        network,
        old,
        job.training,
        patch,
        count,
        job.options.seed,
        job.stands_for,
        job.drawn_before,
        choose_augmentation(job.body_scans),
    )
    undrawn = UndrawnLoss()
    if sparse:
        undrawn = _what_to_keep(fit, network, old, job)
    share = 1.0
    if job.options.task == "instances" and fit is not None and fit.stands_for is not None:
        objects = sum(count_objects(item) for item in job.training)
        share = max(LEAST, objects / (objects + HALF_WAY))
    network.train()
    if sparse or share < MANY:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    contradicted = sparse and fit is not None and fit.contradicted
    return Start(network, patch, undrawn, share, contradicted)


def _what_to_keep(fit: HeadFit | None, network: nn.Module, old: nn.Module, job: Job) -> UndrawnLoss:
    sparsity = job.drawn.sparsity
    if fit is not None and fit.stands_for is not None:
        teacher = Merged(old, fit.stands_for, job.info.num_outputs)
        own = job.stands_for is not None and job.drawn_before is None and not fit.corrected
        keep = KEEP_OWN if own else KEEP_KNOWN
        doubted = KEEP_FITTED if job.stands_for is None else None
        correct = CORRECT * sparsity if job.drawn_before is not None else 0.0
        return UndrawnLoss(SMOOTHNESS_KNOWN * sparsity, keep, teacher, doubted, correct)
    alone = _learn_alone(len(network.divisor), sparsity)  # type: ignore[arg-type]
    if fit is None or alone.keep or not sparsity:
        return alone
    return UndrawnLoss(alone.smooth, KEEP_FITTED, copy.deepcopy(network).eval())


def _learn_alone(ndim: int, sparsity: float) -> UndrawnLoss:
    """What a network that does not know the drawn classes learns where nothing is drawn."""
    return UndrawnLoss(sparsity * SMOOTHNESS, sparsity * AGREE if ndim == 2 else 0.0)


def _with_old_classes(job: Job) -> ModelInfo:
    assert job.base is not None
    return replace(job.info, classes=job.base.info.classes, task=job.base.info.task)


def _fit_patch(job: Job, divisor: Sequence[int]) -> tuple[int, ...]:
    """Cut the patch to the largest training image, and round it up to what the network needs."""
    largest = np.max([item.target.shape for item in job.training], axis=0)
    return tuple(
        round_up(min(p, int(n)), d) for p, n, d in zip(job.patch, largest, divisor, strict=True)
    )
