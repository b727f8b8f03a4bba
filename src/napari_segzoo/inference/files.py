"""Runs that write a file: kept in a store beside it until whole, and resumable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, RunError
from ..postprocess import Objects
from .events import BlockSeparated, Event, TileDone
from .plan import DEFAULTS, Plan, PredictOptions
from .predict import prepare
from .prediction import Prediction, probabilities_of, result_shape

if TYPE_CHECKING:
    from ..model import SegmentationModel

SAVE_SECONDS = 2.0
CHUNK = {2: 512, 3: 128}
OBJECTS = "objects.npz"


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
    start : int
        Tiles done by an earlier run.
    overwrite : bool
        Whether an existing file is replaced.
    """

    prediction: Prediction
    path: Path
    store: Path
    scale: tuple[float, ...]
    unit: str
    affine: tuple[tuple[float, ...], ...] | None
    identity: str
    start: int
    overwrite: bool

    def run(self) -> Iterator[Event]:
        """Compute and write; an interrupted run leaves `store`, from which it can go on."""
        from ..io import save_image

        saved = time.monotonic()
        try:
            for event in self.prediction.run(start=self.start):
                last = isinstance(event, TileDone) and event.done == event.total
                if last or time.monotonic() - saved > SAVE_SECONDS:
                    self._save_progress(event)
                    saved = time.monotonic()
                yield event
            save_image(
                self.path,
                self._whole(),
                self.prediction.axes,
                scale=self.scale,
                unit=self.unit,
                affine=self.affine,
                labels=self.prediction.plan.output != "probabilities",
                overwrite=self.overwrite,
            )
        except InputError:
            shutil.rmtree(self.store, ignore_errors=True)
            raise
        except OSError as error:
            raise RunError(
                f"{self.path} could not be written: {error.strerror or error}; what is done is "
                "kept beside it, so make room and resume."
            ) from error
        shutil.rmtree(self.store, ignore_errors=True)

    def _whole(self) -> Any:
        """Return what the file is to hold: objects get their final numbers when they are read."""
        from ..io import LazyArray

        objects = self.prediction.objects
        if objects is None:
            return self.prediction.result
        numbers, found = objects.final_numbers(), objects.result
        return LazyArray(found.shape, found.dtype, lambda region: numbers[found[region]])

    def _save_progress(self, event: Event) -> None:
        if isinstance(event, BlockSeparated) and self.prediction.objects is not None:
            self.prediction.objects.save(self.store / OBJECTS)
        elif isinstance(event, TileDone):
            self._save_tiles(event.done)

    def _save_tiles(self, done: int) -> None:
        plan = self.prediction.plan
        record = {
            "run": self.identity,
            "tile": plan.tiling.tile,
            "overlap": plan.tiling.overlap,
            "device": plan.device,
            "precision": plan.precision,
            "engine": plan.engine,
            "column_voxels": plan.column_voxels,
            "done": done,
        }
        temporary = self.store / "progress.new"
        temporary.write_text(json.dumps(record))
        temporary.replace(self.store / "progress.json")


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

    Raises
    ------
    InputError
        If the file exists and neither `overwrite` nor `resume` is set, or the interrupted
        run was another one.
    """
    from ..io import check_output

    path = Path(path)
    check_output(path, overwrite=overwrite or resume)
    store = path.with_name(f".{path.name}.partial")
    record = _read_progress(store) if resume else None
    if record:
        options = replace(options, tile=record["tile"], device=record["device"])
        options = replace(options, precision=record["precision"])
    run = prepare(model, image, axes=axes, options=options, result=(), mask=mask)
    identity = fingerprint(run)
    if record:
        run.plan = _as_before(run.plan, record)
        if record["run"] != identity:
            raise InputError(
                f"{path} was begun with another model, image or option; run without resume to "
                "begin anew."
            )
    if not record:
        shutil.rmtree(store, ignore_errors=True)
    _open_store(run, store, keep=bool(record))
    scale = dict(zip(getattr(image, "axes", ""), getattr(image, "scale", ()), strict=False))
    return FileRun(
        run,
        path,
        store,
        tuple(scale.get(a, 1.0) for a in run.axes),
        getattr(image, "unit", "pixel"),
        getattr(image, "affine", None),
        identity,
        record["done"] if record else 0,
        overwrite or resume,
    )


def fingerprint(run: Prediction) -> str:
    """Return a hash of model, image and what was asked for: equal for runs with equal results."""
    digest = hashlib.sha256(run.model.info.to_json().encode())
    for name, tensor in run.model.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    o = run.options
    how = (o.output, o.overlap, o.blend, o.tta, o.engine, o.crf, o.skip_below, o.region)
    asked = (run.plan.layout, str(run.image.dtype), *how)
    digest.update(repr((asked, run.model.info.normalization)).encode())
    for plane in () if run.mask is None else run.mask:
        digest.update(np.asarray(plane != 0).tobytes())
    return digest.hexdigest()


def _read_progress(store: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((store / "progress.json").read_text())
    except (OSError, ValueError):
        return None
    return record


def _as_before(plan: Plan, record: dict[str, Any]) -> Plan:
    """Return the plan that an interrupted run had."""
    overlap = tuple(record["overlap"])
    return replace(
        plan,
        tiling=replace(plan.tiling, tile=tuple(record["tile"]), overlap=overlap),
        engine=record["engine"],
        column_voxels=record["column_voxels"],
    )


def _open_store(run: Prediction, store: Path, *, keep: bool) -> None:
    """Let a run write into a folder, anew or where an earlier run with the same plan stopped."""
    model, plan = run.model, run.plan
    if plan.output != "instances":
        run.result = _open_array(store / "result.zarr", model, plan, keep=keep)
    else:
        labels = replace(plan, output="labels")
        run.result = _open_array(store / "classes.zarr", model, labels, keep=keep)
        found = _open_array(store / "result.zarr", model, plan, keep=keep)
        run.objects = Objects(run.result, found, plan.layout.ndim, model.info.task)
        if keep and (store / OBJECTS).exists():
            run.objects.load(store / OBJECTS)
    if plan.crf:
        whole = probabilities_of(plan)
        run.scores = _open_array(store / "scores.zarr", model, whole, keep=keep)


def _open_array(path: Path, model: SegmentationModel, plan: Plan, *, keep: bool) -> Any:
    import zarr

    axes, shape, dtype = result_shape(model, plan)
    try:
        if keep:
            return zarr.open_array(path, mode="r+")
        side = CHUNK[plan.layout.ndim]
        spatial = plan.layout.model_axes
        chunks = tuple(
            min(n, side) if a in spatial else 1 for a, n in zip(axes, shape, strict=True)
        )
        return zarr.create_array(path, shape=shape, dtype=dtype, chunks=chunks)
    except OSError as error:
        raise RunError(
            f"{path.parent.parent} cannot be written to: {error.strerror or error}."
        ) from error
