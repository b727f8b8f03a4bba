"""What a project file holds, checked field by field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..training.job import LOSS_NAMES, MOST_HELD_OUT, TUNES

FORMAT = "napari-segzoo-project"
FORMAT_VERSION = 2
"""Version 1 held no validation images and fewer of the options."""
LARGEST = 1 << 24
"""Bytes of a project file."""


def read_record(path: Path) -> dict[str, Any]:
    """Read the fields of a project file and check their names and types.

    Raises
    ------
    InputError
        If anything is missing, of another type, or not known.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError
        record = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a project file, or it is damaged.") from error
    if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
        raise InputError(f"{path} is not a project file of napari-segzoo.")
    version = record.pop("version", None)
    if not _is_whole(version) or version < 1:
        raise InputError(f"{path} does not tell its version as a whole number from 1 up.")
    if version > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer napari-segzoo; update to open it.")
    if version == 1:
        record = {**_ADDED, **record}
    if unknown := sorted(set(record) - set(_RIGHT)):
        raise InputError(f"{path} holds {unknown[0]!r}, which no project has.")
    for name, (fits, words) in _RIGHT.items():
        if name not in record:
            raise InputError(f"{path} lacks {name!r}, which must be {words}.")
        if not fits(record[name]):
            raise InputError(f"{path}: {name!r} must be {words}, not {_short(record[name])}.")
    return record


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(v) for v in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


_Rule = tuple[Callable[[Any], bool], str]
_RIGHT: dict[str, _Rule] = {
    "images": (lambda v: _is_text_list(v) and v != [], "a list of files"),
    "labels": (lambda v: _is_text_list(v) and v != [], "a list of files"),
    "axes": (_is_text, "letters such as ZYX"),
    "model": (lambda v: v is None or _is_text(v), "a model or null"),
    "class_names": (_is_text_list, "a list of names"),
    "validation_images": (_is_text_list, "a list of files"),
    "validation_labels": (_is_text_list, "a list of files"),
    "architecture": (_is_text, "the name of a network"),
    "architecture_options": (lambda v: isinstance(v, dict), "options of a network, such as {}"),
    "task": (_is_text, "semantic or instances"),
    "unlabeled": (_is_text, "ignore or background"),
    "budget": (lambda v: v is None or _is_number(v), "a number of seconds or null"),
    "steps": (lambda v: v is None or _is_whole(v), "a whole number or null"),
    "ndim": (lambda v: v is None or (_is_whole(v) and v in (2, 3)), "2, 3 or null"),
    "seed": (lambda v: _is_whole(v) and 0 <= v < 2**31, "a whole number from 0 up"),
    "device": (_is_text, "a device such as auto"),
    "loss": (lambda v: v in LOSS_NAMES, f"one of {', '.join(LOSS_NAMES)}"),
    "tune": (lambda v: v in TUNES, f"one of {', '.join(TUNES)}"),
    "hold_out": (lambda v: _is_number(v) and 0 <= v <= MOST_HELD_OUT, "a share up to 0.5"),
}
"""What each field of a project file must be."""

_ADDED: dict[str, Any] = {
    "validation_images": [],
    "validation_labels": [],
    "architecture_options": {},
    "loss": LOSS_NAMES[0],
    "tune": "all",
    "hold_out": 0.0,
}
"""Fields that files of version 1 lack."""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"
