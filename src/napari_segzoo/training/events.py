"""What a training reports while it goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model import SegmentationModel


@dataclass(frozen=True)
class Started:
    """Images and labels are read, the first step follows.

    Parameters
    ----------
    labelled_voxels : mapping of int to int
        Drawn voxels per label value.
    device : str
        Where the network is trained.
    parameters : int
        Trainable parameters.
    patch : tuple of int
        Patch along the spatial axes.
    """

    labelled_voxels: Mapping[int, int]
    device: str
    parameters: int
    patch: tuple[int, ...]


@dataclass(frozen=True)
class StepDone:
    """One optimisation step.

    Parameters
    ----------
    step : int
        Steps so far.
    loss, learning_rate : float
        Of this step.
    seconds : float
        Since the start.
    progress : float
        Share of the steps or of the time budget, in [0, 1].
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float
    progress: float


@dataclass(frozen=True)
class Scored:
    """The averaged model was measured on what it is not trained on.

    Parameters
    ----------
    step : int
        Steps so far.
    dice : mapping of int to float
        Per class; nan where a class is in neither.
    mean_dice : float
        Over the classes above 0 that occur.
    iou, mean_iou
        Likewise, background included; told by `train_model`.
    on : str
        "validation images" or "held-out strokes".
    """

    step: int
    dice: Mapping[int, float]
    mean_dice: float
    iou: Mapping[int, float] = field(default_factory=dict)
    mean_iou: float = math.nan
    on: str = "validation images"


@dataclass(frozen=True)
class Snapshot:
    """A copy of the model as it is now, for a preview; training does not touch it."""

    step: int
    model: SegmentationModel


@dataclass(frozen=True)
class Redrawn:
    """What was drawn since the training began, or since the last such event, is taken in.

    Parameters
    ----------
    step : int
        Steps so far.
    labelled_voxels : mapping of int to int
        Drawn voxels per label value, all together.
    """

    step: int
    labelled_voxels: Mapping[int, int]


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written, from which the training can go on; `last` if it was stopped."""

    step: int
    path: Path
    last: bool = False


@dataclass(frozen=True)
class Note:
    """Something the user should know, in one sentence."""

    message: str


@dataclass(frozen=True)
class Finished:
    """The last event.

    Parameters
    ----------
    model : SegmentationModel
        The best on validation images where there are any, else the final average.
    steps : int
        Steps taken.
    seconds : float
        Time taken, reading included.
    loss : float
        Mean over the last tenth of the steps.
    validation : float or None
        Best score on the validation images: mean Dice of `finetune`, mean IoU of `train_model`.
    labelled_voxels : mapping of int to int
        Drawn voxels per label value.
    device : str
        Where the network was trained.
    held_out : float or None
        Last mean Dice on strokes that were held out.
    """

    model: SegmentationModel
    steps: int
    seconds: float
    loss: float
    validation: float | None
    labelled_voxels: Mapping[int, int]
    device: str
    held_out: float | None = None


Event = Started | StepDone | Scored | Snapshot | Redrawn | Saved | Note | Finished
