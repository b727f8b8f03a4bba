"""A run outside the GUI thread ends in exactly one way, and says so."""

import threading

import pytest
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QWidget

from napari_segzoo.errors import InputError
from napari_segzoo.widgets.worker import Job


class Record:
    """What a job reported, in order."""

    def __init__(self, job):
        self.events, self.failures, self.outcomes = [], [], []
        job.yielded.connect(self.events.append)
        job.failed.connect(self.failures.append)
        job.ended.connect(self.outcomes.append)


@pytest.fixture
def job(qtbot):
    owner = QWidget()
    job = Job(owner)
    job.record = Record(job)
    yield job
    owner.deleteLater()


def run(qtbot, job, make, record=None):
    with qtbot.waitSignal(job.ended, timeout=30_000):
        job.start(make)
    return record or job.record


def test_events_arrive_in_order_and_the_end_is_told(qtbot, job):
    record = run(qtbot, job, lambda: (n for n in range(20)))
    assert record.events == list(range(20))
    assert (record.outcomes, record.failures) == (["done"], [])
    assert not job.running


def test_a_long_run_does_not_keep_another_waiting(qtbot, job):
    pool, over = QThreadPool.globalInstance(), threading.Event()
    threads = pool.maxThreadCount()
    pool.setMaxThreadCount(1)

    def wait():
        yield "waiting"
        over.wait(30)

    other = Job(job.parent())
    try:
        job.start(wait)
        qtbot.waitUntil(lambda: job.record.events == ["waiting"], timeout=30_000)
        assert run(qtbot, other, lambda: (n for n in range(2)), Record(other)).events == [0, 1]
        assert job.running
    finally:
        over.set()
        qtbot.waitUntil(lambda: not job.running, timeout=30_000)
        pool.setMaxThreadCount(threads)
    qtbot.waitUntil(lambda: pool.activeThreadCount() == 0, timeout=30_000)


def raising(error):
    yield 1
    raise error


def test_a_runtime_error_is_reported(qtbot, job):
    record = run(qtbot, job, lambda: raising(RuntimeError("CUDA out of memory\nmore")))
    assert record.failures == ["The run failed: CUDA out of memory"]
    assert record.outcomes == ["failed"]


def test_memory_that_ran_out_is_reported(qtbot, job):
    record = run(qtbot, job, lambda: raising(MemoryError("Unable to allocate 9 GiB")))
    (said,) = record.failures
    assert said.startswith("Memory ran out (Unable to allocate 9 GiB); close other programs")


def test_wrong_use_is_reported_in_its_own_words(qtbot, job):
    def make():
        raise InputError("Draw more.")

    record = run(qtbot, job, make)
    assert (record.failures, record.outcomes) == (["Draw more."], ["failed"])


def test_an_unexpected_error_is_reported_with_its_type(qtbot, job, monkeypatch):
    received = []
    monkeypatch.setattr(
        "napari_segzoo.widgets.worker.notification_manager.receive_error",
        lambda *error: received.append(error[0]),
    )
    record = run(qtbot, job, lambda: raising(KeyError("gone")))
    assert "KeyError" in record.failures[0]
    assert received == [KeyError]


class Endless:
    """A generator that notes in which thread it was closed."""

    def __init__(self):
        self.closed_in = None

    def __call__(self):
        try:
            while True:
                threading.Event().wait(0.005)
                yield "tick"
        finally:
            self.closed_in = threading.current_thread()


def test_cancel_closes_the_generator_in_its_thread(qtbot, job):
    endless = Endless()
    job.start(endless)
    qtbot.waitUntil(lambda: len(job.record.events) > 2)
    with qtbot.waitSignal(job.ended, timeout=30_000):
        job.cancel()
    assert job.record.outcomes == ["cancelled"]
    assert endless.closed_in not in (None, threading.main_thread())


def test_of_a_flood_only_the_latest_count(qtbot):
    owner = QWidget()
    job = Job(owner, latest=(int,))
    record = Record(job)
    run(qtbot, job, lambda: (n if n < 100_000 else "end" for n in range(100_001)), record)
    assert record.events[-2:] == [99_999, "end"]
    assert len(record.events) < 1000
    owner.deleteLater()


def test_slots_that_let_the_event_loop_run_change_no_order(qtbot, job):
    seen = []

    def slow(event):
        qtbot.wait(60)
        seen.append(event)

    job.yielded.connect(slow)
    record = run(qtbot, job, lambda: (n for n in range(5)))
    assert seen == record.events == list(range(5))
    assert record.outcomes == ["done"]


def test_a_second_start_during_a_run_is_ignored(qtbot, job):
    job.start(Endless())
    job.start(lambda: (n for n in ["second"]))
    qtbot.waitUntil(lambda: len(job.record.events) > 2)
    with qtbot.waitSignal(job.ended, timeout=30_000):
        job.cancel()
    assert set(job.record.events) == {"tick"}


def test_a_destroyed_owner_stops_the_run(qtbot):
    owner = QWidget()
    endless = Endless()
    job = Job(owner)
    job.start(endless)
    qtbot.wait(50)
    owner.deleteLater()
    del owner, job
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=30_000)
