"""Ways to do one thing, timed in turns in one process, with the memory they need."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import psutil

from napari_segzoo.metrics import acceleration

Ways = dict[str, Callable[[], Any]]


def library(name: str) -> Any:
    """Import a library, or return None if it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@contextmanager
def without_numba() -> Iterator[None]:
    with mock.patch.object(acceleration, "_compiled", lambda name: None):
        yield


def plain_numpy(way: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with without_numba():
            return way()

    return run


def compare(title: str, ways: Ways, yardstick: str, rounds: int) -> None:
    """Print time, ratio to the yardstick and extra memory of each way."""
    memory = {name: peak_memory(way) for name, way in ways.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter(), time.process_time()
            way()
            taken[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    median = {name: np.median(times, axis=0) for name, times in taken.items()}
    print(f"\n{title}\n\n| way | seconds | ratio | CPU seconds | ratio | extra MiB |")
    print("|---|---|---|---|---|---|")
    for name, (wall, cpu) in median.items():
        ratios = median[name] / median[yardstick]
        print(
            f"| {name} | {wall:.3f} | {ratios[0]:.2f} | {cpu:.3f} | {ratios[1]:.2f} "
            f"| {memory[name]:.0f} |",
            flush=True,
        )


def peak_memory(way: Callable[[], Any]) -> float:
    """Run once to warm up (compile, import), then once with a thread that watches memory."""
    way()
    process = psutil.Process()
    before = highest = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.002):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    way()
    done.set()
    watcher.join()
    return (highest - before) / 2**20


def peak_memory_once(way: Callable[[], Any]) -> float:
    calls = iter([lambda: None, way])
    return peak_memory(lambda: next(calls)())
