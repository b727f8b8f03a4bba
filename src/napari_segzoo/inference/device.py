"""Where and in which precision a network runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "alloc failed",
    "bad alloc",
    "could not create a primitive",
    "could not create a memory",
    "unable to find a valid cudnn algorithm",
    "unable to find an engine",
)
"""Parts of what PyTorch, oneDNN, cuDNN and cuBLAS say when memory runs out."""


def find_device(name: str = "auto") -> torch.device:
    """Return the device that a name asks for.

    Parameters
    ----------
    name : str
        "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ... or "mps".

    Raises
    ------
    InputError
        If the device is unknown or not there.
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise InputError(f"device must be auto, cpu, cuda, cuda:N or mps, not {name!r}.")
    if kind == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("No CUDA GPU was found here; choose the device auto or cpu.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"{name} was asked for, but the GPUs here are cuda:0 to cuda:{count - 1}.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("No Apple GPU was found here; choose the device auto or cpu.")
    return torch.device(name)


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the data type of the forward pass.

    "auto" is float32 on CPU and Apple GPUs, where it is exact, and bfloat16 (float16 on
    GPUs without it) on CUDA.
    """
    import torch

    if name not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {name!r}.")
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if computes_bfloat16(device) else torch.float16
    if name == "float16" and device.type == "cpu":
        raise InputError("float16 does not run on the CPU; choose bfloat16 or float32.")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself, and faster than in float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def free_memory(device: torch.device) -> int:
    """Return the bytes that a run may count on: free GPU memory, or available main memory."""
    import torch

    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    available = _available_memory()
    return available // 2 if device.type == "mps" else available


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a CPU or GPU has no memory left."""
    text = str(error).lower().replace("_", " ")
    return isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY)


def release_memory(device: str) -> None:
    """Return what PyTorch keeps of a GPU's memory after a run."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def _available_memory() -> int:
    """Available main memory in bytes, within the limit of a container if there is one."""
    import psutil

    limits = [int(psutil.virtual_memory().available)]
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        if Path(limit).is_file():
            most = Path(limit).read_text().strip()
            if most.isdigit():
                limits.append(int(most) - int(Path(used).read_text()))
    return max(min(limits), 64 << 20)


def peak_memory() -> int:
    """Return the most bytes of main memory that this process has held so far."""
    import psutil

    try:
        import resource
    except ImportError:
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
