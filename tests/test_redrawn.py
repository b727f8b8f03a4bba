"""What is drawn while a network is being trained is taken in, and nothing else changes."""

import numpy as np
import pytest
import torch

import napari_segzoo as segzoo
from napari_segzoo.training import Finished, Note, Redrawn, StepDone
from napari_segzoo.training.undrawn import UndrawnLoss

SMALL = {"widths": (8, 16)}
BEYOND = "stop and train again"


@pytest.fixture(scope="module")
def image():
    """Three grey bands on top of each other, with noise: (48, 48), uint8."""
    rng = np.random.default_rng(0)
    bands = np.repeat([40, 120, 200], 16)[:, None]
    return (bands + rng.normal(0, 8, (48, 48))).astype(np.uint8)


def strokes(*labels):
    """A stroke of each of these labels in its band."""
    drawn = np.zeros((48, 48), np.uint8)
    for label in labels:
        drawn[16 * (label - 1) + 6 : 16 * (label - 1) + 10, 4:44] = label
    return drawn


def train(images, labels, later=None, after=2, **options):
    """Train, and hand over `later` once after some steps; return the events."""
    asked = iter([None] * (after - 1) + [later])
    options = {"steps": 5, "architecture_options": SMALL, "device": "cpu", "seed": 1, **options}
    return list(segzoo.finetune(images, labels, more=lambda: next(asked, None), **options))


def assert_same_weights(first, second):
    a, b = (events[-1].model.network.state_dict() for events in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)


def notes(events):
    return [e.message for e in events if isinstance(e, Note)]


@pytest.mark.parametrize("loss", ["dice_cross_entropy", "weighted_cross_entropy"])
def test_nothing_new_changes_nothing(image, loss):
    plain = train(image, strokes(1, 2, 3), loss=loss)
    same = train(image, strokes(1, 2, 3), later=strokes(1, 2, 3), loss=loss)
    assert_same_weights(plain, same)
    assert not any(isinstance(e, Redrawn) for e in plain)


def test_new_strokes_count_from_the_next_step_on(image):
    grown = strokes(1, 2, 3)
    grown[44:47] = 3
    events = train(image, strokes(1, 2, 3), later=grown, after=3)
    at = next(n for n, e in enumerate(events) if isinstance(e, Redrawn))
    assert events[at].step == 3
    assert sum(isinstance(e, StepDone) for e in events[:at]) == 3
    expected = {1: 160, 2: 160, 3: int((grown == 3).sum())}
    assert events[at].labelled_voxels == expected
    assert isinstance(events[-1], Finished)
    assert events[-1].labelled_voxels == expected
    provenance = events[-1].model.info.provenance
    assert provenance["labelled_voxels"] == {str(k): v for k, v in expected.items()}
    losses = [e.loss for e in events if isinstance(e, StepDone)]
    before = train(image, strokes(1, 2, 3))
    assert losses[:3] == [e.loss for e in before if isinstance(e, StepDone)][:3]
    assert losses[3:] != [e.loss for e in before if isinstance(e, StepDone)][3:]


@pytest.fixture
def few(monkeypatch):
    """Strokes on a base are learnt after 6 steps."""
    monkeypatch.setattr("napari_segzoo.training.schedule.FEW_STROKES", 6)
    monkeypatch.setattr("napari_segzoo.training.schedule.VOXELS_PER_STEP", 1000)


def steps_of(events):
    return [e.step for e in events if isinstance(e, StepDone)]


def test_a_few_strokes_on_a_base_end_before_the_budget(image, few):
    base = train(image, strokes(1, 2, 3))[-1].model
    options = {"base": base, "budget": 600, "steps": None}
    events = train(image, strokes(1, 2, 3), **options)
    assert steps_of(events) == [1, 2, 3, 4, 5, 6]
    assert events[-3].progress == 1
    assert notes(events)[-1].startswith("After 6 steps these strokes are learnt")
    assert len(steps_of(train(image, strokes(1, 2, 3), base=base, steps=9))) == 9
    for change in ({"unlabeled": "background"}, {"base": None}):
        stop = iter([False] * 8 + [True]).__next__
        events = train(image, strokes(1, 2, 3), **{**options, "stop": stop, **change})
        assert len(steps_of(events)) == 8


def test_a_budget_that_is_used_up_says_nothing_of_strokes_that_are_learnt(image, few, monkeypatch):
    """Not even if its last part is kept for a score."""
    base = train(image, strokes(1, 2, 3))[-1].model
    monkeypatch.setattr("napari_segzoo.training.schedule.FEW_STROKES", 10**6)
    scored = {"validation": (image, strokes(1, 2, 3))}
    events = train(image, strokes(1, 2, 3), base=base, budget=2, steps=None, **scored)
    assert not any("learnt" in sentence for sentence in notes(events))


def test_more_strokes_are_worth_more_steps(image, few, monkeypatch):
    monkeypatch.setattr("napari_segzoo.training.schedule.VOXELS_PER_STEP", 16)
    base = train(image, strokes(1, 2, 3))[-1].model
    events = train(image, strokes(1, 2, 3), base=base, budget=600, steps=None)
    assert len(steps_of(events)) == 3 * 160 // 16


@pytest.mark.parametrize("after", [2, 6])
def test_strokes_drawn_meanwhile_get_steps_of_their_own(image, few, after):
    base = train(image, strokes(1, 2, 3))[-1].model
    grown = strokes(1, 2, 3)
    grown[44:47] = 3
    how = {"base": base, "budget": 600, "steps": None}
    events = train(image, strokes(1, 2, 3), later=grown, after=after, **how)
    assert len(steps_of(events)) == after + 6


def test_a_class_that_was_missing_is_learnt_without_starting_again(image):
    events = train(image, strokes(1, 3), later=strokes(1, 2, 3), after=5, steps=60)
    at = next(n for n, e in enumerate(events) if isinstance(e, Redrawn))
    assert any("Label 2 is not drawn" in note for note in notes(events[:at]))
    assert not notes(events[at:])
    found = segzoo.predict(events[-1].model, image, device="cpu")
    assert (found[18:30, 4:44] == 1).mean() > 0.9
    assert (found[34:, 4:44] == 2).mean() > 0.9


def test_a_class_that_is_still_missing_is_told_again(image):
    more = strokes(1, 3)
    more[44:47] = 3
    events = train(image, strokes(1, 3), later=more)
    assert sum("Label 2 is not drawn" in note for note in notes(events)) == 2


@pytest.mark.parametrize("unlabeled", ["ignore", "background"])
def test_a_class_beyond_the_network_is_told_and_left_out(image, unlabeled):
    drawn = strokes(1, 2)
    more = strokes(1, 2)
    more[12:15, 4:44] = 1
    beyond = np.where(strokes(3) > 0, 3, more)
    events = train(image, drawn, later=beyond, unlabeled=unlabeled)
    (redrawn,) = (e for e in events if isinstance(e, Redrawn))
    assert redrawn.labelled_voxels == {1: int((more == 1).sum()), 2: 160}
    assert any(note.startswith("Label 3 is new") and BEYOND in note for note in notes(events))
    if unlabeled == "ignore":
        without = train(image, drawn, later=more)
        assert not any(BEYOND in note for note in notes(without))
        assert_same_weights(events, without)


UNFIT = [
    (np.zeros((48, 48), np.uint8), "Nothing is drawn"),
    (strokes(2), "Only label 2 is drawn"),
    (np.ones((5, 7), np.uint8), r"shapes [(5, 7)], but had [(48, 48)]"),
    (strokes(1, 2).astype(np.float32), "whole numbers"),
    (np.arange(48 * 48).reshape(48, 48), "looks like object numbers"),
    (np.where(strokes(1, 2) > 0, strokes(1, 2) + 2, 0), "Nothing is drawn"),
]


@pytest.mark.parametrize(("later", "said"), UNFIT)
def test_what_cannot_be_taken_in_is_told_and_the_training_goes_on(image, later, said):
    plain = train(image, strokes(1, 2))
    events = train(image, strokes(1, 2), later=later)
    assert_same_weights(plain, events)
    (note,) = notes(events)
    assert note.startswith("The training goes on without what is drawn now: ")
    assert said in note
    assert events[-1].labelled_voxels == {1: 160, 2: 160}


def test_several_images_and_one_that_had_no_strokes(image):
    empty = np.zeros((48, 48), np.uint8)
    events = train([image, image[::-1]], [strokes(1, 2), empty], later=[empty, strokes(1, 2)])
    assert events[-1].labelled_voxels == {1: 160, 2: 160}
    assert events[-1].model.info.provenance["images"] == 1
    both = train([image, image], [strokes(1, 2), empty], later=[strokes(1, 2), strokes(1, 2)])
    assert both[-1].labelled_voxels == {1: 320, 2: 320}
    assert both[-1].model.info.provenance["images"] == 2


def test_slices_that_had_no_strokes(image):
    stack = np.stack([image] * 3)
    drawn = np.zeros(stack.shape, np.uint8)
    drawn[0] = strokes(1, 2)
    more = drawn.copy()
    more[2] = strokes(1, 2)
    events = train(stack, drawn, later=more, axes="ZYX", ndim=2)
    assert events[-1].model.info.provenance["images"] == 2


def test_objects(image):
    drawn = strokes(1, 2)
    more = drawn.copy()
    more[40:44, 10:20] = 7
    events = train(image, drawn, later=more, task="instances")
    assert events[-1].labelled_voxels == {1: 320 + 40}


def test_from_a_base(image):
    base = train(image, strokes(1, 2, 3))[-1].model
    more = strokes(1, 2, 3)
    more[44:47] = 3
    options = {"base": base, "architecture_options": None}
    plain = train(image, strokes(1, 2, 3), **options)
    events = train(image, strokes(1, 2, 3), later=more, **options)
    assert events[-1].labelled_voxels[3] > plain[-1].labelled_voxels[3]


def test_what_is_drawn_meanwhile_counts_as_corrections(image, monkeypatch):
    seen = []
    monkeypatch.setattr(UndrawnLoss, "expect_corrections", lambda self: seen.append(self))
    train(image, strokes(1, 2, 3))
    assert not seen
    train(image, strokes(1, 2, 3), later=strokes(1, 2))
    assert len(seen) == 1
