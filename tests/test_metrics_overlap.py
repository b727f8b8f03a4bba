"""Overlap scores: known answers, empty classes, streaming and independent computations."""

import json
import math
from functools import partial

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_support import assert_same_scores, engine, label_pairs, without_numba  # noqa: F401
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

from napari_segzoo import InputError
from napari_segzoo.metrics import cl_dice, evaluate, per_slice, scan
from napari_segzoo.metrics.blocks import regions
from napari_segzoo.metrics.contingency import count_pairs

TARGET = [0, 1, 1, 2, 2, 3, 1, 2, 3]
PREDICTION = [1, 1, 1, 2, 3, 3, 1, 2, 3]


@pytest.mark.usefixtures("engine")
def test_known_answer():
    """Counted by hand: class 0 is 1 voxel, missed; one voxel of class 2 is taken for 3."""
    report = evaluate(TARGET, PREDICTION)
    assert report["labels"] == [0, 1, 2, 3]
    assert report["confusion"] == [[0, 1, 0, 0], [0, 3, 0, 0], [0, 0, 2, 1], [0, 0, 0, 2]]
    assert report["dice"] == pytest.approx({"0": 0, "1": 6 / 7, "2": 4 / 5, "3": 4 / 5})
    assert report["iou"] == pytest.approx({"0": 0, "1": 3 / 4, "2": 2 / 3, "3": 2 / 3})
    expected = {"0": math.nan, "1": 3 / 4, "2": 1, "3": 2 / 3}
    assert report["precision"] == pytest.approx(expected, nan_ok=True)
    assert report["recall"] == pytest.approx({"0": 0, "1": 1, "2": 2 / 3, "3": 1})
    assert report["specificity"] == pytest.approx({"0": 1, "1": 5 / 6, "2": 1, "3": 6 / 7})
    assert report["volume_similarity"] == pytest.approx({"0": 0, "1": 6 / 7, "2": 0.8, "3": 0.8})
    assert report["pixel_accuracy"] == pytest.approx(7 / 9)
    assert report["mean_pixel_accuracy"] == pytest.approx((0 + 1 + 2 / 3 + 1) / 4)
    assert report["mean_iou"] == pytest.approx((0 + 3 / 4 + 2 / 3 + 2 / 3) / 4)
    assert report["mean_dice"] == pytest.approx((6 / 7 + 4 / 5 + 4 / 5) / 3)
    weighted = (1 * 0 + 3 * 3 / 4 + 3 * 2 / 3 + 2 * 2 / 3) / 9
    assert report["frequency_weighted_iou"] == pytest.approx(weighted)
    # chance: (1*0 + 3*4 + 3*2 + 2*3) / 81 = 24/81
    assert report["kappa"] == pytest.approx((7 / 9 - 24 / 81) / (1 - 24 / 81))
    # (7*9 - 24) / sqrt((81 - (1+9+9+4)) * (81 - (0+16+4+9)))
    assert report["mcc"] == pytest.approx(39 / math.sqrt(58 * 52))


def test_volumes_are_in_the_units_of_the_spacing():
    report = evaluate([[1, 1], [1, 0]], [[1, 0], [0, 0]], spacing=(2, 0.5))
    assert report["volume_reference"]["1"] == 3.0
    assert report["volume_prediction"]["1"] == 1.0
    assert report["volume_difference"]["1"] == -2.0
    assert report["relative_volume_difference"]["1"] == pytest.approx(-2 / 3)


def test_class_absent_in_one_image_scores_zero_and_in_both_is_not_listed():
    report = evaluate([0, 0, 1, 1], [0, 0, 0, 3])
    assert report["labels"] == [0, 1, 3]
    assert report["dice"]["1"] == 0
    assert report["dice"]["3"] == 0
    assert math.isnan(report["recall"]["3"])
    assert math.isnan(report["precision"]["1"])
    assert report["hd95"]["1"] == math.inf
    assert report["nsd"]["3"] == 0


def test_only_background_has_no_mean_dice():
    report = evaluate(np.zeros((4, 4), int), np.zeros((4, 4), int))
    assert report["labels"] == [0]
    assert report["dice"] == {"0": 1}
    assert math.isnan(report["mean_dice"])
    assert report["mean_iou"] == 1
    assert math.isnan(report["kappa"])


@pytest.mark.usefixtures("engine")
def test_ignored_voxels_count_nowhere():
    reference = np.array([0, 1, 255, 255, 1, 0])
    report = evaluate(reference, [0, 1, 1, 2, 0, 0], ignore=255)
    assert report["labels"] == [0, 1]
    assert report["confusion"] == [[2, 0], [1, 1]]
    everything = evaluate(np.full(5, 255), np.ones(5, int), ignore=255)
    assert everything["labels"] == [0]
    assert math.isnan(everything["pixel_accuracy"])


@pytest.mark.usefixtures("engine")
def test_a_predicted_voxel_of_the_ignored_label_is_a_miss_and_no_class():
    """Of three voxels of class 1 one is found, one is taken for 0, one for the ignored 255."""
    reference, prediction = np.array([0, 1, 1, 255, 1]), np.array([0, 1, 255, 255, 0])
    report = evaluate(reference, prediction, ignore=255)
    assert report["labels"] == [0, 1]
    assert report["confusion"] == [[1, 0], [1, 1]]
    assert report["dice"] == pytest.approx({"0": 2 / 3, "1": 1 / 2})
    assert report["recall"] == pytest.approx({"0": 1, "1": 1 / 3})
    assert report["precision"] == pytest.approx({"0": 1 / 2, "1": 1})
    assert report["mean_iou"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert report["pixel_accuracy"] == 1 / 2
    known = reference != 255
    ours, theirs = reference[known], prediction[known]
    assert report["kappa"] == pytest.approx(cohen_kappa_score(ours, theirs))
    assert report["mcc"] == pytest.approx(matthews_corrcoef(ours, theirs))
    slices = per_slice([[0, 1], [1, 1]], [[0, 1], [255, 1]], ignore=255)
    assert slices["dice"]["1"] == pytest.approx([1, 2 / 3]) and "255" not in slices["dice"]


def test_the_background_may_be_ignored():
    report = evaluate([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], ignore=0)
    assert report["labels"] == [1, 2]
    assert report["dice"] == pytest.approx({"1": 1, "2": 2 / 3})
    assert report["mean_iou"] == pytest.approx(3 / 4)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("labels", [(0, 1, 60_000), (0, 3, 200), (5, 70_000, 2**40), (0, 1, 2)])
@pytest.mark.parametrize("size", [1, 3, 5, 4099, 20_001])
def test_any_label_values_are_counted_exactly(labels, size):
    random = np.random.default_rng(size)
    reference, prediction = (np.repeat(random.choice(labels, size), 3) for _ in range(2))
    wide = np.uint64 if max(labels) > 65535 else np.uint16
    found = count_pairs(reference.astype(wide), prediction.astype(wide))
    pairs, counts = np.unique(np.stack([reference, prediction]), axis=1, return_counts=True)
    np.testing.assert_array_equal([found.reference, found.prediction], pairs)
    np.testing.assert_array_equal(found.count, counts)


@pytest.mark.usefixtures("engine")
def test_many_labels_at_once_make_the_table_grow():
    reference = np.arange(100_000, dtype=np.uint64)
    found = count_pairs(reference, reference[::-1].copy())
    np.testing.assert_array_equal(found.reference, reference)
    np.testing.assert_array_equal(found.prediction, reference[::-1])
    assert (found.count == 1).all()


def test_labels_outgrow_the_fast_loops_in_the_middle():
    reference = np.concatenate([np.arange(9000) % 3, np.arange(9000) % 40, np.arange(9000)])
    prediction = np.roll(reference, 1)
    report = evaluate(reference % 1000, prediction % 1000, surfaces=False)
    with without_numba():
        assert report == evaluate(reference % 1000, prediction % 1000, surfaces=False)
    assert sum(map(sum, report["confusion"])) == 27_000


@settings(deadline=None, max_examples=60)
@given(label_pairs(), st.sampled_from([None, 0, 2]))
def test_both_engines_and_a_plain_loop_agree(pair, ignore):
    reference, prediction, spacing = pair
    report = evaluate(reference, prediction, spacing=spacing, ignore=ignore)
    with without_numba():
        assert_same_scores(report, evaluate(reference, prediction, spacing=spacing, ignore=ignore))
    kept = reference != ignore if ignore is not None else np.ones(reference.shape, bool)
    for label in report["labels"]:
        ours, theirs = (reference == label) & kept, (prediction == label) & kept
        both, either = (ours & theirs).sum(), (ours | theirs).sum()
        expected = both / either if either else math.nan
        assert report["iou"][str(label)] == pytest.approx(expected, nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(label_pairs())
def test_symmetry_bounds_and_renaming(pair):
    reference, prediction, spacing = pair
    there = evaluate(reference, prediction, spacing=spacing)
    back = evaluate(prediction, reference, spacing=spacing)
    for name in ("dice", "iou", "hd", "hd95", "hd95_pooled", "assd", "masd", "nsd"):
        assert there[name] == pytest.approx(back[name], nan_ok=True)
    for name in ("dice", "iou", "precision", "recall", "specificity", "nsd"):
        assert all(0 <= v <= 1 for v in there[name].values() if not math.isnan(v))
    for label, score in there["hd"].items():
        assert score >= there["hd95"][label] or math.isnan(score)
        assert score >= there["assd"][label] or math.isnan(score)
    names = np.array([0, 7, 300, 2, 1], np.int64)
    renamed = evaluate(names[reference.astype(int)], names[prediction.astype(int)])
    for label in there["labels"]:
        assert renamed["dice"][str(names[label])] == pytest.approx(
            there["dice"][str(label)], nan_ok=True
        )
    perfect = evaluate(reference, reference, spacing=spacing)
    assert perfect["pixel_accuracy"] == 1
    assert all(v == 0 for v in perfect["hd"].values())


@pytest.mark.parametrize("surfaces", [False, True])
def test_chunked_sources_score_like_arrays(tmp_path, surfaces):
    random = np.random.default_rng(3)
    reference = np.kron(random.integers(0, 3, (5, 6, 7)), np.ones((4, 5, 6), int)).astype("u2")
    prediction = np.roll(reference, 1, axis=2)
    expected = evaluate(reference, prediction, spacing=(4, 1, 1), surfaces=surfaces)
    stored = zarr.create_array(tmp_path / "a.zarr", data=reference, chunks=(7, 8, 9))
    lazy = da.from_array(prediction, chunks=(5, 11, 40))
    mapped = np.lib.format.open_memmap(
        tmp_path / "m.npy", mode="w+", dtype="u2", shape=reference.shape
    )
    mapped[:] = reference
    for one, other in [(stored, lazy), (mapped, prediction), (reference, lazy)]:
        assert_same_scores(evaluate(one, other, spacing=(4, 1, 1), surfaces=surfaces), expected)
    flipped = [np.asfortranarray(v)[:, ::-1] for v in (reference, prediction)]
    assert_same_scores(
        evaluate(*(v[:, ::-1] for v in flipped), spacing=(4, 1, 1), surfaces=surfaces), expected
    )


def cut_into_blocks(monkeypatch, voxels):
    """Let the passes take blocks of so many voxels."""
    monkeypatch.setattr(scan, "regions", partial(regions, voxels=voxels))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("voxels", [1, 7, 100])
def test_small_blocks_give_the_same_scores(monkeypatch, voxels):
    random = np.random.default_rng(5)
    reference = np.kron(random.integers(0, 3, (2, 2, 2, 2)), np.ones((1, 2, 3, 4), int))
    prediction = np.roll(reference, 1, axis=2)
    options = {"per_slice": True, "axis": 1, "spacing": (1, 3, 1, 0.5)}
    expected = evaluate(reference, prediction, **options)
    cut_into_blocks(monkeypatch, voxels)
    assert_same_scores(evaluate(reference, prediction, **options), expected)


def test_regions_cover_every_voxel_once_and_follow_the_chunks(tmp_path):
    stored = zarr.create_array(
        tmp_path / "a.zarr", shape=(50, 40, 30), chunks=(16, 8, 30), dtype="u1"
    )
    seen = np.zeros(stored.shape, int)
    found = regions(stored, np.zeros(stored.shape, "u1"), voxels=9000)
    for region in found:
        seen[region] += 1
        assert region[0].start % 16 == 0
        assert region[1].start % 8 == 0
    assert (seen == 1).all()
    assert len(found) > 2


def test_slices_are_scored_one_by_one():
    reference = np.array([[0, 1, 1], [0, 0, 0], [2, 2, 0]])
    prediction = np.array([[0, 1, 0], [0, 0, 0], [2, 2, 2]])
    scores = per_slice(reference, prediction)
    assert scores["dice"]["1"] == pytest.approx([2 / 3, math.nan, math.nan], nan_ok=True)
    assert scores["iou"]["2"] == pytest.approx([math.nan, math.nan, 2 / 3], nan_ok=True)
    assert scores["dice"]["0"] == pytest.approx([2 / 3, 1, 0])
    across = per_slice(reference, prediction, axis=1)
    assert across["dice"]["1"] == pytest.approx([math.nan, 1, 0], nan_ok=True)
    whole = evaluate(reference, prediction, per_slice=True)
    assert whole["per_slice"]["dice"]["1"] == pytest.approx(scores["dice"]["1"], nan_ok=True)


def test_boolean_masks_are_label_images():
    assert evaluate(np.array([True, False]), np.array([True, True]))["dice"]["1"] == 2 / 3


@pytest.mark.parametrize(
    ("reference", "prediction", "options", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), {}, r"\(2, 3\).*\(3, 2\)"),
        (np.zeros(3), np.zeros(3, int), {}, "reference holds float64.*whole numbers"),
        (np.zeros(3, int), np.zeros(3, "f4"), {}, "prediction holds float32"),
        (np.zeros(3, int), np.array([0, -1, 2]), {}, "prediction holds the negative label -1"),
        (np.zeros(3, int), np.array([0, 2**63, 2], "u8"), {}, "below 2"),
        (np.zeros((0, 3), int), np.zeros((0, 3), int), {}, "nothing to compare"),
        (np.zeros(3, int), np.zeros(3, int), {"spacing": (1, 2)}, "2 numbers.*1 axes"),
        (np.zeros(3, int), np.zeros(3, int), {"spacing": 0}, "positive"),
        (np.zeros(3, int), np.zeros(3, int), {"spacing": math.nan}, "positive"),
        (np.zeros(3, int), np.zeros(3, int), {"spacing": "x"}, "spacing must be .*'x'"),
        (np.zeros(3, int), np.zeros(3, int), {"ignore": "x"}, "ignore must be .*'x'"),
        (np.zeros(3, int), np.zeros(3, int), {"ignore": 2.5}, "ignore must be .*2.5"),
        (np.zeros(3, int), np.zeros(3, int), {"task": "things"}, "'semantic' or 'instances'"),
        (np.zeros(3, int), np.zeros(3, int), {"tolerance": -1}, "tolerance"),
        (np.zeros(3, int), np.zeros(3, int), {"axis": 1}, "axis is 1"),
        (np.arange(2000), np.zeros(2000, int), {}, "2000 different labels.*instances"),
        (
            np.zeros(3, int),
            np.zeros(3, int),
            {"task": "instances", "per_slice": True},
            "per_slice",
        ),
    ],
)
def test_wrong_use_is_told_in_one_sentence(reference, prediction, options, message):
    with pytest.raises(InputError, match=message) as caught:
        evaluate(reference, prediction, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("engine")
def test_progress_counts_up_to_the_end_and_cancels(monkeypatch):
    cut_into_blocks(monkeypatch, 100)
    labels = np.zeros((40, 10, 10), np.uint8)
    seen = []
    evaluate(labels, labels, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1] == (len(seen), len(seen))
    assert len(seen) >= 40

    class Cancelled(Exception):
        pass

    def cancel(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        evaluate(labels, labels, progress=cancel)


def test_json_has_null_where_a_number_is_undefined():
    report = evaluate([0, 1], [0, 2])
    found = json.loads(report.to_json())
    assert found["recall"] == {"0": 1.0, "1": 0.0, "2": None}
    assert found["hd95"] == {"1": None, "2": None}
    assert list(found) == list(report)


def test_centreline_dice_asks_for_the_course_not_for_the_width():
    """A bar of 3 rows against its middle row: the skeletons lie in each other."""
    thick, thin = np.zeros((2, 7, 30), np.uint8)
    thick[2:5, 2:28] = 1
    thin[3, 2:28] = 1
    assert cl_dice(thick, thin) > 0.97
    assert evaluate(thick, thin)["dice"]["1"] == pytest.approx(0.5)
    # half of the line is missing: precision 1, sensitivity 1/2 -> 2/3
    half = thin.copy()
    half[:, 15:] = 0
    assert cl_dice(thin, half) == pytest.approx(2 / 3)
    assert cl_dice(thin, np.zeros_like(thin)) == 0
    assert math.isnan(cl_dice(np.zeros_like(thin), np.zeros_like(thin)))
    assert evaluate(thin, half, centreline=True)["cl_dice"]["1"] == pytest.approx(2 / 3)
