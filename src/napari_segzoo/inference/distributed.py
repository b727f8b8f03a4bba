"""A run spread over the workers of a Dask cluster, equal to a local run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from logging import CRITICAL
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RunError, SegzooError
from .events import Event, Note, Stage, TileDone
from .objects import blocks_done
from .plan import Plan
from .records import read_json, write_json
from .refine import refine
from .source import find_file

if TYPE_CHECKING:
    from ..postprocess import Objects
    from .files import FileRun
    from .units import Unit
    from .workers import Shared

UNITS = "units.json"
CONNECT_SECONDS = "20s"
WORKER_SECONDS = 600.0
"""How long a scheduler may be without workers; queues of clusters are slow."""
HERE = "127.0.0.1"


def check_scheduler(scheduler: str) -> None:
    """Raise `InputError` if `scheduler` is neither ``local[:N]`` nor an address."""
    _distributed()
    if not re.fullmatch(r"local(:[1-9]\d*)?|[a-z]+://.+", scheduler):
        raise InputError(
            f"scheduler must be local, local:N, or the address of a Dask scheduler such as "
            f"tcp://host:8786, not {scheduler!r}."
        )


def is_local(scheduler: str) -> bool:
    """Whether the workers run on this machine."""
    return scheduler.startswith("local")


def distribute(run: FileRun, scheduler: str) -> Iterator[Event]:
    """Compute all tiles of a run on a cluster.

    The run is cut into units of whole chunks of the store. A unit whose worker is lost is
    computed again by another one. Closing the generator cancels what is not done.
    """
    distributed = _distributed()
    with _connected(distributed, scheduler, run.prediction.plan) as client:
        if not client.nthreads():
            yield Note(f"{scheduler} has no workers yet; waiting for the first.")
            _wait_for_workers(client, scheduler)
        workers = len(client.nthreads())
        yield from map(Note, run.prediction.notes)
        shared = _share(run, client, scheduler)
        yield Note(f"{workers} worker(s): {shared.plan.summary()}.")
        yield from _follow(distributed, client, run, shared, workers)
        if run.prediction.options.crf:
            yield from refine(run.prediction, shared.plan.tiles)
        if run.prediction.objects is not None:
            yield Stage("Separating objects.")
            yield from _separate(client, run, run.prediction.objects, workers)


@dataclass(frozen=True)
class _Found:
    """What a worker finds in a block."""

    future: Any

    def result(self) -> NDArray[np.int32]:
        found: NDArray[np.int32] = _result(_distributed(), self.future)
        return found


def _separate(client: Any, run: FileRun, objects: Objects, workers: int) -> Iterator[Event]:
    """Let the workers find the objects of blocks, and number them here."""
    from .workers import separate_block

    store = str(run.store.absolute())

    def begin(*block: Any) -> _Found:
        return _Found(client.submit(separate_block, store, *block, pure=False))

    yield from blocks_done(objects, objects.collect(begin, 2 * workers))


def _follow(
    distributed: Any, client: Any, run: FileRun, shared: Shared, workers: int
) -> Iterator[TileDone]:
    from .store import CHUNK
    from .units import cut_units
    from .workers import compute

    plan = shared.plan
    units = list(cut_units(plan, CHUNK[plan.layout.ndim], workers))
    finished = read_json(run.store / UNITS) or []
    total = sum(u.plan(plan).tiles for u in units)
    done = 0
    futures: dict[Any, Unit] = {}
    for unit in units:
        if _key(unit) in finished:
            done += unit.plan(plan).tiles
        else:
            futures[client.submit(compute, shared, unit, pure=False)] = unit
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            done += _result(distributed, future)
            finished.append(_key(futures[future]))
            write_json(run.store / UNITS, finished)
            yield TileDone(done, total, _region(run, futures[future]))
    finally:
        client.cancel(list(futures))


def _share(run: FileRun, client: Any, scheduler: str) -> Shared:
    """Lay out in the store what workers need, and make a plan that leaves nothing open."""
    from . import workers

    prediction = run.prediction
    if not (run.store / workers.MODEL).exists():
        prediction.model.save(run.store / workers.MODEL)
    if prediction.mask is not None:
        everything = (slice(None),) * len(prediction.mask.shape)
        np.save(run.store / workers.MASK, np.asarray(prediction.mask[everything]))
    store = str(run.store.absolute())
    plan = prediction.plan
    if not is_local(scheduler):
        there = client.submit(workers.plan_here, run.identity, store, plan.layout, run.options)
        plan = run.restored(_planned_as(plan, _result(_distributed(), there)))
    layout = plan.layout
    image, ranges = find_file(run, layout.shape)
    shared = workers.Shared(
        run.identity,
        store,
        image,
        layout.axes,
        ranges,
        prediction.options,
        plan,
        prediction.measure(),
        prediction.origin,
    )
    if plan.on_trial:
        plan = _result(_distributed(), client.submit(workers.settle, shared, pure=False))
    device = prediction.plan.device
    prediction.plan = plan
    run.save_tiles(0)
    prediction.plan = replace(plan, device=device)  # for what follows the tiles, done here
    return replace(shared, plan=plan)


def _planned_as(plan: Plan, there: Plan) -> Plan:
    """Return the plan made on a worker, for the part of the image that the run is about."""
    return replace(there, layout=plan.layout, tiling=replace(there.tiling, box=plan.tiling.box))


def _region(run: FileRun, unit: Unit) -> tuple[slice, ...]:
    origin = run.prediction.origin or (0,) * len(unit.box)
    spatial = [slice(a - o, b - o) for (a, b), o in zip(unit.box, origin, strict=True)]
    every = [slice(n, n + 1) for n in unit.leading]
    axes = run.prediction.axes
    channels = [slice(0, run.prediction.model.info.num_outputs)] if "C" in axes else []
    return (*every, *channels, *spatial)


def _result(distributed: Any, future: Any) -> Any:
    try:
        return future.result()
    except SegzooError:
        raise
    except distributed.KilledWorker as error:
        raise RunError(
            "Workers were lost again and again over the same part of the image, most likely for "
            "lack of memory; choose a smaller tile or fewer workers per machine, and resume."
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(
            f"A worker failed: {reason[:300]}; it needs this version of napari-segzoo, and the "
            "folders of input and output under the same path."
        ) from error


@contextmanager
def start_workers(scheduler: str, device: str) -> Iterator[str]:
    """Start the workers that ``local[:N]`` asks for, and yield the address of their scheduler.

    An address is yielded as it is. When the context ends, what was started is stopped.
    """
    check_scheduler(scheduler)
    distributed = _distributed()
    if not is_local(scheduler):
        yield scheduler
        return
    with distributed.SpecCluster(
        workers=_local_workers(distributed, scheduler, device),
        scheduler={"cls": distributed.Scheduler, "options": {"dashboard": False, "host": HERE}},
        silence_logs=CRITICAL,
    ) as cluster:
        cluster.wait_for_workers(len(cluster.worker_spec))
        yield cluster.scheduler_address


@contextmanager
def _connected(distributed: Any, scheduler: str, plan: Plan) -> Iterator[Any]:
    with start_workers(scheduler, plan.device) as address:
        try:
            client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise RunError(f"No Dask scheduler answers at {scheduler}: {error}.") from error
        with client:
            yield client


def _wait_for_workers(client: Any, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        raise RunError(
            f"No worker joined {scheduler} within {WORKER_SECONDS:.0f} s; start one with "
            "dask worker, and resume."
        ) from error


def _local_workers(distributed: Any, scheduler: str, device: str) -> dict[int, Any]:
    """Describe one process per worker, each with its share of the cores, or its own GPU."""
    import torch

    devices = torch.cuda.device_count() if device == "cuda" else 0
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    visible = visible or [str(n) for n in range(devices)]
    _, _, number = scheduler.partition(":")
    count = int(number) if number else max(1, devices)
    threads = str(max(1, (os.cpu_count() or 1) // count))
    spec = {}
    for n in range(count):
        env = {"OMP_NUM_THREADS": threads}
        if devices > 1:
            env["CUDA_VISIBLE_DEVICES"] = visible[n % devices]
        options = {
            "nthreads": 1,
            "memory_limit": 0,
            "env": env,
            "host": HERE,
            "silence_logs": CRITICAL,
        }
        spec[n] = {"cls": distributed.Nanny, "options": options}
    return spec


def _key(unit: Unit) -> Any:
    return json.loads(json.dumps(astuple(unit)))


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InputError(
            'scheduler needs one more package: pip install "napari-segzoo[distributed]".'
        ) from error
    return distributed
