"""Surface distances: worked by hand, against brute force, near and far, empty and in frames."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_support import engine, label_pairs, without_numba  # noqa: F401
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance

from napari_segzoo.metrics import evaluate, nearest
from napari_segzoo.metrics.surface_scores import surface_scores


def border(mask):
    """Border voxels by erosion; the outside of the image is not of the mask."""
    return np.argwhere(mask & ~binary_erosion(mask))


def brute_force(reference, prediction, label, spacing):
    """All distances of two borders, by a table of all pairs."""
    ours, theirs = (border(image == label) * spacing for image in (reference, prediction))
    table = cdist(ours, theirs)
    return table.min(axis=1), table.min(axis=0)


@pytest.mark.usefixtures("engine")
def test_two_lines_by_hand():
    """Columns 2 and 5 of a 4 x 8 image, the second 2 rows shorter; 0.5 per column, 3 per row.

    From the first: rows 0 and 1 are 1.5 away, row 2 is hypot(1.5, 3), row 3 hypot(1.5, 6).
    From the second: both rows are 1.5 away.
    """
    reference, prediction = np.zeros((2, 4, 8), int)
    reference[:, 2] = 1
    prediction[:2, 5] = 1
    report = evaluate(reference, prediction, spacing=(3, 0.5), tolerance=1.5)
    there = [1.5, 1.5, math.hypot(1.5, 3), math.hypot(1.5, 6)]
    assert report["hd"]["1"] == pytest.approx(there[3])
    assert report["hd95"]["1"] == pytest.approx(there[2] + 0.85 * (there[3] - there[2]))
    # pooled: six values, the 95th percentile lies at place 4.75
    assert report["hd95_pooled"]["1"] == pytest.approx(there[2] + 0.75 * (there[3] - there[2]))
    assert report["assd"]["1"] == pytest.approx((sum(there) + 3) / 6)
    assert report["masd"]["1"] == pytest.approx((sum(there) / 4 + 1.5) / 2)
    assert report["nsd"]["1"] == pytest.approx(4 / 6)
    assert report.positions[1] == (3, 2)


@pytest.mark.usefixtures("engine")
def test_usual_tolerance_is_one_voxel_along_the_coarsest_axis():
    reference, prediction = np.zeros((2, 9, 9, 9), int)
    reference[2:6, 2:6, 2:6] = 1
    prediction[3:7, 2:6, 2:6] = 1
    assert evaluate(reference, prediction, spacing=(5, 1, 1))["nsd"]["1"] == 1
    assert evaluate(reference, prediction, spacing=(5, 1, 1), tolerance=4.9)["nsd"]["1"] < 1
    flat = reference[2:3], prediction[3:4, :, ::-1]
    assert evaluate(*flat, spacing=(50, 1, 1)).settings["tolerance"] == 1


def test_tolerance_by_class():
    reference, prediction = [0, 1, 0, 0, 2, 0, 0], [0, 0, 0, 1, 0, 0, 2]
    report = evaluate(reference, prediction, tolerance={1: 2, 2: 1})
    assert report["nsd"] == {"1": 1, "2": 0}


@settings(deadline=None, max_examples=60)
@given(label_pairs(max_label=3, min_dims=2))
def test_both_engines_agree_with_a_table_of_all_pairs(pair):
    reference, prediction, spacing = pair
    if 1 in reference.shape:
        return
    report = evaluate(reference, prediction, spacing=spacing, tolerance=1.0)
    with without_numba():
        plain = evaluate(reference, prediction, spacing=spacing, tolerance=1.0)
    for label in (1, 2, 3):
        key = str(label)
        if not (reference == label).any() or not (prediction == label).any():
            assert key not in report["hd"] or report["hd"][key] == math.inf
            continue
        there, back = brute_force(reference, prediction, label, spacing)
        expected = {
            "hd": max(there.max(), back.max()),
            "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
            "hd95_pooled": np.percentile(np.concatenate([there, back]), 95),
            "assd": np.concatenate([there, back]).mean(),
            "masd": (there.mean() + back.mean()) / 2,
            "nsd": (np.concatenate([there, back]) <= 1).mean(),
        }
        for found in (report, plain):
            assert {name: found[name][key] for name in expected} == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_far_borders_agree_with_a_table_of_all_pairs(seed, dims):
    """Few points in a wide image, so that all ways of searching are taken."""
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(20, {1: 400, 2: 150, 3: 45}[dims], dims))
    spacing = tuple(random.uniform(0.2, 5, dims))
    reference, prediction = np.zeros((2, *shape), np.uint8)
    for image in (reference, prediction):
        for _ in range(random.integers(1, 6)):
            image[tuple(random.integers(0, n) for n in shape)] = random.integers(1, 3)
    report = evaluate(reference, prediction, spacing=spacing)
    with without_numba():
        plain = evaluate(reference, prediction, spacing=spacing)
    for key, distance in report["hd"].items():
        label = int(key)
        if (reference == label).any() and (prediction == label).any():
            there, back = brute_force(reference, prediction, label, spacing)
            assert distance == pytest.approx(max(there.max(), back.max()))
            assert report["assd"][key] == pytest.approx(np.concatenate([there, back]).mean())
        assert plain["hd"][key] == pytest.approx(distance)
        assert plain["assd"][key] == pytest.approx(report["assd"][key])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("spacing", [(1, 1, 1), (4, 1, 1), (0.3, 0.1, 0.2)])
def test_shells_inside_each_other(spacing, monkeypatch):
    """Every way of searching on the same pair of nested balls, one 3 times as wide."""
    z, y, x = np.ogrid[-20:21, -30:31, -30:31]
    distance = (z / 18) ** 2 + (y / 28) ** 2 + (x / 28) ** 2
    reference, prediction = (distance <= 1).astype("u1"), (distance <= 1 / 9).astype("u1")
    there, back = brute_force(reference, prediction, 1, spacing)
    expected = np.concatenate([there, back])
    found = []
    for reach, transform in [(300, 1 << 27), (300, 0), (1, 1 << 27), (5000, 1 << 27)]:
        monkeypatch.setattr(nearest, "REACH_VOXELS", reach)
        monkeypatch.setattr(nearest, "TRANSFORM_VOXELS", transform)
        report = evaluate(reference, prediction, spacing=spacing)
        found.append([report[name]["1"] for name in ("hd", "assd", "hd95_pooled")])
    for scores in found:
        assert scores == pytest.approx(
            [expected.max(), expected.mean(), np.percentile(expected, 95)]
        )


def test_a_map_in_several_parts_gives_the_same(monkeypatch):
    random = np.random.default_rng(2)
    reference = np.kron(random.integers(0, 3, (8, 3, 3)), np.ones((3, 5, 5), int))
    prediction = np.roll(reference, 2, axis=0)
    expected = evaluate(reference, prediction, spacing=(2, 1, 1))
    monkeypatch.setattr(nearest, "MAP_VOXELS", 1)
    assert evaluate(reference, prediction, spacing=(2, 1, 1)) == expected


def test_unit_spacing_agrees_with_scikit_image():
    random = np.random.default_rng(4)
    masks = [np.kron(random.random((6, 6, 6)) < 0.3, np.ones((4, 4, 4), bool)) for _ in range(2)]
    borders = [np.zeros(masks[0].shape, bool) for _ in masks]
    for image, mask in zip(borders, masks, strict=True):
        image[tuple(border(mask).T)] = True
    assert evaluate(*masks)["hd"]["1"] == pytest.approx(hausdorff_distance(*borders))


@pytest.mark.usefixtures("engine")
def test_stated_results_for_empty_masks():
    mask = np.zeros((5, 5), int)
    mask[1:3, 1:3] = 1
    report = evaluate(mask, np.zeros_like(mask))
    for name in ("hd", "hd95", "hd95_pooled", "assd", "masd"):
        assert report[name] == {"1": math.inf}
    assert report["nsd"] == {"1": 0}
    assert report.positions[1] == (1, 1)
    nothing = surface_scores(np.zeros(0), np.zeros(0), 1.0)
    assert math.isnan(nothing.hd)
    assert math.isnan(nothing.nsd)


@pytest.mark.usefixtures("engine")
def test_frames_are_compared_with_themselves():
    """Each frame has its object elsewhere; the neighbouring frame would be nearer."""
    reference, prediction = np.zeros((2, 3, 2, 20, 20), int)
    for t, (ours, theirs) in enumerate([(2, 5), (5, 9), (9, 10)]):
        reference[t, :, ours, 10] = 1
        prediction[t, :, theirs, 10] = 1
    report = evaluate(reference, prediction, spacing=(100, 3, 2, 1))
    assert report["hd"]["1"] == 8
    assert report["assd"]["1"] == pytest.approx((6 + 8 + 2) / 3)
    prediction[1] = 0
    lost = evaluate(reference, prediction)
    assert lost["hd"]["1"] == math.inf
    assert lost["nsd"]["1"] == pytest.approx(4 / 10)
    assert lost["hd95_pooled"]["1"] == math.inf


@pytest.mark.usefixtures("engine")
def test_one_slice_of_a_volume_is_a_picture():
    random = np.random.default_rng(1)
    reference = np.kron(random.integers(0, 2, (5, 5)), np.ones((6, 6), int))
    prediction = np.roll(reference, 1, axis=0)
    flat = evaluate(reference, prediction, spacing=(2, 1))
    thin = evaluate(reference[None], prediction[None], spacing=(50, 2, 1))
    assert {n: flat[n] for n in ("hd", "assd")} == {n: thin[n] for n in ("hd", "assd")}
    assert evaluate([[1]], [[1]])["hd"]["1"] == 0


@pytest.mark.usefixtures("engine")
def test_ignored_voxels_lie_outside_of_both():
    """The prediction differs only where the reference is unknown."""
    reference, prediction = np.zeros((2, 10, 10), int)
    reference[2:6, 2:8] = prediction[2:6, 2:8] = 1
    reference[6:] = 255
    prediction[6:, 2:8] = 1
    assert evaluate(reference, prediction, ignore=255)["hd"]["1"] == 0
    assert evaluate(reference, prediction)["hd"]["1"] > 0


def test_distances_scale_with_the_spacing_and_move_with_the_mask():
    random = np.random.default_rng(8)
    reference, prediction = np.zeros((2, 30, 30), int)
    reference[5:15, 5:15] = random.random((10, 10)) < 0.8
    prediction[5:15, 5:15] = random.random((10, 10)) < 0.8
    near = evaluate(reference, prediction, spacing=(2, 1))
    moved = evaluate(np.roll(reference, 9, 1), np.roll(prediction, 9, 1), spacing=(2, 1))
    wide = evaluate(reference, prediction, spacing=(20, 10))
    for name in ("hd", "hd95", "assd", "masd"):
        assert moved[name] == near[name]
        assert wide[name]["1"] == pytest.approx(10 * near[name]["1"])
    assert wide["nsd"] == near["nsd"]
