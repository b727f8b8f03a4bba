"""What a fine-tuning is to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import InputError
from ..model import ModelInfo, SegmentationModel
from .data import Labelling, TrainingImage
from .drawings import Drawn

BATCH = {2: 4, 3: 2}
RATE_FROM_SCRATCH = {2: 3e-3, 3: 1e-2}
RATE_FROM_BASE = {2: (5e-4, 5e-4), 3: (5e-4, 3e-3)}
"""With few strokes or with objects, and with classes drawn on whole slices or more."""
LOSS_NAMES = (
    "dice_cross_entropy",
    "cross_entropy",
    "weighted_cross_entropy",
    "binary_cross_entropy",
    "dice",
    "focal",
    "tversky",
    "boundary",
)
"""The keys of `losses.LOSSES`, which imports PyTorch; the usual one first."""
TUNES = ("all", "decoder", "norm", "low-rank")
MOST_HELD_OUT = 0.5


@dataclass(frozen=True)
class FinetuneOptions:
    """How to train: arguments of `finetune`, which explains them.

    Project files, recipes and the Train dock keep all of them.
    """

    architecture: str = "unet"
    architecture_options: Mapping[str, Any] = field(default_factory=dict)
    ndim: int | None = None
    task: str = "semantic"
    unlabeled: str = "ignore"
    budget: float | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    loss: str = LOSS_NAMES[0]
    tune: str = "all"
    hold_out: float = 0.0

    def __post_init__(self) -> None:
        Labelling(self.task, self.unlabeled)
        if self.tune not in TUNES:
            raise InputError(f"tune must be one of {', '.join(TUNES)}, not {self.tune!r}.")
        if not 0 <= self.hold_out <= MOST_HELD_OUT:
            raise InputError(
                f"hold_out must be a share from 0 to {MOST_HELD_OUT}, not {self.hold_out}."
            )
        if self.hold_out and not self.sparse:
            raise InputError(
                "hold_out is for strokes, around which nothing is known; with objects, or with 0 "
                "as the background, give validation images instead."
            )
        if self.budget is not None and self.steps is not None:
            raise InputError("Give either a budget of seconds or a number of steps, not both.")
        for name, value in (("budget", self.budget), ("steps", self.steps)):
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0, not {value}.")
        if self.ndim not in (None, 2, 3):
            raise InputError(f"ndim must be 2 or 3, not {self.ndim}.")

    def arguments(self) -> dict[str, Any]:
        """Return all by name, as `finetune` takes them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def sparse(self) -> bool:
        """Whether nothing is known of what is not drawn."""
        return Labelling(self.task, self.unlabeled).sparse

    @property
    def may_end_early(self) -> bool:
        """Whether strokes may be learnt before the budget of seconds is over."""
        return self.steps is None and self.sparse

    def progress(self, step: int, seconds: float, reserve: float = 0.0) -> float:
        """Share of the training that is done, in [0, 1]; seconds are kept for the last score."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.budget is not None
        return min(1.0, seconds / max(self.budget - reserve, 1e-3))


@dataclass(frozen=True)
class Job:
    """All that the training loop needs.

    Parameters
    ----------
    info : ModelInfo
        The model to be.
    base : SegmentationModel or None
        Where its first weights come from.
    drawn : Drawn
        What is drawn at the beginning.
    validation : list of TrainingImage
        What the best model is chosen on.
    options : FinetuneOptions
        How.
    batch : int
        Patches per step.
    learning_rate : float
        Highest rate of AdamW. It rises linearly over the first 5% and then falls with the power
        0.9 of what is left.
    patch : tuple of int
        Largest patch along the spatial axes; cut to the images, up to what the network needs.
    body_scans : bool
        Whether the images are scans of a body, whose axes are its directions.
    started : float
        `time.monotonic` at the start.
    stop : callable
        Asked after each step; True ends the training and keeps the best model.
    more : callable
        Asked after each step; returns what is drawn now if that has changed, else None.
    notes : tuple of str
        What the user should know from the start.
    """

    info: ModelInfo
    base: SegmentationModel | None
    drawn: Drawn
    validation: Sequence[TrainingImage]
    options: FinetuneOptions
    batch: int
    learning_rate: float
    patch: tuple[int, ...]
    body_scans: bool
    started: float
    stop: Callable[[], bool]
    more: Callable[[], Drawn | None]
    notes: tuple[str, ...] = ()

    @property
    def training(self) -> Sequence[TrainingImage]:
        """Where patches come from at the beginning."""
        return self.drawn.training

    @property
    def stands_for(self) -> tuple[int, ...] | None:
        """The class that each output of the base stands for; None if that is to be found out.

        Classes of the same names stand for each other; so do the single ones beside a background
        of the same name, whatever they are called.
        """
        if self.base is None:
            return None
        before, now = self.base.info, self.info
        old, new = [c.name for c in before.classes], [c.name for c in now.classes]
        if old != new and not (len(old) == len(new) == 2 and old[0] == new[0]):
            return None
        if before.task == now.task:
            return tuple(range(now.num_outputs))
        return (0, 1, 1) if before.task == "instances" else None

    @property
    def same_outputs(self) -> bool:
        """Whether the base has the outputs that the model is to have."""
        return self.stands_for == tuple(range(self.info.num_outputs))

    @property
    def drawn_before(self) -> Mapping[int, int] | None:
        """Voxels of each class that the base was trained on, if it was on strokes of the same."""
        if self.base is None or not (self.same_outputs and self.options.sparse):
            return None
        made = self.base.info.provenance
        found = made.get("labelled_voxels")
        if made.get("unlabeled") != "ignore" or not isinstance(found, dict):
            return None
        return {int(k) - 1: n for k, n in found.items() if k.isdecimal() and isinstance(n, int)}


def usual_rate(ndim: int, from_base: bool, sparsity: float) -> float:
    """Return the highest learning rate if none is asked for; `sparsity` as in `Drawn`."""
    if not from_base:
        return RATE_FROM_SCRATCH[ndim]
    few, many = RATE_FROM_BASE[ndim]
    return few * sparsity + many * (1 - sparsity)
