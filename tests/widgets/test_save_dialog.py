"""Files that a dock saves get the ending of their format and replace no other one unasked."""

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox

import napari_segzoo as segzoo
from napari_segzoo.widgets.save_dialog import ask_target

KINDS = {"CSV": ".csv", "Markdown": ".md", "JSON": ".json"}


@pytest.fixture
def answer(monkeypatch):
    """Answer the dialog, and refuse to replace anything; the names asked about come back."""
    asked = []

    def give(path, chosen="CSV (*.csv)"):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), chosen))

    def refuse(parent, title, text):
        asked.append(text.split()[0])
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", refuse)
    give.asked = asked
    return give


@pytest.mark.parametrize(
    ("typed", "chosen", "saved"),
    [
        ("scores", "CSV (*.csv)", "scores.csv"),
        ("scores", "Markdown (*.md)", "scores.md"),
        ("scores.csv", "JSON (*.json)", "scores.json"),
        ("scores.md", "CSV (*.csv)", "scores.md"),
        ("run 0.5", "CSV (*.csv)", "run 0.5.csv"),
        ("run 0.5", "JSON (*.json)", "run 0.5.json"),
        ("SCORES.CSV", "", "SCORES.CSV"),
    ],
)
def test_the_format_decides_the_ending(answer, tmp_path, typed, chosen, saved):
    answer(tmp_path / typed, chosen)
    assert ask_target(None, "Save", "scores.csv", KINDS) == tmp_path / saved
    (tmp_path / saved).touch()
    known = typed == saved  # the dialog itself has asked
    assert ask_target(None, "Save", "scores.csv", KINDS) == (tmp_path / saved if known else None)


def test_every_dock_asks_before_it_replaces_a_file(open_dock, answer, tmp_path, monkeypatch):
    model, train, metrics = open_dock("Model"), open_dock("Train"), open_dock("Metrics")
    for part, ending in (
        (model, ".safetensors"),
        (train.project, ".json"),
        (metrics.panel, ".csv"),
        (metrics.history, ".csv"),
    ):
        path = tmp_path / f"mine{ending}"
        path.write_text("precious")
        answer(tmp_path / "mine")
        monkeypatch.setattr(part, "save", lambda path: pytest.fail(f"{path} is replaced"))
        part._ask_target()
    assert answer.asked == ["mine.safetensors", "mine.json", "mine.csv", "mine.csv"]
    answer("")
    model._ask_target()


def test_the_table_of_objects_beside_scores_is_not_replaced_unasked(open_dock, answer, tmp_path):
    ids = np.kron(np.array([[1, 0], [0, 2]]), np.ones((5, 5), int))
    panel = open_dock("Metrics").panel
    panel.show_report(segzoo.evaluate(ids, ids, task="instances"), 0)
    objects = tmp_path / "mine_objects.csv"
    objects.write_text("precious")
    answer(tmp_path / "mine")
    panel._ask_target()
    assert answer.asked == ["mine_objects.csv"]
    assert objects.read_text() == "precious" and not (tmp_path / "mine.csv").exists()
    answer(tmp_path / "mine.json", "JSON (*.json)")
    panel._ask_target()
    assert (tmp_path / "mine.json").exists() and len(answer.asked) == 1
