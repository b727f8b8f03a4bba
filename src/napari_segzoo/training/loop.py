"""The training loop."""

from __future__ import annotations

import copy
import datetime
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, RunError
from ..model import SegmentationModel
from .drawings import Drawn
from .events import Event, Finished, Note, Redrawn, Scored, Snapshot, Started, StepDone
from .job import Job
from .notes import CONTRADICTED, notes
from .schedule import SCORES, enough_steps, next_score, rate_factor

if TYPE_CHECKING:
    import torch

SNAPSHOT_SECONDS, FIRST_SNAPSHOT = 4.0, 1.0
"""From one to the next, and from the start to the first."""


def train(job: Job) -> Iterator[Event]:
    """Train as `job` says; see `finetune` for what is yielded.

    Raises
    ------
    RunError
        If the loss is no longer finite.
    """
    from ..inference.device import find_device
    from .step import own_random_numbers

    device = find_device(job.options.device)
    with own_random_numbers(device, job.options.seed):
        trainer = _Trainer(job, device)
    return trainer.run()


class _Trainer:
    """The state that one run carries from step to step."""

    def __init__(self, job: Job, device: torch.device) -> None:
        from .adamw import AdamW
        from .adapt import WeightAverage
        from .augment import choose_augmentation
        from .not_outlined import leave_open, make_finder
        from .start import make_start
        from .step import find_memory_format, training_precision
        from .tune import plain_state, restrict

        self.finder = make_finder(job)
        job = replace(job, drawn=leave_open(job.drawn, self.finder, job))
        self.job, self.device = job, device
        start = make_start(job)
        self.layout = find_memory_format(job.info.ndim, device)
        self.plain = start.network
        network = restrict(start.network, job.options.tune, job.info)
        self.network = network.to(device).to(memory_format=self.layout)
        self.trained = [p for p in self.network.parameters() if p.requires_grad]
        self.undrawn = start.undrawn.to(device)
        self.patch, self.contradicted = start.patch, start.contradicted
        self.average = WeightAverage(plain_state(self.network), start.share)
        self.optimizer = AdamW(self.trained)
        self.precision = training_precision(device)
        self.rng = np.random.default_rng(job.options.seed)
        self.augmentation = choose_augmentation(job.body_scans)
        self.batch = job.batch
        self._learn_from(job.drawn, 0)
        self.best: tuple[float, SegmentationModel] | None = None
        self.held_out: float | None = None
        self.reserve = 0.0

    def run(self) -> Iterator[Event]:
        job, options = self.job, self.job.options
        parameters = sum(p.numel() for p in self.trained)
        yield Started(job.drawn.labelled_voxels, str(self.device), parameters, self.patch)
        yield from map(Note, job.notes)
        yield from self._notes()
        step, losses, progress, due = 0, [], 0.0, 1 / SCORES
        shown = time.monotonic() - max(0.0, SNAPSHOT_SECONDS - FIRST_SNAPSHOT)
        while progress < 1 and not job.stop():
            rate = job.learning_rate * rate_factor(progress)
            yield from self._look_again(step)
            try:
                losses.append(self._step(step, rate))
            except (MemoryError, RuntimeError) as error:
                yield self._step_down(error)
                continue
            step += 1
            seconds = time.monotonic() - job.started
            progress = self._progress(step, seconds)
            yield StepDone(step, losses[-1], rate, seconds, progress)
            now = time.monotonic()
            if now - shown > SNAPSHOT_SECONDS and progress < 1:
                yield Snapshot(step, self._averaged_model())
                shown = time.monotonic()
            if progress >= due and (job.validation or self.drawn.held_out):
                yield from self._score(step)
                self.reserve = max(self.reserve, time.monotonic() - now)
                due = next_score(progress, self.reserve / (options.budget or math.inf))
            yield from self._look_for_more(step)
            seconds = time.monotonic() - job.started
            progress = self._progress(step, seconds)
        if progress >= 1 > options.progress(step, seconds, self.reserve):
            yield Note(
                f"After {step} steps these strokes are learnt, and more time would not make the "
                "model better; draw where it is wrong and train again, or set a number of steps."
            )
        yield self._finish(step, losses)

    def _progress(self, step: int, seconds: float) -> float:
        """Share of the training that is done; a few strokes on a base end it before the budget."""
        done = self.job.options.progress(step, seconds, self.reserve)
        if self.job.base is None or not self.job.options.may_end_early:
            return done
        enough = enough_steps(sum(self.drawn.labelled_voxels.values()))
        return min(1.0, max(done, (step - self.drawn_at) / enough))

    def _learn_from(self, drawn: Drawn, step: int) -> None:
        """Take patches from what is drawn, from the next step on."""
        from .losses import frequency_weights, make_loss
        from .pseudo_labels import PseudoLabels

        self.drawn, self.drawn_at = drawn, step
        self.classes = sorted({c for item in drawn.training for c in item.drawn})
        name = self.job.options.loss
        weights = None
        if name == "weighted_cross_entropy":
            weights = frequency_weights(*drawn.frequencies(self.job.info.num_outputs))
        self.loss = make_loss(name, weights=weights, device=self.device)
        self.items, self.pseudo_labels = drawn.training, None
        if self.undrawn.wants_guesses:
            divisor: Sequence[int] = self.plain.divisor  # type: ignore[assignment]
            self.pseudo_labels = PseudoLabels(
                drawn.training, self.job.info.num_outputs, divisor, self.precision, step
            )
            self.items = self.pseudo_labels.items

    def _look_for_more(self, step: int) -> Iterator[Event]:
        from .not_outlined import leave_open

        try:
            drawn = self.job.more()
        except InputError as error:
            yield Note(f"The training goes on without what is drawn now: {error}")
            return
        if drawn is None:
            return
        self._learn_from(leave_open(drawn, self.finder, self.job), step)
        self.undrawn.expect_corrections()
        yield Redrawn(step, drawn.labelled_voxels)
        yield from self._notes()

    def _notes(self) -> Iterator[Note]:
        if self.contradicted:
            yield Note(CONTRADICTED)
        yield from map(Note, notes(self.drawn, self.job))

    def _step(self, step: int, rate: float) -> float:
        import torch

        from .batch import draw_batch
        from .losses import total_loss
        from .step import explain_small_batch, own_random_numbers, step_seed
        from .tune import plain_state

        batch = draw_batch(
            self.items, self.classes, self.patch, self.batch, self.augmentation, self.rng
        )
        batch = batch.to(self.device, self.layout)
        undrawn = partial(self.undrawn, batch=batch, precision=self.precision)
        seed = step_seed(self.job.options.seed, step)
        with (
            explain_small_batch(self.job.info.architecture, self.batch),
            own_random_numbers(self.device, seed),
        ):
            loss = total_loss(
                self.network, batch.x, batch.target, self.loss, self.precision, undrawn
            )
        self.optimizer.forget_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step(rate)
        self.average.update(plain_state(self.network))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(
                "The loss is no longer a finite number; check the image for extreme values and "
                "train again. Labels and earlier models are untouched."
            )
        return value

    def _look_again(self, step: int) -> Iterator[Event]:
        """Renew the pseudo-labels if it is time to; do without them if memory runs out."""
        from ..inference.device import is_out_of_memory

        if self.pseudo_labels is None or not self.pseudo_labels.due(step):
            return
        try:
            network = self._averaged_model().network.to(self.device)
            self.pseudo_labels.look(step, network, self.device, self.job.stop)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self.items, self.pseudo_labels = self.drawn.training, None
            yield Note(
                "Memory ran out while the network looked at whole images; going on with what is "
                "drawn alone."
            )

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
        self.optimizer.forget_gradients()
        self.batch //= 2
        return Note(f"Memory ran out; going on with {self.batch} patch(es) per step.")

    def _averaged_model(self) -> SegmentationModel:
        network = copy.deepcopy(self.plain).requires_grad_(True).cpu().eval()
        network.load_state_dict(self.average.state)
        return SegmentationModel(self.job.info, network)

    def _score(self, step: int) -> Iterator[Scored]:
        """Score the model and keep the best; nothing if the training is stopped meanwhile."""
        from .drawn_scores import mean_dice

        model, validation = self._averaged_model(), self.job.validation
        images = validation or self.drawn.held_out
        dice = mean_dice(model, images, self.job.options.device, self.job.stop)
        if dice is None:
            return
        foreground = [v for c, v in dice.items() if c > 0 and not math.isnan(v)]
        mean = sum(foreground) / len(foreground) if foreground else math.nan
        if not validation:
            self.held_out = None if math.isnan(mean) else mean
            yield Scored(step, dice, mean, on="held-out strokes")
            return
        if not math.isnan(mean) and (self.best is None or mean > self.best[0]):
            self.best = mean, model
        yield Scored(step, dice, mean)

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
            "loss": job.options.loss,
            "tune": job.options.tune,
            "unlabeled": job.options.unlabeled,
            "images": len(self.drawn.training),
            "labelled_voxels": {str(k): v for k, v in self.drawn.labelled_voxels.items()},
            "validation_dice": validation,
            "held_out_dice": self.held_out,
        }
        model = model.with_info(provenance=provenance)
        return Finished(
            model,
            step,
            seconds,
            loss,
            validation,
            self.drawn.labelled_voxels,
            str(self.device),
            self.held_out,
        )
