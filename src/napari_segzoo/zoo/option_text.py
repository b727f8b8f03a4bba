"""Options of a network as people write them: ``widths=[16,32,64] norm=group``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import InputError


def parse_option(text: str) -> tuple[str, Any]:
    """Read ``key=value``: the value as JSON where it is JSON, else as text.

    Raises
    ------
    InputError
        If it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(
            f"An option of a network takes key=value, such as widths=[16,32,64], not {text!r}."
        )
    try:
        read = json.loads(value)
    except ValueError:
        return key, value
    return key, tuple(read) if isinstance(read, list) else read


def parse_options(text: str) -> dict[str, Any]:
    """Read any number of options with spaces between them; see `parse_option`."""
    words = re.split(r"\s+(?=\w+=)", text.strip())
    return dict(parse_option(word) for word in words if word)


def format_option(key: str, value: Any) -> str:
    """Write what `parse_option` reads."""
    return f"{key}={json.dumps(value)}"


def format_options(options: Mapping[str, Any]) -> str:
    """Write what `parse_options` reads."""
    return " ".join(format_option(key, value) for key, value in options.items())
