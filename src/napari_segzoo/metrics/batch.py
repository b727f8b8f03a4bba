"""Score folders of predictions against a folder of references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io import images_by_name, open_image
from .definitions import DEFINITIONS
from .pair import make_pair
from .report import (
    Report,
    csv_text,
    markdown_definitions,
    markdown_table,
    markdown_text,
    write_text,
)
from .scoring import Tolerance, evaluate
from .statistics import Comparison, Summary, compare, summarize

SHORT_TABLE = ("dice", "iou", "precision", "recall", "hd95", "assd", "nsd")
MOST_SHOWN = 200
"""Scores in all, above which those of single classes would make a table too long to read."""
Folder = str | PathLike[str]


@dataclass(frozen=True)
class BatchReport:
    """Scores of predictions on many images.

    Parameters
    ----------
    images : tuple of str
        Names the images were paired by, in order.
    reports : dict of str to list of Report
        From the name of a prediction to its reports, in the order of `images`; that of an
        image it was not scored on is empty.
    unpaired : tuple of str
        Predicted images without a reference; they were not scored.
    """

    images: tuple[str, ...]
    reports: dict[str, list[Report]]
    unpaired: tuple[str, ...]

    @cached_property
    def _numbers(self) -> dict[str, list[dict[str, float]]]:
        return {name: [flatten(r) for r in reports] for name, reports in self.reports.items()}

    def metrics(self) -> list[str]:
        """Return the names of all scores, such as "mean_dice" and "dice 1"."""
        names: dict[str, None] = {}
        for tables in self._numbers.values():
            for table in tables:
                names.update(dict.fromkeys(table))
        return list(names)

    def values(self, metric: str) -> dict[str, list[float]]:
        """Return one score per image for each prediction; nan where a report has none."""
        return {
            name: [table.get(metric, float("nan")) for table in tables]
            for name, tables in self._numbers.items()
        }

    def overall(self, metric: str) -> dict[str, Summary]:
        """Summarise one score over the images for each prediction."""
        return {name: summarize(values) for name, values in self.values(metric).items()}

    def comparisons(self, metric: str) -> list[Comparison]:
        """Compare every two predictions by one score, image by image."""
        return compare(dict(self.values(metric)))

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return one table, and write it to `path` if given.

        A column per score, and rows of three kinds: "image", one per prediction and image;
        "overall", with "images" (scored), "mean", "median", "low" and "high" (95% bootstrap
        interval of the mean); "comparison" of two predictions, with "images", "difference"
        (mean of the first minus the second), "low", "high", "p" (Wilcoxon) and "p_holm". The
        last row holds the definitions of the scores, and the settings.
        """
        metrics = self.metrics()
        columns = {metric: self.values(metric) for metric in metrics}
        lines: list[list[Any]] = [["kind", "prediction", "row", *metrics]]
        for name in self.reports:
            for k, image in enumerate(self.images):
                if self.reports[name][k].scores:
                    lines.append(["image", name, image, *(columns[m][name][k] for m in metrics)])
        for name in self.reports:
            summaries = [asdict(summarize(columns[m][name])) for m in metrics]
            lines += [
                ["overall", name, row, *(s[row] for s in summaries)]
                for row in ("images", "mean", "median", "low", "high")
            ]
        compared = [[asdict(c) for c in compare(dict(columns[m]))] for m in metrics]
        for pair in zip(*compared, strict=True):
            name = f"{pair[0]['first']} - {pair[0]['second']}"
            lines += [
                ["comparison", name, row, *(c[row] for c in pair)]
                for row in ("images", "difference", "low", "high", "p", "p_holm")
            ]
        definitions = [DEFINITIONS.get(m.partition(" ")[0], "") for m in metrics]
        lines.append(["definition", "", self._settings(), *definitions])
        return write_text(csv_text(lines), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Return tables for a text, with the scores that matter most, and write them to `path`.

        One table per prediction with mean, median and 95% bootstrap interval of the mean, one
        per two predictions with the paired comparison, and the definitions.
        """
        metrics = [m for m in self.metrics() if _matters(m, len(self.metrics()))]
        parts = []
        for name in self.reports:
            table = [(m, self.overall(m)[name]) for m in metrics]
            columns = ["score", "images", "mean", "median", "95% interval of the mean"]
            rows = [[m, s.images, s.mean, s.median, _interval(s.low, s.high)] for m, s in table]
            parts += [f"**{name}**", markdown_table(columns, rows)]
        compared = [self.comparisons(m) for m in metrics]
        for pairs in zip(*compared, strict=True):
            columns = ["score", "images", "difference", "95% interval", "p", "p (Holm)"]
            rows = [
                [m, c.images, c.difference, _interval(c.low, c.high), c.p, c.p_holm]
                for m, c in zip(metrics, pairs, strict=True)
            ]
            title = f"**{pairs[0].first} - {pairs[0].second}** (p: Wilcoxon signed-rank test)"
            parts += [title, markdown_table(columns, rows)]
        names = list(dict.fromkeys(m.partition(" ")[0] for m in metrics))
        parts += [markdown_definitions(names), self._settings()]
        return write_text(markdown_text(parts), path)

    def _settings(self) -> str:
        """Return what holds for all images: version, task, options."""
        reports = [r for reports in self.reports.values() for r in reports if r.scores]
        first = reports[0].settings
        common = {k: v for k, v in first.items() if all(r.settings.get(k) == v for r in reports)}
        return "; ".join(f"{name} {value}" for name, value in common.items())


def flatten(report: Mapping[str, Any]) -> dict[str, float]:
    """Return all numbers of a report; those of a class or threshold as "name key"."""
    numbers: dict[str, float] = {}
    for name, value in report.items():
        if isinstance(value, int | float):
            numbers[name] = float(value)
        elif isinstance(value, dict) and name != "per_slice":
            numbers.update({f"{name} {key}": float(v) for key, v in value.items()})
    return numbers


def _matters(metric: str, metrics: int) -> bool:
    """Whether a score belongs into a short table."""
    name, _, key = metric.partition(" ")
    if name in ("ap", "f1"):
        return key in ("0.5", "0.75")
    return not key or (name in SHORT_TABLE and metrics <= MOST_SHOWN)


def _interval(low: float, high: float) -> str:
    return "" if low != low else f"{low:.4g} to {high:.4g}"


def evaluate_folder(
    reference: Folder,
    predictions: Folder | Sequence[Folder] | Mapping[str, Folder],
    *,
    spacing: Sequence[float] | float | None = None,
    task: str = "semantic",
    ignore: int | None = None,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    tolerance: Tolerance = None,
    surfaces: bool = True,
    centreline: bool = False,
    fit: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> BatchReport:
    """Score one or several folders of predictions against a folder of references.

    Images are paired by name without ending: ``a.tif`` with ``a.ome.zarr``.

    Parameters
    ----------
    reference : path-like
        Folder of label images.
    predictions : path-like, sequence of them, or mapping of str to path-like
        Folders with a prediction for every reference; their names are those of the folders
        or the keys of the mapping.
    spacing : sequence of float, float or None
        Voxel size along every axis; None takes that of each reference file.
    task, ignore, class_names, tolerance, surfaces, centreline
        As for `evaluate`.
    fit : {"crop", "resample"} or None
        What to do with pairs of different shapes, see `make_pair`.
    progress : callable or None
        Called with (pairs done, pairs in all); what it raises cancels.

    Raises
    ------
    InputError
        If a folder has no images, two images share a name, a prediction is missing, or a pair
        can not be compared; the message names the files.
    """
    references = _images(reference)
    folders = {name: _images(path) for name, path in _named(predictions).items()}
    for found, path in zip(folders.values(), _named(predictions).values(), strict=True):
        missing = sorted(set(references) - set(found))
        if missing:
            raise InputError(
                f"{path} has no prediction for {missing[0]!r}"
                f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; every image of "
                f"{reference} needs one of the same name."
            )
    reports: dict[str, list[Report]] = {name: [] for name in folders}
    total = len(folders) * len(references)
    for image, path in references.items():
        truth = open_image(path, labels=True)
        for name, found in folders.items():
            try:
                prediction = open_image(found[image], labels=True).data
                pair = make_pair(truth.data, prediction, fit=fit, ignore=ignore)
                report = evaluate(
                    pair.reference,
                    pair.prediction,
                    spacing=truth.scale if spacing is None else spacing,
                    task=task,
                    ignore=ignore,
                    class_names=class_names,
                    tolerance=tolerance,
                    surfaces=surfaces,
                    centreline=centreline,
                )
            except InputError as error:
                raise InputError(f"{path} and {found[image]}: {error}") from error
            reports[name].append(pair.place(report))
            if progress is not None:
                progress(sum(map(len, reports.values())), total)
    extra = [str(p) for f in folders.values() for n, p in f.items() if n not in references]
    return BatchReport(tuple(references), reports, tuple(extra))


def _named(predictions: Folder | Sequence[Folder] | Mapping[str, Folder]) -> dict[str, Path]:
    if isinstance(predictions, Mapping):
        return {name: Path(path) for name, path in predictions.items()}
    if isinstance(predictions, str | PathLike):
        predictions = [predictions]
    paths = [Path(path) for path in predictions]
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return dict(zip(names, paths, strict=True))


def _images(folder: Folder) -> dict[str, Path]:
    found = images_by_name(folder)
    if not found:
        raise InputError(f"There are no images in the folder {folder}.")
    return found
