"""A new last layer for a trained network, fitted to the drawn voxels before training begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from .augment import Augmentation, draw_centre, sample_patch
from .data import IGNORE, TrainingImage
from .step import find_memory_format
from .trust import FOUND, correct_it

PATCHES, AT_ONCE = 24, 2
VOXELS = 600
"""Most voxels of each class, and of those not drawn, that are taken from one patch."""
KNOWN = 0.65
"""Share of each drawn class that the old outputs must recognise to be trusted elsewhere. What was
drawn since they were trained counts as corrections, which they need not recognise."""
RIDGE = {True: 1e-4, False: 3e-2}
"""Weight of the squared coefficients, with and without voxels labelled by the old outputs."""
REGRESSION_STEPS = 60


@dataclass(frozen=True)
class Sample:
    """Voxels taken from training patches.

    Parameters
    ----------
    features : Tensor of float32, (N, F)
        What the last layer sees.
    target : Tensor of int64, (N,)
        Class, or `IGNORE`.
    """

    features: Tensor
    target: Tensor


@dataclass(frozen=True)
class HeadFit:
    """What fitting the last layer has shown.

    Parameters
    ----------
    stands_for : Tensor of int64, (C,), or None
        The drawn class that each of the old outputs stands for, if these are kept.
    corrected : bool
        Whether they are kept although they do not recognise what is drawn.
    contradicted : bool
        Whether they even take nearly all that is drawn for another class.
    """

    stands_for: Tensor | None
    corrected: bool = False
    contradicted: bool = False


def fit_head(
    network: nn.Module,
    old: nn.Module,
    training: Sequence[TrainingImage],
    patch: Sequence[int],
    count: int,
    seed: int,
    expected: Sequence[int] | None,
    drawn_before: Mapping[int, int] | None,
    augmentation: Augmentation,
) -> HeadFit | None:
    """Fit the last layer of `network` by logistic regression on drawn voxels.

    Where the outputs of the old network tell the drawn classes apart, also voxels that are
    not drawn count, labelled by these outputs, so that what it knows is kept.

    Parameters
    ----------
    network : Module
        The network to be, all but its last layer with the weights of `old`; on the CPU.
        Changed in place.
    old : Module
        The trained network.
    training : sequence of TrainingImage
        Where voxels come from.
    patch : sequence of int
        Size of the patches they are taken from.
    count : int
        Classes of `network`.
    seed : int
        Of the choice of voxels.
    expected : sequence of int, optional
        The class that each output of `old` stands for, if its classes are those that are drawn. If
        each stands for its own, the last layer stays.
    drawn_before : mapping of int to int, optional
        Voxels of each class that `old` was trained on, if those were strokes, too.
    augmentation : Augmentation
        How patches are changed.

    Returns
    -------
    HeadFit or None
        None for a network whose logits are not those of one 1x1 convolution at full
        resolution, which is left as it is.
    """
    rng = np.random.default_rng(seed)
    name = _find_head(network, training[0], patch, augmentation, rng)
    if name is None:
        return None
    head, old_head = network.get_submodule(name), old.get_submodule(name)
    assert isinstance(head, nn.Conv2d | nn.Conv3d) and isinstance(old_head, nn.Conv2d | nn.Conv3d)
    sample = _take_sample(network, head, training, patch, augmentation, rng)
    before = _linear(old_head, sample.features)
    drawn = sample.target != IGNORE
    shares = _shares(before[drawn].argmax(1), sample.target[drawn], count, before.shape[1])
    stands_for = shares.argmax(0) if expected is None else torch.tensor(expected)
    recognised = {
        k: float(shares[k][stands_for == k].sum()) for k in {c for i in training for c in i.drawn}
    }
    older = _older_share(training, drawn_before)
    trusted = all(share >= KNOWN * older.get(k, 1.0) for k, share in recognised.items())
    merged = _merge(before[drawn], stands_for, count)
    corrected = (
        not trusted
        and expected is not None
        and correct_it(recognised.values(), merged, sample.target[drawn])
    )
    known = stands_for if trusted or corrected else None
    if expected is None or list(expected) != list(range(count)):
        used = ~drawn if corrected else torch.ones_like(drawn)
        _fit(head, before[used], Sample(sample.features[used], sample.target[used]), known, count)
    return HeadFit(known, corrected, corrected and max(recognised.values()) <= FOUND)


def _older_share(
    training: Sequence[TrainingImage], drawn_before: Mapping[int, int] | None
) -> dict[int, float]:
    """Share of the drawn voxels of each class that cannot be corrections; empty if unknown."""
    if drawn_before is None:
        return {}
    drawn: Counter[int] = Counter()
    for item in training:
        drawn.update({k: len(voxels) for k, voxels in item.drawn.items()})
    return {k: min(1.0, drawn_before.get(k, 0) / n) for k, n in drawn.items()}


def _merge(logits: Tensor, stands_for: Tensor, count: int) -> Tensor:
    """Add up probabilities of outputs (N, C) that stand for the same class, to (N, K)."""
    return torch.softmax(logits, 1) @ F.one_hot(stands_for, count).float()


def _fit(
    head: nn.Conv2d | nn.Conv3d,
    before: Tensor,
    sample: Sample,
    stands_for: Tensor | None,
    count: int,
) -> None:
    """Fit to the drawn voxels and, where old outputs stand for classes, to those as well."""
    drawn = sample.target != IGNORE
    labels = F.one_hot(sample.target.clamp_min(0), count).float()
    weight = torch.zeros(len(labels))
    sizes = torch.bincount(sample.target[drawn], minlength=count).clamp_min(1)
    weight[drawn] = (1 / (count * sizes))[sample.target[drawn]]
    if stands_for is not None:
        labels = torch.where(drawn[:, None], labels, _merge(before, stands_for, count))
        weight[~drawn] = 1 / max(1, int((~drawn).sum()))
    used = weight > 0
    matrix, bias = _regress(
        sample.features[used], labels[used], weight[used], RIDGE[stands_for is not None]
    )
    with torch.no_grad():
        head.weight.copy_(matrix.view_as(head.weight))
        assert head.bias is not None
        head.bias.copy_(bias)


def _find_head(
    network: nn.Module,
    item: TrainingImage,
    patch: Sequence[int],
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> str | None:
    """Name of the 1x1 convolution whose result the network returns, if there is one."""
    results: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda m, i, o, name=name: results.__setitem__(name, o))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d)
        and set(module.kernel_size) == {1}
        and module.bias is not None
    ]
    image, _, _ = sample_patch(item, np.zeros(len(patch)), patch, augmentation, rng)
    with torch.inference_mode():
        logits = network.eval()(image[None])
    for hook in hooks:
        hook.remove()
    return next((n for n, o in results.items() if o is logits), None)


def _take_sample(
    network: nn.Module,
    head: nn.Module,
    training: Sequence[TrainingImage],
    patch: Sequence[int],
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    classes = sorted({c for item in training for c in item.drawn})
    layout = find_memory_format(len(patch), torch.device("cpu"))
    network.to(memory_format=layout)
    patches = [_take_voxels(training, classes, patch, augmentation, rng) for _ in range(PATCHES)]
    features = []
    with torch.inference_mode():
        for first in range(0, PATCHES, AT_ONCE):
            some = patches[first : first + AT_ONCE]
            x = torch.stack([image for image, _, _ in some])
            network(x.contiguous(memory_format=layout))
            for of_patch, (_, voxels, _) in zip(seen.pop(), some, strict=True):
                features.append(of_patch.flatten(1)[:, voxels].T.float())
    hook.remove()
    return Sample(torch.cat(features).clone(), torch.cat([target for _, _, target in patches]))


def _take_voxels(
    training: Sequence[TrainingImage],
    classes: Sequence[int],
    patch: Sequence[int],
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a patch (C, *patch), the flat indices of some of its voxels, and their classes."""
    item, centre = draw_centre(training, classes, rng)
    image, target, _ = sample_patch(item, centre, patch, augmentation, rng)
    flat = target.flatten()
    voxels = torch.cat([_some(flat == c, rng) for c in (IGNORE, *classes)])
    return image, voxels, flat[voxels]


def _some(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """Indices of at most `VOXELS` true values, chosen at random."""
    found = torch.nonzero(mask).flatten()
    return found[torch.from_numpy(rng.permutation(len(found))[:VOXELS])]


def _shares(winner: Tensor, target: Tensor, count: int, outputs: int) -> Tensor:
    """Share (K, C) of each class's voxels that each output wins."""
    table = torch.bincount(target * outputs + winner, minlength=count * outputs).float()
    table = table.view(count, outputs)
    return table / table.sum(1, keepdim=True).clamp_min(1)


def _linear(head: nn.Conv2d | nn.Conv3d, features: Tensor) -> Tensor:
    with torch.no_grad():
        return F.linear(features, head.weight.flatten(1), head.bias)


def _regress(
    features: Tensor, labels: Tensor, weight: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression on soft labels: coefficients (K, F) and intercepts (K,).

    Features are standardised meanwhile, so that `ridge` bears on all alike.
    """
    weight = weight / weight.sum()
    mean = weight @ features
    spread = (weight @ (features - mean) ** 2).sqrt() + 1e-3
    x = (features - mean) / spread
    outputs, inputs = labels.shape[1], x.shape[1]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the value and its gradient."""
        coefficients = torch.from_numpy(flat).float().view(outputs, inputs + 1)
        matrix, bias = coefficients[:, :-1], coefficients[:, -1]
        log_p = F.log_softmax(F.linear(x, matrix, bias), 1)
        value = -(weight @ (labels * log_p).sum(1)) + ridge * (matrix**2).sum()
        error = (log_p.exp() * labels.sum(1, keepdim=True) - labels) * weight[:, None]
        slope = torch.cat([error.T @ x + 2 * ridge * matrix, error.sum(0)[:, None]], 1)
        return float(value), slope.double().flatten().numpy()

    start = np.zeros(outputs * (inputs + 1))
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": REGRESSION_STEPS})
    coefficients = torch.from_numpy(best.x).float().view(outputs, inputs + 1)
    found = coefficients[:, :-1] / spread
    return found, coefficients[:, -1] - found @ mean
