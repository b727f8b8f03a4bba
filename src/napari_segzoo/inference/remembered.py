"""The tiles that fitted into memory after larger ones had not, kept between programs."""

from __future__ import annotations

import contextlib
import hashlib
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_dir

from .device import free_memory
from .records import read_json, write_json

if TYPE_CHECKING:
    import torch

    from ..model import SegmentationModel
    from .plan import Plan

MORE_MEMORY = 1.5
"""With this much more free memory than at the time, what did not fit then may fit now."""


def cache_file() -> Path:
    """Return the file in the user's cache folder."""
    return Path(user_cache_dir("napari-segzoo", appauthor=False)) / "tiles.json"


def remember(model: SegmentationModel, plan: Plan) -> None:
    """Note that a plan worked after a larger one had run out of memory.

    A cache folder that cannot be written to is left alone.
    """
    import torch

    device = torch.device(plan.device)
    voxels = plan.batch * prod(plan.tiling.window_shape)
    entry = {"voxels": voxels, "free": free_memory(device)}
    path = cache_file()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**_entries(), _key(model, device): entry})


def recall(model: SegmentationModel, device: torch.device) -> int | None:
    """Return how many voxels of this model fit into a batch on a device; None if not known."""
    entry = _entries().get(_key(model, device), {})
    try:
        outdated = free_memory(device) > MORE_MEMORY * entry["free"]
        return None if outdated else int(entry["voxels"])
    except (KeyError, TypeError, ValueError):
        return None


def _entries() -> dict[str, Any]:
    entries = read_json(cache_file())
    return entries if isinstance(entries, dict) else {}


def _key(model: SegmentationModel, device: torch.device) -> str:
    import torch

    info = model.info
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    what = (info.architecture, info.ndim, info.in_channels, info.num_outputs, dict(info.options))
    return hashlib.sha256(repr((what, name)).encode()).hexdigest()
