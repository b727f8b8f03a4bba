"""finetune: train a network on a few drawn labels."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..axes import find_layout
from ..errors import InputError
from ..io import Image, open_image
from ..model import ModelInfo, SegmentationModel, default_classes, load_model
from ..preprocess import Normalization
from ..zoo import get_spec
from .data import Labelling, TrainingImage, check_counts, count_labels, read_training_images
from .events import Event
from .job import FinetuneOptions, Job
from .loop import train

DEFAULT_BUDGET = 60.0
RATE_FROM_SCRATCH, RATE_FROM_BASE = 3e-3, 5e-4
SMALL_UNET: Mapping[int, tuple[int, ...]] = {2: (16, 32, 64, 128, 256), 3: (16, 32, 64, 128)}
"""Widths of the U-Net trained from scratch by default: quick, and content with few labels."""
PATCH = {2: (192, 192), 3: (32, 64, 64)}
ArrayOrPath = Any


@dataclass(frozen=True)
class Pair:
    """An image with its labels, before either is read.

    Parameters
    ----------
    image : Image
        With its axes, which are never "".
    labels : array-like of int
        Same axes without C.
    """

    image: Image
    labels: Any

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.labels.shape)
        axes = self.image.axes
        needed = tuple(n for a, n in zip(axes, self.image.shape, strict=True) if a != "C")
        if shape != needed:
            raise InputError(
                f"The labels have shape {shape}, but the image of shape {self.image.shape} "
                f"({axes}) needs labels of shape {needed}."
            )

    @property
    def channels(self) -> int:
        """Number of channels."""
        axes = self.image.axes
        return self.image.shape[axes.index("C")] if "C" in axes else 1


def finetune(
    images: Any,
    labels: Any,
    *,
    base: SegmentationModel | str | os.PathLike[str] | None = None,
    task: str = "semantic",
    unlabeled: str = "ignore",
    budget: float | None = None,
    steps: int | None = None,
    validation: tuple[Any, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    axes: str | None = None,
    ndim: int | None = None,
    architecture: str = "unet",
    architecture_options: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    batch: int | None = None,
    learning_rate: float | None = None,
    loss: str = "dice_cross_entropy",
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Train a network on drawn labels, few and sparse or many and dense.

    Parameters
    ----------
    images, labels : array-like, Image, path, or list of them
        Training images and their labels, in pairs. Labels have the axes of the image
        without C. 0 is "not drawn", 1 the background, 2, 3, ... what is looked for; the
        trained model calls class k of the drawing k - 1.
    base : SegmentationModel, str or path, optional
        Start from this model; its first and last layers are adapted to new channels and
        classes. From scratch without it.
    task : {"semantic", "instances"}
        "instances": labels hold object numbers, 0 is background.
    unlabeled : {"ignore", "background"}
        "background": 0 itself is the background and 1, 2, ... the foreground classes.
    budget : float, optional
        Seconds, reading included; 60 if neither this nor `steps` is given.
    steps : int, optional
        Optimisation steps instead.
    validation : (image or list, labels or list), optional
        Images on which the best model is chosen.
    seed : int
        The same seed and number of steps give the same model on a CPU.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    axes : str, optional
        Axes of the images where they do not tell.
    ndim : {2, 3}, optional
        Spatial dimensions of a new network: by default 3 if the images have an axis Z.
    architecture : str
        Network to train from scratch, a name of `list_models`.
    architecture_options : mapping, optional
        Its options; the default U-Net is a small one that suits few labels.
    class_names : sequence of str
        Names of the classes from 0, the background, on.
    batch, learning_rate : int, float
        Patches per step (by default 4 in 2D, 2 in 3D), and the highest learning rate
        (by default 0.003 from scratch and 0.0005 from a base).
    loss : str
        A name of `training.losses.LOSSES`.
    stop : callable
        Asked after each step; when it returns True, training ends and keeps the best model.

    Returns
    -------
    iterator of Event
        `Started`, then `StepDone`, `Scored`, `Snapshot` and `Note`; the last is `Finished`
        and holds the model. Closing the iterator abandons the training.

    Raises
    ------
    InputError
        If images, labels and options do not fit; raised before the first event.
    RunError
        While iterating, if memory gives out or the loss is no longer finite.
    """
    started = time.monotonic()
    if budget is None and steps is None:
        budget = DEFAULT_BUDGET
    if learning_rate is None:
        learning_rate = RATE_FROM_SCRATCH if base is None else RATE_FROM_BASE
    options = FinetuneOptions(
        task, unlabeled, budget, steps, seed, device, batch, learning_rate, loss
    )
    if isinstance(base, (str, os.PathLike)):
        base = load_model(base)
    pairs = _pair_up(images, labels, axes)
    scored = _pair_up(*validation, axes) if validation is not None else []
    labelling = Labelling(task, unlabeled)
    counts: Counter[int] = Counter()
    for pair in pairs:
        counts.update(count_labels(pair.labels))
    num_classes = check_counts(counts, labelling)
    if task == "instances":
        counts = Counter({1: sum(counts.values())})
    if base is not None:
        info = _info_from_base(base, pairs, options, num_classes, class_names)
    else:
        info = _info_from_scratch(
            pairs, options, num_classes, class_names, ndim, architecture, architecture_options
        )
    patch = PATCH[info.ndim]
    return train(
        Job(
            info=info,
            base=base,
            training=_read(pairs, info, labelling, patch),
            validation=_read(scored, info, labelling, patch),
            labelled_voxels=dict(sorted(counts.items())),
            options=options,
            patch=patch,
            started=started,
            stop=stop,
        )
    )


def _pair_up(images: Any, labels: Any, axes: str | None) -> list[Pair]:
    many = isinstance(images, (list, tuple))
    if many != isinstance(labels, (list, tuple)) or (many and len(images) != len(labels)):
        raise InputError("Give as many labels as images, in pairs.")
    pairs = zip(images, labels, strict=True) if many else [(images, labels)]
    found = [_make_pair(image, label, axes) for image, label in pairs]
    if not found:
        raise InputError("No training image was given; give at least one, with its labels.")
    return found


def _make_pair(image: Any, labels: Any, axes: str | None) -> Pair:
    if isinstance(image, (str, os.PathLike)):
        image = open_image(image, axes=axes)
    if isinstance(labels, (str, os.PathLike)):
        labels = open_image(labels, labels=True)
    drawn = labels.data if isinstance(labels, Image) else labels
    if not isinstance(image, Image):
        image = Image(image)
    if not image.axes:
        image = image.with_axes(axes or _axes_by_labels(image.shape, tuple(drawn.shape)))
    return Pair(image, drawn)


def _axes_by_labels(image: tuple[int, ...], labels: tuple[int, ...]) -> str:
    """Name axes that nobody named: labels tell which one is C, the others are the last of TZYX."""
    spatial = "TZYX"[-len(labels) :]
    readings = {
        spatial: image == labels,
        "C" + spatial: image[1:] == labels,
        spatial + "C": image[:-1] == labels,
    }
    fitting = [axes for axes, fits in readings.items() if fits]
    if len(labels) not in (2, 3, 4) or not fitting:
        raise InputError(
            f"The labels have shape {labels}, which does not fit the image of shape {image}: "
            "they need the same size along every axis but the channels."
        )
    if len(fitting) > 1:
        raise InputError(
            f"The image of shape {image} can be read as {' or '.join(fitting)}; name its axes."
        )
    return fitting[0]


def _info_from_base(
    base: SegmentationModel,
    pairs: Sequence[Pair],
    options: FinetuneOptions,
    num_classes: int,
    class_names: Sequence[str],
) -> ModelInfo:
    info = base.info
    channels = max(pair.channels for pair in pairs)
    if channels not in (1, info.in_channels):
        info = replace(info, in_channels=channels)
        if info.normalization.kind == "fixed":
            info = replace(info, normalization=Normalization())
    same_classes = len(info.classes) == num_classes and not class_names
    classes = info.classes if same_classes else default_classes(num_classes, tuple(class_names))
    provenance = {"base": info.name or info.architecture, "base_provenance": dict(info.provenance)}
    return replace(
        info, classes=classes, task=options.task, name="", description="", provenance=provenance
    )


def _info_from_scratch(
    pairs: Sequence[Pair],
    options: FinetuneOptions,
    num_classes: int,
    class_names: Sequence[str],
    ndim: int | None,
    architecture: str,
    architecture_options: Mapping[str, Any] | None,
) -> ModelInfo:
    deep = any("Z" in p.image.axes and p.image.shape[p.image.axes.index("Z")] > 1 for p in pairs)
    ndim = ndim or (3 if deep else 2)
    get_spec(architecture)
    first = pairs[0].image
    voxel_size = first.voxel_size[-ndim:] if len(first.voxel_size) >= ndim else None
    chosen = dict(architecture_options or {})
    if architecture == "unet" and not chosen:
        chosen = {"widths": SMALL_UNET[ndim]}
        if ndim == 3:
            chosen["strides"] = anisotropic_strides(first, len(SMALL_UNET[3]) - 1)
    return ModelInfo(
        architecture=architecture,
        ndim=ndim,
        in_channels=max(pair.channels for pair in pairs),
        classes=default_classes(num_classes, tuple(class_names)),
        options=chosen,
        task=options.task,
        voxel_size=voxel_size,
        unit=first.unit,
    )


def anisotropic_strides(image: Image, depth: int) -> tuple[tuple[int, int, int], ...]:
    """Down-sampling steps that leave Z alone until its voxels are about as long as those in Y.

    Z is not halved either where fewer than two slices would be left (Isensee et al. 2021,
    Nat Methods 18:203).
    """
    z, y = image.voxel_size[0], image.voxel_size[1]
    slices = image.shape[image.axes.index("Z")]
    steps = []
    for _ in range(depth):
        step = 2 if z < 2 * y and slices >= 4 else 1
        steps.append((step, 2, 2))
        z, y, slices = z * step, y * 2, slices // step
    return tuple(steps)


def _read(
    pairs: Sequence[Pair], info: ModelInfo, labelling: Labelling, margin: Sequence[int]
) -> list[TrainingImage]:
    found = []
    for pair in pairs:
        layout = find_layout(
            pair.image.shape, pair.image.axes, ndim=info.ndim, in_channels=info.in_channels
        )
        found += read_training_images(
            pair.image.data, pair.labels, layout, info.normalization, labelling, margin
        )
    return found
