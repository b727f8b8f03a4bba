"""Names of units of length and time, as files spell them."""

from __future__ import annotations

PIXEL = "pixel"
_METRES = {
    "picometer": 1e-12,
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "meter": 1.0,
}
_SECONDS = {
    "ns": 1e-9,
    "nanosecond": 1e-9,
    "us": 1e-6,
    "microsecond": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}
_SPELLINGS = {
    "pm": "picometer",
    "å": "angstrom",
    "nm": "nanometer",
    "um": "micrometer",
    "micron": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "in": "inch",
    "m": "meter",
}


def length_unit(text: str | None) -> str:
    """Return the full English name of a unit of length; "pixel" if it is none that is known."""
    word = _plain(text)
    word = _SPELLINGS.get(word, word)
    return word if word in _METRES else PIXEL


def length_factor(source: str, target: str) -> float:
    """Return what lengths in `source` are multiplied by to be in `target`; 1 for pixels."""
    if source not in _METRES or target not in _METRES:
        return 1.0
    return _METRES[source] / _METRES[target]


def seconds(text: str | None) -> float:
    """Return the seconds in one unit of time; 1 if it is none that is known."""
    return _SECONDS.get(_plain(text), 1.0)


def _plain(text: str | None) -> str:
    """Lower case, with "u" for micro, "meter" for "metre" and without a plural "s"."""
    word = (text or "").strip().replace("\\u00B5", "u").replace("\\u00b5", "u")
    word = word.lower().replace("µ", "u").replace("μ", "u").replace("metre", "meter")
    return word[:-1] if len(word) > 2 and word.endswith("s") and word != "ms" else word
