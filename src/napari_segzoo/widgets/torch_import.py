"""PyTorch in a process that draws."""

from __future__ import annotations

import sys
from pathlib import Path

LOADED_LIBRARIES = Path("/proc/self/maps")


def make_torch_safe() -> None:
    """Keep Triton from being imported where that would end the process.

    Linux graphics drivers of the Mesa family load LLVM; Triton, which CUDA builds of PyTorch
    import with any optimiser, brings its own, and a process that has the first crashes when it
    loads the second. PyTorch does without Triton unless code is compiled with it.
    """
    if "triton" not in sys.modules and _has_llvm():
        sys.modules["triton"] = None  # type: ignore[assignment]


def _has_llvm() -> bool:
    return LOADED_LIBRARIES.exists() and "libLLVM" in LOADED_LIBRARIES.read_text(errors="replace")
