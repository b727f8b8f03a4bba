"""finetune: train a network on a few drawn labels."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..model import SegmentationModel, load_model
from .data import Labelling
from .drawings import Drawings, Drawn, check_scored, count_drawn
from .events import Event
from .hold_out import choose_strokes, explain_too_few, find_separate_strokes
from .info import info_from_base, info_from_scratch
from .job import BATCH, FinetuneOptions, Job, usual_rate
from .loop import train
from .pairs import Pair, pair_up
from .scans import are_body_scans

DEFAULT_BUDGET = 60.0
PATCH = {2: (192, 192), 3: (32, 64, 64)}


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
        "instances": labels hold object numbers, 0 is background; in an image in which the base
        finds more objects that are not outlined than outlined ones, it is "not drawn" at these.
    unlabeled : {"ignore", "background"}
        "background": 0 itself is the background and 1, 2, ... the foreground classes; with
        objects, everywhere.
    budget : float, optional
        Seconds, reading included; 60 if neither this nor `steps` is given. Strokes on a base are
        learnt after at most 150 steps, or one for every 256 drawn voxels if that is more, and the
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
    for name, value in (("batch", batch), ("learning_rate", learning_rate)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} must be above 0, not {value}.")
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
    scored = _pair_validation(validation, axes)
    labelling = Labelling(task, unlabeled)
    drawn = [pair.labels for pair in pairs]
    _, num_classes = count_drawn(drawn, labelling)
    if len(class_names) > num_classes:
        raise InputError(
            f"There are {len(class_names)} class names, but only {num_classes} classes are drawn."
        )
    if base is not None:
        info = info_from_base(base, pairs, options, num_classes, class_names)
    else:
        info = info_from_scratch(pairs, options, num_classes, class_names)
    if scored:
        check_scored([pair.labels for pair in scored], labelling, info.num_outputs)
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
            body_scans=are_body_scans((pair.image for pair in pairs), info.ndim),
            started=started,
            stop=stop,
            more=redrawn,
            notes=notes,
        )
    )


def _pair_validation(validation: Any, axes: str | None) -> list[Pair]:
    if validation is None:
        return []
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise InputError("validation must be a pair: an image or a list of them, and its labels.")
    return pair_up(validation[0], validation[1], axes)


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
