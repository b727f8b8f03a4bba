"""What a fine-tuning starts from: a last layer fitted to the strokes, and what is kept."""

import re

import numpy as np
import pytest
import torch
from skimage.measure import label
from tiny import dice, noise, squares, tiny_model
from torch.nn import functional as F

import napari_segzoo as segzoo
from napari_segzoo.training import Finished, Note, Redrawn, StepDone
from napari_segzoo.training.adapt import WeightAverage
from napari_segzoo.training.augment import SCAN, Augmentation
from napari_segzoo.training.batch import Batch
from napari_segzoo.training.data import (
    IGNORE,
    count_objects,
    interior_and_border,
    training_image,
)
from napari_segzoo.training.head import fit_head
from napari_segzoo.training.not_outlined import not_outlined
from napari_segzoo.training.notes import CONTRADICTED
from napari_segzoo.training.pseudo_labels import PseudoLabels
from napari_segzoo.training.start import KEEP_KNOWN, KEEP_OWN, Merged, make_start
from napari_segzoo.training.trust import correct_it
from napari_segzoo.training.undrawn import UndrawnLoss


def tune(image, labels, **options):
    *_, last = segzoo.finetune(image, labels, seed=0, **options)
    assert isinstance(last, Finished)
    return last.model


@pytest.fixture(scope="module")
def trained():
    """A model that finds bright squares, and an image of others with the truth."""
    image, truth = squares()
    model = tune(
        image,
        truth.astype(np.uint8),
        unlabeled="background",
        steps=40,
        architecture_options={"widths": (8, 16)},
    )
    return model, *squares(seed=1)


def strokes(first, second):
    """Two short strokes in each of two masks: 1 in the first, 2 in the second."""
    drawn = np.zeros(first.shape, np.uint8)
    for value, mask in ((1, first), (2, second)):
        at = np.argwhere(mask)
        drawn[tuple(at[len(at) // 3 : len(at) // 3 + 12].T)] = value
        drawn[tuple(at[2 * len(at) // 3 :][:12].T)] = value
    return drawn


def test_what_the_base_knows_is_there_before_training(trained):
    model, image, truth = trained
    before = dice(segzoo.predict(model, image) > 0, truth)
    assert before > 0.9
    drawn = strokes(~truth, truth)
    after = tune(image, drawn, base=model, steps=1, learning_rate=1e-9, class_names=("a", "b"))
    assert dice(segzoo.predict(after, image) > 0, truth) > before - 0.03


def test_classes_may_be_drawn_in_another_order_than_the_base_has_them(trained):
    model, image, truth = trained
    after = tune(
        image,
        strokes(truth, ~truth),
        base=model,
        steps=1,
        learning_rate=1e-9,
        class_names=("block", "ground"),
    )
    assert dice(segzoo.predict(after, image) == 0, truth) > 0.85


def test_training_keeps_what_the_base_knows(trained):
    """Strokes in one corner say nothing of the rest, where the base stays right."""
    model, image, truth = trained
    corner = np.zeros_like(truth)
    corner[:48, :48] = True
    drawn = strokes(~truth & corner, truth & corner)
    assert set(np.unique(drawn)) == {0, 1, 2}
    after = tune(image, drawn, base=model, steps=30, class_names=("a", "b"))
    assert dice(segzoo.predict(after, image) > 0, truth) > 0.9


@pytest.fixture(scope="module")
def three():
    """A model of dark, grey and bright, and an image of three stripes."""
    image = np.repeat([0.0, 1.0, 2.0], 20)[None].repeat(60, 0) + noise((60, 60)) / 5
    truth = np.repeat([0, 1, 2], 20)[None].repeat(60, 0)
    options = {"widths": (8, 16)}
    drawn = (truth + 1).astype(np.uint8)
    return tune(image, drawn, steps=60, architecture_options=options), image, truth


def test_a_class_that_is_not_drawn_this_time_stays_known(three):
    model, image, truth = three
    assert (segzoo.predict(model, image) == truth).mean() > 0.97
    drawn = np.zeros(truth.shape, np.uint8)
    drawn[10, 2:18], drawn[40, 42:58] = 1, 3
    events = list(segzoo.finetune(image, drawn, base=model, steps=30))
    assert (segzoo.predict(events[-1].model, image) == truth).mean() > 0.97
    (note,) = [e.message for e in events if isinstance(e, Note) and "not drawn" in e.message]
    assert "Label 2" in note and "may fade" in note


@pytest.mark.parametrize("unit, ranges", [("millimeter", SCAN), ("micrometer", Augmentation())])
def test_a_base_is_judged_by_patches_like_those_it_is_trained_on(monkeypatch, unit, ranges):
    seen = []
    monkeypatch.setattr(
        "napari_segzoo.training.head._take_voxels",
        lambda training, classes, patch, augmentation, rng: (
            seen.append(augmentation)
            or (torch.zeros(1, *patch), torch.arange(4), torch.tensor([0, 0, 1, 1]))
        ),
    )
    drawn = np.zeros((8, 16, 16), np.uint8)
    drawn[2, 3, 4:8], drawn[4, 9, 4:8] = 1, 2
    scan = segzoo.Image(noise(drawn.shape), "ZYX", (1.0, 1.0, 1.0), unit)
    tune(scan, drawn, base=tiny_model(3, classes=2), steps=1)
    assert set(seen) == {ranges}


def first_rate(labels, base, task="semantic"):
    """The rate of the first step, which is 2% of the highest."""
    how = {"base": base, "task": task, "steps": 1, "axes": "ZYX"[-labels.ndim :]}
    events = list(segzoo.finetune(noise(labels.shape), labels, **how))
    return next(e.learning_rate for e in events if isinstance(e, StepDone)) / 0.02


def test_a_base_in_3d_goes_further_where_whole_slices_are_drawn():
    few, slices = np.zeros((2, 20, 24, 24), np.uint8)
    few[4, 3, 4:8], few[12, 9, 4:8] = 1, 2
    slices[::5, :12], slices[::5, 12:] = 1, 2
    base = tiny_model(3, classes=2)
    assert first_rate(few, base) == pytest.approx(5e-4, rel=0.05)
    assert first_rate(slices, base) == pytest.approx(3e-3)
    assert first_rate(slices, base, "instances") == pytest.approx(5e-4)
    assert first_rate(slices[0], tiny_model(classes=2)) == pytest.approx(5e-4)


def test_a_base_that_knows_nothing_gets_a_fitted_last_layer():
    image, truth = squares(seed=1)
    base = tiny_model(widths=(8, 16))
    drawn = strokes(~truth, truth)
    after = tune(image, drawn, base=base, steps=1, learning_rate=1e-9)
    assert dice(segzoo.predict(after, image) > 0, truth) > 0.7


@pytest.fixture(scope="module")
def from_strokes():
    """A model that strokes on squares made, the image and the strokes."""
    image, truth = squares()
    drawn = strokes(~truth, truth)
    options = {"widths": (8, 16)}
    return tune(image, drawn, steps=40, architecture_options=options), image, truth, drawn


def started(monkeypatch, image, drawn, base):
    """Where a training from `base` starts."""
    seen = []
    monkeypatch.setattr(
        "napari_segzoo.training.start.make_start",
        lambda job: seen.append(make_start(job)) or seen[-1],
    )
    tune(image, drawn, base=base, steps=1)
    (start,) = seen
    return start


def held_by(monkeypatch, image, drawn, base):
    """How much a training holds what `base` says where nothing is drawn; 0 if not at all."""
    undrawn = started(monkeypatch, image, drawn, base).undrawn
    return undrawn.keep if undrawn.teacher is not None else 0.0


def test_strokes_that_correct_a_model_of_strokes_leave_it_what_it_knows(from_strokes, monkeypatch):
    """Most of what is drawn now is drawn where the model is wrong."""
    model, image, truth, drawn = from_strokes
    assert held_by(monkeypatch, image, drawn, model) == KEEP_KNOWN
    corrected = drawn.copy()
    corrected[tuple(np.argwhere(truth & (drawn == 0))[:100].T)] = 1
    assert held_by(monkeypatch, image, corrected, model) == KEEP_KNOWN


def test_a_model_of_dense_labels_is_held_more_unless_it_is_corrected(from_strokes, monkeypatch):
    model, image, _, drawn = from_strokes
    own = model.with_info(provenance={})
    assert held_by(monkeypatch, image, drawn, own) == KEEP_OWN
    swapped = np.where(drawn > 0, 3 - drawn.astype(int), 0)
    start = started(monkeypatch, image, swapped, own)
    assert start.contradicted and start.undrawn.keep == KEEP_KNOWN


def test_what_a_model_of_strokes_gets_wrong_counts_more_among_few_strokes_alone(
    from_strokes, monkeypatch
):
    """Whole slices are wrong along borders, which would weigh as much as all else."""
    model, image, truth, drawn = from_strokes
    assert started(monkeypatch, image, drawn, model).undrawn.correct > 0.5
    whole = (truth + 1).astype(np.uint8)
    assert started(monkeypatch, image, whole, model).undrawn.correct == 0


def test_strokes_that_contradict_another_model_do_not(trained, monkeypatch):
    model, image, truth = trained
    drawn = strokes(~truth, truth)
    drawn[tuple(np.argwhere(truth & (drawn == 0))[:100].T)] = 1
    assert held_by(monkeypatch, image, drawn, model) == 0.0


def test_a_model_of_strokes_on_something_else_is_not_held(from_strokes, monkeypatch):
    """Who goes on to other things leaves the model of the last ones chosen, perhaps."""
    model, image, truth, _ = from_strokes
    stripes = np.zeros_like(truth)
    stripes[::8] = True
    dark = np.where(stripes & ~truth, 20, image).astype(np.uint8)
    assert held_by(monkeypatch, dark, strokes(~truth & ~stripes, stripes & ~truth), model) == 0.0


@pytest.mark.parametrize("names", [(), ("background", "block")])
@pytest.mark.parametrize("base", ["trained", "object_base"])
def test_strokes_where_a_model_is_wrong_alone_leave_it_what_it_knows(base, names, request):
    """All of them contradict it: it is corrected, not turned upside down."""
    model = request.getfixturevalue(base)
    model = model[0] if base == "trained" else model
    image, truth = squares(seed=1)
    found = segzoo.predict(model, image, output="labels") > 0
    before = dice(found, truth)
    assert before > 0.8
    wrong = np.zeros(truth.shape, np.uint8)
    wrong[tuple(np.argwhere(found)[:12].T)], wrong[tuple(np.argwhere(~found)[-12:].T)] = 1, 2
    after = tune(image, wrong, base=model, steps=30, class_names=names)
    assert dice(segzoo.predict(after, image, output="labels") > 0, truth) > before - 0.25


@pytest.mark.parametrize("swapped", [False, True])
def test_strokes_with_background_and_object_swapped_are_remarked_on(trained, swapped):
    model, image, truth = trained
    drawn = strokes(truth, ~truth) if swapped else strokes(~truth, truth)
    events = segzoo.finetune(image, drawn, base=model, steps=1)
    said = [event.message for event in events if isinstance(event, Note)]
    assert (CONTRADICTED in said) == swapped


def test_that_remark_stays_when_more_is_drawn(trained):
    model, image, truth = trained
    drawn = strokes(truth, ~truth)
    later = iter([np.roll(drawn, 1, 0)])
    how = {"steps": 3, "more": lambda: next(later, None)}
    events = list(segzoo.finetune(image, drawn, base=model, **how))
    (at,) = (n for n, event in enumerate(events) if isinstance(event, Redrawn))
    assert Note(CONTRADICTED) in events[at:]


@pytest.mark.parametrize(
    "share_right, fainter, corrected",
    [
        ((0.1, 0.1), False, True),
        ((0.45, 0.6), False, True),
        ((0.95, 0.02), False, False),
        ((0.6, 0.0), False, False),
        ((1.0, 0.0), True, True),
        ((1.0, 0.54), True, False),
    ],
    ids=[
        "all wrong",
        "half wrong",
        "another",
        "found elsewhere",
        "fainter objects",
        "known in part",
    ],
)
def test_corrections_are_told_from_strokes_on_something_else(share_right, fainter, corrected):
    n = 100
    target = torch.arange(2).repeat_interleave(n)
    foreground = torch.cat(
        [torch.arange(n) >= n * share_right[0], torch.arange(n) < n * share_right[1]]
    ).float()
    if fainter:
        foreground = torch.cat([torch.full((n,), 0.01), torch.full((n,), 0.3)])
    probabilities = torch.stack([1 - foreground, foreground], 1)
    assert correct_it(share_right, probabilities, target) == corrected


def test_a_network_without_a_plain_last_layer_is_left_as_it_is(trained):
    image, truth = squares()
    item = training_image(image[None].astype(np.float32), truth.astype(np.int8))
    network = segzoo.create_model("segnet", ndim=2, in_channels=1, num_classes=2, width=8)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    found = fit_head(network, network, [item], (32, 32), 2, 0, None, None, Augmentation())
    assert found is None
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_merged_outputs_add_up_their_probabilities():
    logits = torch.log(torch.tensor([0.2, 0.3, 0.5])).view(1, 3, 1, 1)
    merged = Merged(torch.nn.Identity(), torch.tensor([0, 1, 1]), 2)
    np.testing.assert_allclose(merged(logits).exp().flatten(), [0.2, 0.8], rtol=1e-6)


def test_keeping_bears_on_voxels_that_are_not_drawn_alone():
    torch.manual_seed(0)
    x = torch.rand(1, 2, 4, 4)
    logits = torch.rand(1, 2, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4), IGNORE)
    target[0, :2] = 1
    loss = UndrawnLoss(keep=2.0, teacher=torch.nn.Identity())
    value = loss(logits, Batch(x, x, target, None), torch.float32)
    wanted = F.softmax(x, 1)
    surplus = F.kl_div(F.log_softmax(logits, 1), wanted, reduction="none").sum(1)
    torch.testing.assert_close(value, 2 * surplus[0, 2:].mean())
    value.backward()
    assert not logits.grad[0, :, :2].any()
    same = x.clone().requires_grad_()
    agreed = loss(same, Batch(x, x, target, None), torch.float32)
    agreed.backward()
    assert abs(agreed) < 1e-6
    assert same.grad.abs().max() < 1e-6, "nothing to learn where the network is the teacher"


@pytest.mark.parametrize(
    ("right", "left"), [(0.0, 0.1), (0.5, 0.1), (0.95, 2.0)], ids=["never", "half", "learnt"]
)
def test_a_teacher_that_the_strokes_contradict_is_doubted(right, left):
    """Of the drawn class 1, `right` is learnt, and all of class 0, in all of 60 steps."""
    target = torch.full((1, 1, 20, 4), IGNORE)[0]
    target[0, :, 0], target[0, :, 1] = 0, 1
    found = torch.zeros(1, 20, 4, dtype=torch.int64)
    found[0, : round(20 * right), 1] = 1
    logits = F.one_hot(found, 2).movedim(-1, 1).float()
    loss = UndrawnLoss(keep=2.0, teacher=torch.nn.Identity(), keep_doubted=0.1)
    batch = Batch(logits, logits, target, None)
    values = [float(loss(logits, batch, torch.float32)) for _ in range(60)]
    assert len(set(values[:39])) == 1, "early on, all may be wrong"
    assert values[-1] == pytest.approx(values[0] * left / 2)


def test_a_teacher_is_not_doubted_for_what_corrects_it():
    loss = UndrawnLoss(keep=10.0, teacher=torch.nn.Identity(), keep_doubted=0.1)
    loss.expect_corrections()
    logits = F.one_hot(torch.zeros(1, 4, 4, dtype=torch.int64), 2).movedim(-1, 1).float()
    target = torch.full((1, 4, 4), IGNORE)
    target[0, 0], target[0, 1] = 0, 1
    batch = Batch(logits, logits, target, None)
    values = [float(loss(logits, batch, torch.float32)) for _ in range(60)]
    assert values[-1] == pytest.approx(values[0])


def test_what_corrects_a_teacher_counts_once_more():
    """Of 100 drawn voxels the teacher gets 60 of class 1 wrong, and 40 of class 0 right."""
    target = torch.full((1, 10, 11), IGNORE)
    target[0, :4, :10], target[0, 4:, :10] = 0, 1
    logits = torch.stack([torch.ones(1, 10, 11), torch.zeros(1, 10, 11)], 1).requires_grad_()
    batch = Batch(logits.detach(), logits.detach(), target, None)
    loss = UndrawnLoss(teacher=torch.nn.Identity(), correct=2.0)(logits, batch, torch.float32)
    assert loss.item() == pytest.approx(2 * 0.4 * np.log(1 + np.e))
    loss.backward()
    assert (logits.grad.abs().sum(1) > 0).equal(target == 1), "only what is wrong is moved"


def test_an_average_goes_a_share_of_the_way():
    average = WeightAverage({"w": torch.tensor([0.0, 8.0]), "n": torch.tensor(0)}, share=0.25)
    average.update({"w": torch.tensor([10.0, 8.0]), "n": torch.tensor(1)})
    # the first update is taken at 9/10: 9, and a quarter of that
    torch.testing.assert_close(average.state["w"], torch.tensor([2.25, 8.0]))
    assert average.state["n"] == 1


def test_objects_are_counted_by_their_interiors():
    ids = np.zeros((20, 30), np.uint8)
    ids[2:10, 2:10], ids[2:10, 10:18], ids[12:18, 4:20] = 1, 2, 3
    assert count_objects(training_image(ids[None] / 3, interior_and_border(ids))) == 3


@pytest.fixture(scope="module")
def object_base():
    """A model that finds bright squares one by one."""
    image, truth = squares()
    small = {"architecture_options": {"widths": (8, 16)}, "task": "instances"}
    return tune(image, label(truth), steps=60, **small)


def test_few_outlines_change_a_base_that_finds_such_objects_a_little(object_base):
    """Trained on as many objects as here, a base would forget the rest."""
    base = object_base
    other, there = squares(seed=1)
    before = dice(segzoo.predict(base, other) > 0, there)
    after = tune(other[:48], label(there[:48]), base=base, task="instances", steps=10)
    assert dice(segzoo.predict(after, other) > 0, there) > before - 0.02
    old, new = base.network.state_dict(), after.network.state_dict()
    statistics = [name for name in old if "running" in name]
    assert statistics and all(torch.equal(old[name], new[name]) for name in statistics)
    assert not torch.equal(old["head.weight"], new["head.weight"])


def left_open(image, ids, base, **options):
    """Train for a step; return the sentences told."""
    options = {"task": "instances", "steps": 1, **options}
    events = segzoo.finetune(image, ids, base=base, **options)
    return [e.message for e in events if isinstance(e, Note) and "outlined" in e.message]


def test_who_outlines_some_objects_does_not_say_that_the_others_are_none(object_base):
    image, truth = squares(seed=3)
    ids = label(truth)
    some = np.where(ids == 2, 2, 0)
    (told,) = left_open(image, some, object_base)
    assert re.match(r"\d+ object\(s\) that the model finds beside the outlined ones", told)
    assert left_open(image, ids, object_base) == []
    (told,) = left_open(image, some, object_base, steps=None, budget=1e-3)
    assert told.startswith("In 1 image(s) there was no time")
    assert left_open(image, some, object_base, unlabeled="background") == []
    small = {"architecture_options": {"widths": (8, 16)}}
    (told,) = left_open(image, some, None, **small)
    assert told.startswith("What is not outlined counts as background")
    assert left_open(image, some, None, unlabeled="background", **small) == []


def test_who_outlines_what_a_model_misses_does_not_say_that_the_others_are_none(object_base):
    image, truth = squares(seed=3)
    ids = label(truth)
    faint = np.where(ids == 2, 60 + (image.astype(float) - 60) * 0.25, image).astype(np.uint8)
    assert (segzoo.predict(object_base, faint)[ids == 2] > 0).mean() < 0.5, "it is missed"
    missed = np.where(ids == 2, 2, 0)
    (told,) = left_open(faint, missed, object_base)
    assert re.match(r"\d+ object\(s\) that the model finds beside the outlined ones", told)
    after = tune(faint, missed, base=object_base, task="instances", steps=20)
    assert dice(segzoo.predict(after, faint) > 0, truth) > 0.8
    nothing = np.zeros_like(ids)
    nothing[np.nonzero(np.cumsum(~truth, axis=1) == 30)] = 1
    assert left_open(image, nothing, object_base) == [], "outlined is something else"


def test_objects_that_are_not_outlined():
    """Of four objects found, one is outlined, one in part, and one is merged with a neighbour."""
    outlined = np.zeros((20, 40), np.uint8)
    outlined[2:8, 2:8], outlined[2:8, 12:18], outlined[12:18, 2:8] = 1, 2, 3
    found = np.zeros_like(outlined)
    found[2:8, 2:8], found[2:8, 12:16], found[12:18, 2:16], found[2:8, 30:36] = 7, 5, 9, 4
    item = training_image(outlined[None] / 3, interior_and_border(outlined))
    others = not_outlined(item, found)
    np.testing.assert_array_equal(others, np.select([found == 4, found == 9], [1, 2], 0))
    assert not not_outlined(item, outlined).any()


@pytest.fixture
def looks(monkeypatch):
    """The steps at which a training looked at its own images."""
    seen = []
    look = PseudoLabels.look
    monkeypatch.setattr(
        PseudoLabels, "look", lambda self, step, *rest: (seen.append(step), look(self, step, *rest))
    )
    return seen


@pytest.mark.parametrize("from_base", [False, True])
def test_a_network_new_to_the_classes_learns_from_pseudo_labels(looks, from_base):
    image, truth = squares()
    base = tiny_model(widths=(8, 16)) if from_base else None
    options = {} if from_base else {"architecture_options": {"widths": (8, 16)}}
    tune(image, strokes(~truth, truth), base=base, steps=33, **options)
    assert looks == [16, 32]


def test_strokes_drawn_meanwhile_let_the_network_look_again(looks):
    image, truth = squares()
    drawn = strokes(~truth, truth)
    more = drawn.copy()
    more[tuple(np.argwhere(~truth)[:12].T)] = 1
    asked = iter([None] * 19 + [more])
    small = {"architecture_options": {"widths": (8, 16)}}
    tune(image, drawn, steps=27, more=lambda: next(asked, None), **small)
    assert looks == [16, 20]


@pytest.mark.parametrize("drawn", ["known", "dense", "stack"])
def test_what_is_known_or_drawn_needs_no_pseudo_labels(trained, looks, drawn):
    image, truth = squares(32, ndim=3) if drawn == "stack" else squares()
    labels = strokes(~truth, truth)
    small = {"architecture_options": {"widths": (4, 8)}}
    if drawn == "known":
        tune(image, labels, base=trained[0], steps=17)
    elif drawn == "dense":
        tune(image, truth.astype(np.uint8) + 1, steps=17, **small)
    else:
        tune(image, labels, steps=17, **small)
    assert not looks
