"""What `evaluate` returns: a mapping of scores that writes itself as JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from .definitions import DEFINITIONS

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Report(Mapping[str, Any]):
    """Scores of one prediction against one reference.

    As a mapping it goes from the name of a score to a number, to a dictionary (from label or
    threshold, as str, to number), or to a list. Numbers are nan where a score is undefined
    and inf for distances to something that is not there; JSON has neither and gets null.

    Parameters
    ----------
    task : {"semantic", "instances"}
        What was compared.
    scores : dict
        The scores.
    settings : dict
        How they were taken: version, shape, spacing, ignore, tolerance.
    names : dict of int to str
        Class names, as far as known.
    objects : list of dict
        For instances, one row per object: "status" ("matched", "missed" or "false"),
        "reference" and "prediction" (labels or None), "iou", "dice", their sizes in voxels,
        "split", "merged", "assd" and "position".
    positions : dict of int to tuple of int
        For classes, index of the border voxel that is farthest from the other border.
    """

    task: str
    scores: dict[str, Any]
    settings: dict[str, Any]
    names: dict[int, str] = field(default_factory=dict)
    objects: list[Row] = field(default_factory=list)
    positions: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self) -> list[Row]:
        """Return a table: one row per class (semantic) or per IoU threshold (instances).

        The first column is "label" or "threshold"; classes also have "name". Scores that a
        class does not have (surfaces of the background) are None.
        """
        tables = {
            name: value
            for name, value in self.scores.items()
            if isinstance(value, dict) and name in DEFINITIONS
        }
        keys = list(next(iter(tables.values()), {}))
        if self.task == "instances":
            return [
                {"threshold": float(key), **{n: t.get(key) for n, t in tables.items()}}
                for key in keys
            ]
        return [
            {
                "label": int(key),
                "name": self.names.get(int(key), ""),
                **{n: t.get(key) for n, t in tables.items()},
            }
            for key in keys
        ]

    def summary(self) -> dict[str, float]:
        """Return the scores that are one number."""
        return {
            name: value
            for name, value in self.scores.items()
            if isinstance(value, int | float) and name in DEFINITIONS
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the mapping as one JSON object, and write it to `path` if given."""
        text = json.dumps(_finite(self.scores), allow_nan=False)
        return _write(text, path)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return one line per number, and write them to `path` if given.

        Columns: metric, key (label or threshold, empty for overall scores), name (of the
        class), value, definition. The settings come last, as metrics of their own.
        """
        lines: list[Sequence[Any]] = [("metric", "key", "name", "value", "definition")]
        for row in self.rows():
            key = row.get("label", row.get("threshold"))
            lines += [
                (metric, key, row.get("name", ""), value, DEFINITIONS[metric])
                for metric, value in row.items()
                if metric in DEFINITIONS and value is not None
            ]
        lines += [(n, "", "", value, DEFINITIONS[n]) for n, value in self.summary().items()]
        lines += [(n, "", "", value, "setting") for n, value in self.settings.items()]
        return _write(_csv(lines), path)

    def objects_to_csv(self, path: str | Path | None = None) -> str:
        """Return the table of objects, one line each, and write it to `path` if given."""
        columns = list(self.objects[0]) if self.objects else []
        return _write(_csv([columns, *(list(row.values()) for row in self.objects)]), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Return tables for a text, with definitions and version, and write them to `path`."""
        rows, summary = self.rows(), self.summary()
        columns = [c for c in (rows[0] if rows else {}) if c != "name" or self.names]
        used = [c for c in [*columns, *summary] if c in DEFINITIONS]
        parts = [
            _table(columns, [[row[c] for c in columns] for row in rows]),
            _table(["score", "value"], [[n, v] for n, v in summary.items()]),
            "\n".join(f"- {name}: {DEFINITIONS[name]}" for name in used),
            "; ".join(f"{name} {value}" for name, value in self.settings.items()),
        ]
        return _write("\n\n".join(part for part in parts if part) + "\n", path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not columns:
        return ""
    lines = [columns, ["---"] * len(columns), *([_short(v) for v in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
