"""Ctrl-C and SIGTERM: a clean way out of a command."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Let a function handle both signals meanwhile; only the main thread can be asked to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def leave(number: int, frame: FrameType | None = None) -> None:
    """End the program with the status that shells give to a signal; `finally` runs."""
    raise SystemExit(128 + number)


class StopRequest:
    """A first signal, which asks a training to stop; a second one ends the program.

    Parameters
    ----------
    message : str
        What is said when it comes.
    ready : bool
        Whether there is anything worth keeping; until then the first one ends the program.
    """

    def __init__(self, message: str, *, ready: bool = True) -> None:
        self.message, self.ready = message, ready
        self.status = 0

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.status > 0

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal."""
        if self.status or not self.ready:
            leave(number)
        self.status = 128 + number
        print(self.message, file=sys.stderr, flush=True)
