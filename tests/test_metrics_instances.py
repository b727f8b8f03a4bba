"""Instance scores: worked by hand, against brute force and scikit-image, edge cases."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_support import assert_same_scores, engine, label_pairs, without_numba  # noqa: F401
from scipy.optimize import linear_sum_assignment
from skimage.metrics import adapted_rand_error, variation_of_information

from napari_segzoo.metrics import evaluate
from napari_segzoo.metrics.contingency import count_pairs
from napari_segzoo.metrics.instances import match, matching_scores, objects


def found_objects(reference, prediction):
    return objects(count_pairs(np.asarray(reference, np.uint16), np.asarray(prediction, np.uint16)))


@pytest.mark.usefixtures("engine")
def test_a_row_of_objects_by_hand():
    """Object 1 is matched with IoU 4/5, 2 is cut in two, 3 is missed, 9 is made up."""
    reference = [1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 0, 3, 3, 0, 0, 0]
    prediction = [4, 4, 4, 4, 4, 5, 5, 5, 6, 6, 6, 0, 0, 0, 0, 9, 9]
    report = evaluate(reference, prediction, task="instances")
    assert (report["n_reference"], report["n_prediction"], report["n_matched"]) == (3, 4, 2)
    # at 0.5 also one half of object 2 counts: IoU 3/6
    assert report["ap"]["0.5"] == pytest.approx(2 / 5)
    assert report["ap"]["0.55"] == pytest.approx(1 / 6)
    assert report["ap"]["0.8"] == pytest.approx(1 / 6)
    assert report["ap"]["0.85"] == 0
    assert [float(t) for t in report["ap"]] == pytest.approx(np.arange(0.5, 0.96, 0.05))
    assert report["mean_ap"] == pytest.approx((2 / 5 + 6 / 6) / 10)
    assert report["f1"]["0.5"] == pytest.approx(4 / 7)
    assert report["precision"] == pytest.approx(2 / 4)
    assert report["recall"] == pytest.approx(2 / 3)
    assert report["segmentation_quality"] == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert report["recognition_quality"] == pytest.approx(4 / 7)
    assert report["panoptic_quality"] == pytest.approx(0.65 * 4 / 7)
    # intersections 4 + 3; unions 5 + 6, object 3 (2), the other half (3), object 9 (2)
    assert report["aji"] == report["aji_plus"] == pytest.approx(7 / 18)
    # half of object 2 is not more than half of it
    assert report["seg"] == pytest.approx((4 / 5 + 0 + 0) / 3)
    assert (report["splits"], report["merges"]) == (1, 0)
    rows = {(row["reference"], row["prediction"]): row for row in report.objects}
    assert rows[1, 4]["status"] == "matched"
    assert rows[1, 4]["iou"] == pytest.approx(4 / 5)
    assert rows[1, 4]["dice"] == pytest.approx(8 / 9)
    assert rows[3, None]["status"] == "missed"
    assert rows[3, None]["position"] in [(12,), (13,)]
    assert rows[None, 9]["status"] == "false"
    assert [row["split"] for row in report.objects if row["reference"] == 2] == [True]


@pytest.mark.usefixtures("engine")
def test_boundary_distance_is_the_mean_over_matched_objects():
    """Borders at 1 and 4 against 1 and 5: distances 0, 1, 0, 1; the other object is exact."""
    reference = [0, 1, 1, 1, 1, 0, 0, 2, 2]
    prediction = [0, 1, 1, 1, 1, 1, 0, 7, 7]
    report = evaluate(reference, prediction, task="instances", spacing=3)
    assert report["boundary_distance"] == pytest.approx((3 * 0.5 + 0) / 2)
    assert [row["assd"] for row in report.objects] == pytest.approx([1.5, 0])


@pytest.mark.usefixtures("engine")
def test_merged_objects_are_counted():
    reference = [1, 1, 1, 2, 2, 2, 0, 3, 3]
    prediction = [5, 5, 5, 5, 5, 5, 0, 6, 6]
    report = evaluate(reference, prediction, task="instances")
    assert (report["splits"], report["merges"]) == (0, 1)
    swapped = evaluate(prediction, reference, task="instances")
    assert (swapped["splits"], swapped["merges"]) == (1, 0)
    # a speck inside of an object does not make it split
    speck = evaluate([1] * 40, [1] * 39 + [2], task="instances")
    assert speck["splits"] == 0


@pytest.mark.usefixtures("engine")
def test_ambiguous_pairs_at_one_half_are_assigned_best():
    """2 and 3 both have IoU 1/2 with 1; object 4 could only take 3."""
    reference = [1, 1, 4, 4, 0, 0]
    prediction = [2, 3, 3, 0, 0, 0]
    report = evaluate(reference, prediction, task="instances")
    # 1-2 has 1/2; 4-3 has 1/3, 1-3 has 1/3
    assert report["n_matched"] == 1
    tie = evaluate([1, 1, 1, 1], [2, 2, 3, 3], task="instances")
    assert tie["n_matched"] == 1
    assert tie["ap"]["0.5"] == 1 / 2


@pytest.mark.usefixtures("engine")
def test_without_objects():
    empty, full = np.zeros(4, int), np.array([0, 1, 1, 0])
    nothing = evaluate(empty, empty, task="instances")
    for name in ("mean_ap", "precision", "recall", "panoptic_quality", "aji", "seg"):
        assert math.isnan(nothing[name]), name
    assert nothing["n_reference"] == nothing["n_prediction"] == nothing["splits"] == 0
    missed = evaluate(full, empty, task="instances")
    assert missed["ap"]["0.5"] == missed["panoptic_quality"] == missed["aji"] == 0
    assert missed["recall"] == missed["seg"] == 0
    assert math.isnan(missed["precision"])
    made_up = evaluate(empty, full, task="instances")
    assert made_up["ap"]["0.5"] == made_up["panoptic_quality"] == made_up["aji"] == 0
    assert made_up["precision"] == 0
    assert math.isnan(made_up["recall"])
    assert math.isnan(made_up["adapted_rand_error"])


def test_ignored_voxels_belong_to_no_object():
    report = evaluate([1, 1, 255, 255, 2], [1, 1, 1, 5, 2], task="instances", ignore=255)
    assert report["ap"]["0.95"] == 1
    assert (report["n_reference"], report["n_prediction"]) == (2, 2)


def test_predictions_in_ignored_voxels_are_no_false_alarms():
    """Kirillov et al. 2019: objects 2 (3 of 4 voxels ignored) and 4 are dropped, 3 (2 of 4) not."""
    reference = [1, 1, 1, 1, 0, 9, 9, 9, 0, 0, 9, 9, 9]
    prediction = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4]
    report = evaluate(reference, prediction, task="instances", ignore=9)
    assert (report["n_reference"], report["n_prediction"], report["n_matched"]) == (1, 2, 1)
    assert report["precision"] == report["ap"]["0.5"] == report["ap"]["0.95"] == 1 / 2
    assert report["recall"] == report["segmentation_quality"] == 1
    assert report["f1"]["0.75"] == report["panoptic_quality"] == pytest.approx(2 / 3)
    assert [(row["status"], row["prediction"]) for row in report.objects] == [
        ("matched", 1),
        ("false", 3),
    ]


def test_a_match_counts_wherever_most_of_it_lies():
    report = evaluate([1, 9, 9], [1, 1, 1], task="instances", ignore=9)
    assert report["n_prediction"] == report["n_matched"] == report["ap"]["0.95"] == 1


def dense_assignment(found, threshold, most_pairs):
    """The best total by SciPy's assignment on the full table."""
    gain = np.zeros((len(found.reference), len(found.prediction)))
    chosen = found.iou >= threshold
    bonus = min(gain.shape) if most_pairs else 0
    gain[found.row[chosen], found.column[chosen]] = found.iou[chosen] + bonus
    return gain[linear_sum_assignment(gain, maximize=True)].sum()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-9, 0.1, 0.3, 0.5]), st.booleans())
def test_matching_is_one_to_one_and_optimal(seed, threshold, most_pairs):
    random = np.random.default_rng(seed)
    found = found_objects(*random.integers(0, random.integers(2, 12), (2, random.integers(2, 60))))
    pairs = match(found, threshold, most_pairs)
    assert len(set(found.row[pairs])) == len(set(found.column[pairs])) == len(pairs)
    assert (found.iou[pairs] >= threshold).all()
    bonus = min(len(found.reference), len(found.prediction)) if most_pairs else 0
    total = found.iou[pairs].sum() + bonus * len(pairs)
    assert total == pytest.approx(dense_assignment(found, threshold, most_pairs))


@settings(deadline=None, max_examples=60)
@given(label_pairs(max_label=6), st.sampled_from([None, 0, 3]))
def test_both_engines_agree(pair, ignore):
    reference, prediction, spacing = pair
    options = {"task": "instances", "spacing": spacing, "ignore": ignore}
    report = evaluate(reference, prediction, **options)
    with without_numba():
        plain = evaluate(reference, prediction, **options)
    assert_same_scores(report, plain)
    assert [row["position"] for row in report.objects] == [row["position"] for row in plain.objects]


@settings(deadline=None, max_examples=60)
@given(label_pairs(max_label=6))
def test_symmetry_bounds_and_renaming(pair):
    reference, prediction, spacing = pair
    report = evaluate(reference, prediction, task="instances", spacing=spacing)
    back = evaluate(prediction, reference, task="instances", spacing=spacing)
    for name in ("ap", "f1", "mean_ap", "panoptic_quality", "boundary_distance", "aji_plus"):
        assert report[name] == pytest.approx(back[name], nan_ok=True), name
    assert report["precision"] == pytest.approx(back["recall"], nan_ok=True)
    assert report["splits"] == back["merges"]
    names = np.array([0, 9, 4, 70_000, 1, 33, 2])
    renamed = evaluate(
        names[reference.astype(int)], names[prediction.astype(int)], task="instances",
        spacing=spacing,
    )  # fmt: skip
    assert_same_scores(renamed, report)
    curve = list(report["ap"].values())
    assert all(a >= b for a, b in itertools.pairwise(curve)) or math.isnan(curve[0])
    scores = [report[n] for n in ("aji", "seg", "panoptic_quality", "adapted_rand_error")]
    assert all(0 <= v <= 1 for v in scores if not math.isnan(v))
    perfect = evaluate(reference, reference, task="instances")
    if perfect["n_reference"]:
        for name in ("mean_ap", "aji", "aji_plus", "seg", "panoptic_quality", "precision"):
            assert perfect[name] == pytest.approx(1)
        assert perfect["boundary_distance"] == 0
        assert perfect["variation_of_information"] == pytest.approx(0, abs=1e-9)


def test_rand_precision_and_recall_by_hand():
    """Pairs of voxels in one object: 2 in the reference, 3 in the prediction, 1 in both."""
    report = evaluate([5, 5, 4, 4], [3, 4, 4, 4], task="instances")
    assert report["adapted_rand_precision"] == pytest.approx(1 / 3)
    assert report["adapted_rand_recall"] == pytest.approx(1 / 2)
    assert report["adapted_rand_error"] == pytest.approx(1 - 2 / 5)


@settings(deadline=None, max_examples=60)
@given(label_pairs(max_label=6, min_dims=2))
def test_rand_error_and_information_agree_with_scikit_image(pair):
    reference, prediction = (image.astype(int) for image in pair[:2])
    inside = reference > 0
    if np.unique(reference[inside]).size < 2 or inside.sum() < 4:
        return
    report = evaluate(reference, prediction, task="instances", surfaces=False)
    pairs = np.unique(reference[inside], return_counts=True)[1]
    if (pairs > 1).any() and (np.unique(prediction[inside], return_counts=True)[1] > 1).any():
        expected = adapted_rand_error(reference, prediction, ignore_labels=(0,))
        # scikit-image divides by the other image than its documentation says
        found = [report[f"adapted_rand_{n}"] for n in ("error", "recall", "precision")]
        assert found == pytest.approx(expected)
    split, merge = variation_of_information(reference, prediction, ignore_labels=(0,))
    assert report["vi_split"] == pytest.approx(split, abs=1e-9)
    assert report["vi_merge"] == pytest.approx(merge, abs=1e-9)


def test_aggregated_jaccard_may_use_a_prediction_twice_and_the_other_may_not():
    """Prediction 5 is the best for both objects: 3/5 and 2/5."""
    reference, prediction = [1, 1, 1, 2, 2], [5, 5, 5, 5, 5]
    report = evaluate(reference, prediction, task="instances")
    assert report["aji"] == pytest.approx((3 + 2) / (5 + 5))
    assert report["aji_plus"] == pytest.approx(3 / (5 + 2))


def test_thresholds_below_one_half_are_assigned_too():
    found = found_objects([1, 1, 1, 2, 2, 2], [1, 1, 2, 2, 2, 3])
    scores = matching_scores(found, thresholds=(0.2, 0.5, 1.0))
    assert scores["ap"] == pytest.approx({"0.2": 2 / 3, "0.5": 2 / 3, "1": 0})


def test_thousands_of_touching_objects_are_matched_optimally():
    """All objects hang together by overlaps; every one is shifted by a quarter."""
    reference = np.kron(np.arange(1, 2501).reshape(50, 50), np.ones((4, 4), int))
    prediction = np.roll(reference, 1, axis=1)
    report = evaluate(reference, prediction, task="instances", surfaces=False)
    assert report["n_matched"] == 2500
    assert report["aji_plus"] > 0.5
