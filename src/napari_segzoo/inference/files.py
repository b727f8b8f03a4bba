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

from ..errors import InputError, RunError
from .distributed import check_scheduler, is_local
from .events import BlockSeparated, Event, Stage, TileDone
from .plan import DEFAULTS, Plan, PredictOptions
from .predict import prepare
from .prediction import Prediction
from .saving import save
from .store import (
    OBJECTS,
    as_before,
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
    scale, unit, affine
        Where the result lies: those of the image.
    identity : str
        Hash of model, image and options, see `fingerprint`.
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
    scale: tuple[float, ...]
    unit: str
    affine: tuple[tuple[float, ...], ...] | None
    identity: str
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
        for event in events:
            if self.scheduler is None and self.prediction.plan != plan:
                plan = self.prediction.plan
                self.save_tiles(event.resumes_at if isinstance(event, TileDone) else 0)
            last = isinstance(event, TileDone) and event.done == event.total
            if last or time.monotonic() - saved > SAVE_SECONDS:
                self._save_progress(event)
                saved = time.monotonic()
            yield event

    def _save_progress(self, event: Event) -> None:
        if isinstance(event, BlockSeparated) and self.prediction.objects is not None:
            self.prediction.objects.save(self.store / OBJECTS)
        elif isinstance(event, TileDone) and self.scheduler is None:
            self.save_tiles(event.resumes_at)

    def save_tiles(self, done: int) -> None:
        """Write down the plan, and how many of its tiles are done."""
        write_progress(self.store, self.identity, self.prediction.plan, done)


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
        If the file exists and neither `overwrite` nor `resume` is set, or the interrupted
        run was another one.
    """
    from ..io import check_output

    if options.planes != "z" and scheduler is not None:
        raise InputError(
            f"planes={options.planes} cannot be combined with scheduler; leave out one of them."
        )
    path = Path(path)
    check_output(path, overwrite=overwrite or resume)
    if scheduler is not None:
        check_scheduler(scheduler)
    store = store_of(path)
    record = read_progress(store) if resume else None
    if record:
        options = replace(options, tile=record["tile"], device=record["device"])
        options = replace(options, precision=record["precision"])
    # The workers of a cluster plan for their own devices.
    here = options if scheduler is None or is_local(scheduler) else replace(options, device="auto")
    run = prepare(model, image, axes=axes, options=here, result=(), mask=mask)
    identity = fingerprint(run)
    if record:
        restore(run, record)
        if record["run"] != identity:
            raise InputError(
                f"{path} was begun with another model, image or option; run without resume to "
                "begin anew."
            )
    if not record:
        discard(store)
    open_store(run, store, keep=bool(record))
    scale = dict(zip(getattr(image, "axes", ""), getattr(image, "scale", ()), strict=False))
    return FileRun(
        run,
        path,
        store,
        tuple(scale.get(a, 1.0) for a in run.axes),
        getattr(image, "unit", "pixel"),
        getattr(image, "affine", None),
        identity,
        record or {},
        overwrite or resume,
        options,
        _file_of(image),
        scheduler,
    )


def fingerprint(run: Prediction) -> str:
    """Return a hash of model, image and what was asked for: equal for runs with equal results."""
    digest = hashlib.sha256(run.model.info.to_json().encode())
    for name, tensor in run.model.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    o = run.options
    how = (o.output, o.overlap, o.blend, o.tta, o.engine, o.crf, o.skip_below, o.region, o.planes)
    asked = (run.plan.layout, str(run.image.dtype), run.stretch, *how)
    digest.update(repr((asked, run.model.info.normalization)).encode())
    for plane in () if run.mask is None else run.mask:
        digest.update(np.asarray(plane != 0).tobytes())
    return digest.hexdigest()


def _file_of(image: Any) -> str:
    """Return the file that holds an image as it is, "" if there is none."""
    from ..io import LazyArray

    opened = isinstance(getattr(image, "data", None), LazyArray | np.memmap)
    source = getattr(image, "source", "")
    return str(Path(source).absolute()) if opened and source else ""
