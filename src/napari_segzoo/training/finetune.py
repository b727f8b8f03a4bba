"""finetune: train a network on a few drawn labels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..io import Image
from ..io.units import PIXEL, length_factor
from ..model import ModelInfo, SegmentationModel, default_classes, load_model
from ..preprocess import Normalization
from ..zoo import get_spec
from .data import Labelling
from .drawings import Drawings, Drawn, count_drawn
from .events import Event
from .hold_out import choose_strokes, explain_too_few, find_separate_strokes
from .job import BATCH, FinetuneOptions, Job, usual_rate
from .loop import train
from .pairs import Pair, pair_up

DEFAULT_BUDGET = 60.0
SMALL_UNET: Mapping[int, tuple[int, ...]] = {2: (16, 32, 64, 128, 256), 3: (16, 32, 64, 128)}
"""Widths of the U-Net trained from scratch by default: quick, and content with few labels."""
PATCH = {2: (192, 192), 3: (32, 64, 64)}
BODY_SCAN_VOXEL = 0.1
"""Length in millimetres of the smallest voxels that a scanner of whole bodies makes."""


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
    tune: str = "all",
    hold_out: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
    more: Callable[[], Any] = lambda: None,
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
        Seconds, reading included; 60 if neither this nor `steps` is given. Strokes on a base are
        learnt after at most 150 steps, or one for every 16 drawn voxels if that is more, and the
        training ends.
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
        (by default 0.003 in 2D and 0.01 in 3D from scratch, 0.0005 from a base,
        up to 0.003 from one in 3D if classes are drawn on a tenth of the voxels).
    loss : str
        A name of `training.losses.LOSSES`.
    tune : {"all", "decoder", "norm", "low-rank"}
        What to change of the weights of `base`, besides the last layer: all, those of the
        decoder, scale and shift of the normalisation layers, or all kernels by the addition of
        matrices of rank 4 (Hu et al. 2021, arXiv:2106.09685). The model has the same form in
        each case.
    hold_out : float
        Share of the strokes of each class, up to 0.5, on which the model is scored instead of
        trained, if each has enough separate ones: ``ceil(1 / hold_out)``. A few strokes are too
        few to choose a model on, so the score is told and changes nothing.
    stop : callable
        Asked after each step; when it returns True, training ends and keeps the best model.
    more : callable
        Asked after each step; returns None, or all labels anew, an array or a list of arrays
        like `labels`, when something else is drawn. The training goes on with them.

    Returns
    -------
    iterator of Event
        `Started`, then `StepDone`, `Scored`, `Snapshot`, `Redrawn` and `Note`; the last is
        `Finished` and holds the model. Closing the iterator abandons the training.

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
    options = FinetuneOptions(
        architecture=architecture,
        architecture_options=architecture_options or {},
        ndim=ndim,
        task=task,
        unlabeled=unlabeled,
        budget=budget,
        steps=steps,
        seed=seed,
        device=device,
        loss=loss,
        tune=tune,
        hold_out=hold_out,
    )
    if batch is not None and batch <= 0:
        raise InputError(f"batch must be above 0, not {batch}.")
    if base is None and tune != "all":
        raise InputError(
            f"tune={tune!r} keeps weights of a base, but there is none: name a base, or tune all."
        )
    if hold_out and validation is not None:
        raise InputError("Give either validation images or a share of strokes to hold out.")
    if isinstance(base, (str, os.PathLike)):
        base = load_model(base)
    listed = isinstance(images, (list, tuple))
    pairs = pair_up(images, labels, axes)
    scored = pair_up(*validation, axes) if validation is not None else []
    labelling = Labelling(task, unlabeled)
    drawn = [pair.labels for pair in pairs]
    _, num_classes = count_drawn(drawn, labelling)
    if base is not None:
        info = _info_from_base(base, pairs, options, num_classes, class_names)
    else:
        info = _info_from_scratch(pairs, options, num_classes, class_names)
    patch = PATCH[info.ndim]
    apart, notes = _set_apart(drawn, options)
    drawings = Drawings(pairs, info, labelling, patch, apart)
    first_drawn = drawings.take(drawn)
    if learning_rate is None:
        sparsity = 1.0 if task == "instances" else first_drawn.sparsity
        learning_rate = usual_rate(info.ndim, base is not None, sparsity)

    def redrawn() -> Drawn | None:
        found = more()
        return None if found is None else drawings.take(found if listed else [found])

    return train(
        Job(
            info=info,
            base=base,
            drawn=first_drawn,
            validation=Drawings(scored, info, labelling, patch).read([p.labels for p in scored]),
            options=options,
            batch=batch or BATCH[info.ndim],
            learning_rate=learning_rate,
            patch=patch,
            body_scans=info.ndim == 3 and all(_is_body_scan(pair.image) for pair in pairs),
            started=started,
            stop=stop,
            more=redrawn,
            notes=notes,
        )
    )


def _set_apart(
    labels: Sequence[Any], options: FinetuneOptions
) -> tuple[list[NDArray[np.intp]], tuple[str, ...]]:
    """Return the voxels to hold out of each image, and what there is to say about it."""
    if not options.hold_out:
        return [], ()
    strokes = find_separate_strokes(labels)
    if few := explain_too_few(strokes, options.hold_out):
        return [], (few,)
    return choose_strokes(strokes, options.hold_out, len(labels), options.seed), ()


def _is_body_scan(image: Image) -> bool:
    millimetres = [n * length_factor(image.unit, "millimeter") for n in image.voxel_size]
    return image.unit != PIXEL and min(millimetres) >= BODY_SCAN_VOXEL


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
) -> ModelInfo:
    deep = any("Z" in p.image.axes and p.image.shape[p.image.axes.index("Z")] > 1 for p in pairs)
    ndim = options.ndim or (3 if deep else 2)
    get_spec(options.architecture)
    first = pairs[0].image
    voxel_size = first.voxel_size[-ndim:] if len(first.voxel_size) >= ndim else None
    chosen = dict(options.architecture_options)
    if options.architecture == "unet" and not chosen:
        chosen = {"widths": SMALL_UNET[ndim]}
        if ndim == 3:
            chosen["residual"] = True
            chosen["strides"] = anisotropic_strides(first, len(SMALL_UNET[3]) - 1)
    return ModelInfo(
        architecture=options.architecture,
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
