"""The Metrics dock: numbers known by hand, shown, sorted, pointed at and saved."""

import time
from functools import partial

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.theme import get_theme
from napari.utils.transforms import Affine
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QApplication

import napari_segzoo
from napari_segzoo.metrics import DEFINITIONS, scan
from napari_segzoo.widgets.metrics_dock import MetricsDock
from napari_segzoo.widgets.score_pair import model_name

REFERENCE = np.zeros((4, 10), np.uint8)
REFERENCE[:2, :5] = 1
PREDICTION = np.zeros((4, 10), np.uint8)
PREDICTION[:2, 1:6] = 1
"""10 voxels each, 8 of them shared: Dice 0.8, IoU 8/12."""


@pytest.fixture
def metrics(open_dock):
    return open_dock("Metrics", menu="Layers")


def compare(viewer, metrics, reference, prediction, **placement):
    metrics.form.reference.set_layer(viewer.add_labels(reference, name="reference", **placement))
    metrics.form.prediction.set_layer(viewer.add_labels(prediction, name="prediction", **placement))
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
    assert metrics.form.spacing.text() == "3 × 0.5 micrometer"
    assert metrics.panel.report["hd"]["1"] == pytest.approx(0.5)


def test_tables_sort_by_number(viewer, metrics, finish):
    reference = np.repeat(np.arange(12, dtype=np.uint8), 10)[None]
    compare(viewer, metrics, reference, reference.copy())
    finish(metrics)
    table = metrics.panel.scores
    table.sortItems(0, Qt.SortOrder.DescendingOrder)
    assert [table.item(r, 0).text() for r in range(3)] == ["11", "10", "9"]
    metrics.measure()
    finish(metrics)
    assert [table.item(r, 0).text() for r in range(3)] == ["11", "10", "9"], "it stays sorted"


def test_an_object_in_the_table_is_shown(viewer, metrics, finish):
    reference = np.zeros((6, 20, 20), np.uint8)
    reference[1, 2:8, 2:8], reference[4, 10:16, 10:16] = 1, 2
    prediction = np.where(reference == 1, 7, 0).astype(np.uint8)
    metrics.form.task.setCurrentText("Separate objects")
    compare(viewer, metrics, reference, prediction, scale=(2, 1, 1))
    finish(metrics)
    table = metrics.panel.objects
    rows = {table.item(r, 0).text(): r for r in range(table.rowCount())}
    assert set(rows) == {"matched", "missed"}
    assert table.horizontalHeaderItem(1).text() == "iou", "seen in a narrow dock"
    assert "recall <b>0.5</b>" in metrics.panel.summary.text()
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
    assert metrics.panel.legend.isVisible()
    assert all(name in metrics.panel.legend.text() for name in ("hit", "false alarm", "miss"))
    assert not viewer.layers["prediction"].visible
    assert not viewer.layers["reference"].visible, "its colours would mix with those of the errors"


def test_files_and_clipboard(viewer, metrics, finish, tmp_path):
    metrics.form.task.setCurrentText("Separate objects")
    compare(viewer, metrics, REFERENCE, PREDICTION)
    finish(metrics)
    metrics.panel.save(tmp_path / "scores")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "metric,key,name,value,definition"
    assert (tmp_path / "scores_objects.csv").read_text().startswith("status,")
    metrics.panel.save(tmp_path / "scores.md")
    text = (tmp_path / "scores.md").read_text()
    assert DEFINITIONS["aji"] in text
    assert f"napari-segzoo {napari_segzoo.__version__}" in text
    metrics.panel.copy_table()
    thresholds, objects = QApplication.clipboard().text().split("\n\n")
    assert thresholds.startswith("threshold\t")
    assert objects.startswith("status\t")
    assert len(objects.splitlines()) == 1 + len(metrics.panel.report.objects)
    metrics.panel.copy_text()
    assert QApplication.clipboard().text() == text
    metrics.panel.save(tmp_path / "absent" / "scores.csv")
    assert "absent does not exist" in metrics.status.text()


def test_ignored_label(viewer, metrics, finish):
    reference = REFERENCE.copy()
    reference[:2, 5] = 9
    metrics.form.ignore.setValue(9)
    compare(viewer, metrics, reference, PREDICTION)
    finish(metrics)
    assert metrics.panel.report["precision"]["1"] == pytest.approx(1)


def test_other_shapes_are_refused(viewer, metrics, finish):
    compare(viewer, metrics, REFERENCE, PREDICTION[:3])
    finish(metrics)
    assert "(4, 10)" in metrics.status.text()
    assert "(3, 10)" in metrics.status.text()


def test_another_scale_is_noted(viewer, metrics, finish):
    metrics.form.reference.set_layer(viewer.add_labels(REFERENCE, name="reference", scale=(2, 2)))
    metrics.form.prediction.set_layer(viewer.add_labels(PREDICTION, name="prediction"))
    metrics.measure()
    finish(metrics)
    assert "another scale or position" in metrics.status.text()
    assert metrics.panel.report.settings["spacing"] == (2, 2)


def test_one_layer_is_not_enough(viewer, metrics):
    viewer.add_labels(REFERENCE)
    metrics.measure()
    assert "two different labels layers" in metrics.status.text()


def test_errors_of_objects(viewer, metrics, finish):
    """One object matched, one split in two, two merged into one, one missed, one made up."""
    reference, prediction = np.zeros((2, 12, 40), np.uint8)
    reference[1:5, 1:6] = prediction[1:5, 1:6] = 1
    reference[1:5, 10:20] = 2
    prediction[1:5, 10:15], prediction[1:5, 15:20] = 2, 3
    reference[1:5, 24:28], reference[1:5, 28:32] = 3, 4
    prediction[1:5, 24:32] = 4
    reference[7:10, 1:6] = 5
    prediction[7:10, 20:26] = 5
    metrics.form.task.setCurrentText("Separate objects")
    compare(viewer, metrics, reference, prediction)
    finish(metrics)
    metrics.show_errors()
    finish(metrics)
    layer = viewer.layers["prediction errors"]
    names = list(layer.features["class"])
    assert names[1:] == ["matched", "false", "missed", "split", "merged"]
    codes = {name: set(layer.data[where].ravel().tolist()) for name, where in {
        "matched": np.s_[1:5, 1:6], "missed": np.s_[7:10, 1:6], "false": np.s_[7:10, 20:26],
    }.items()}  # fmt: skip
    assert codes == {name: {names.index(name)} for name in codes}
    assert names.index("split") in layer.data[1:5, 10:20]
    assert names.index("merged") in layer.data[1:5, 24:32]
    assert all(f"<b>{name}</b>" in metrics.panel.legend.text() for name in names[1:])


def test_a_class_in_the_table_shows_where_it_errs_most(viewer, metrics, finish):
    reference, prediction = np.zeros((2, 5, 30, 30), np.uint8)
    reference[:, 5:10, 5:10] = prediction[:, 5:10, 5:10] = 1
    prediction[3, 24, 26] = 1
    compare(viewer, metrics, reference, prediction, scale=(2, 1, 1))
    finish(metrics)
    table = metrics.panel.scores
    rows = {table.item(r, 0).text(): r for r in range(table.rowCount())}
    table.selectRow(rows["1"])
    assert viewer.dims.current_step[0] == 3
    assert viewer.scene.camera.center[-2:] == pytest.approx((24, 26))


def test_slices_are_plotted_and_clicked(viewer, metrics, finish):
    """Of four slices the third is wrong."""
    reference = np.zeros((4, 8, 8), np.uint8)
    reference[:, 2:6, 2:6] = 1
    prediction = reference.copy()
    prediction[2] = 0
    compare(viewer, metrics, reference, prediction)
    finish(metrics)
    assert metrics.panel.report["per_slice"]["dice"]["1"] == [1, 1, 0, 1]
    metrics.panel.plot.go_to(2.2)
    assert viewer.dims.current_step[0] == 2
    metrics.panel.plot.go_to(-5)
    assert viewer.dims.current_step[0] == 0
    assert metrics.panel.plot.marked == 0


def test_the_visible_region_alone(viewer, metrics, finish, qtbot):
    """The right half of the third slice, in voxels of 2."""
    reference, prediction = np.zeros((2, 5, 64, 64), np.uint8)
    reference[:, 20:30, 40:50] = 1
    prediction[:, 20:30, 40:45] = 1
    prediction[:, :, :20] = 1
    placement = {"scale": (3, 2, 2), "translate": (0, 10, 10)}
    metrics.form.region.setCurrentText("Visible region")
    compare(viewer, metrics, reference, prediction, **placement)
    finish(metrics)
    viewer.dims.set_current_step(0, 2)
    viewer.scene.camera.center = (0, 10 + 2 * 25, 10 + 2 * 45)
    viewer.scene.camera.zoom = viewer.scene.camera.zoom * 3
    qtbot.wait(300)
    metrics.measure()
    finish(metrics)
    report = metrics.panel.report
    first, last = (part.split(":") for part in report.settings["region"].split(",")[::2])
    assert first == ["2", "3"]
    assert 20 <= int(last[0]) <= 40
    assert report["precision"]["1"] == 1
    assert report["recall"]["1"] == pytest.approx(0.5)
    metrics.show_errors()
    finish(metrics)
    layer = viewer.layers["prediction errors"]
    begin = [int(p.split(":")[0]) for p in report.settings["region"].split(",")]
    assert tuple(layer.data_to_world((0, 0, 0))) == pytest.approx(
        tuple(viewer.layers["reference"].data_to_world(begin))
    )
    # the class errs most at the end of the region, five voxels away from what was found
    metrics.panel.scores.selectRow(1)
    assert viewer.dims.current_step[0] == 2


RECTANGLE = np.array([[2.0, 2.0], [2.0, 7.0], [7.0, 7.0], [7.0, 2.0]])


def test_inside_shapes(viewer, metrics, finish):
    """A rectangle of 6 x 6 voxels and an ellipse; the shapes lie in coordinates of their own."""
    reference, prediction = np.zeros((2, 20, 40), np.uint8)
    reference[:], prediction[:, :5] = 1, 1
    shapes = viewer.add_shapes(RECTANGLE, shape_type="rectangle", scale=(2, 2), name="regions")
    metrics.form.region.setCurrentText("Inside shapes")
    compare(viewer, metrics, reference, prediction, scale=(2, 2))
    finish(metrics)
    report = metrics.panel.report
    assert report.settings["region"] == "2:8,2:8"
    assert report["recall"]["1"] == pytest.approx(18 / 36)
    box = np.array([[4.0, 20.0], [4.0, 32.0], [14.0, 32.0], [14.0, 20.0]])
    shapes.add(box, shape_type="ellipse")
    metrics.measure()
    finish(metrics)
    voxels = metrics.panel.report["volume_reference"]["1"] / 4
    assert voxels == pytest.approx(36 + np.pi * 5 * 6, rel=0.05)


def test_a_shape_counts_in_its_slice_or_in_all(viewer, metrics, finish):
    corners = np.insert(RECTANGLE, 0, 2, axis=1)
    viewer.add_shapes(corners, shape_type="rectangle", name="regions")
    reference = np.ones((4, 12, 12), np.uint8)
    metrics.form.region.setCurrentText("Inside shapes")
    compare(viewer, metrics, reference, reference.copy())
    finish(metrics)
    assert metrics.panel.report["volume_reference"]["1"] == 36
    metrics.form.region.setCurrentText("Inside shapes, all slices")
    metrics.measure()
    finish(metrics)
    assert metrics.panel.report["volume_reference"]["1"] == 36 * 4
    flat = viewer.add_shapes(RECTANGLE, shape_type="rectangle", name="flat")
    metrics.form.shapes.set_layer(flat)
    metrics.form.region.setCurrentText("Inside shapes")
    metrics.measure()
    finish(metrics)
    assert metrics.panel.report["volume_reference"]["1"] == 36 * 4


def test_what_has_no_inside_is_told(viewer, metrics):
    metrics.form.region.setCurrentText("Inside shapes")
    compare(viewer, metrics, REFERENCE, PREDICTION)
    assert "no shapes layer" in metrics.status.text()
    viewer.add_shapes([[0.0, 0.0], [3.0, 3.0]], shape_type="line", name="lines")
    metrics.measure()
    assert "no shape with an inside" in metrics.status.text()
    far = viewer.add_shapes(RECTANGLE + 100, shape_type="rectangle", name="far")
    metrics.form.shapes.set_layer(far)
    metrics.measure()
    assert "lie outside of reference" in metrics.status.text()


def test_other_shapes_are_cropped_or_resampled_by_choice(viewer, metrics, finish):
    """The prediction lacks the first two columns; as layer it begins there."""
    metrics.form.reference.set_layer(viewer.add_labels(REFERENCE, name="reference", scale=(3, 3)))
    cut = viewer.add_labels(PREDICTION[:, 2:], name="cut", scale=(3, 3), translate=(0, 6))
    metrics.form.prediction.set_layer(cut)
    assert metrics.form.fit.isEnabled()
    metrics.measure()
    assert "(4, 10)" in metrics.status.text()
    metrics.form.fit.setCurrentText("Crop to what both cover")
    metrics.measure()
    finish(metrics)
    # columns 2 to 9: reference 2 to 4, prediction 2 to 5
    assert metrics.panel.report["dice"]["1"] == pytest.approx(2 * 6 / (6 + 8))
    assert "4 × 8 voxels" in metrics.status.text()
    metrics.copy_command()
    assert "--fit crop --offset 0,2" in QApplication.clipboard().text()
    fine = viewer.add_labels(PREDICTION.repeat(2, 0).repeat(2, 1), name="fine", scale=(3, 3))
    metrics.form.prediction.set_layer(fine)
    metrics.form.fit.setCurrentText("Resample the prediction")
    metrics.measure()
    finish(metrics)
    assert metrics.panel.report["dice"]["1"] == pytest.approx(0.8)
    viewer.add_labels(REFERENCE, name="same", scale=(3, 3))
    metrics.form.prediction.set_layer(viewer.layers["same"])
    assert not metrics.form.fit.isEnabled()
    assert metrics.form.fit.currentData() == ""


def test_rotated_layers_are_refused(viewer, metrics):
    metrics.form.reference.set_layer(viewer.add_labels(REFERENCE, name="reference"))
    turned = viewer.add_labels(PREDICTION, name="turned", affine=Affine(rotate=30))
    metrics.form.prediction.set_layer(turned)
    metrics.form.fit.setCurrentText("Resample the prediction")
    metrics.measure()
    assert "turned is rotated" in metrics.status.text()


def test_a_first_look_and_cancelling(viewer, metrics, finish, qtbot, monkeypatch):
    """While it is measured, the table shows the scores of the part read so far."""
    monkeypatch.setattr(scan, "PREVIEW_EVERY", 0)
    monkeypatch.setattr(scan, "regions", partial(scan.regions, voxels=256))
    reference = np.ones((256, 16, 16), np.uint8)
    compare(viewer, metrics, _Slow(reference), _Slow(reference))
    qtbot.waitUntil(lambda: metrics.panel.report is not None, timeout=20_000)
    assert metrics.running
    assert metrics.panel.report["dice"]["1"] == 1
    assert metrics.panel.scores.rowCount() == 2
    metrics.cancel_button.click()
    finish(metrics)
    assert "Cancelled. The table shows the part" in metrics.status.text()
    assert metrics.history.table.rowCount() == 0


class _Slow:
    """An array that takes its time to be read."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, key):
        time.sleep(0.05)
        return self._array[key]


def test_it_measures_again_when_layers_change(viewer, metrics, finish, qtbot):
    compare(viewer, metrics, REFERENCE, PREDICTION.copy())
    finish(metrics)
    metrics.form.follow.setChecked(True)
    layer = viewer.layers["prediction"]
    layer.data_setitem(np.nonzero(PREDICTION & (REFERENCE == 0)), 0)
    qtbot.waitUntil(lambda: metrics.panel.report["precision"]["1"] == 1, timeout=20_000)
    metrics.form.follow.setChecked(False)
    layer.data_setitem((np.array([0]), np.array([9])), 1)
    qtbot.wait(600)
    assert metrics.panel.report["precision"]["1"] == 1
    assert [entry.report["precision"]["1"] for entry in metrics.history.entries] == [0.8]


def two_models(viewer, metrics, finish):
    """Two models on two images; model b is right, model a misses one column in ten."""
    for image in ("one", "two"):
        reference = viewer.add_labels(np.ones((10, 10), np.uint8), name=image)
        for model in ("a", "b"):
            found = np.ones((10, 10), np.uint8)
            found[:, : 2 if image == "one" else 4] = model == "b"
            layer = viewer.add_labels(found, name=f"{image} {model}")
            layer.metadata["napari_segzoo"] = {"model": f"/models/{model}.safetensors"}
            metrics.form.reference.set_layer(reference)
            metrics.form.prediction.set_layer(layer)
            metrics.measure()
            finish(metrics)


def test_history_compares_models_over_images(viewer, metrics, finish, qtbot, tmp_path):
    two_models(viewer, metrics, finish)
    panel = metrics.history
    assert panel.table.rowCount() == 4
    assert panel.metric.currentText() == "mean_dice"
    drawn = panel.bars.drawn
    dice = [2 * 80 / 180, 2 * 60 / 160]
    assert drawn["a"].mean == pytest.approx(np.mean(dice))
    assert (drawn["a"].low, drawn["a"].high) == pytest.approx(tuple(sorted(dice)))
    assert drawn["b"].mean == 1
    assert "a − b" in panel.comparison.text()
    assert "2 images" in panel.comparison.text()
    panel.metric.setCurrentText("recall 1")
    assert panel.bars.drawn["a"].mean == pytest.approx(0.7)
    panel.save(tmp_path / "history.csv")
    assert "comparison,a - b,p_holm" in (tmp_path / "history.csv").read_text()
    panel.save(tmp_path / "history.md")
    assert DEFINITIONS["mean_dice"] in (tmp_path / "history.md").read_text()
    panel.copy()
    assert "**a - b**" in QApplication.clipboard().text()

    # names are changed, what is measured again is replaced, tasks are kept apart
    for row in (0, 2):
        panel.table.item(row, 1).setText("mine")
    assert set(panel.bars.drawn) == {"mine", "b"}
    metrics.measure()
    finish(metrics)
    assert panel.table.rowCount() == 4
    metrics.form.task.setCurrentText("Separate objects")
    metrics.measure()
    finish(metrics)
    assert panel.table.rowCount() == 1
    assert panel.metric.currentText() == "f1 0.5"
    panel.remove_selected()
    assert not panel.isVisible()
    metrics.form.task.setCurrentText("Classes")
    metrics.measure()
    finish(metrics)
    panel.table.selectRow(0)
    panel.remove_selected()
    assert panel.table.rowCount() == 3
    other = MetricsDock(viewer)
    qtbot.addWidget(other)
    assert other.history.table.rowCount() == 3


def test_models_named_by_numbers_stay_apart():
    for model in ("series 0.5 (training 1)", "series 0.7 (training 2)", "/a/b 0.5.safetensors"):
        layer = Labels(REFERENCE, metadata={"napari_segzoo": {"model": model}})
        assert model_name(layer) == model.removeprefix("/a/").removesuffix(".safetensors")
    assert model_name(Labels(REFERENCE)) == ""


def test_errors_in_five_dimensions_and_places_that_change(viewer, metrics, finish):
    """Also the plots, which take another theme."""
    several = [np.stack([x] * 2)[None, None] for x in (REFERENCE, PREDICTION)]
    compare(viewer, metrics, *several)
    finish(metrics)
    metrics.show_errors()
    finish(metrics)
    assert viewer.layers["prediction errors"].data.shape == several[0].shape

    assert not metrics.form.fit.isEnabled()
    viewer.layers["prediction"].scale = (1, 1, 1, 2, 2)
    assert metrics.form.fit.isEnabled()
    viewer.layers["reference"].scale = (1, 1, 3, 2, 2)
    assert metrics.form.spacing.text().startswith("1 × 1 × 3 × 2 × 2")

    plots = metrics.panel.plot, metrics.history.bars
    dark = [plot._plot.backgroundBrush().color().name() for plot in plots]
    viewer.theme = "light"
    light = [plot._plot.backgroundBrush().color().name() for plot in plots]
    assert set(light) == {QColor(get_theme("light").background.as_hex()).name()}
    assert not set(light) & set(dark)
