"""Strokes held out for a score: whole ones, of each class, and never trained on."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import label

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError
from napari_segzoo.training import Finished, Note, Redrawn, Scored
from napari_segzoo.training.data import IGNORE, training_image
from napari_segzoo.training.hold_out import (
    choose_strokes,
    crop_around_strokes,
    explain_too_few,
    find_separate_strokes,
    needed_strokes,
    split,
)

SMALL = {"widths": (4, 8)}


def dashes(count, classes=2):
    """An image of a bright band per class, and in each `count` strokes that grow in length."""
    drawn = np.zeros((16 * classes, 12 * count), np.uint8)
    for n in range(classes):
        for k in range(count):
            drawn[16 * n + 7, 12 * k + 1 : 12 * k + 5 + k % 7] = n + 1
    bands = np.repeat(np.arange(classes) * 90 + 30, 16)[:, None]
    noise = np.random.default_rng(0).normal(0, 6, drawn.shape)
    return (bands + noise).astype(np.uint8), drawn


def train(image, labels, steps=3, **options):
    options = {"architecture_options": SMALL, "device": "cpu", **options}
    return list(segzoo.finetune(image, labels, steps=steps, **options))


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def test_strokes_touch_at_corners_along_slices_and_in_one_class_only():
    drawn = np.zeros((3, 6, 8), np.uint8)
    drawn[0, 1, 1], drawn[1, 2, 2] = 1, 1
    drawn[1, 2, 3] = 2
    drawn[0, 5, 5:8] = 1
    drawn[2, 5, 5] = 1
    other = np.array([[0, 2], [0, 2]])
    found = find_separate_strokes([drawn, other])
    sizes = {k: [(s.image, len(s.voxels)) for s in strokes] for k, strokes in found.items()}
    assert {k: sorted(v) for k, v in sizes.items()} == {
        1: [(0, 1), (0, 2), (0, 3)],
        2: [(0, 1), (1, 2)],
    }
    (last,) = (s for s in found[2] if s.image == 1)
    assert list(last.voxels) == [1, 3]


@settings(max_examples=40)
@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=3, max_side=7), elements=st.integers(0, 3))
)
def test_strokes_are_those_that_scikit_image_finds(drawn):
    found = find_separate_strokes([drawn])
    numbered = label(drawn, connectivity=drawn.ndim, background=0)
    regions = [frozenset(np.flatnonzero(numbered == n)) for n in range(1, numbered.max() + 1)]
    ours = [frozenset(s.voxels.tolist()) for strokes in found.values() for s in strokes]
    assert set(ours) == set(regions)
    assert len(ours) == len(regions)
    for value, strokes in found.items():
        assert all((drawn.flat[s.voxels] == value).all() for s in strokes)


@pytest.mark.parametrize(("share", "needed"), [(0.5, 2), (0.3, 4), (0.2, 5), (0.1, 10)])
def test_how_many_strokes_a_share_needs(share, needed):
    assert needed_strokes(share) == needed
    _, drawn = dashes(needed)
    strokes = find_separate_strokes([drawn])
    assert explain_too_few(strokes, share) is None
    (apart,) = choose_strokes(strokes, share, 1, 0)
    _, held = split(drawn, apart)
    assert [len(s) for s in find_separate_strokes([held]).values()] == [1, 1]
    _, drawn = dashes(needed - 1)
    assert explain_too_few(find_separate_strokes([drawn]), share) is not None


@settings(max_examples=30)
@given(st.integers(5, 24), st.sampled_from([0.2, 0.25, 0.5]), st.integers(0, 99))
def test_a_share_of_whole_strokes_of_each_class_but_not_the_largest(count, share, seed):
    _, drawn = dashes(count, classes=3)
    drawn[7, 0] = drawn[23, 0] = drawn[39, 0] = 0
    images = [drawn, np.zeros_like(drawn), drawn[:, ::-1]]
    strokes = find_separate_strokes(images)
    chosen = choose_strokes(strokes, share, 3, seed)
    assert not len(chosen[1])
    held = [split(image, voxels)[1] for image, voxels in zip(images, chosen, strict=True)]
    found = find_separate_strokes(held)
    for value in (1, 2, 3):
        assert len(found[value]) == int(share * 2 * count)
        whole = {(s.image, tuple(s.voxels)) for s in strokes[value]}
        assert {(s.image, tuple(s.voxels)) for s in found[value]} < whole
        largest = max(len(s.voxels) for s in strokes[value])
        left = [
            s
            for s in strokes[value]
            if (s.image, tuple(s.voxels)) not in {(f.image, tuple(f.voxels)) for f in found[value]}
        ]
        assert any(len(s.voxels) == largest for s in left)
    again = choose_strokes(strokes, share, 3, seed)
    assert all(np.array_equal(a, b) for a, b in zip(chosen, again, strict=True))


def test_strokes_stay_held_out_when_more_are_drawn():
    _, drawn = dashes(20)
    (before,) = choose_strokes(find_separate_strokes([drawn]), 0.2, 1, 0)
    drawn[1, :6], drawn[17, :6] = 1, 2
    (after,) = choose_strokes(find_separate_strokes([drawn]), 0.2, 1, 0)
    assert len(set(before) & set(after)) > 0.7 * len(before)
    (other,) = choose_strokes(find_separate_strokes([drawn]), 0.2, 1, 1)
    assert set(other) != set(after)


def test_what_is_held_out_is_not_trained_on():
    """The same as a training on which these strokes were never drawn."""
    image, drawn = dashes(6)
    (apart,) = choose_strokes(find_separate_strokes([drawn]), 0.4, 1, 7)
    rest, held = split(drawn, apart)
    assert np.array_equal(rest + held, drawn)
    assert set(np.unique(held)) == {0, 1, 2}
    with_score = train(image, drawn, hold_out=0.4, seed=7)
    without = train(image, rest, seed=7)
    a, b = (events[-1].model.network.state_dict() for events in (with_score, without))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert with_score[0].labelled_voxels == {1: (drawn == 1).sum(), 2: (drawn == 2).sum()}


def test_the_score_is_the_dice_on_the_strokes_held_out():
    image, drawn = dashes(6)
    events = train(image, drawn, hold_out=0.4, seed=7, steps=30)
    scores, finished = of(Scored, events), events[-1]
    assert isinstance(finished, Finished)
    assert [s.step for s in scores] == list(range(3, 31, 3))
    assert {s.on for s in scores} == {"held-out strokes"}
    (apart,) = choose_strokes(find_separate_strokes([drawn]), 0.4, 1, 7)
    _, held = split(drawn, apart)
    found = segzoo.predict(finished.model, image, device="cpu", engine="torch")[held > 0] == 1
    truth = held[held > 0] == 2
    expected = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert finished.held_out == scores[-1].mean_dice == pytest.approx(expected)
    assert finished.validation is None
    assert finished.model.info.provenance["held_out_dice"] == finished.held_out


def test_only_the_surroundings_of_strokes_are_looked_at():
    target = np.full((60, 90), IGNORE, np.int8)
    target[5, 10:20], target[8, 15:18], target[50, 70:75] = 0, 1, 1
    image = np.random.default_rng(0).random((2, 60, 90)).astype(np.float32)
    whole = training_image(image, target)
    crops = crop_around_strokes(whole, (4, 6))
    assert [tuple(c.target.shape) for c in crops] == [(9, 22), (9, 15), (9, 17)]
    assert [{k: len(v) for k, v in c.drawn.items()} for c in crops] == [{0: 10}, {1: 3}, {1: 5}]
    assert np.array_equal(crops[2].image, image[:, 46:55, 64:81])
    assert crops[2].target[4, 6:11].tolist() == [1] * 5
    assert crop_around_strokes(whole, (40, 60)) == [whole]


def test_the_model_is_the_last_one_whatever_the_score(monkeypatch):
    image, drawn = dashes(6)
    plain = train(image, drawn, hold_out=0.4, steps=6)[-1]
    falling = iter(np.linspace(1, 0.1, 9))
    monkeypatch.setattr(
        "napari_segzoo.training.drawn_scores.mean_dice", lambda *_: {0: 1.0, 1: next(falling)}
    )
    scored = train(image, drawn, hold_out=0.4, steps=6)[-1]
    a, b = (f.model.network.state_dict() for f in (plain, scored))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert scored.held_out < 0.6


def test_strokes_drawn_meanwhile_are_trained_on_and_corrections_count():
    image, drawn = dashes(6)
    (apart,) = choose_strokes(find_separate_strokes([drawn]), 0.4, 1, 0)
    rest, held = split(drawn, apart)
    grown = drawn.copy()
    grown[11, 3:60] = 1
    grown[7, 3:60][held[7, 3:60] == 1] = 0
    later = iter([grown])
    events = train(image, drawn, hold_out=0.4, more=lambda: next(later, None), steps=4)
    assert of(Redrawn, events)
    rest_grown, _ = split(grown, apart)
    later = iter([rest_grown])
    same = train(image, rest, more=lambda: next(later, None), steps=4)
    a, b = (e[-1].model.network.state_dict() for e in (events, same))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_drawing_of_which_only_held_out_strokes_are_left_is_not_taken():
    image, drawn = dashes(6)
    (apart,) = choose_strokes(find_separate_strokes([drawn]), 0.4, 1, 0)
    _, held = split(drawn, apart)
    later = iter([held])
    events = train(image, drawn, hold_out=0.4, more=lambda: next(later, None))
    assert any(
        "goes on without what is drawn now: Nothing is drawn" in n.message for n in of(Note, events)
    )
    assert isinstance(events[-1], Finished)


def test_too_few_strokes_are_all_trained_on_and_told():
    image, drawn = dashes(5, classes=3)
    drawn[7, :40] = 0
    events = train(image, drawn, hold_out=0.2)
    (note,) = of(Note, events)
    assert note.message == (
        "Nothing is held out for a score: a share of 0.2 needs 5 separate strokes of each class, "
        "but label 1 has 2; everything that is drawn is trained on."
    )
    assert not of(Scored, events)
    plain = train(image, drawn)
    a, b = (e[-1].model.network.state_dict() for e in (events, plain))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_several_classes_with_too_few():
    _, drawn = dashes(2, classes=3)
    said = explain_too_few(find_separate_strokes([drawn]), 0.2)
    assert "label 1 has 2, label 2 has 2 and label 3 has 2;" in said


WRONG = [
    ({"hold_out": 0.6}, "share from 0 to 0.5, not 0.6"),
    ({"hold_out": -0.1}, "share from 0 to 0.5"),
    ({"hold_out": 0.2, "task": "instances"}, "give validation images instead"),
    ({"hold_out": 0.2, "unlabeled": "background"}, "give validation images instead"),
    ({"hold_out": 0.2, "validation": dashes(5)}, "either validation images or a share"),
]


@pytest.mark.parametrize(("options", "match"), WRONG)
def test_what_makes_no_sense_is_told(options, match):
    with pytest.raises(InputError, match=match):
        train(*dashes(5), **options)


def test_slices_of_a_stack():
    image, drawn = dashes(6)
    stack, labels = np.stack([image] * 3), np.stack([drawn, 0 * drawn, drawn])
    finished = train(stack, labels, hold_out=0.2, axes="ZYX", ndim=2)[-1]
    assert 0 <= finished.held_out <= 1
    assert finished.model.info.provenance["images"] == 2


def test_the_command_line_tells_the_score(tmp_path, monkeypatch, capsys):
    from napari_segzoo.cli import main

    monkeypatch.chdir(tmp_path)
    for name, array in zip(("image.npy", "labels.npy"), dashes(5), strict=True):
        segzoo.save_image(name, array, "YX")
    words = ["--image", "image.npy", "--labels", "labels.npy", "--option", "widths=[4,8]"]
    words += ["--steps", "2", "--hold-out", "0.2", "--json"]
    assert main(["finetune", "out.safetensors", *words]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out.splitlines()[-1])
    assert record["validation"] is None
    assert f"Dice on the held-out strokes {record['held_out']:.3f}" in printed.err
