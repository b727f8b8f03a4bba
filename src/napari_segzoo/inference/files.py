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

from ..errors import InputError, RunError
from .events import Note, TileDone
from .plan import DEFAULTS, Plan, PredictOptions
from .predict import prepare
from .prediction import Prediction, probabilities_of, result_shape

if TYPE_CHECKING:
    from ..model import SegmentationModel

SAVE_SECONDS = 2.0
CHUNK = {2: 512, 3: 128}


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

    def run(self) -> Iterator[TileDone | Note]:
        """Compute and write; an interrupted run leaves `store`, from which it can go on."""
        from ..io import save_image

        saved = time.monotonic()
        try:
            for event in self.prediction.run(start=self.start):
                if isinstance(event, TileDone) and time.monotonic() - saved > SAVE_SECONDS:
                    self._save_progress(event.done)
                    saved = time.monotonic()
                yield event
            save_image(
                self.path,
                self.prediction.result,
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

    def _save_progress(self, done: int) -> None:
        plan = self.prediction.plan
        record = {
            "run": self.identity,
            "tile": plan.tiling.tile,
            "device": plan.device,
            "precision": plan.precision,
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
) -> FileRun:
    """Plan a run that writes a file.

    Parameters
    ----------
    model, image, axes, options
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
    run = prepare(model, image, axes=axes, options=options, result=())
    identity = fingerprint(run)
    if record:
        run.plan = replace(run.plan, column_voxels=record["column_voxels"])
        if record["run"] != identity:
            raise InputError(
                f"{path} was begun with another model, image or option; run without resume to "
                "begin anew."
            )
    if not record:
        shutil.rmtree(store, ignore_errors=True)
    run.result = _open_array(store / "result.zarr", model, run.plan, keep=bool(record))
    if options.crf:
        whole = probabilities_of(run.plan)
        run.scores = _open_array(store / "scores.zarr", model, whole, keep=bool(record))
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
    how = (o.output, o.overlap, o.blend, o.tta, o.engine, o.crf)
    asked = (run.plan.layout, str(run.image.dtype), *how)
    digest.update(repr((asked, run.model.info.normalization)).encode())
    return digest.hexdigest()


def _read_progress(store: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((store / "progress.json").read_text())
    except (OSError, ValueError):
        return None
    return record


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
