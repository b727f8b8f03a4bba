"""Which file to write: asked for, with its ending, and never over another one unasked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget


def ask_target(parent: QWidget, title: str, name: str, kinds: Mapping[str, str]) -> Path | None:
    """Ask for a file to write, and whether to replace it if it is there.

    Parameters
    ----------
    parent : QWidget
        The dock.
    title : str
        Of the dialog.
    name : str
        What it offers.
    kinds : mapping of str to str
        Endings by the names of the formats; the first is the one offered.

    Returns
    -------
    Path or None
        With the ending of the format chosen; None if the user thought better of it.
    """
    filters = {f"{kind} (*{ending})": ending for kind, ending in kinds.items()}
    answer, chosen = QFileDialog.getSaveFileName(parent, title, name, ";;".join(filters))
    if not answer:
        return None
    endings = tuple(kinds.values())
    path = with_ending(Path(answer), endings)
    if filters.get(chosen, endings[0]) != endings[0]:
        path = path.with_suffix(filters[chosen])
    if path != Path(answer) and path.exists() and not may_replace(parent, title, path):
        return None
    return path


def with_ending(path: Path, endings: Sequence[str]) -> Path:
    """Return `path` with the first of the endings, unless it has one of them."""
    known = path.suffix.lower() in endings
    return path if known else path.with_name(path.name + endings[0])


def may_replace(parent: QWidget, title: str, path: Path) -> bool:
    """Ask what the dialog could not: it did not know of this file."""
    question = f"{path.name} exists already. Replace it?"
    return QMessageBox.question(parent, title, question) == QMessageBox.StandardButton.Yes
