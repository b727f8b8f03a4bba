"""The Metrics dock: numbers known by hand, shown, sorted, pointed at and saved."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

REFERENCE = np.zeros((4, 10), np.uint8)
REFERENCE[:2, :5] = 1
PREDICTION = np.zeros((4, 10), np.uint8)
PREDICTION[:2, 1:6] = 1
"""10 voxels each, 8 of them shared: Dice 0.8, IoU 8/12."""


@pytest.fixture
def metrics(open_dock):
    return open_dock("Metrics", menu="Layers")


def compare(viewer, metrics, reference, prediction, **placement):
    metrics.reference.set_layer(viewer.add_labels(reference, name="reference", **placement))
    metrics.prediction.set_layer(viewer.add_labels(prediction, name="prediction", **placement))
    metrics.measure()


def test_scores_of_classes(viewer, metrics, finish):
    compare(viewer, metrics, REFERENCE, PREDICTION)
    finish(metrics)
    report = metrics.panel.report
    assert report["dice"]["1"] == pytest.approx(0.8)
    assert report["iou"]["1"] == pytest.approx(8 / 12)
    table = metrics.panel.scores
    headings = [table.horizontalHeaderItem(c).text() for c in range(table.columnCount())]
    assert table.item(1, headings.index("dice")).text() == "0.8"
    assert "mean dice <b>0.8</b>" in metrics.panel.summary.text()
    assert not metrics.panel.objects.isVisible()


def test_distances_are_in_the_units_of_the_layer(viewer, metrics, finish):
    placement = {"scale": (3.0, 0.5), "units": ("um", "um")}
    compare(viewer, metrics, REFERENCE, PREDICTION, **placement)
    finish(metrics)
    assert metrics.spacing.text() == "3 × 0.5 micrometer"
    assert metrics.panel.report["hd"]["1"] == pytest.approx(0.5)


def test_tables_sort_by_number(viewer, metrics, finish):
    reference = np.repeat(np.arange(12, dtype=np.uint8), 10)[None]
    compare(viewer, metrics, reference, reference.copy())
    finish(metrics)
    table = metrics.panel.scores
    table.sortItems(0, Qt.SortOrder.DescendingOrder)
    assert [table.item(r, 0).text() for r in range(3)] == ["11", "10", "9"]


def test_an_object_in_the_table_is_shown(viewer, metrics, finish):
    reference = np.zeros((6, 20, 20), np.uint8)
    reference[1, 2:8, 2:8], reference[4, 10:16, 10:16] = 1, 2
    prediction = np.where(reference == 1, 7, 0).astype(np.uint8)
    metrics.task.setCurrentText("Separate objects")
    compare(viewer, metrics, reference, prediction, scale=(2, 1, 1))
    finish(metrics)
    table = metrics.panel.objects
    rows = {table.item(r, 0).text(): r for r in range(table.rowCount())}
    assert set(rows) == {"matched", "missed"}
    table.selectRow(rows["missed"])
    assert viewer.dims.current_step[0] == 4
    table.selectRow(rows["matched"])
    assert viewer.dims.current_step[0] == 1


def test_errors_are_marked_in_place(viewer, metrics, finish):
    compare(viewer, metrics, REFERENCE, PREDICTION, scale=(2, 2), translate=(1, 1))
    finish(metrics)
    metrics.show_errors()
    finish(metrics)
    layer = viewer.layers["prediction errors"]
    assert np.bincount(layer.data.ravel()).tolist() == [28, 8, 2, 2]
    assert tuple(layer.translate) == (1, 1)
    assert list(layer.features["class"][1:4]) == ["hit", "false alarm", "miss"]
    assert "false alarm" in metrics.status.text()
    assert not viewer.layers["prediction"].visible


def test_csv_and_clipboard(viewer, metrics, finish, tmp_path):
    metrics.task.setCurrentText("Separate objects")
    compare(viewer, metrics, REFERENCE, PREDICTION)
    finish(metrics)
    metrics.panel.save_csv(tmp_path / "scores")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "metric,key,name,value,definition"
    assert (tmp_path / "scores_objects.csv").read_text().startswith("status,")
    metrics.panel._copy()
    assert QApplication.clipboard().text().startswith("threshold\t")
    metrics.panel.save_csv(tmp_path / "absent" / "scores.csv")
    assert "could not be written" in metrics.status.text()


def test_ignored_label(viewer, metrics, finish):
    reference = REFERENCE.copy()
    reference[:2, 5] = 9
    metrics.ignore.setValue(9)
    compare(viewer, metrics, reference, PREDICTION)
    finish(metrics)
    assert metrics.panel.report["precision"]["1"] == pytest.approx(1)


def test_other_shapes_are_refused(viewer, metrics, finish):
    compare(viewer, metrics, REFERENCE, PREDICTION[:3])
    finish(metrics)
    assert "(4, 10)" in metrics.status.text()
    assert "(3, 10)" in metrics.status.text()


def test_another_scale_is_noted(viewer, metrics, finish):
    metrics.reference.set_layer(viewer.add_labels(REFERENCE, name="reference", scale=(2, 2)))
    metrics.prediction.set_layer(viewer.add_labels(PREDICTION, name="prediction"))
    metrics.measure()
    finish(metrics)
    assert "another scale or position" in metrics.status.text()
    assert metrics.panel.report.settings["spacing"] == (2, 2)


def test_one_layer_is_not_enough(viewer, metrics):
    viewer.add_labels(REFERENCE)
    metrics.measure()
    assert "two different labels layers" in metrics.status.text()
