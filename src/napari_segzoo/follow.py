"""Functions that report their progress by a callback, followed as generators."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a call has come."""

    done: int
    total: int


class _Cancelled(Exception):
    pass


def follow(call: Callable[[Callable[[int, int], None]], Any]) -> Generator[Any, None, None]:
    """Make a generator of a function that reports its progress by a callback.

    Parameters
    ----------
    call : callable
        Takes a callback ``progress(done, total)``; what that raises ends the call.

    Yields
    ------
    Progress, and at last what `call` returned
    """
    reports: SimpleQueue[Progress | None] = SimpleQueue()
    closed = threading.Event()

    def progress(done: int, total: int) -> None:
        if closed.is_set():
            raise _Cancelled
        reports.put(Progress(done, total))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, progress)
        future.add_done_callback(lambda _: reports.put(None))
        try:
            while (report := reports.get()) is not None:
                yield report
        finally:
            closed.set()
    yield future.result()
