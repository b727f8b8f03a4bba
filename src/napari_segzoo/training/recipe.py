"""How a network is trained from a folder: options, and what is chosen where none is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..inference.device import PRECISIONS
from ..inference.tiling import round_up
from ..model import ModelInfo, default_classes, read_info
from ..preprocess import Normalization
from ..zoo import ModelSpec, get_spec
from .dataset import Dataset
from .losses import check_loss
from .scans import RESIZE
from .survey import Survey

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT_EPOCHS = 100
CROP = {2: 256, 3: 64}
BATCH = {2: 8, 3: 2}
OPTIMIZERS = ("auto", "sgd", "adamw")
RATE = {"sgd": 1e-2, "adamw": 1e-3}
SGD_FAMILIES = ("FCN", "SegNet", "DeepLab", "PSPNet", "RefineNet", "HRNet", "FastFCN", "FPN")
"""Networks that their authors trained by stochastic gradient descent."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train from a folder.

    Parameters
    ----------
    architecture, architecture_options
        Network of the zoo, and its options.
    weights : str or path, optional
        Pretrained weights to start from, see `create_model`; random without.
    loss : str
        A name of `losses.LOSSES`.
    class_weights : tuple of float
        For the loss weighted_cross_entropy; by default from the class frequencies.
    epochs, budget : int or float, optional
        Length, in passes over the data or in seconds: 100 epochs if neither is given.
    batch : int, optional
        Crops per step, all processes together: 8 in 2D, 2 in 3D.
    crop : tuple of int, optional
        Size of a crop, one number or one per axis, rounded up to what the network needs:
        256 in 2D, 64 in 3D, and no more than the largest image.
    resize : (float, float)
        Images are resized by a random factor from this range; scans of bodies by no more than
        1.35, either way.
    optimizer : {"auto", "sgd", "adamw"}
        "auto": SGD with momentum 0.9 and weight decay 1e-4 for networks on a classification
        backbone, else AdamW with weight decay 1e-2.
    learning_rate : float, optional
        The highest: 0.01 for SGD, 0.001 for AdamW. See `schedule.rate_factor`.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Of the forward pass; "auto" is bfloat16 where the device computes in it.
    seed : int
        With the same seed, number of epochs and of processes, a CPU gives the same weights.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    ndim, axes, ignore
        See `survey`.
    checkpoint_seconds : float
        Time between checkpoints.
    """

    architecture: str = "unet"
    architecture_options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | os.PathLike[str] | None = None
    loss: str = "dice_cross_entropy"
    class_weights: tuple[float, ...] = ()
    epochs: int | None = None
    budget: float | None = None
    batch: int | None = None
    crop: tuple[int, ...] = ()
    resize: tuple[float, float] = (0.5, 2.0)
    optimizer: str = "auto"
    learning_rate: float | None = None
    precision: str = "auto"
    seed: int = 0
    device: str = "auto"
    ndim: int | None = None
    axes: str | None = None
    ignore: int = 255
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        get_spec(self.architecture)
        check_loss(self.loss)
        if self.epochs is not None and self.budget is not None:
            raise InputError("Give either a number of epochs or a budget of seconds, not both.")
        for name in ("epochs", "budget", "batch", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise InputError(f"{name} must be above 0, not {value}.")
        if self.seed < 0:
            raise InputError(f"seed must be 0 or a whole number above, not {self.seed}.")
        if self.ndim not in (None, 2, 3):
            raise InputError(f"ndim must be 2 or 3, not {self.ndim}.")
        if self.class_weights and self.loss != "weighted_cross_entropy":
            raise InputError(
                f"Class weights are for the loss weighted_cross_entropy, not for {self.loss}."
            )
        if self.crop and min(self.crop) < 1:
            raise InputError(f"crop must be at least 1 along each axis, not {self.crop}.")
        if len(self.resize) != 2 or not 0 < self.resize[0] <= self.resize[1]:
            raise InputError(
                f"resize must be a lowest and a highest factor above 0, not {self.resize}."
            )
        for name, value, known in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}.")

    def settled(self, dataset: Dataset, found: Survey, divisor: tuple[int, ...]) -> TrainOptions:
        """Fill in what was left open.

        Raises
        ------
        InputError
            If `crop` or `class_weights` has a wrong number of entries.
        """
        optimizer = self.optimizer
        if optimizer == "auto":
            family = get_spec(self.architecture).family
            optimizer = "sgd" if family in SGD_FAMILIES else "adamw"
        classes = len(found.counts)
        if self.class_weights and len(self.class_weights) != classes:
            raise InputError(
                f"{len(self.class_weights)} class weights were given, but there are {classes} "
                "classes, background included."
            )
        return replace(
            self,
            epochs=DEFAULT_EPOCHS if self.epochs is None and self.budget is None else self.epochs,
            batch=self.batch or BATCH[found.ndim],
            crop=self._crop(found, divisor),
            resize=self._resize(found),
            optimizer=optimizer,
            learning_rate=self.learning_rate or RATE[optimizer],
        )

    def _crop(self, found: Survey, divisor: tuple[int, ...]) -> tuple[int, ...]:
        if len(self.crop) not in (0, 1, found.ndim):
            raise InputError(
                f"crop takes one number or {found.ndim}, one per axis, not {len(self.crop)}."
            )
        if self.crop:
            wanted = self.crop * (found.ndim if len(self.crop) == 1 else 1)
        else:
            largest = [max(sizes) for sizes in zip(*(s for _, s in found.shapes), strict=True)]
            wanted = tuple(min(CROP[found.ndim], n) for n in largest)
        return tuple(round_up(n, d) for n, d in zip(wanted, divisor, strict=True))

    def _resize(self, found: Survey) -> tuple[float, float]:
        if not found.body_scans:
            return self.resize
        low, high = (min(max(n, 1 / RESIZE), RESIZE) for n in self.resize)
        return low, high

    @property
    def crops_per_step(self) -> int:
        """Settled `batch`."""
        assert self.batch is not None
        return self.batch

    @property
    def rate(self) -> float:
        """Settled `learning_rate`."""
        assert self.learning_rate is not None
        return self.learning_rate

    def record(self) -> dict[str, Any]:
        """Return all that shapes the result, as JSON values."""
        chosen = {k: v for k, v in vars(self).items() if k not in ("device", "checkpoint_seconds")}
        weights = None if self.weights is None else os.fspath(self.weights)
        options = dict(self.architecture_options)
        return {**chosen, "architecture_options": options, "weights": weights}

    def identity(self, dataset: Dataset, found: Survey) -> dict[str, Any]:
        """Return what must be equal for a training to go on: options and data, as JSON values."""
        return {
            **self.record(),
            "training images": len(dataset.training),
            "validation images": len(dataset.validation),
            "voxels per class": found.counts,
        }


def describe(dataset: Dataset, found: Survey, options: TrainOptions) -> ModelInfo:
    """Return the record of the model to be trained."""
    spec = get_spec(options.architecture)
    count = len(found.counts)
    return ModelInfo(
        architecture=options.architecture,
        ndim=found.ndim,
        in_channels=found.in_channels,
        classes=default_classes(count, dataset.class_names[:count]),
        options=dict(options.architecture_options),
        normalization=_normalization(options.weights, spec.weights, found.in_channels),
        voxel_size=found.voxel_size,
        unit=found.unit,
        licence=_licence(options.weights, spec),
    )


def _licence(weights: str | os.PathLike[str] | None, spec: ModelSpec) -> str:
    if weights is None:
        return ""
    if weights in spec.weights:
        return f"Started from {spec.weights_licence}"
    return f"Started from {Path(weights).name}, whose terms apply"


def _normalization(
    weights: str | os.PathLike[str] | None, known: tuple[str, ...], in_channels: int
) -> Normalization:
    """Return what weights expect: ImageNet's statistics, or those of a model of this program."""
    if weights is None:
        return Normalization()
    if weights not in known and Path(weights).suffix == ".safetensors":
        try:
            own = read_info(weights).normalization
        except InputError:
            pass
        else:
            return own if own.kind != "fixed" or len(own.mean) == in_channels else Normalization()
    from ..zoo.pretrained import imagenet_statistics

    mean, std = imagenet_statistics(in_channels)
    return Normalization("fixed", mean=mean, std=std)


def make_optimizer(network: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """Return the optimiser that settled options name."""
    import torch

    if options.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=options.rate, momentum=0.9, weight_decay=1e-4
        )
    return torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-2)
