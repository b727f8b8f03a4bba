"""Numba when it is installed, NumPy and SciPy when it is not; results are the same."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType


def kernels() -> ModuleType | None:
    """Return the compiled counting loops, or None if Numba is missing or does not load."""
    return _compiled("kernels")


def surface_kernels() -> ModuleType | None:
    """Return the compiled surface loops, or None if Numba is missing or does not load."""
    return _compiled("surface_kernels")


def far_kernels() -> ModuleType | None:
    """Return the compiled search for far surfaces, or None if Numba is missing."""
    return _compiled("far_kernels")


@cache
def _compiled(name: str) -> ModuleType | None:
    try:
        return import_module(f".{name}", __package__)
    except ImportError:
        return None
