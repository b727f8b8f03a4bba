"""The training loop."""

from __future__ import annotations

import copy
import datetime
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, RunError
from ..inference.tiling import round_up
from ..model import ModelInfo, SegmentationModel
from .data import Labelling, TrainingImage
from .events import Event, Finished, Note, Scored, Snapshot, Started, StepDone
from .schedule import rate_factor

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SNAPSHOT_SECONDS = 4.0
BATCH = {2: 4, 3: 2}
SMOOTHNESS = 2.0
"""Weight of the loss that draws borders between strokes to where the image changes."""


@dataclass(frozen=True)
class FinetuneOptions:
    """How to train; see `finetune` for the first six.

    Parameters
    ----------
    batch : int or None
        Patches per step; None is `BATCH`.
    learning_rate : float
        Highest rate of AdamW; it rises linearly over the first 5% and then falls with
        the power 0.9 of what is left.
    loss : str
        A name of `losses.LOSSES`.
    """

    task: str = "semantic"
    unlabeled: str = "ignore"
    budget: float | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    batch: int | None = None
    learning_rate: float = 3e-3
    loss: str = "dice_cross_entropy"

    def __post_init__(self) -> None:
        Labelling(self.task, self.unlabeled)
        if self.budget is not None and self.steps is not None:
            raise InputError("Give either a budget of seconds or a number of steps, not both.")
        for name, value in (("budget", self.budget), ("steps", self.steps), ("batch", self.batch)):
            if value is not None and value <= 0:
                raise InputError(f"{name} must be above 0, not {value}.")

    def progress(self, step: int, seconds: float) -> float:
        """Share of the training that is done, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.budget is not None
        return min(1.0, seconds / self.budget)


@dataclass(frozen=True)
class Job:
    """All that the training loop needs.

    Parameters
    ----------
    info : ModelInfo
        The model to be.
    base : SegmentationModel or None
        Where its first weights come from.
    training, validation : list of TrainingImage
        Where patches come from, and what scores are measured on.
    labelled_voxels : mapping of int to int
        Drawn voxels per label value.
    options : FinetuneOptions
        How.
    patch : tuple of int
        Largest patch along the spatial axes; cut to the images, up to what the network needs.
    started : float
        `time.monotonic` at the start.
    stop : callable
        Asked after each step; True ends the training and keeps the best model.
    """

    info: ModelInfo
    base: SegmentationModel | None
    training: Sequence[TrainingImage]
    validation: Sequence[TrainingImage]
    labelled_voxels: Mapping[int, int]
    options: FinetuneOptions
    patch: tuple[int, ...]
    started: float
    stop: Callable[[], bool]


def train(job: Job) -> Iterator[Event]:
    """Train as `job` says; see `finetune` for what is yielded.

    Raises
    ------
    RunError
        If the loss is no longer finite.
    """
    import torch

    from ..inference.device import find_device

    device = find_device(job.options.device)
    torch.manual_seed(job.options.seed)
    trainer = _Trainer(job, device)
    return trainer.run()


class _Trainer:
    """The state that one run carries from step to step."""

    def __init__(self, job: Job, device: torch.device) -> None:
        import torch

        from .adapt import WeightAverage, adapt
        from .losses import make_loss

        self.job, self.device = job, device
        model = SegmentationModel.create(job.info)
        if job.base is not None:
            model = adapt(job.base, job.info)
        planes = torch.channels_last if job.info.ndim == 2 else torch.channels_last_3d
        self.layout = torch.contiguous_format if device.type == "mps" else planes
        self.network = model.network.to(device).to(memory_format=self.layout).train()
        self.average = WeightAverage(self.network)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=job.options.learning_rate, weight_decay=1e-2
        )
        self.precision = training_precision(device)
        self.loss = make_loss(job.options.loss, weights=_class_weights(job), device=device)
        sparse = job.options.task == "semantic" and job.options.unlabeled == "ignore"
        self.smooth = SMOOTHNESS if sparse else 0.0
        self.rng = np.random.default_rng(job.options.seed)
        self.batch = job.options.batch or BATCH[job.info.ndim]
        self.patch = _fit_patch(job, model.network.divisor)  # type: ignore[arg-type]
        self.classes = sorted({c for item in job.training for c in item.drawn})
        self.best: tuple[float, SegmentationModel] | None = None

    def run(self) -> Iterator[Event]:
        job, options = self.job, self.job.options
        parameters = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        yield Started(job.labelled_voxels, str(self.device), parameters, self.patch)
        yield from self._warnings()
        step, losses, shown, scored = 0, [], time.monotonic(), time.monotonic()
        progress = 0.0
        while progress < 1 and not job.stop():
            rate = options.learning_rate * rate_factor(progress)
            try:
                losses.append(self._step(rate))
            except (MemoryError, RuntimeError) as error:
                yield self._step_down(error)
                continue
            step += 1
            seconds = time.monotonic() - job.started
            progress = options.progress(step, seconds)
            yield StepDone(step, losses[-1], rate, seconds, progress)
            now = time.monotonic()
            if now - shown > SNAPSHOT_SECONDS and progress < 1:
                yield Snapshot(step, self._averaged_model())
                shown = time.monotonic()
            if job.validation and (now - scored > SNAPSHOT_SECONDS or progress >= 1):
                yield self._score(step)
                scored = time.monotonic()
        yield self._finish(step, losses)

    def _warnings(self) -> Iterator[Event]:
        count = self.job.info.num_outputs
        missing = [n for n in range(count) if n not in self.classes]
        if missing and self.job.options.task == "semantic":
            shift = self.job.options.unlabeled == "ignore"
            names = ", ".join(str(n + shift) for n in missing)
            yield Note(f"Class {names} is not drawn anywhere, so the model will not know it.")

    def _step(self, rate: float) -> float:
        import torch

        from .losses import total_loss

        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x, target = self._batch()
        loss = total_loss(self.network, x, target, self.loss, self.precision, self.smooth)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.network)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(
                "The loss is no longer a finite number; check the image for extreme values and "
                "train again. Labels and earlier models are untouched."
            )
        return value

    def _batch(self) -> tuple[Tensor, Tensor]:
        import torch

        from .augment import Augmentation, change_intensity, draw_centre, sample_patch

        augmentation = Augmentation()
        images, targets = [], []
        for _ in range(self.batch):
            item, centre = draw_centre(self.job.training, self.classes, self.rng)
            image, target = sample_patch(item, centre, self.patch, augmentation, self.rng)
            images.append(change_intensity(image, augmentation, self.rng))
            targets.append(target)
        x = torch.stack(images).to(self.device).contiguous(memory_format=self.layout)
        return x, torch.stack(targets).to(self.device)

    def _step_down(self, error: Exception) -> Note:
        """Halve the batch if memory ran out; raise the error again if it is another one."""
        from ..inference.device import is_out_of_memory

        if not is_out_of_memory(error):
            raise error
        if self.batch == 1:
            raise RunError(
                "Memory ran out even with one patch at a time; close other programs, or train a "
                "smaller network. Labels and earlier models are untouched."
            ) from error
        self.optimizer.zero_grad()
        self.batch //= 2
        return Note(f"Memory ran out; going on with {self.batch} patch(es) per step.")

    def _averaged_model(self) -> SegmentationModel:
        network = copy.deepcopy(self.network).cpu().eval()
        network.load_state_dict(self.average.state)
        return SegmentationModel(self.job.info, network)

    def _score(self, step: int) -> Scored:
        from .drawn_scores import mean_dice

        model = self._averaged_model()
        dice = mean_dice(model, self.job.validation, self.job.options.device)
        foreground = [v for c, v in dice.items() if c > 0 and not math.isnan(v)]
        mean = sum(foreground) / len(foreground) if foreground else math.nan
        if not math.isnan(mean) and (self.best is None or mean > self.best[0]):
            self.best = mean, model
        return Scored(step, dice, mean)

    def _finish(self, step: int, losses: Sequence[float]) -> Finished:
        job = self.job
        validation, model = self.best or (None, self._averaged_model())
        last = losses[-max(1, len(losses) // 10) :]
        loss = sum(last) / len(last) if last else math.nan
        seconds = time.monotonic() - job.started
        provenance = {
            **job.info.provenance,
            "trained_with": "napari-segzoo finetune",
            "date": datetime.date.today().isoformat(),
            "steps": step,
            "seconds": round(seconds, 1),
            "seed": job.options.seed,
            "images": len(job.training),
            "labelled_voxels": {str(k): v for k, v in job.labelled_voxels.items()},
            "validation_dice": validation,
        }
        model = model.with_info(provenance=provenance)
        return Finished(
            model, step, seconds, loss, validation, job.labelled_voxels, str(self.device)
        )


def _class_weights(job: Job) -> Tensor | None:
    """Weights from the drawn voxels of each class, for the loss that takes weights."""
    from .losses import frequency_weights

    if job.options.loss != "weighted_cross_entropy":
        return None
    drawn = [[len(i.drawn.get(c, ())) for i in job.training] for c in range(job.info.num_outputs)]
    return frequency_weights([sum(counts) for counts in drawn])


def _fit_patch(job: Job, divisor: Sequence[int]) -> tuple[int, ...]:
    """Cut the patch to the largest training image, and round it up to what the network needs."""
    largest = np.max([item.target.shape for item in job.training], axis=0)
    return tuple(
        round_up(min(p, int(n)), d) for p, n, d in zip(job.patch, largest, divisor, strict=True)
    )


def training_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes in it, else float32."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    found = torch.cpu.get_capabilities()
    if device.type == "cpu" and (found.get("avx512_bf16") or found.get("amx_bf16")):
        return torch.bfloat16
    return torch.float32
