"""Undo of a training in the Train dock: the model and the preview from before."""

import numpy as np
import pytest

from napari_segzoo.training import Finished
from napari_segzoo.widgets.undo import LEVELS


@pytest.fixture
def train(viewer, open_dock, choose, make_model, blobs):
    """The Train dock over an image with strokes of two classes, two steps to a training."""
    viewer.add_image(blobs, name="blobs")
    drawn = np.zeros(blobs.shape, np.uint8)
    drawn[2:5], drawn[18:22, 12:38] = 1, 2
    viewer.add_labels(drawn, name="drawn")
    choose(make_model())
    train = open_dock("Train")
    train.form.unit.setCurrentIndex(train.form.unit.findData("steps"))
    train.form.amount.setValue(2)
    return train


@pytest.fixture
def shared(viewer, train):
    from napari_segzoo.widgets.shared_model import shared_model

    return shared_model(viewer)


def previews(viewer):
    return [layer for layer in viewer.layers if layer.name.startswith("blobs preview")]


def test_there_is_nothing_to_undo_before_the_first_training(train, shared):
    choice = shared.choice
    assert not train.undo_button.isEnabled()
    train.undo()
    assert shared.choice is choice


def test_each_undo_goes_back_by_one_training(viewer, train, shared, finish):
    choices, shown = [shared.choice], [[]]
    for _ in range(2):
        train.train()
        assert not train.undo_button.isEnabled()
        finish(train)
        choices.append(shared.choice)
        shown.append(previews(viewer))
        assert len(shown[-1]) == 1
    drawn = viewer.layers["drawn"].data.copy()
    content = shown[1][0].data.copy()
    selected = viewer.layers.selection.active

    assert len(train.plot.losses) == 2
    train.undo_button.click()
    assert len(train.plot.losses) == 0, "the curve is of the training that was undone"
    assert shared.choice is choices[1]
    assert previews(viewer) == shown[1]
    assert np.array_equal(shown[1][0].data, content)
    assert train.undo_button.isEnabled()
    train.undo_button.click()
    assert shared.choice is choices[0]
    assert "Back to tiny" in train.status.text()
    assert previews(viewer) == []
    assert not train.undo_button.isEnabled()
    assert np.array_equal(viewer.layers["drawn"].data, drawn)
    assert viewer.layers.selection.active is selected


def test_a_training_from_scratch_is_undone_to_no_model(train, shared, finish):
    shared.choose(None)
    train.form.start.choose("unet")
    train.train()
    finish(train)
    assert shared.choice.model is not None
    train.undo_button.click()
    assert shared.choice is None
    assert "Back to no model" in train.status.text()


def test_only_the_last_trainings_are_kept(train, shared, finish):
    train.preview_switch.setChecked(False)
    train.form.amount.setValue(1)
    choices = []
    for _ in range(LEVELS + 1):
        choices.append(shared.choice)
        train.train()
        finish(train)
    for expected in reversed(choices[1:]):
        train.undo()
        assert shared.choice is expected
    assert not train.undo_button.isEnabled()


def test_a_failed_training_leaves_model_and_preview_and_is_no_step_back(
    viewer, train, shared, finish, monkeypatch
):
    before = shared.choice
    train.train()
    finish(train)
    trained, shown = shared.choice, previews(viewer)

    def failing(*args, **kwargs):
        raise RuntimeError("CUDA error: the GPU went away")
        yield

    monkeypatch.setattr("napari_segzoo.widgets.train_run.finetune", failing)
    train.train()
    finish(train)
    assert shared.choice is trained
    assert previews(viewer) == shown
    train.undo_button.click()
    assert shared.choice is before
    assert not train.undo_button.isEnabled()


def test_a_stopped_training_can_be_undone(train, shared, finish, qtbot):
    before = shared.choice
    train.form.amount.setValue(100_000)
    train.train()
    qtbot.waitUntil(lambda: train.plot is not None and len(train.plot.losses) > 2, timeout=60_000)
    train.stop()
    finish(train)
    assert shared.choice is not before
    train.undo_button.click()
    assert shared.choice is before


def test_a_preview_the_user_has_removed_stays_away(viewer, train, finish):
    train.train()
    finish(train)
    viewer.layers.remove(previews(viewer)[0])
    train.train()
    finish(train)
    train.undo_button.click()
    assert previews(viewer) == []


def test_no_preview_comes_back_without_its_image(viewer, blobs):
    from napari_segzoo.widgets.preview import LivePreview

    image = viewer.add_image(blobs, name="blobs")
    live = LivePreview(viewer, lambda: True)
    live.start(image, "YX")
    live.show(live.visible[2], np.ones(blobs.shape, np.int32), ())
    first = live.preview
    live.start(image, "YX")
    assert previews(viewer) == []
    live.go_back(first)
    assert previews(viewer) == [first.layer]
    live.start(image, "YX")
    viewer.layers.remove(image)
    live.go_back(first)
    assert previews(viewer) == []


def test_no_two_trainings_share_a_title_and_none_is_no_training(
    viewer, train, shared, finish, make_model, monkeypatch
):
    """The third one is stopped before its first step."""
    random = make_model()
    steps = iter((2, 2, 0))

    def finetune(*args, **options):
        yield Finished(random, next(steps), 1.0, 0.5, None, {1: 1, 2: 1}, "cpu")

    monkeypatch.setattr("napari_segzoo.widgets.train_run.finetune", finetune)
    titles = []
    for _ in range(3):
        before, shown = shared.choice, previews(viewer)
        train.train()
        finish(train)
        titles.append(shared.choice.title)
    assert titles == ["blobs (training 1)", "blobs (training 2)", "blobs (training 2)"]
    assert shared.choice is before
    assert previews(viewer) == shown
    assert train.status.text().startswith("Stopped before the first step; the model is as it was.")


def test_what_the_training_started_from_is_chosen_again(train, shared, finish):
    train.form.start.choose("generalist-2d")
    train.form.start.choose("unet")
    train.train()
    finish(train)
    assert train.form.start.currentData() == ""
    train.undo_button.click()
    assert train.form.start.currentData() == "unet"
