"""Images of different shape or place made comparable: worked by hand, and without reading them."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom

from napari_segzoo import InputError
from napari_segzoo.metrics import Placement, error_overlay, evaluate, make_pair

IMAGE = np.arange(1, 25, dtype=np.uint8).reshape(4, 6)


def arrays(pair):
    return np.asarray(pair.reference[...]), np.asarray(pair.prediction[...])


def test_different_shapes_are_refused_unless_told_what_to_do():
    with pytest.raises(InputError, match=r"\(4, 6\).*\(3, 6\).*fit"):
        make_pair(IMAGE, IMAGE[:3])
    with pytest.raises(InputError, match="'crop' or 'resample', not 'cut'"):
        make_pair(IMAGE, IMAGE[:3], fit="cut")
    with pytest.raises(InputError, match="needs fit"):
        make_pair(IMAGE, IMAGE, placement=Placement((1.0, 0.0), (1.0, 1.0)))
    with pytest.raises(InputError, match="equally many axes"):
        make_pair(IMAGE, IMAGE[None], fit="crop")


def test_crop_keeps_the_common_part_from_the_first_voxel_on():
    pair = make_pair(IMAGE[:, :5], IMAGE[:3], fit="crop")
    for image in arrays(pair):
        np.testing.assert_array_equal(image, IMAGE[:3, :5])
    assert pair.settings == {"fit": "crop", "region": "0:3,0:5"}


def test_crop_by_position():
    """The prediction begins two rows down and one column left of the reference."""
    placement = Placement((2.0, -1.0), (1.0, 1.0))
    moved = np.zeros((4, 6), np.uint8)
    moved[:2, 1:] = IMAGE[2:, :5]
    pair = make_pair(IMAGE, moved, fit="crop", placement=placement)
    ours, theirs = arrays(pair)
    np.testing.assert_array_equal(ours, IMAGE[2:, :5])
    np.testing.assert_array_equal(theirs, ours)
    assert pair.origin == (2, 0)


def test_crop_needs_voxels_of_one_size_and_an_overlap():
    with pytest.raises(InputError, match="differ in size"):
        make_pair(IMAGE, IMAGE, fit="crop", placement=Placement((0.0, 0.0), (1.0, 2.0)))
    with pytest.raises(InputError, match="does not cover"):
        make_pair(IMAGE, IMAGE, fit="crop", placement=Placement((0.0, 9.0), (1.0, 1.0)))


def test_resample_by_hand():
    """Twice as coarse, each voxel stands for two; of three for two, the outer are nearest."""
    coarse = np.array([[1, 2, 3]], np.uint8)
    _, theirs = arrays(make_pair(np.zeros((2, 6), int), coarse, fit="resample"))
    np.testing.assert_array_equal(theirs, [[1, 1, 2, 2, 3, 3]] * 2)
    _, theirs = arrays(make_pair(np.zeros(2, int), np.array([1, 2, 3]), fit="resample"))
    np.testing.assert_array_equal(theirs, [1, 3])


def test_resample_by_position_compares_only_what_both_cover():
    """Voxels of size 2 from 3 on, against voxels of size 1: 3 and 4 lie nearest to the first."""
    placement = Placement((3.0,), (0.5,))
    pair = make_pair(np.arange(9), np.array([5, 6]), fit="resample", placement=placement)
    ours, theirs = arrays(pair)
    np.testing.assert_array_equal(ours, [2, 3, 4, 5])
    np.testing.assert_array_equal(theirs, [5, 5, 6, 6])
    assert pair.origin == (2,)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_resampling_equals_that_of_scipy(ours, theirs, seed):
    """scipy's nearest neighbour with the same centres; halves may go to either side."""
    found = np.random.default_rng(seed).integers(0, 9, theirs)
    _, sampled = arrays(make_pair(np.zeros(ours, int), found, fit="resample"))
    exact = (np.arange(ours) + 0.5) * theirs / ours - 0.5
    clear = np.abs(exact - np.floor(exact) - 0.5) > 1e-6
    expected = zoom(found, ours / theirs, order=0, grid_mode=True, mode="nearest")
    np.testing.assert_array_equal(sampled[clear], expected[clear])


def test_region_and_places_in_the_whole_image():
    reference, prediction = np.zeros((2, 20, 20), np.uint8)
    reference[10:14, 8:12] = 1
    prediction[10:14, 8:14] = 3
    prediction[0, 0] = 7
    pair = make_pair(reference, prediction, region=(slice(5, None), slice(2, 16)))
    report = pair.place(evaluate(pair.reference, pair.prediction, task="instances"))
    assert (report["n_reference"], report["n_prediction"]) == (1, 1)
    assert reference[report.objects[0]["position"]] == 1
    assert report.settings["region"] == "5:20,2:16"
    with pytest.raises(InputError, match="30:40,0:3 holds no voxel"):
        make_pair(reference, prediction, region=(slice(30, 40), slice(0, 3)))
    with pytest.raises(InputError, match=r"1 ranges.*2 axes"):
        make_pair(reference, prediction, region=(slice(0, 4),))


@pytest.mark.parametrize("ignore", [None, 9])
def test_mask_leaves_voxels_out(ignore):
    reference = np.array([[1, 1, 1, 0, 0, 9]], np.uint8)
    prediction = np.array([[1, 0, 0, 1, 0, 1]], np.uint8)
    mask = np.array([[1, 1, 0, 1, 1, 1]], bool)
    pair = make_pair(reference, prediction, mask=mask, ignore=ignore)
    report = pair.place(evaluate(pair.reference, pair.prediction, ignore=pair.ignore))
    # of the five voxels inside, one hit, one miss, one false alarm, and that on label 9
    assert report["precision"]["1"] == pytest.approx(1 / 2 if ignore else 1 / 3)
    assert report["recall"]["1"] == pytest.approx(1 / 2)
    assert report.settings["ignore"] == ignore
    assert report.settings["mask"]
    codes = error_overlay(pair.reference, pair.prediction, ignore=pair.ignore)
    assert codes[0, :5].tolist() == [1, 3, 0, 2, 0]
    with pytest.raises(InputError, match=r"mask has shape \(1, 5\)"):
        make_pair(reference, prediction, mask=mask[:, :5])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), fit=st.sampled_from(["crop", "resample"]))
def test_lazy_images_give_the_same_as_arrays(seed, fit):
    random = np.random.default_rng(seed)
    images = [random.integers(0, 4, random.integers(3, 12, 3)).astype(np.uint8) for _ in range(2)]
    region = tuple(slice(int(random.integers(0, 2)), None) for _ in range(3))
    mask = random.random(images[0].shape) < 0.7
    lazy = []
    for image in (*images, mask):
        array = zarr.create_array({}, shape=image.shape, chunks=(4, 3, 2), dtype=image.dtype)
        array[...] = image
        lazy.append(array)
    plain = make_pair(*images, fit=fit, region=region, mask=mask)
    stored = make_pair(*lazy[:2], fit=fit, region=region, mask=lazy[2])
    for ours, theirs in zip(arrays(plain), arrays(stored), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert plain.origin == stored.origin


def test_nothing_is_read_before_it_is_needed():
    class Watched:
        shape, dtype, ndim, chunks = (64, 64), np.dtype("u1"), 2, (16, 16)
        read = 0

        def __getitem__(self, region):
            block = np.zeros(self.shape, self.dtype)[region]
            self.read += block.size
            return block

    images = Watched(), Watched()
    pair = make_pair(*images, region=(slice(0, 10), slice(3, 7)))
    assert [image.read for image in images] == [0, 0]
    evaluate(pair.reference, pair.prediction, surfaces=False)
    assert [image.read for image in images] == [40, 40]
