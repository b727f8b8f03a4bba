"""From strokes of the mouse to a measured segmentation, all in the window."""

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

import napari_segzoo as segzoo
from napari_segzoo.training import where_to_draw

TRANSFORM = ("scale", "translate", "rotate", "shear")


def train_steps(train, steps):
    train.form.unit.setCurrentIndex(train.form.unit.findData("steps"))
    train.form.amount.setValue(steps)
    train.train()


def assert_same_place(result, source):
    for name in TRANSFORM:
        assert np.array_equal(getattr(result, name), getattr(source, name)), name
    assert np.array_equal(result.affine.affine_matrix, source.affine.affine_matrix)
    assert result.units == source.units
    assert result.axis_labels == source.axis_labels


def test_a_plane(viewer, open_dock, choose, make_model, stroke, finish, qtbot, blobs):
    placement = {"scale": (0.5, 0.5), "units": ("um", "um"), "axis_labels": ("y", "x")}
    image = viewer.add_image(blobs, name="blobs", translate=(3, 7), **placement)
    truth = (blobs > 100).astype(np.uint8)
    reference = viewer.add_labels(truth, name="truth", translate=(3, 7), **placement)
    reference.visible = False
    choose(make_model(widths=(8, 16, 32)))
    train = open_dock("Train")
    drawn = train.pairs.add_labels()
    for label, start, end in (
        (1, (5, 5), (5, 80)),
        (1, (45, 8), (45, 50)),
        (2, (20, 14), (20, 36)),
        (2, (46, 64), (46, 82)),
    ):
        stroke(label, start, end)
    assert set(np.unique(drawn.data)) == {0, 1, 2}
    qtbot.waitUntil(lambda: set(train.classes.counts) == {1, 2}, timeout=30_000)
    assert train.classes.counts[2] == np.count_nonzero(drawn.data == 2)

    before = drawn.data.copy()
    train_steps(train, 40)
    finish(train)
    assert "Done: 40 steps" in train.status.text()
    assert len(train.plot.losses) == 40
    assert np.array_equal(drawn.data, before)
    assert viewer.layers["blobs preview"].data.any()

    run = open_dock("Run")
    assert "blobs (training 1)" in run.model.text()
    run.run()
    finish(run)
    result = viewer.layers["blobs labels"]
    assert_same_place(result, image)
    assert not viewer.layers["blobs preview"].visible

    metrics = open_dock("Metrics")
    metrics.form.reference.set_layer(reference)
    metrics.form.prediction.set_layer(result)
    metrics.measure()
    finish(metrics)
    assert metrics.panel.report["dice"]["1"] > 0.8
    assert metrics.form.spacing.text() == "0.5 × 0.5 micrometer"


@pytest.mark.slow
def test_an_anisotropic_stack(viewer, open_dock, choose, make_model, stroke, finish, qtbot):
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 40, (12, 48, 48)).astype(np.uint8)
    stack[3:9, 12:36, 12:36] += 180
    placement = {"scale": (2.0, 0.5, 0.5), "units": ("um",) * 3}
    image = viewer.add_image(stack, name="stack", **placement)
    reference = viewer.add_labels((stack > 100).astype(np.uint8), name="truth", **placement)
    reference.visible = False
    viewer.dims.set_current_step(0, 6)
    choose(make_model(ndim=3, widths=(8, 16)))
    train = open_dock("Train")
    assert train.pairs.axes.currentText() == "ZYX"
    drawn = train.pairs.add_labels()
    stroke(1, (6, 4, 4), (6, 4, 44))
    stroke(2, (6, 20, 16), (6, 20, 32))
    assert set(np.unique(drawn.data[6])) == {0, 1, 2}
    assert not drawn.data[:6].any()
    assert not drawn.data[7:].any()

    train_steps(train, 25)
    finish(train)
    assert "Done: 25 steps" in train.status.text()

    run = open_dock("Run")
    run.run()
    finish(run)
    result = viewer.layers["stack labels"]
    assert result.data.shape == stack.shape
    assert_same_place(result, image)

    metrics = open_dock("Metrics")
    metrics.form.reference.set_layer(reference)
    metrics.form.prediction.set_layer(result)
    metrics.measure()
    finish(metrics)
    report = metrics.panel.report
    assert report.settings["spacing"] == (2.0, 0.5, 0.5)
    assert len(report["per_slice"]["dice"]["1"]) == 12
    expected = segzoo.evaluate(reference.data, result.data, spacing=(2.0, 0.5, 0.5))
    for score in ("dice", "hd95", "assd"):
        assert report[score] == expected[score]
    metrics.panel.plot.go_to(3.2)
    assert viewer.dims.current_step[0] == 3


def test_stopping_keeps_the_model_so_far(
    viewer, open_dock, choose, make_model, finish, qtbot, blobs
):
    viewer.add_image(blobs, name="blobs")
    drawn = np.zeros(blobs.shape, np.uint8)
    drawn[2:5], drawn[18:22, 12:38] = 1, 2
    viewer.add_labels(drawn, name="drawn")
    choose(make_model())
    train = open_dock("Train")
    train_steps(train, 100_000)
    qtbot.waitUntil(lambda: train.plot is not None and len(train.plot.losses) > 2, timeout=60_000)
    train.stop()
    finish(train)
    assert "Done:" in train.status.text()
    assert train._shared.choice.model is not None
    assert train._shared.choice.title == "blobs (training 1)"


def draw_one_class(labels):
    labels[2:5] = 1


def draw_nothing(labels):
    pass


@pytest.mark.parametrize(
    ("draw", "said"),
    [(draw_nothing, "Nothing is drawn"), (draw_one_class, "Only label 1 is drawn")],
)
def test_too_little_drawn(viewer, open_dock, choose, make_model, finish, blobs, draw, said):
    viewer.add_image(blobs, name="blobs")
    labels = np.zeros(blobs.shape, np.uint8)
    draw(labels)
    drawn = viewer.add_labels(labels.copy(), name="drawn")
    model = make_model()
    choose(model)
    train = open_dock("Train")
    train.train()
    finish(train)
    assert said in train.status.text()
    assert train._shared.choice.model is model
    assert np.array_equal(drawn.data, labels)
    assert train.train_button.isEnabled()


def test_labels_of_another_shape(viewer, open_dock, finish, blobs):
    viewer.add_image(blobs, name="blobs")
    viewer.add_labels(np.ones((5, 7), np.uint8), name="drawn")
    train = open_dock("Train")
    train.train()
    finish(train)
    assert "(5, 7)" in train.status.text()
    assert "(64, 96)" in train.status.text()


def test_no_layers(viewer, open_dock, blobs):
    train = open_dock("Train")
    train.train()
    assert "no image layer" in train.status.text()
    assert train.pairs.add_labels() is None
    viewer.add_image(blobs)
    train.train()
    assert "no labels layer" in train.status.text()


def test_a_failed_training_loses_nothing(
    viewer, open_dock, choose, make_model, finish, blobs, monkeypatch
):
    def failing(*args, **kwargs):
        raise RuntimeError("CUDA error: the GPU went away")
        yield

    monkeypatch.setattr("napari_segzoo.widgets.train_run.finetune", failing)
    viewer.add_image(blobs, name="blobs")
    labels = np.ones(blobs.shape, np.uint8)
    drawn = viewer.add_labels(labels.copy(), name="drawn")
    model = make_model()
    choose(model)
    train = open_dock("Train")
    train.train()
    finish(train)
    assert "CUDA error: the GPU went away" in train.status.text()
    assert train._shared.choice.model is model
    assert np.array_equal(drawn.data, labels)


def test_several_pairs_and_class_names(viewer, open_dock, choose, make_model, finish, qtbot, blobs):
    drawn = np.zeros(blobs.shape, np.uint8)
    drawn[2:5], drawn[18:22, 12:38] = 1, 2
    for name in ("a", "b"):
        viewer.add_image(blobs, name=name)
        viewer.add_labels(drawn, name=f"{name} drawn")
    choose(make_model())
    train = open_dock("Train")
    train.pairs.add_pair()
    for row, name in zip(train.pairs.rows, ("a", "b"), strict=True):
        row.image.set_layer(viewer.layers[name])
        row.labels.set_layer(viewer.layers[f"{name} drawn"])
    expected = {1: 2 * np.count_nonzero(drawn == 1), 2: 2 * np.count_nonzero(drawn == 2)}
    qtbot.waitUntil(lambda: train.classes.counts == expected, timeout=30_000)
    train.classes.table.item(1, 1).setText("coin")
    train_steps(train, 2)
    finish(train)
    info = train._shared.choice.info
    assert [c.name for c in info.classes] == ["background", "coin"]
    assert info.provenance["images"] == 2
    train.copy_command()
    command = QApplication.clipboard().text()
    assert command.startswith("napari-segzoo finetune a.safetensors --image a.tif")
    assert "--base model.safetensors" in command
    assert "--steps 2" in command
    assert "save the layer a as a.tif" in train.status.text()
    train.form.amount.setValue(5)
    train.copy_command()
    assert "--steps 5" in QApplication.clipboard().text(), "what the form shows now"
    train.pairs.remove_pair()
    assert len(train.pairs.rows) == 1
    assert not train.pairs._remove.isEnabled()


def test_where_to_draw_next(viewer, open_dock, choose, make_model, finish, stroke):
    stack = np.random.default_rng(0).integers(0, 40, (12, 64, 96)).astype(np.uint8)
    viewer.add_image(stack, name="stack", scale=(2.0, 0.5, 0.5), translate=(3, 5, 7))
    train = open_dock("Train")
    assert not train.next_button.isEnabled()
    choose(make_model())
    assert train.next_button.isEnabled()
    drawn = train.pairs.add_labels()

    def position():
        world = (viewer.dims.point[0], *viewer.scene.camera.center[-2:])
        return tuple(round(float(n)) for n in drawn.world_to_data(world))

    expected = list(where_to_draw(train._shared.choice.model, stack, axes="ZYX", device="cpu"))[
        -1
    ].places
    train.next_button.click()
    finish(train)
    assert position() == expected[0].center
    z, y, x = position()
    assert f"Z {z}, Y {y}, X {x}" in train.status.text()
    assert viewer.dims.current_step[0] == z
    train.next_button.click()
    assert position() == expected[1].center
    train.next_button.click()
    third = expected[2].center
    assert position() == third
    stroke(1, third, (third[0], third[1], third[2] + 3))
    assert drawn.data[expected[2].window].any()
    for _ in range(2 * len(expected)):
        train.next_button.click()
        assert position() != third
    drawn.data = np.ones_like(drawn.data)
    train.next_button.click()
    assert "No unsure place is left" in train.status.text()
    assert train.next_button.isEnabled()
