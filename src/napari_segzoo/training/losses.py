"""Losses over logits (N, K, [Z,] Y, X) and targets (N, [Z,] Y, X) of class numbers.

Each loss is a scalar in float32. A voxel whose target is `IGNORE` adds neither to its value
nor to its gradient; where no voxel is known the loss is 0. Probabilities are the softmax of
the logits, as in inference.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .boundary import distance_to_other_class
from .data import IGNORE

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over known voxels; with `weights` (K,) the mean weighted by class."""
    total = F.cross_entropy(logits, target, weights, ignore_index=IGNORE, reduction="sum")
    if weights is None:
        return total / (target != IGNORE).sum().clamp_min(1)
    share = weights[target.clamp_min(0)] * (target != IGNORE)
    return total / share.sum().clamp_min(1e-6)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of each class against all others, mean over classes and known voxels.

    The log-odds of a class are those of its softmax probability; with two classes the loss
    is therefore the cross-entropy. A single channel of logits holds the log-odds of class 1.
    """
    classes = torch.arange(logits.shape[1], device=target.device) + (logits.shape[1] == 1)
    wanted = target.unsqueeze(1) == classes.view(1, -1, *[1] * (target.ndim - 1))
    odds = log_odds(logits)
    per_voxel = F.binary_cross_entropy_with_logits(odds, wanted.to(odds.dtype), reduction="none")
    return _known_mean(per_voxel.mean(dim=1), target)


def log_odds(logits: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of each softmax probability, also where p rounds to 1."""
    if logits.shape[1] == 1:
        return logits
    top = F.one_hot(logits.argmax(dim=1), logits.shape[1]).movedim(-1, 1).bool()
    log_p = torch.log_softmax(logits, dim=1)
    others_of_top = torch.logsumexp(log_p.masked_fill(top, -torch.inf), dim=1, keepdim=True)
    others = torch.log1p(-log_p.masked_fill(top, -torch.inf).exp())
    return log_p - torch.where(top, others_of_top, others)


def soft_dice(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the mean soft Dice over the classes that occur in the batch.

    Per class, ``(2 Σ p t + s) / (Σ p + Σ t + s)`` with sums over all known voxels of the
    batch and smoothing `s` (Milletari et al. 2016, 3DV; Drozdzal et al. 2016).
    """
    overlap, predicted, true = _volumes(logits, target)
    return _mean_loss((2 * overlap + smooth) / (predicted + true + smooth), true, logits)


def dice_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum of cross-entropy and soft Dice loss (Isensee et al. 2021, Nat Methods 18:203)."""
    return cross_entropy(logits, target, weights) + soft_dice(logits, target)


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy times ``(1 - p) ** gamma``, p being the probability of the true class.

    Mean over known voxels; easy voxels count less (Lin et al. 2017, arXiv:1708.02002).
    """
    entropy = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
    # 1 - exp(-entropy), bounded away from 0, where a power below 1 has no finite slope.
    wrong = (-torch.expm1(-entropy)).clamp_min(1e-7)
    return _known_mean(wrong**gamma * entropy, target)


def tversky(
    logits: Tensor,
    target: Tensor,
    false_positives: float = 0.3,
    false_negatives: float = 0.7,
    smooth: float = 1.0,
) -> Tensor:
    """One minus the mean Tversky index over the classes that occur in the batch.

    Per class, ``(TP + s) / (TP + a FP + b FN + s)`` with soft counts over the known voxels; by
    default misses cost more than false alarms (Salehi et al. 2017, arXiv:1706.05721).
    """
    hits, predicted, true = _volumes(logits, target)
    wrong = false_positives * (predicted - hits) + false_negatives * (true - hits)
    return _mean_loss((hits + smooth) / (hits + wrong + smooth), true, logits)


def boundary(logits: Tensor, target: Tensor, strength: float = 10.0, sigma: float = 5.0) -> Tensor:
    """Cross-entropy that counts more near the boundaries between classes.

    The weight of a voxel is ``1 + strength * exp(-d² / (2 sigma²))``, d being its distance in
    voxels to the nearest known voxel of another class: the weight map of U-Net (Ronneberger et
    al. 2015, arXiv:1505.04597) with classes in place of single cells. Beyond 3 sigma the weight
    is 1. The result is the weighted mean over known voxels.
    """
    distance = distance_to_other_class(target, int(3 * sigma))
    weight = 1 + strength * torch.exp(-(distance**2) / (2 * sigma**2))
    weight = weight * (target != IGNORE)
    entropy = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
    return (weight * entropy).sum() / weight.sum().clamp_min(1)


LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "weighted_cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "dice": soft_dice,
    "dice_cross_entropy": dice_cross_entropy,
    "focal": focal,
    "tversky": tversky,
    "boundary": boundary,
}
"""All losses by name."""


def check_loss(name: str) -> str:
    """Return `name` if there is such a loss; raise `InputError` that names the closest if not."""
    if name in LOSSES:
        return name
    close = difflib.get_close_matches(name, LOSSES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(LOSSES)}."
    raise InputError(f"There is no loss named {name!r}; {hint}")


def make_loss(
    name: str, *, weights: Tensor | None = None, device: torch.device | str = "cpu"
) -> Loss:
    """Return a function from logits and target to a loss.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    weights : Tensor of float, (K,), optional
        Weight of each class, for "weighted_cross_entropy" alone, which needs it; see
        `frequency_weights`.
    device
        Where the logits are.

    Raises
    ------
    InputError
        For an unknown name, and for weights that are missing or that the loss does not take.
    """
    check_loss(name)
    if (weights is not None) != (name == "weighted_cross_entropy"):
        raise InputError(
            "The loss weighted_cross_entropy needs one weight per class."
            if weights is None
            else f"Class weights are for the loss weighted_cross_entropy, not for {name}."
        )
    if weights is None:
        return LOSSES[name]
    return partial(LOSSES[name], weights=weights.to(device))


def frequency_weights(counts: Sequence[int], voxels: Sequence[int] | None = None) -> Tensor:
    """Weights from the voxels of each class: the median frequency over the class's own.

    The frequency of a class is the share of its voxels in the images in which it occurs; a class
    that never occurs has weight 0 (median frequency balancing: Eigen & Fergus 2015,
    arXiv:1411.4734; used for SegNet).

    Parameters
    ----------
    counts : sequence of int
        Voxels of each class.
    voxels : sequence of int, optional
        Voxels of any class in the images that hold each class; by default the same for all.
    """
    frequency = torch.tensor([float(n) for n in counts])
    present = frequency > 0
    if not present.any():
        raise InputError("No voxel has a class, so there are no class frequencies.")
    if voxels is not None:
        frequency /= torch.tensor([float(n) for n in voxels]).clamp_min(1)
    weights = torch.zeros_like(frequency)
    weights[present] = frequency[present].quantile(0.5) / frequency[present]
    return weights


def total_loss(
    network: torch.nn.Module,
    x: Tensor,
    target: Tensor,
    loss: Loss,
    precision: torch.dtype,
    unlabelled: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Loss of a network, its side outputs included.

    A network with deep supervision or an auxiliary head has `outputs(x)`, main logits first,
    and `output_weights`; the result is the weighted sum over all of them.

    Parameters
    ----------
    precision : torch.dtype
        Of the forward pass; the loss itself is computed in float32.
    unlabelled : callable, optional
        Returns a loss of the main logits that needs no labels, which is added.
    """
    with torch.autocast(x.device.type, precision, enabled=precision != torch.float32):
        weights: Sequence[float] = getattr(network, "output_weights", (1.0,))
        outputs = network.outputs(x) if len(weights) > 1 else [network(x)]  # type: ignore[operator]
    parts = [w * loss(y.float(), target) for w, y in zip(weights, outputs, strict=True)]
    if unlabelled is not None:
        parts.append(unlabelled(outputs[0].float()))
    return torch.stack(parts).sum()


def _known_mean(per_voxel: Tensor, target: Tensor) -> Tensor:
    known = target != IGNORE
    return torch.where(known, per_voxel, 0.0).sum() / known.sum().clamp_min(1)


def _volumes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Soft overlap, predicted and true volume of each class over the known voxels."""
    known = (target != IGNORE).unsqueeze(1)
    p = torch.softmax(logits, dim=1) * known
    t = F.one_hot(target.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known
    axes = [0, *range(2, logits.ndim)]
    return (p * t).sum(axes), p.sum(axes), t.sum(axes)


def _mean_loss(score: Tensor, true: Tensor, logits: Tensor) -> Tensor:
    present = true > 0
    return 1 - score[present].mean() if present.any() else logits.sum() * 0
