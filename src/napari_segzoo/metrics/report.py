"""What `evaluate` returns: a mapping of scores that writes itself as JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..io.blocks import written_whole
from .definitions import DEFINITIONS
from .overlap import mean

SIDE_BY_SIDE = 6
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

    def placed(self, origin: Sequence[int], settings: Mapping[str, Any]) -> Report:
        """Return the same scores with positions moved by `origin`, and with more settings."""

        def move(place: Sequence[int]) -> tuple[int, ...]:
            return tuple(int(p + o) for p, o in zip(place, origin, strict=True))

        more = dict(settings)
        if "slice axis" in self.settings:
            more["first slice"] = origin[self.settings["slice axis"]]
        return replace(
            self,
            settings={**self.settings, **more},
            positions={label: move(place) for label, place in self.positions.items()},
            objects=[
                row if row["position"] is None else {**row, "position": move(row["position"])}
                for row in self.objects
            ],
        )

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

    def slice_rows(self) -> list[Row]:
        """Return one row per score, class and slice: "metric", "label", "slice" and "value".

        Slices are numbered as in the whole reference; there are none unless they were asked for.
        """
        first = self.settings.get("first slice", 0)
        return [
            {"metric": metric, "label": int(label), "slice": first + n, "value": value}
            for metric, table in self.scores.get("per_slice", {}).items()
            for label, values in table.items()
            for n, value in enumerate(values)
        ]

    def save(self, path: str | Path) -> None:
        """Write the report as Markdown or JSON if `path` ends so, else as CSV.

        Beside a CSV file, the table of objects goes to a second one, ``..._objects.csv``.
        """
        path = Path(path)
        if path.suffix.lower() == ".md":
            self.to_markdown(path)
        elif path.suffix.lower() == ".json":
            self.to_json(path)
        else:
            self.to_csv(path)
            if self.objects:
                self.objects_to_csv(objects_file(path))

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the mapping as one JSON object, and write it to `path` if given."""
        text = json.dumps(_finite(self.scores), allow_nan=False)
        return write_text(text, path)

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return one line per number, and write them to `path` if given.

        Columns: metric, key (label or threshold, empty for overall scores), name (of the
        class), value, definition. The settings come last, as metrics of their own. With scores
        of slices there is one more column, slice, which is empty for scores of the whole.
        """
        slices = self.slice_rows()
        more = ("slice",) if slices else ()
        lines: list[Sequence[Any]] = [("metric", "key", "name", "value", "definition", *more)]
        for row in self.rows():
            key = row.get("label", row.get("threshold"))
            lines += [
                (metric, key, row.get("name", ""), value, DEFINITIONS[metric])
                for metric, value in row.items()
                if metric in DEFINITIONS and value is not None
            ]
        lines += [(n, "", "", value, DEFINITIONS[n]) for n, value in self.summary().items()]
        lines += [
            (
                row["metric"],
                row["label"],
                self.names.get(row["label"], ""),
                row["value"],
                DEFINITIONS[row["metric"]],
                row["slice"],
            )
            for row in slices
        ]
        lines += [(n, "", "", value, "setting") for n, value in self.settings.items()]
        if slices:
            lines = [line if len(line) == 6 else (*line, "") for line in lines]
        return write_text(csv_text(lines), path)

    def objects_to_csv(self, path: str | Path | None = None) -> str:
        """Return the table of objects, one line each, and write it to `path` if given."""
        columns = list(self.objects[0]) if self.objects else []
        return write_text(csv_text([columns, *(list(row.values()) for row in self.objects)]), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Return tables for a text, with definitions and version, and write them to `path`."""
        rows, summary = self.rows(), self.summary()
        columns = list(rows[0]) if rows else []
        used = [c for c in [*columns, *summary] if c in DEFINITIONS]
        parts = [
            self._class_table(rows, columns),
            markdown_table(["score", "value"], [[n, v] for n, v in summary.items()]),
            self._slice_table(),
            markdown_definitions(used),
            "; ".join(f"{name} {value}" for name, value in self.settings.items()),
        ]
        return write_text(markdown_text(parts), path)

    def _slice_table(self) -> str:
        """Tabulate the Dice of each class but the background, of many the mean, in each slice."""
        rows = [r for r in self.slice_rows() if r["metric"] == "dice" and r["label"] != 0]
        slices = {row["slice"]: [row["slice"]] for row in rows}
        for row in rows:
            slices[row["slice"]].append(row["value"])
        titles = (f"{n} {self.names.get(n, '')}" for n in dict.fromkeys(r["label"] for r in rows))
        columns = ["slice", *(f"dice {title}".strip() for title in titles)]
        table = list(slices.values())
        if len(columns) > SIDE_BY_SIDE + 1:
            columns = ["slice", "mean dice"]
            table = [[n, mean(np.array(values))] for n, *values in table]
        return markdown_table(columns if rows else [], table)

    def _class_table(self, rows: list[Row], columns: list[str]) -> str:
        """Tabulate `rows`; a few classes stand side by side, which stays narrow."""
        if self.task == "instances" or len(rows) > SIDE_BY_SIDE:
            columns = [c for c in columns if c != "name" or self.names]
            return markdown_table(columns, [[row[c] for c in columns] for row in rows])
        titles = [f"{row['label']} {row['name']}".strip() for row in rows]
        scores = [c for c in columns if c not in ("label", "name")]
        return markdown_table(["score", *titles], [[c, *(row[c] for row in rows)] for c in scores])


def objects_file(path: Path) -> Path:
    """Return where `Report.save` puts the objects of a report that goes to `path`."""
    return path.with_name(f"{path.stem}_objects.csv")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def csv_text(lines: Sequence[Sequence[Any]]) -> str:
    """Return lines as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table, "" without columns; numbers have four digits."""
    if not columns:
        return ""
    cells = [list(columns), *([_short(v) for v in row] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    )


def markdown_text(parts: Sequence[str]) -> str:
    """Return paragraphs as one text."""
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_definitions(names: Sequence[str]) -> str:
    """Return a list of what the scores mean."""
    return "\n".join(f"- {name}: {DEFINITIONS[name]}" for name in names if name in DEFINITIONS)


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_text(text: str, path: str | Path | None) -> str:
    """Write a text, whole or not at all, if `path` is given; return it."""
    if path is not None:
        with written_whole(Path(path), overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text
