"""Sample images: truths that are true, and layers that napari takes as they are."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Layer
from scipy import ndimage

from napari_segzoo import sample_data
from napari_segzoo.errors import InputError
from napari_segzoo.synthetic import nuclei


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def one_piece_each(labels):
    pieces = [ndimage.label(labels == n)[1] for n in range(1, labels.max() + 1)]
    return pieces == [1] * labels.max()


def test_reference_holds_each_of_the_24_coins_once():
    image, reference = sample_data.load_coins()
    assert image.shape == reference.shape == (303, 384)
    assert image.dtype == reference.dtype == np.uint8
    assert reference.max() == 24
    assert one_piece_each(reference)
    sizes = np.bincount(reference.ravel())[1:]
    assert sizes.min() > 1000
    assert sizes.max() < 3200
    centres = np.array(ndimage.center_of_mass(reference > 0, reference, range(1, 25)))
    rows = centres.reshape(4, 6, 2)
    assert (np.diff(rows[..., 1], axis=1) > 0).all(), "coins are counted along each row"
    assert (np.diff(rows[..., 0].mean(1)) > 50).all(), "rows are counted downwards"


def test_reference_agrees_with_a_threshold_over_the_background():
    image, reference = sample_data.load_coins()
    smooth = ndimage.gaussian_filter(image.astype(float), 1)
    background = ndimage.minimum_filter(smooth, 71)
    background = ndimage.gaussian_filter(background, 35)
    simple = ndimage.binary_fill_holes(smooth - background > 62)
    simple = ndimage.binary_opening(simple, iterations=5)
    assert dice(simple, reference > 0) > 0.9


def test_reference_outlines_lie_where_brightness_falls_most():
    """Moved outwards or inwards by a pixel, outlines would cross a weaker slope."""
    image, reference = sample_data.load_coins()
    inside = reference > 0
    smooth = ndimage.gaussian_filter(image.astype(float), 0.5)

    def step(shift):
        grow = ndimage.binary_dilation if shift > 0 else ndimage.binary_erosion
        mask = grow(inside, iterations=abs(shift)) if shift else inside
        within = mask & ~ndimage.binary_erosion(mask)
        beyond = ndimage.binary_dilation(mask) & ~mask
        return smooth[within].mean() - smooth[beyond].mean()

    assert step(0) == max(step(shift) for shift in (-2, -1, 0, 1, 2))
    assert step(0) > 30


def test_strokes_are_five_per_class_and_right():
    strokes = sample_data.coins_strokes()
    image, reference = sample_data.load_coins()
    assert strokes.shape == reference.shape
    assert set(np.unique(strokes)) == {0, 1, 2}
    assert not reference[strokes == 1].any()
    assert reference[strokes == 2].all()
    for value in (1, 2):
        drawn, count = ndimage.label(strokes == value, np.ones((3, 3)))
        assert count == 5
        assert not ndimage.binary_erosion(drawn > 0, np.ones((3, 3)), iterations=2).any()
    assert len(np.unique(reference[strokes == 2])) == 5
    assert np.count_nonzero(strokes) < 0.02 * strokes.size
    background = image[strokes == 1]
    assert background.min() < 35
    assert background.max() > 110


@pytest.mark.parametrize("name", ["coins", "tissue", "retina", "nuclei_2d", "nuclei_3d"])
def test_samples_become_layers_that_lie_over_each_other(name):
    layers = [Layer.create(*data) for data in getattr(sample_data, name)()]
    first = layers[0]
    assert type(first).__name__ == "Image"
    assert first.rgb == (name in ("tissue", "retina"))
    assert [type(layer).__name__ for layer in layers[1:]] == ["Labels"] * (len(layers) - 1)
    for layer in layers:
        assert layer.data.shape[: layer.ndim] == first.data.shape[: first.ndim]
        assert layer.axis_labels == tuple("zyx"[-layer.ndim :])
        assert tuple(layer.scale) == tuple(first.scale)
        assert layer.units == first.units
    unit = "micrometer" if name.startswith("nuclei") else "pixel"
    assert {str(u) for u in first.units} == {unit}
    if name == "nuclei_3d":
        assert tuple(first.scale) == (1, 0.25, 0.25)


def test_sample_data_need_neither_napari_nor_torch():
    code = (
        "import sys; from napari_segzoo import sample_data as s; "
        "s.load_coins(), s.coins_strokes(), s.load_tissue(), s.load_retina(), s.load_nuclei(); "
        "print({'napari', 'torch', 'qtpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


@settings(max_examples=15)
@given(
    ndim=st.sampled_from([2, 3]),
    count=st.integers(0, 30),
    diameter=st.floats(4, 25),
    seed=st.integers(0, 2**31),
)
def test_every_nucleus_is_one_piece_and_no_id_is_missing(ndim, count, diameter, seed):
    shape = (96, 128) if ndim == 2 else (16, 48, 40)
    image, labels = nuclei(shape, count=count, diameter=diameter, seed=seed)
    assert image.shape == labels.shape == shape
    assert image.dtype == np.uint16
    assert labels.max() <= count
    assert set(np.unique(labels)) - {0} == set(range(1, labels.max() + 1))
    assert one_piece_each(labels)


def test_same_seed_same_picture():
    first, again = (nuclei((64, 64), count=5, seed=3) for _ in range(2))
    other = nuclei((64, 64), count=5, seed=4)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_nuclei_are_bright_of_the_size_asked_for_and_touch(ndim):
    image, labels = sample_data.load_nuclei(ndim)
    voxel = sample_data.NUCLEI_VOXEL_SIZES[ndim]
    assert labels.max() == 60
    assert image[labels > 0].mean() > 2 * image[labels == 0].mean()
    sizes = np.bincount(labels.ravel())[1:] * np.prod(voxel)
    ball = np.pi / 4 * 10**2 if ndim == 2 else np.pi / 6 * 10**3
    assert 0.6 * ball < np.median(sizes) < 1.4 * ball
    assert ndimage.label(labels > 0)[1] < labels.max()


def test_blur_is_wider_along_z():
    voxel = (0.25, 0.25, 0.25)
    options = {"voxel_size": voxel, "count": 1, "diameter": 5, "photons": 3000, "background": 0}
    image, labels = nuclei((64, 64, 64), seed=6, **options)
    beyond = image - 100.0
    beyond[labels > 0] = 0
    z, y, _ = ndimage.center_of_mass(labels > 0)
    distance_z, distance_y = abs(np.indices(labels.shape)[:2] - np.reshape((z, y), (2, 1, 1, 1)))
    assert (beyond * distance_z).sum() > 1.2 * (beyond * distance_y).sum()


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((64,), {}),
        ((0, 64), {}),
        ((64, 64), {"voxel_size": (1, 1, 1)}),
        ((64, 64), {"voxel_size": (0, 1)}),
        ((64, 64), {"diameter": 0}),
    ],
)
def test_impossible_sizes_are_refused(shape, options):
    with pytest.raises(InputError):
        nuclei(shape, **options)
