"""OpenMP threads of one caller do not slow down another's."""

import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from qtpy.QtWidgets import QWidget

from napari_segzoo.widgets.openmp import end_waiting_threads
from napari_segzoo.widgets.worker import Job

TASKS = Path("/proc/self/task")
pytestmark = pytest.mark.skipif(
    not list((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")),
    reason="PyTorch does not bring GNU's OpenMP along",
)


def threads():
    return {task.name for task in TASKS.iterdir()}


def compute_in_parallel():
    """Let OpenMP start threads; return those that wait for more."""
    before = threads()
    torch.ones(2_000_000).exp()
    return threads() - before


def ended(waiting):
    """Whether these threads end soon."""
    until = time.monotonic() + 10
    while waiting & threads() and time.monotonic() < until:
        time.sleep(0.01)
    return not waiting & threads()


@pytest.fixture
def two_threads():
    """PyTorch computes with two threads at least, whatever the machine and what ran before."""
    number = torch.get_num_threads()
    torch.set_num_threads(max(2, number))
    end_waiting_threads()
    yield
    torch.set_num_threads(number)


def test_waiting_threads_end_and_come_back(two_threads):
    waiting = compute_in_parallel()
    assert waiting
    assert not compute_in_parallel()
    end_waiting_threads()
    assert ended(waiting)
    again = compute_in_parallel()
    assert len(again) == len(waiting)


def test_nothing_happens_before_torch_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    end_waiting_threads()


def test_a_run_is_not_slowed_down_by_the_threads_of_the_viewer(two_threads, qtbot):
    left = compute_in_parallel()
    assert left
    owner = QWidget()
    qtbot.addWidget(owner)
    job = Job(owner)
    seen = []
    done = threading.Event()

    def work():
        yield "begun"
        seen.append(ended(left))
        torch.set_num_threads(2)  # a thread that computed before has kept its number
        seen.append(compute_in_parallel())
        done.set()

    with qtbot.waitSignal(job.ended, timeout=20_000):
        job.start(work)
    assert done.is_set()
    assert seen[0], "the viewer's threads wait for it while a run computes"
    assert seen[1]
    assert ended(seen[1]), "the threads of a run wait for it when it is over"
