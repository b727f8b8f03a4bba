"""OpenMP threads in a process that draws."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

SOFT = 1
"""Of OpenMP's kinds of pauses, the one that keeps its settings."""


def end_waiting_threads() -> None:
    """End the threads that wait for more parallel work of the calling thread.

    They come back when there is some. GNU's OpenMP, which PyTorch for Linux brings along, lets
    threads fall asleep between two steps of a computation as soon as a process has more of them
    than cores. So the threads that one caller leaves behind (napari draws Labels of 32 bits with
    Numba, which finds the same library) slow down what another computes, a training by a third.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.__file__ is not None:
        for library in _gnu_openmp(Path(torch.__file__).parent / "lib"):
            library.omp_pause_resource_all(SOFT)


@cache
def _gnu_openmp(folder: Path) -> tuple[ctypes.CDLL, ...]:
    """Return the libraries in a folder that can be paused, which takes OpenMP 5."""
    libraries = (ctypes.CDLL(str(path)) for path in folder.glob("libgomp*.so*"))
    return tuple(found for found in libraries if hasattr(found, "omp_pause_resource_all"))
