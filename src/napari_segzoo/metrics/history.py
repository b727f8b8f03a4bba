"""Scores gathered one by one, as a batch that can be summarised and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .batch import BatchReport
from .report import Report


@dataclass(frozen=True)
class Entry:
    """One comparison of a prediction with a reference.

    Parameters
    ----------
    image : str
        What was compared: name of the reference, and the region if it was not all of it.
    prediction : str
        Name under which scores are summarised over images, such as that of a model.
    source : str
        Where the prediction came from: layer or file.
    report : Report
        The scores.
    """

    image: str
    prediction: str
    source: str
    report: Report


def with_entry(entries: Sequence[Entry], new: Entry) -> list[Entry]:
    """Add an entry; it takes the place of one on the same image, source and task.

    If another source has been compared with the image under the same name, the new one gets
    its source into its name, so that both stay apart.
    """
    for place, old in enumerate(entries):
        if _subject(old) == _subject(new):
            kept = Entry(new.image, old.prediction, new.source, new.report)
            return [*entries[:place], kept, *entries[place + 1 :]]
    taken = {(e.image, e.prediction) for e in entries if e.report.task == new.report.task}
    if (new.image, new.prediction) in taken:
        name = f"{new.prediction} ({new.source})"
        new = Entry(new.image, name, new.source, new.report)
    return [*entries, new]


def as_batch(entries: Sequence[Entry], task: str) -> BatchReport:
    """Gather the entries of one task by image and prediction.

    Where a prediction was not compared with an image, its report is empty; where it was so
    more than once, the last one counts.
    """
    found = [entry for entry in entries if entry.report.task == task]
    images = tuple(dict.fromkeys(entry.image for entry in found))
    missing = Report(task, {}, {})
    reports: dict[str, list[Report]] = {}
    for entry in found:
        row = reports.setdefault(entry.prediction, [missing] * len(images))
        row[images.index(entry.image)] = entry.report
    return BatchReport(images, reports, ())


def _subject(entry: Entry) -> tuple[str, str, str]:
    return entry.image, entry.source, entry.report.task
