"""Long work outside the GUI thread, one run at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, QThreadPool, QTimer, Signal
from qtpy.QtWidgets import QWidget
from superqt.utils import GeneratorWorker

from ..errors import RunError, SegzooError, memory_ran_out
from .openmp import end_waiting_threads
from .torch_import import make_torch_safe

CLOSING_TIMEOUT = 60.0
"""Seconds that a closing viewer waits for a run to reach its next event."""

HAND_OVER_EVERY = 50
"""Milliseconds."""

Work = Callable[[], Generator[Any, None, None]]


class _Worker(GeneratorWorker):
    """A worker that closes its generator in its own thread, whatever ends it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._closed = threading.Event()

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            self._gen.close()
            self._closed.set()

    def ask_to_quit(self) -> None:
        """Stop at the next event."""
        super().quit()

    def quit(self) -> None:
        """Stop at the next event and wait for it: napari calls this when a window closes."""
        super().quit()
        if self.is_running:
            self._closed.wait(CLOSING_TIMEOUT)


def _guarded(make: Work, events: deque[Any]) -> Generator[None, None, None]:
    """Put what `make()` yields into `events`, and close it at the end.

    The worker would swallow a RuntimeError, so it becomes a RunError.
    """
    make_torch_safe()
    try:
        with closing(make()) as inner:
            for event in inner:
                events.append(event)
                yield
    except MemoryError as error:
        raise memory_ran_out(error) from error
    except RuntimeError as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"The run failed: {first_line}") from error
    finally:
        end_waiting_threads()


class Job(QObject):
    """Runs one generator at a time in a worker thread, on behalf of a dock.

    It stops when the viewer closes, which waits for it, or when its owner is destroyed.
    Events are handed over some times a second, so that no run, however fast, can keep the
    GUI busy.

    Parameters
    ----------
    owner : QWidget
        The dock.
    latest : tuple of type
        Kinds of events of which only the last of a row counts.

    Signals
    -------
    yielded(object)
        Each value the generator yields, but see `latest`.
    failed(str)
        One sentence, before `ended`.
    ended(str)
        "done", "cancelled" or "failed"; always the last.
    """

    yielded = Signal(object)
    failed = Signal(str)
    ended = Signal(str)

    def __init__(self, owner: QWidget, *, latest: tuple[type, ...] = ()) -> None:
        super().__init__(owner)
        self._latest = latest
        self._worker: _Worker | None = None
        self._error: Exception | None = None
        self._aborted = False
        self._abandoned = False
        self._over = False
        self._handing_over = False
        self._events: deque[Any] = deque()
        self._timer = QTimer(self)
        self._timer.setInterval(HAND_OVER_EVERY)
        self._timer.timeout.connect(self._hand_over)

    @property
    def running(self) -> bool:
        """Whether a run has started and has not ended."""
        return self._worker is not None

    def start(self, make: Work) -> None:
        """Call `make` in a worker thread and iterate over the generator it returns.

        napari's activity dock is left out: what turns there repaints the window all the time,
        which without a graphics card more than halves the speed of a training on two cores.
        """
        if self.running:
            return
        self._error, self._aborted, self._abandoned = None, False, False
        worker = create_worker(
            _guarded,
            make,
            self._events,
            _worker_class=_Worker,
            _start_thread=False,
            _ignore_errors=True,
        )
        self._worker = worker
        worker.errored.connect(self._on_error)
        worker.aborted.connect(self._on_abort)
        worker.warned.connect(_log_warning)
        worker.finished.connect(self._on_finished)
        self.destroyed.connect(worker.ask_to_quit)
        pool = QThreadPool.globalInstance()
        pool.releaseThread()  # a run takes no place of those that others may need
        worker.finished.connect(pool.reserveThread)
        worker.start()
        self._timer.start()

    def cancel(self) -> None:
        """Stop at the next event, without waiting for it."""
        if self._worker is not None:
            self._worker.ask_to_quit()

    def abandon(self) -> None:
        """Stop at the next event, and hand over nothing any more but the end."""
        self._abandoned = True
        self.cancel()

    def _hand_over(self) -> None:
        if self._handing_over:  # a slot lets the event loop run, and the timer fires in it
            return
        self._handing_over = True
        while self._events:
            event = self._events.popleft()
            replaced = self._events and type(self._events[0]) is type(event)
            if not (self._abandoned or (replaced and isinstance(event, self._latest))):
                self.yielded.emit(event)
        self._handing_over = False
        end_waiting_threads()
        if self._over:
            self._end()

    def _on_error(self, error: Exception) -> None:
        self._error = error

    def _on_abort(self) -> None:
        self._aborted = True

    def _on_finished(self) -> None:
        self._over = True
        self._hand_over()

    def _end(self) -> None:
        self._timer.stop()
        self._worker = None
        self._over = False
        if self._error is not None:
            self.failed.emit(_tell(self._error))
            self.ended.emit("failed")
        else:
            self.ended.emit("cancelled" if self._aborted else "done")


def _tell(error: Exception) -> str:
    """Show an error in napari and return it as one sentence."""
    if isinstance(error, SegzooError):
        show_error(str(error))
        return str(error)
    notification_manager.receive_error(type(error), error, error.__traceback__)
    return f"The run failed unexpectedly ({type(error).__name__}: {error})."


def _log_warning(warning: tuple[Any, ...]) -> None:
    message, category = warning[:2]
    logging.getLogger("napari_segzoo").warning("%s: %s", category.__name__, message)
