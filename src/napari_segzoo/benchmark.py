"""How fast this machine runs the bundled models, beside the plain use of PyTorch."""

from __future__ import annotations

import copy
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import ceil
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .synthetic import nuclei

if TYPE_CHECKING:
    from .inference.prediction import Prediction

SHAPES: Mapping[str, tuple[int, ...]] = {"nuclei": (512, 896), "generalist-3d": (32, 96, 168)}
TILES: Mapping[int, tuple[int, ...]] = {2: (512, 512), 3: (32, 96, 96)}
"""On a CPU: of the image for each bundled model, and of a tile, of which it takes two."""
ON_GPU: Mapping[int, tuple[int, ...]] = {2: (6, 4), 3: (4, 3, 2)}
"""How many times as large the image is along each axis on a GPU, where the tile is left open."""
LONGEST = 12.0
"""Seconds after which no further round of a model begins."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one model; speeds are those of the median of the rounds.

    Parameters
    ----------
    voxels_per_second : float
        Of the image, in whole runs to labels.
    outside : float
        Share of the time of a run, 0..1, beyond the bare forward passes of its tiles.
    plain_voxels_per_second : float
        In forward passes of the same tiles by PyTorch in float32, one by one.
    peak_memory_bytes : int
        Taken by a run above what the program held before; on a GPU, of its memory.
    """

    model: str
    shape: tuple[int, ...]
    tile: tuple[int, ...]
    tiles: int
    device: str
    engine: str
    precision: str
    voxels_per_second: float
    outside: float
    plain_voxels_per_second: float
    peak_memory_bytes: int


def measure(
    name: str,
    *,
    shape: Sequence[int] | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    rounds: int = 3,
) -> Measured:
    """Measure a bundled model on a generated image.

    A first run warms up, and its memory is watched. After it, runs, their bare forward passes and
    the plain ones take turns, for so many rounds or until they take too long.

    Parameters
    ----------
    name : str
        A key of `SHAPES`, the shape of the image if none is given.
    device, engine, precision : str
        As in `predict`.
    """
    from .inference import PredictOptions, prepare
    from .inference.device import find_device
    from .model import load_model

    if rounds < 1:
        raise InputError(f"rounds must be 1 or more, not {rounds}.")
    model = load_model(name)
    where = str(find_device("cpu" if engine == "openvino" else device))
    tile: Any = TILES[model.info.ndim] if where == "cpu" else "auto"
    options = PredictOptions(tile=tile, device=device, engine=engine, precision=precision)
    larger = zip(SHAPES[name], ON_GPU[model.info.ndim], strict=True)
    image = _image(shape or (SHAPES[name] if where == "cpu" else [n * k for n, k in larger]))

    def run() -> Prediction:
        prediction = prepare(model, image, options=options)
        deque(prediction.run(), maxlen=0)
        return prediction

    with _watched_memory(where) as held:
        done = run()
    plan = done.plan
    bare, plain = _forward_passes(done)
    bare(), plain()
    times: list[list[float]] = []
    while len(times) < rounds and sum(map(sum, times)) < LONGEST:
        times.append([_time(call, plan.device) for call in (run, bare, plain)])
    whole, forward, by_plain = (statistics.median(column) for column in zip(*times, strict=True))
    what = name, image.shape, plan.tiling.window_shape, plan.tiles
    how = plan.device, plan.engine, plan.precision
    speeds = image.size / whole, max(0.0, 1 - forward / whole), image.size / by_plain
    return Measured(*what, *how, *speeds, max(held) - held[0])


def _image(shape: Sequence[int]) -> NDArray[np.uint16]:
    """Draw a small image, and repeat it."""
    piece = [min(n, 96) for n in shape]
    repeats = [ceil(n / p) for n, p in zip(shape, piece, strict=True)]
    return np.tile(nuclei(piece, count=20)[0], repeats)[tuple(slice(n) for n in shape)]


def _forward_passes(done: Prediction) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the forward passes of all tiles of a run, in its engine and plain."""
    import torch

    from .inference.forward import make_forward
    from .inference.kept_memory import kept_memory
    from .inference.order import order_tiles
    from .inference.reading import TileReader

    plan, info, device = done.plan, done.model.info, torch.device(done.plan.device)
    intensity = info.normalization.measure(done.image, plan.layout.channel_axis)
    reader = TileReader(done.image, plan.layout, intensity)
    _, steps = order_tiles(plan, {}, 0)
    tiles = [t[None] for s in steps if (t := reader.read(s.leading, s.tile)) is not None]
    starts = range(0, len(tiles), plan.batch)
    batches = [np.concatenate(tiles[n : n + plan.batch]) for n in starts]
    forward = make_forward(
        done.model.network,
        shape=(plan.batch, info.in_channels, *plan.tiling.window_shape),
        device=device,
        precision=getattr(torch, plan.precision),
        engine=plan.engine,
        tta=False,
    )
    network = copy.deepcopy(done.model.network).to(device)
    by_torch = plan.device == "cpu" and plan.engine == "torch"

    def bare() -> None:
        with kept_memory() if by_torch else nullcontext():
            for batch in batches:
                forward(batch)

    @torch.inference_mode()
    def plain() -> None:
        for tile in tiles:
            network(torch.from_numpy(tile).to(device))

    return bare, plain


def _time(call: Callable[[], object], device: str) -> float:
    import torch

    started = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - started


@contextmanager
def _watched_memory(device: str) -> Iterator[list[int]]:
    """Collect the bytes of main memory, or of a CUDA GPU's, that are held; first those before."""
    import psutil
    import torch

    def held() -> int:
        if device.startswith("cuda"):
            return int(torch.cuda.memory_allocated(device))
        return int(psutil.Process().memory_info().rss)

    found, over = [held()], Event()

    def watch() -> None:
        while not over.wait(0.005):
            found.append(held())

    with ThreadPoolExecutor(1) as pool:
        pool.submit(watch)
        try:
            yield found
        finally:
            over.set()
