"""train_model: train a network on a folder of images and labels, read from top to bottom."""

from __future__ import annotations

import copy
import datetime
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError
from ..inference.device import find_device, free_memory
from ..model import ModelInfo, SegmentationModel
from ..zoo import create_model
from ..zoo.blocks import count_parameters
from .checkpoint import Best, TrainingState
from .crops import Epochs, Reader, crop_options
from .dataset import Dataset
from .events import Event, Finished, Note, Saved, Scored, Snapshot, Started, StepDone
from .losses import Loss, frequency_weights, make_loss
from .processes import Processes, joined, process_count
from .recipe import TrainOptions, describe, make_optimizer
from .schedule import rate_factor
from .step import (
    NetworkLoss,
    explained,
    find_memory_format,
    find_step_precision,
    step_seed,
    take_step,
)
from .survey import Survey, survey
from .validate import Validator, score

VALIDATIONS = 20
"""Validations in a training, evenly spread."""
VALIDATION_SHARE = 0.2
"""Most of a time budget that they take."""
MEMORY_SHARE = 0.25
"""Part of the free memory in which images are kept."""


@dataclass(frozen=True)
class Run:
    """A training that is ready to start; see `train_model`."""

    dataset: Dataset
    found: Survey
    options: TrainOptions
    info: ModelInfo
    network: nn.Module
    checkpoint: Path | None
    resume: bool
    stop: Callable[[], bool]


def train_model(
    dataset: Dataset,
    options: TrainOptions,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Train a network on a data set.

    Started by `torchrun`, the processes share each batch and the validation images, and all
    yield the same events.

    Parameters
    ----------
    dataset : Dataset
        From `find_dataset`.
    options : TrainOptions
        How.
    checkpoint : Path, optional
        File in which the state is kept now and then.
    resume : bool
        Go on from `checkpoint`, if it is there. On a CPU the result of a number of epochs is
        bit by bit that of a training that was never interrupted.
    stop : callable
        Asked after each step; when it returns True, the state goes to `checkpoint`, training
        ends and keeps the best model.

    Returns
    -------
    iterator of Event
        `Started`, then `StepDone`, `Scored`, `Snapshot`, `Saved` and `Note`; the last is
        `Finished`. Its model is the one that scored best on the validation images (mean IoU,
        background included), or the last if there are none.

    Raises
    ------
    InputError
        If data and options do not fit; raised before the first event.
    RunError
        While iterating, if memory gives out or the loss is no longer finite.
    """
    find_step_precision(options, find_device(options.device))
    found = survey(dataset, ndim=options.ndim, axes=options.axes, ignore=options.ignore)
    info = describe(dataset, found, options)
    torch.manual_seed(options.seed)
    network = create_model(
        info.architecture,
        ndim=info.ndim,
        in_channels=info.in_channels,
        num_classes=info.num_outputs,
        weights=options.weights,
        **info.options,
    )
    divisor: tuple[int, ...] = network.divisor  # type: ignore[assignment]
    options = options.settled(dataset, found, divisor)
    if options.crops_per_step % process_count():
        raise InputError(
            f"The batch of {options.batch} cannot be shared evenly by {process_count()} processes."
        )
    return _train(Run(dataset, found, options, info, network, checkpoint, resume, stop))


def _train(run: Run) -> Iterator[Event]:
    with joined(run.options.device) as processes:
        yield from _train_together(run, processes)


def _train_together(run: Run, processes: Processes) -> Iterator[Event]:
    options, device = run.options, processes.device
    precision = find_step_precision(options, device)
    memory_format = find_memory_format(run.info.ndim, device)
    network = run.network.to(device).to(memory_format=memory_format).train()
    model = SegmentationModel(run.info, network)
    network_loss = processes.wrap(NetworkLoss(network, _make_loss(run, device), precision))
    state = TrainingState(
        network,
        make_optimizer(network, options),
        torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
    )
    identity = options.identity(run.dataset, run.found)
    if run.resume and run.checkpoint is not None and run.checkpoint.is_file():
        state.load(run.checkpoint, identity)
    epochs = _make_epochs(run, processes)
    validator = Validator(epochs.reader, processes)
    clock = time.monotonic() - state.seconds
    begun, saved, scoring, latest = state.step, time.monotonic(), 0.0, 0.0
    yield Started(
        dict(enumerate(run.found.counts)), str(device), count_parameters(network), options.crop
    )
    yield from _notes(run, state.step, epochs)
    progress, stopped = _progress(options, state, epochs), False
    due = _is_due(run, state, progress)

    def save() -> Iterator[Saved]:
        if run.checkpoint is not None:
            if processes.rank == 0:
                state.seconds = time.monotonic() - clock
                state.save(run.checkpoint, identity)
            yield Saved(state.step, run.checkpoint, last=stopped)

    with closing(epochs.batches(state.step, _readers(processes))) as batches:
        while True:
            if due:
                began = time.monotonic()
                state.scored = int(progress * VALIDATIONS)
                processes.share_statistics(network)
                result = score(validator.confusion(model), state.step)
                _keep_best(state, result)
                latest = time.monotonic() - began
                scoring += latest
                yield result
                yield Snapshot(state.step, SegmentationModel(run.info, _copy(network)))
            if time.monotonic() - saved >= options.checkpoint_seconds and state.step > begun:
                yield from save()
                saved = time.monotonic()
            if progress >= 1 or stopped:
                break
            x, target = next(batches)
            x = x.to(device, non_blocking=True).contiguous(memory_format=memory_format)
            target = target.to(device, non_blocking=True)
            rate = options.rate * rate_factor(progress)
            torch.manual_seed(step_seed(options.seed, state.step, processes.rank))
            with explained(options):
                loss = take_step(state, network_loss, x, target, rate)
            state.seconds = time.monotonic() - clock
            progress = _progress(options, state, epochs, latest)
            due = _is_due(run, state, progress)
            if options.budget is not None and progress < 1:
                due = due and scoring <= VALIDATION_SHARE * state.seconds
            decided = processes.from_first([progress, due, run.stop()])
            progress, due, stopped = decided[0], bool(decided[1]), bool(decided[2])
            yield StepDone(state.step, loss, rate, state.seconds, progress)
            if stopped:
                yield from save()
    yield _finish(run, state, processes, time.monotonic() - clock)


def _make_loss(run: Run, device: torch.device) -> Loss:
    weights = None
    if run.options.class_weights:
        weights = torch.tensor(run.options.class_weights)
    elif run.options.loss == "weighted_cross_entropy":
        weights = frequency_weights(run.found.counts, run.found.voxels)
    return make_loss(run.options.loss, weights=weights, device=device)


def _make_epochs(run: Run, processes: Processes) -> Epochs:
    options = run.options
    room = int(free_memory(torch.device("cpu")) * MEMORY_SHARE) // processes.count
    return Epochs(
        Reader(run.dataset, run.found, run.info.normalization, room),
        crop_options(run.dataset, run.found, options.crop, options.resize),
        options.crops_per_step,
        options.seed,
        processes.rank,
        processes.count,
    )


def _readers(processes: Processes) -> int:
    return max(1, min(8, (os.cpu_count() or 1) // processes.count))


def _notes(run: Run, step: int, epochs: Epochs) -> Iterator[Event]:
    if run.found.labels.binary:
        yield Note("The labels hold 0 and 255 only, so 255 is taken as the object.")
    missing = [n for n, count in enumerate(run.found.counts) if not count]
    if missing:
        names = ", ".join(run.info.classes[n].name for n in missing)
        yield Note(f"No training image holds {names}, so the model will not know it.")
    if not run.dataset.validation:
        yield Note("There are no validation images, so the last weights are kept, not the best.")
    if step:
        yield Note(f"Going on after {step} steps, in epoch {step // epochs.steps + 1}.")


def _progress(
    options: TrainOptions, state: TrainingState, epochs: Epochs, reserve: float = 0.0
) -> float:
    """Share of the training that is done, in [0, 1]; seconds are reserved for validation."""
    if options.epochs is not None:
        return min(1.0, state.step / (options.epochs * epochs.steps))
    assert options.budget is not None
    return min(1.0, state.seconds / max(options.budget - reserve, 1e-3))


def _is_due(run: Run, state: TrainingState, progress: float) -> bool:
    """Whether to validate, which a training that was stopped may have left to do."""
    return bool(run.dataset.validation) and progress * VALIDATIONS >= state.scored + 1


def _keep_best(state: TrainingState, result: Scored) -> None:
    if math.isnan(result.mean_iou):
        return
    if state.best is None or result.mean_iou > state.best.mean_iou:
        weights = _copy(state.network).state_dict()
        state.best = Best(result.mean_iou, {str(n): v for n, v in result.iou.items()}, weights)


def _copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).cpu().eval()


def _finish(run: Run, state: TrainingState, processes: Processes, seconds: float) -> Finished:
    network = _copy(state.network)
    if state.best is not None:
        network.load_state_dict(state.best.state)
    last = state.losses[-max(1, len(state.losses) // 10) :]
    best = None if state.best is None else state.best.mean_iou
    provenance = {
        "trained_with": "napari-segzoo train",
        "date": datetime.date.today().isoformat(),
        "data": run.dataset.folder.name,
        "layout": run.dataset.layout,
        "images": len(run.dataset.training),
        "validation_images": len(run.dataset.validation),
        "voxels_per_class": list(run.found.counts),
        "steps": state.step,
        "seconds": round(seconds, 1),
        "processes": processes.count,
        "validation_mean_iou": best,
        "validation_iou": dict(state.best.iou) if state.best else None,
        **run.options.record(),
    }
    model = SegmentationModel(replace(run.info, provenance=provenance), network)
    loss = sum(last) / len(last) if last else math.nan
    counts = dict(enumerate(run.found.counts))
    return Finished(model, state.step, seconds, loss, best, counts, str(processes.device))
