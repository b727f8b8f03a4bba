"""Runs that write a file: kept in a store beside it until whole, and resumable."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, RunError, SegzooError
from ..io.blocks import stored_blocks
from ..preprocess import sample_regions
from .distributed import check_scheduler, is_local
from .events import BlockSeparated, Event, Stage, TileDone
from .options import DEFAULTS, PredictOptions
from .plan import Plan
from .predict import prepare
from .prediction import Prediction
from .result import Place, find_place, result_shape
from .saving import save
from .source import file_of
from .store import (
    OBJECTS,
    as_before,
    asked_of,
    check_same,
    discard,
    open_store,
    read_progress,
    restore,
    store_of,
    write_progress,
)

if TYPE_CHECKING:
    from ..model import SegmentationModel

SAVE_SECONDS = 2.0
SAMPLES = 6
"""Parts of a large image that tell it from others."""


@dataclass
class FileRun:
    """A planned run that ends with a file.

    Parameters
    ----------
    prediction : Prediction
        The run; its result lies in `store`.
    path : Path
        The file to be.
    store : Path
        Folder beside it with what is done so far.
    place : Place
        Where the result lies.
    identity : str
        Hash of model, image and options, see `fingerprint`.
    made_by : str
        Hash of model and options, see `made_by`; the file keeps it.
    before : mapping
        What an earlier run has written down; empty if there was none.
    overwrite : bool
        Whether an existing file is replaced.
    options : PredictOptions
        What was asked for.
    source : str
        File of the image, "" if it has none.
    scheduler : str or None
        Whose workers compute the tiles; see `predict`.
    """

    prediction: Prediction
    path: Path
    store: Path
    place: Place
    identity: str
    made_by: str
    before: Mapping[str, Any]
    overwrite: bool
    options: PredictOptions
    source: str
    scheduler: str | None

    def run(self) -> Iterator[Event]:
        """Compute and write; an interrupted run leaves `store`, from which it can go on."""
        try:
            yield from self._compute()
            yield Stage(f"Writing {self.path.name}.")
            yield from save(self)
        except InputError:
            if read_progress(self.store) is None:
                discard(self.store)
            raise
        except OSError as error:
            raise RunError(
                f"{self.path} could not be written: {error.strerror or error}; what is done is "
                "kept beside it, so make room and resume."
            ) from error
        discard(self.store)

    @property
    def start(self) -> int:
        """Tiles done by an earlier run."""
        return int(self.before.get("done", 0))

    def restored(self, plan: Plan) -> Plan:
        """Return a plan with the tiles that the earlier run had, if there was one."""
        return as_before(plan, self.before) if self.before else plan

    def _compute(self) -> Iterator[Event]:
        events: Iterator[Event]
        if self.scheduler is None:
            events = self.prediction.run(start=self.start)
        else:
            from .distributed import distribute

            events = distribute(self, self.scheduler)
        saved, plan = time.monotonic(), self.prediction.plan
        latest: Event | None = None
        try:
            for event in events:
                if self.scheduler is None and self.prediction.plan != plan:
                    plan, latest = self.prediction.plan, None
                    self.save_tiles(event.resumes_at if isinstance(event, TileDone) else 0)
                last = isinstance(event, TileDone) and event.done == event.total
                if last or time.monotonic() - saved > SAVE_SECONDS:
                    self._save_progress(event)
                    saved = time.monotonic()
                latest = event if isinstance(event, TileDone) else latest
                yield event
        except SegzooError:
            if latest is not None:
                self._save_progress(latest)
            raise

    def _save_progress(self, event: Event) -> None:
        if isinstance(event, BlockSeparated) and self.prediction.objects is not None:
            self.prediction.objects.save(self.store / OBJECTS)
        elif isinstance(event, TileDone) and self.scheduler is None:
            self.save_tiles(event.resumes_at)

    def save_tiles(self, done: int) -> None:
        """Write down the plan, and how many of its tiles are done."""
        asked = self.before.get("asked") or asked_of(self.options)
        write_progress(self.store, self.identity, self.prediction.plan, done, asked)


def prepare_file(
    model: SegmentationModel,
    image: Any,
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    options: PredictOptions = DEFAULTS,
    overwrite: bool = False,
    resume: bool = False,
    mask: Any = None,
    scheduler: str | None = None,
) -> FileRun:
    """Plan a run that writes a file.

    Parameters
    ----------
    model, image, axes, options, mask
        As in `prepare`.
    path : str or path
        The file; its ending picks the format.
    overwrite : bool
        Replace an existing file when the new one is whole.
    resume : bool
        Go on with what an interrupted run of the same model, image and options left.
    scheduler : str, optional
        Whose workers compute the tiles; see `predict`.

    Raises
    ------
    InputError
        If the file exists and neither `overwrite` nor `resume` is set, it is the image itself or
        cannot hold the result, or the interrupted run was another one.
    """
    from ..io import check_holds, check_output

    path, store = Path(path), store_of(Path(path))
    check_output(path, overwrite=overwrite or resume)
    _check_run(path, image, options, scheduler)
    record = read_progress(store) if resume else None
    # The workers of a cluster plan for their own devices.
    elsewhere = scheduler is not None and not is_local(scheduler)
    if record:
        check_same(path, record, options, elsewhere=elsewhere)
        options = replace(options, **{name: record[name] for name in asked_of(options)})
    here = replace(options, device="auto") if elsewhere else options
    run = prepare(model, image, axes=axes, options=here, result=(), mask=mask)
    check_holds(path, *result_shape(model, run.plan))
    run.measure()
    place = find_place(image, run)
    maker = made_by(model, options)
    identity = fingerprint(run, place, maker)
    if record:
        restore(run, record)
        if record["run"] != identity:
            raise InputError(
                f"{path} was begun with another model, image or option; run without resume to "
                "begin anew."
            )
    else:
        discard(store)
    open_store(run, store, keep=bool(record))
    return FileRun(
        run,
        path,
        store,
        place,
        identity,
        maker,
        record or {},
        overwrite or resume,
        options,
        file_of(image),
        scheduler,
    )


def _check_run(path: Path, image: Any, options: PredictOptions, scheduler: str | None) -> None:
    source = getattr(image, "source", "")
    if source and Path(source).resolve() == path.resolve():
        raise InputError(f"{path} is the image itself; choose another name for the result.")
    if scheduler is not None:
        check_scheduler(scheduler)
        if options.planes != "z":
            raise InputError(
                f"planes={options.planes} cannot be combined with scheduler; leave out one of them."
            )


def fingerprint(run: Prediction, place: Place, maker: str) -> str:
    """Return a hash of model, image and what was asked for: equal for runs with equal results."""
    layout = run.plan.layout
    seen = (layout, str(run.image.dtype), run.stretch, run.intensity, place)
    digest = hashlib.sha256((maker + repr(seen)).encode())
    regions = sample_regions(layout.shape, layout.channel_axis)
    for region in regions[:: -(-len(regions) // SAMPLES)]:
        digest.update(np.ascontiguousarray(run.image[region]).tobytes())
    for region in () if run.mask is None else stored_blocks(run.mask):
        digest.update((np.asarray(run.mask[region]) != 0).tobytes())
    return digest.hexdigest()


def made_by(model: SegmentationModel, options: PredictOptions) -> str:
    """Return a hash of a model and of what is asked for, as far as it shows in the result."""
    digest = hashlib.sha256(model.info.to_json().encode())
    for name, tensor in model.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    o = options
    how = (o.output, o.overlap, o.blend, o.tta, o.engine, o.crf, o.skip_below, o.region, o.planes)
    digest.update(repr((how, model.info.normalization)).encode())
    return digest.hexdigest()
