"""Agreement with libraries that are installed for development only; skipped without them.

Where a library means something else by a name, the test says which of our scores it equals.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metrics_support import label_pairs

from napari_segzoo.metrics import evaluate, soft_scores

SPACING = (4.0, 1.0, 1.5)


def blobs(seed, shape=(12, 40, 36), classes=3):
    """Reference and prediction with smooth classes that stay off the image border."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    fields = [gaussian_filter(random.standard_normal(shape), 3) for _ in range(classes)]
    shifted = [np.roll(f, 1, axis=1) + 0.01 * random.standard_normal(shape) for f in fields]
    images = []
    for stack in (fields, shifted):
        image = np.argmax(stack, axis=0)
        image[[0, -1]] = image[:, [0, -1]] = image[:, :, [0, -1]] = 0
        images.append(image)
    return images


def cells(seed, count=40, shape=(150, 150)):
    """Discs and displaced discs, some lost, some made up."""
    random = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[0], : shape[1]]
    images = np.zeros((2, *shape), np.int32)
    for label in range(1, count + 1):
        centre, radius = random.uniform(0, 150, 2), random.uniform(4, 11)
        for image, drawn in zip(images, random.random(2) < 0.9, strict=True):
            place = centre + random.normal(0, 1.2, 2)
            disc = (y - place[0]) ** 2 + (x - place[1]) ** 2 < (radius + random.normal()) ** 2
            if drawn:
                image[disc] = label
    return images


@pytest.mark.parametrize("seed", range(3))
def test_overlap_equals_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    reference, prediction = blobs(seed)
    report = evaluate(reference, prediction, surfaces=False)
    flat = reference.ravel(), prediction.ravel()
    np.testing.assert_array_equal(report["confusion"], metrics.confusion_matrix(*flat))
    for name, function in [
        ("dice", metrics.f1_score),
        ("iou", metrics.jaccard_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ]:
        assert list(report[name].values()) == pytest.approx(list(function(*flat, average=None)))
    assert report["kappa"] == pytest.approx(metrics.cohen_kappa_score(*flat))
    assert report["mcc"] == pytest.approx(metrics.matthews_corrcoef(*flat))
    assert report["mean_pixel_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(*flat))


@settings(max_examples=60, deadline=None)
@given(label_pairs())
def test_any_small_image_scores_as_in_scikit_learn(pair):
    """Any labels, shapes and dtypes; where we say nan, scikit-learn was told to."""
    metrics = pytest.importorskip("sklearn.metrics")
    reference, prediction, _ = pair
    report = evaluate(reference, prediction, surfaces=False)
    labels = report["labels"]
    flat = reference.ravel().astype(int), prediction.ravel().astype(int)
    options = {"labels": labels, "average": None, "zero_division": math.nan}
    np.testing.assert_array_equal(
        report["confusion"], metrics.confusion_matrix(*flat, labels=labels)
    )
    for name, function in [
        ("dice", metrics.f1_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ]:
        expected = function(*flat, **options)
        np.testing.assert_allclose(list(report[name].values()), expected, err_msg=name)


@st.composite
def mask_pairs(draw):
    """Two masks that are not empty, of two or three axes with several indices, and a spacing."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = random.random((2, *shape)) < draw(st.sampled_from([0.05, 0.3, 0.9]))
    for mask in masks:
        mask[tuple(int(random.integers(n)) for n in shape)] = True
    return masks[0], masks[1], tuple(float(v) for v in random.uniform(0.3, 4, len(shape)))


@settings(max_examples=40, deadline=None)
@given(mask_pairs())
def test_surfaces_of_any_small_mask_are_those_of_medpy(pair):
    """Single voxels, masks that fill the image or touch its end, anisotropic voxels."""
    binary = pytest.importorskip("medpy.metric.binary")
    reference, prediction, spacing = pair
    report = evaluate(reference, prediction, spacing=spacing)
    masks = prediction, reference
    assert report["hd"]["1"] == pytest.approx(binary.hd(*masks, spacing))
    assert report["hd95_pooled"]["1"] == pytest.approx(binary.hd95(*masks, spacing))
    assert report["assd"]["1"] == pytest.approx(binary.assd(*masks, spacing))


@settings(max_examples=40, deadline=None)
@given(mask_pairs())
def test_surfaces_of_any_small_mask_are_those_of_monai(pair):
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    reference, prediction, spacing = pair
    report = evaluate(reference, prediction, spacing=spacing, tolerance=1.0)
    found, true = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference))
    options = {"include_background": True, "spacing": spacing}
    for name, value in [
        ("hd", monai.compute_hausdorff_distance(found, true, **options)),
        ("hd95", monai.compute_hausdorff_distance(found, true, percentile=95, **options)),
        ("assd", monai.compute_average_surface_distance(found, true, symmetric=True, **options)),
        ("nsd", monai.compute_surface_dice(found, true, class_thresholds=[1.0], **options)),
    ]:
        assert report[name]["1"] == pytest.approx(float(value), rel=1e-5), name


def test_empty_masks_and_monai():
    """The same, but for two: MONAI's hd95 and, without reference, its Dice are nan then."""
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    full = np.zeros((9, 9), np.uint8)
    full[2:5, 3:7] = 1
    for reference, prediction in ((full, 0 * full), (0 * full, full)):
        report = evaluate(reference, prediction)
        found, true = (
            torch.from_numpy(image)[None, None].float() for image in (prediction, reference)
        )
        assert report["hd"]["1"] == float(monai.compute_hausdorff_distance(found, true, True))
        nsd = monai.compute_surface_dice(found, true, [1.0], include_background=True)
        assert report["nsd"]["1"] == float(nsd) == 0
        robust = monai.compute_hausdorff_distance(found, true, True, percentile=95)
        assert math.isnan(float(robust))
        assert report["hd95"]["1"] == math.inf
        assert report["dice"]["1"] == 0


def test_soft_scores_equal_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    reference = random.integers(0, 3, 500)
    chance = random.dirichlet([1, 1, 1], 500)
    scores = soft_scores(reference, chance.T)
    assert scores.cross_entropy == pytest.approx(metrics.log_loss(reference, chance), rel=1e-4)
    one_hot = np.eye(3)[reference]
    assert scores.brier == pytest.approx(((chance - one_hot) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("seed", range(3))
def test_surfaces_equal_medpy(seed):
    """medpy pools both directions for hd95; masd is the mean of its two directed means."""
    binary = pytest.importorskip("medpy.metric.binary")
    reference, prediction = blobs(seed)
    report = evaluate(reference, prediction, spacing=SPACING)
    for label in (1, 2):
        masks = prediction == label, reference == label
        key = str(label)
        assert report["hd"][key] == pytest.approx(binary.hd(*masks, SPACING))
        assert report["hd95_pooled"][key] == pytest.approx(binary.hd95(*masks, SPACING))
        assert report["assd"][key] == pytest.approx(binary.assd(*masks, SPACING))
        directed = binary.asd(*masks, SPACING), binary.asd(*masks[::-1], SPACING)
        assert report["masd"][key] == pytest.approx(sum(directed) / 2)
        assert report["dice"][key] == pytest.approx(binary.dc(*masks))


@pytest.mark.parametrize("seed", range(3))
def test_surfaces_equal_monai(seed):
    """MONAI takes the larger of two percentiles for hd95; its symmetric distance is pooled."""
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    reference, prediction = blobs(seed)
    report = evaluate(reference, prediction, spacing=SPACING, tolerance=2.0)
    ours, theirs = (
        torch.from_numpy(np.stack([image == k for k in range(3)])[None].astype(np.float32))
        for image in (reference, prediction)
    )
    options = {"include_background": False, "spacing": SPACING}
    for name, found in [
        ("hd", monai.compute_hausdorff_distance(theirs, ours, **options)),
        ("hd95", monai.compute_hausdorff_distance(theirs, ours, percentile=95, **options)),
        ("assd", monai.compute_average_surface_distance(theirs, ours, symmetric=True, **options)),
        ("nsd", monai.compute_surface_dice(theirs, ours, class_thresholds=[2.0, 2.0], **options)),
    ]:
        assert list(report[name].values()) == pytest.approx(found[0].tolist(), rel=1e-5), name


@pytest.mark.parametrize("seed", range(2))
def test_surfaces_are_near_those_of_surface_elements(seed):
    """surface-distance puts the surface between voxels and weighs its parts by their area.

    Border voxels lie half a voxel inside, on both sides, so that the results differ by less
    than one voxel of the coarsest axis.
    """
    other = pytest.importorskip("surface_distance")
    reference, prediction = blobs(seed)
    report = evaluate(reference, prediction, spacing=SPACING)
    for label in (1, 2):
        found = other.compute_surface_distances(reference == label, prediction == label, SPACING)
        hd95 = other.compute_robust_hausdorff(found, 95)
        assert abs(report["hd95"][str(label)] - hd95) < max(SPACING)
        means = other.compute_average_surface_distance(found)
        assert report["masd"][str(label)] == pytest.approx(np.mean(means), abs=max(SPACING) / 4)


@pytest.mark.parametrize("seed", range(5))
def test_matching_equals_stardist(seed):
    stardist = pytest.importorskip("stardist.matching")
    reference, prediction = cells(seed)
    report = evaluate(reference, prediction, task="instances")
    for threshold, ap in report["ap"].items():
        found = stardist.matching(reference, prediction, thresh=float(threshold))
        assert ap == pytest.approx(found.accuracy), threshold
        assert report["f1"][threshold] == pytest.approx(found.f1)
    half = stardist.matching(reference, prediction, thresh=0.5)
    assert report["precision"] == pytest.approx(half.precision)
    assert report["recall"] == pytest.approx(half.recall)
    assert report["panoptic_quality"] == pytest.approx(half.panoptic_quality)
    assert report["segmentation_quality"] == pytest.approx(half.mean_matched_score)


def test_images_without_objects_and_stardist():
    """stardist scores 0 where there is nothing to divide by; we say nan."""
    stardist = pytest.importorskip("stardist.matching")
    full, empty = np.ones((4, 4), int), np.zeros((4, 4), int)
    for reference, prediction, undefined in [
        (full, empty, {"precision"}),
        (empty, full, {"recall"}),
        (empty, empty, {"precision", "recall", "panoptic_quality"}),
    ]:
        report = evaluate(reference, prediction, task="instances")
        found = stardist.matching(reference, prediction)
        for name in ("precision", "recall", "panoptic_quality"):
            assert getattr(found, name) == 0
            assert math.isnan(report[name]) if name in undefined else report[name] == 0


@pytest.mark.parametrize("seed", range(3))
def test_panoptic_quality_equals_panoptica(seed):
    panoptica = pytest.importorskip("panoptica")
    reference, prediction = (image.astype(np.uint32) for image in cells(seed))
    report = evaluate(reference, prediction, task="instances")
    evaluator = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.UNMATCHED_INSTANCE,
        instance_matcher=panoptica.NaiveThresholdMatching(matching_threshold=0.5),
    )
    found = evaluator.evaluate(prediction, reference)
    found = next(iter(found.values())) if isinstance(found, dict) else found
    assert report["panoptic_quality"] == pytest.approx(found.pq)
    assert report["segmentation_quality"] == pytest.approx(found.sq)
    assert report["recognition_quality"] == pytest.approx(found.rq)
    assert report["n_matched"] == found.tp
    assert report["n_prediction"] == found.tp + found.fp
    assert report["n_reference"] == found.tp + found.fn
