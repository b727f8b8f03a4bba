import numpy as np
import pytest
import torch
from tiny import dice, noise, squares, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.training import Finished, Note, Scored, Snapshot, Started, StepDone
from napari_segzoo.training.data import interior_and_border

SMALL = {"widths": (8, 16, 32)}


def strokes_of(truth, width=2):
    """A cross through the middle of the foreground's box and one along the border."""
    strokes = np.zeros(truth.shape, np.uint8)
    strokes[..., :width] = 1
    middle = np.argwhere(truth)[len(np.argwhere(truth)) // 2]
    around = tuple(slice(m - 3, m + 3) for m in middle)
    strokes[around] = np.where(truth[around], 2, 1)
    return strokes


def train(*args, **options):
    options = {"steps": 2, "architecture_options": SMALL, **options}
    return list(segzoo.finetune(*args, **options))


@pytest.fixture(scope="module")
def drawn():
    image, truth = squares()
    return image, strokes_of(truth), truth


def test_a_few_strokes_teach_bright_squares(drawn):
    image, strokes, _ = drawn
    events = train(image, strokes, steps=60)
    finished = events[-1]
    assert isinstance(finished, Finished)
    other, other_truth = squares(seed=5)
    assert dice(segzoo.predict(finished.model, other) == 1, other_truth) > 0.9
    assert (strokes > 0).mean() < 0.05


def test_events_come_in_order_and_tell_the_run(drawn):
    image, strokes, _ = drawn
    events = train(image, strokes, steps=5)
    assert isinstance(events[0], Started)
    assert events[0].labelled_voxels == {c: int((strokes == c).sum()) for c in (1, 2)}
    steps = [e for e in events if isinstance(e, StepDone)]
    assert [e.step for e in steps] == [1, 2, 3, 4, 5]
    assert steps[-1].progress == 1
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.steps == 5
    assert finished.model.info.provenance["steps"] == 5
    assert [c.name for c in finished.model.info.classes] == ["background", "class 1"]


def test_the_same_seed_gives_the_same_model(drawn):
    image, strokes, _ = drawn
    first, second, other = (train(image, strokes, seed=s)[-1].model for s in (3, 3, 4))
    a, b, c = (m.network.state_dict() for m in (first, second, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_budget_of_seconds_is_kept(drawn):
    image, strokes, _ = drawn
    finished = train(image, strokes, steps=None, budget=3)[-1]
    assert 3 <= finished.seconds < 10
    assert finished.steps >= 1


def test_stopping_keeps_the_model_so_far(drawn):
    image, strokes, _ = drawn
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    finished = train(image, strokes, steps=1000, stop=stop)[-1]
    assert isinstance(finished, Finished)
    assert finished.steps == 3


def test_a_snapshot_can_be_run_while_training_goes_on(drawn, monkeypatch):
    monkeypatch.setattr("napari_segzoo.training.loop.SNAPSHOT_SECONDS", 0)
    image, strokes, _ = drawn
    events = segzoo.finetune(image, strokes, steps=4, architecture_options=SMALL)
    snapshots = [
        (event.model, segzoo.predict(event.model, image))
        for event in events
        if isinstance(event, Snapshot)
    ]
    assert len(snapshots) >= 2
    for model, labels in snapshots:
        np.testing.assert_array_equal(segzoo.predict(model, image), labels)


def test_the_best_model_on_the_validation_image_is_kept(drawn, monkeypatch):
    monkeypatch.setattr("napari_segzoo.training.loop.SNAPSHOT_SECONDS", 0)
    image, strokes, truth = drawn
    dense = np.where(truth, 2, 1).astype(np.uint8)
    events = train(image, strokes, steps=8, validation=(image, dense))
    scores = [e.mean_dice for e in events if isinstance(e, Scored)]
    finished = events[-1]
    assert finished.validation == max(scores)
    found = segzoo.predict(finished.model, image) == 1
    assert dice(found, truth) == pytest.approx(finished.validation, abs=1e-6)


def test_dense_labels_with_zero_as_background(drawn):
    image, _, truth = drawn
    events = train(image, truth.astype(np.uint8), unlabeled="background", steps=40)
    assert events[0].labelled_voxels == {1: int(truth.sum())}
    assert dice(segzoo.predict(events[-1].model, image) == 1, truth) > 0.9


def test_what_holds_nothing_is_an_example_where_zero_is_the_background():
    stack, labels = noise((4, 24, 24)), np.zeros((4, 24, 24), np.uint8)
    labels[1, 5:9, 5:9] = 1
    options = {"ndim": 2, "axes": "ZYX", "steps": 1, "architecture_options": {"widths": (4, 8)}}
    images = [
        train(stack, labels, **options, **how)[-1].model.info.provenance["images"]
        for how in ({"unlabeled": "background"}, {"task": "instances"})
    ]
    assert images == [4, 1]


def test_several_images_grey_and_colour_together(drawn):
    image, strokes, _ = drawn
    colour = np.stack([image] * 3, axis=-1)
    finished = train([image, colour], [strokes, strokes])[-1]
    assert finished.model.info.in_channels == 3
    assert segzoo.predict(finished.model, image).shape == image.shape


def test_a_volume_with_distant_planes_trains_a_3d_network():
    image, truth = squares(48, ndim=3)
    volume = segzoo.Image(image, "ZYX", (4.0, 1.0, 1.0), "micrometer")
    events = list(segzoo.finetune(volume, strokes_of(truth), steps=2))
    info = events[-1].model.info
    assert (info.ndim, info.voxel_size, info.unit) == (3, (4.0, 1.0, 1.0), "micrometer")
    assert info.options["strides"] == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert segzoo.predict(events[-1].model, volume).shape == image.shape


def test_slices_of_a_stack_train_a_2d_network():
    image, truth = squares(48, ndim=3)
    strokes = np.zeros(truth.shape, np.uint8)
    for z in (10, 20):
        strokes[z] = np.where(truth[z], 2, 1)
    volume = segzoo.Image(image, "ZYX")
    finished = train(volume, strokes, ndim=2)[-1]
    assert finished.model.info.ndim == 2
    assert finished.model.info.provenance["images"] == 2


def test_object_numbers_train_an_instance_model():
    image, truth = squares()
    from scipy import ndimage as ndi

    ids, count = ndi.label(truth)
    finished = train(image, ids, task="instances", steps=50)[-1]
    assert finished.model.info.task == "instances"
    objects = segzoo.predict(finished.model, image, output="instances")
    assert abs(int(objects.max()) - count) <= 2


def test_interior_and_border_of_touching_objects():
    ids = np.zeros((7, 10), int)
    ids[1:6, 1:5], ids[1:6, 5:9] = 1, 2
    found = interior_and_border(ids)
    expected = np.zeros((7, 10), int)
    expected[1:6, 1:9] = 2
    expected[2:5, 2:4] = expected[2:5, 6:8] = 1
    np.testing.assert_array_equal(found, expected)


def test_huge_numbers_and_an_object_that_fills_the_image():
    ids = np.zeros((12, 24), np.uint64)
    ids[2:10, 2:12], ids[2:10, 12:22] = 1, 2
    huge = np.where(ids > 0, ids + np.uint64(2**60), 0).astype(np.uint64)
    np.testing.assert_array_equal(interior_and_border(huge), interior_and_border(ids))
    assert (interior_and_border(np.full((9, 9), 7)) == 1).all()


def test_borders_are_thicker_in_larger_objects_and_leave_every_one_an_interior():
    ids = np.zeros((40, 60), int)
    ids[2:38, 2:38] = 1
    ids[5, 50], ids[10:12, 50:52] = 2, 3
    found = interior_and_border(ids)
    assert (found[20, 2:6] == 2).all()
    assert found[20, 6] == 1
    assert found[5, 50] == 1
    assert (found[10:12, 50:52] == 1).all()


def test_a_base_model_is_adapted_to_new_channels_and_classes(drawn):
    image, strokes, _ = drawn
    base = tiny_model(classes=3)
    colour = np.stack([image] * 3, axis=-1)
    before = {k: v.clone() for k, v in base.network.state_dict().items()}
    finished = train(colour, strokes, base=base, steps=1)[-1]
    info = finished.model.info
    assert (info.in_channels, len(info.classes)) == (3, 2)
    assert info.options == base.info.options
    after = base.network.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before), "the base must not change"


def test_adapting_keeps_what_fits_and_averages_channels():
    from dataclasses import replace

    from napari_segzoo.model import default_classes
    from napari_segzoo.training.adapt import adapt

    base = tiny_model(in_channels=2, classes=3)
    info = replace(base.info, in_channels=4, classes=default_classes(5))
    new = adapt(base, info).network.state_dict()
    old = base.network.state_dict()
    changed = [k for k in old if old[k].shape != new[k].shape]
    first = next(k for k in changed if old[k].shape[1:2] == (2,))
    mean = old[first].mean(1, keepdim=True) * 2 / 4
    assert torch.allclose(new[first], mean.expand(-1, 4, -1, -1))
    assert sorted(k.split(".")[0] for k in changed) == ["encoder", "head", "head"]
    assert all(torch.equal(old[k], new[k]) for k in old if k not in changed)


def test_a_model_tells_the_voxel_size_that_it_was_trained_on_last(drawn):
    image, strokes, _ = drawn
    base = train(image, strokes, steps=1)[-1].model
    larger = segzoo.Image(image, "YX", (3.0, 3.0), "micrometer")
    info = train(larger, strokes, base=base, steps=1)[-1].model.info
    assert (base.info.voxel_size, base.info.unit) == ((1.0, 1.0), "pixel")
    assert (info.voxel_size, info.unit) == ((3.0, 3.0), "micrometer")


def test_random_numbers_drawn_meanwhile_change_nothing(drawn):
    image, strokes, _ = drawn
    options = {"steps": 3, "architecture_options": {"widths": (4, 8), "dropout": 0.3}}
    before = torch.random.get_rng_state()
    plain = train(image, strokes, **options)[-1].model.network.state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    events = segzoo.finetune(image, strokes, **options)
    found = [(event, torch.rand(3)) for event in events][-1][0].model.network.state_dict()
    assert all(torch.equal(v, found[k]) for k, v in plain.items())


def test_class_gaps_are_noted(drawn):
    image, strokes, _ = drawn
    gap = np.where(strokes == 2, 4, strokes)
    notes = [e.message for e in train(image, gap) if isinstance(e, Note)]
    assert any("2, 3" in n and "not drawn" in n for n in notes)


BLANK = np.zeros((96, 96), np.uint8)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": BLANK}, "Nothing is drawn"),
        ({"labels": BLANK + 1}, "Only label 1 is drawn"),
        ({"labels": BLANK[:50]}, r"shape \(50, 96\)"),
        ({"labels": noise((96, 96))}, "whole numbers"),
        ({"labels": np.eye(96, dtype=np.int16) * -1}, "0 or more"),
        ({"labels": np.arange(96 * 96).reshape(96, 96)}, "object numbers"),
        ({"images": np.full((96, 96), 9)}, "same value everywhere"),
        ({"images": np.full((96, 96), np.nan)}, "no finite values"),
        ({"images": np.zeros((0, 96)), "labels": BLANK[:0]}, "empty|Nothing is drawn"),
        ({"images": noise((5, 90, 96))}, "does not fit the image"),
        ({"images": []}, "pairs"),
        ({"images": [], "labels": []}, "No training image"),
        ({"steps": 0}, "steps must be above 0"),
        ({"steps": None, "budget": -1.0}, "budget must be above 0"),
        ({"steps": 3, "budget": 3.0}, "not both"),
        ({"task": "panoptic"}, "task must be"),
        ({"unlabeled": "skip"}, "unlabeled must be"),
        ({"architecture": "unett"}, "did you mean 'unet'"),
        ({"architecture_options": {"wide": 3}}, "no option 'wide'"),
        ({"device": "tpu"}, "device must be"),
        ({"base": "nothing"}, "no model 'nothing'"),
        ({"ndim": 3}, "axis Z"),
        ({"ndim": 4}, "ndim must be 2 or 3"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"class_names": ("a", "b", "c")}, "3 class names, but only 2"),
        ({"validation": noise((96, 96))}, "validation must be a pair"),
        ({"validation": (noise((96, 96)), BLANK)}, "Nothing is drawn in the validation"),
        (
            {"validation": (noise((96, 96)), BLANK + 3)},
            "hold 3, but the training labels go up to 2",
        ),
        ({"validation": (noise((96, 96)), BLANK + 0.5)}, "whole numbers"),
    ],
)
def test_wrong_use_is_told_before_training_starts(drawn, change, message):
    image, strokes, _ = drawn
    call = {"images": image, "labels": strokes, "steps": 1, **change}
    with pytest.raises(InputError, match=message):
        segzoo.finetune(call.pop("images"), call.pop("labels"), **call)


def test_a_loss_that_explodes_is_one_sentence(drawn, monkeypatch):
    image, strokes, _ = drawn
    before = strokes.copy()
    monkeypatch.setattr(
        "napari_segzoo.training.losses.total_loss",
        lambda network, x, *rest: network(x).sum() * float("nan"),
    )
    with pytest.raises(RunError, match="no longer a finite number"):
        train(image, strokes)
    np.testing.assert_array_equal(strokes, before)


def test_running_out_of_memory_halves_the_batch_and_says_so(drawn, monkeypatch):
    from napari_segzoo.training import losses

    whole = losses.total_loss

    def limited(network, x, *rest):
        if len(x) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 99 bytes")
        return whole(network, x, *rest)

    image, strokes, _ = drawn
    monkeypatch.setattr("napari_segzoo.training.losses.total_loss", limited)
    events = train(image, strokes, steps=2)
    notes = [e.message for e in events if isinstance(e, Note)]
    assert [n.split("with ")[1] for n in notes] == [
        "2 patch(es) per step.",
        "1 patch(es) per step.",
    ]
    assert events[-1].steps == 2


def test_running_out_of_memory_over_whole_images_goes_on_without_them(drawn, monkeypatch):
    def out_of_memory(self, *args):
        raise torch.OutOfMemoryError("out of memory")

    image, strokes, _ = drawn
    monkeypatch.setattr(
        "napari_segzoo.training.pseudo_labels.PseudoLabels._classify", out_of_memory
    )
    events = train(image, strokes, steps=18, architecture_options={"widths": (4, 8)})
    assert [e.message for e in events if isinstance(e, Note)] == [
        "Memory ran out while the network looked at whole images; going on with what is drawn "
        "alone."
    ]
    assert events[-1].steps == 18


def test_one_patch_that_cannot_be_normalised_is_one_sentence():
    drawn = np.zeros((16, 16), np.uint8)
    drawn[2, 2:8], drawn[9, 2:8] = 1, 2
    with pytest.raises(InputError, match="a batch of 1 is too small"):
        train(
            noise((16, 16)),
            drawn,
            batch=1,
            steps=1,
            architecture_options={"widths": (4,) * 5},
        )


def test_scoring_counts_in_the_budget_and_can_be_stopped(drawn, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def slow(model, images, device, stop):
        now[0] += 4.0
        return None if stop() else {0: 0.9, 1: 0.5}

    def step(trainer, step, rate):
        now[0] += 0.5
        return 1.0

    monkeypatch.setattr("napari_segzoo.training.drawn_scores.mean_dice", slow)
    monkeypatch.setattr("napari_segzoo.training.loop._Trainer._step", step)
    image, strokes, _ = drawn
    call = {"steps": None, "budget": 10.0, "validation": (image, strokes)}
    events = train(image, strokes, **call)
    assert [e.step for e in events if isinstance(e, Scored)] == [2, 4]
    assert events[-1].seconds == 10.0
    stopped = train(image, strokes, **call, stop=lambda: now[0] > 12)
    assert not [e for e in stopped if isinstance(e, Scored)]


@pytest.mark.parametrize(
    "shape, patch", [((5, 40, 30), (6, 40, 32)), ((70, 200, 300), (32, 64, 64))]
)
def test_patches_fit_the_images_and_the_network(shape, patch):
    labels = np.zeros(shape, np.uint8)
    labels[2, :9, :9], labels[3, :9, :9] = 1, 2
    events = segzoo.finetune(segzoo.Image(noise(shape), "ZYX"), labels, steps=1)
    assert next(events).patch == patch
