import numpy as np
import pytest
import zarr
from tiny import Watched

from napari_segzoo.errors import InputError
from napari_segzoo.preprocess import SAMPLE_VOXELS, Normalization


def test_percentiles_become_zero_and_one():
    image = np.arange(101, dtype=np.uint8).reshape(1, 101)
    intensity = Normalization("percentile", 10, 90).measure(image, None)
    normalised = intensity.apply(image[None])
    assert normalised[0, 0, 10] == pytest.approx(0)
    assert normalised[0, 0, 90] == pytest.approx(1)
    assert normalised.dtype == np.float32


def test_zscore_has_mean_zero_and_deviation_one_per_channel():
    image = np.random.default_rng(0).normal([[[5, -2]]], [[[3, 0.5]]], (50, 60, 2))
    intensity = Normalization("zscore").measure(image, 2)
    normalised = intensity.apply(np.moveaxis(image, 2, 0))
    np.testing.assert_allclose(normalised.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std((1, 2)), 1, atol=1e-5)


def test_fixed_statistics_hold_for_integers_on_their_full_scale():
    white = np.full((2, 2, 3), 255, np.uint8)
    rule = Normalization("fixed", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.5))
    normalised = rule.measure(white, 2).apply(np.moveaxis(white, 2, 0))
    np.testing.assert_allclose(normalised[:, 0, 0], [2, 2, 1], rtol=1e-6)


def test_large_images_are_sampled_and_sampling_agrees_with_the_whole():
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 3000, dtype=np.float32)
    image = Watched((ramp[:, None] + rng.normal(0, 20, (3000, 4000))).astype(np.float32))
    rule = Normalization()
    sampled = rule.measure(image, None)
    assert image.total <= SAMPLE_VOXELS
    low, high = np.percentile(image.array, [1, 99.8])
    assert sampled.offset[0] == pytest.approx(low, abs=5)
    assert 1 / sampled.gain[0] == pytest.approx(high - low, rel=0.05)


def test_nan_and_infinity_do_not_spoil_the_statistics():
    image = np.random.default_rng(0).random((40, 40), dtype=np.float32)
    clean = Normalization().measure(image, None)
    spoiled = image.copy()
    spoiled[0, :3] = np.nan, np.inf, -np.inf
    intensity = Normalization().measure(spoiled, None)
    assert intensity.offset == pytest.approx(clean.offset, abs=0.01)
    normalised = intensity.apply(spoiled[None])
    assert np.isfinite(normalised).all()
    assert normalised[0, 0, 0] == 0
    assert normalised[0, 0, 1] == normalised.max()
    assert normalised[0, 0, 2] == normalised.min()


def test_a_sparse_image_still_has_a_scale():
    image = np.zeros((100, 100), np.uint16)
    image[5, 5] = 1000
    intensity = Normalization().measure(image, None)
    assert intensity.apply(image[None]).max() == pytest.approx(1)


@pytest.mark.parametrize("dtype, beside", [("uint16", 0), ("float32", np.nan)])
def test_a_speck_in_a_large_empty_image_is_found(dtype, beside):
    image = np.zeros((3000, 3000), dtype)
    image[7, 9:11] = 1000, beside
    intensity = Normalization().measure(image, None)
    assert intensity.apply(image[None, :16, :16]).max() == pytest.approx(1)


def test_specks_in_single_channels_of_a_large_empty_image_are_found(tmp_path):
    shape, chunks = (2, 6000, 6000), (1, 512, 512)
    image = zarr.create_array(tmp_path / "a.zarr", shape=shape, chunks=chunks, dtype="uint16")
    image[1, 4007, 9] = 1000
    intensity = Normalization().measure(image, 0)
    values = intensity.apply(image[:, 4000:4016, :16])
    assert values[0].max() == 0
    assert values[1].max() == pytest.approx(1)


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image_is_refused(value):
    with pytest.raises(InputError, match="same value everywhere"):
        Normalization().measure(np.full((9, 9), value), None)


def test_one_constant_channel_among_others_is_accepted():
    image = np.zeros((2, 20, 20), np.float32)
    image[1] = np.random.default_rng(0).random((20, 20))
    intensity = Normalization().measure(image, 0)
    assert (intensity.apply(image)[0] == 0).all()


def test_an_image_without_finite_values_is_refused():
    with pytest.raises(InputError, match="no finite values"):
        Normalization().measure(np.full((5, 5), np.nan), None)


def test_a_blank_image_is_accepted_where_that_is_asked_for():
    for value in (7, np.nan):
        intensity = Normalization().measure(np.full((5, 5), value), None, allow_blank=True)
        assert intensity.is_blank


def test_a_small_object_among_nan_is_found():
    image = np.full((3000, 3000), np.nan, np.float32)
    image[1010:1030, 1010:1030] = np.linspace(5, 6, 20)
    intensity = Normalization().measure(image, None)
    assert intensity.apply(image[None, 1010:1030, 1010:1030]).max() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ["percentile", "zscore"])
@pytest.mark.parametrize("value", [np.inf, 1e30, -np.inf, -1e30])
def test_an_infinite_or_absurd_pixel_counts_as_the_brightest_or_darkest(kind, value):
    image = np.random.default_rng(0).random((40, 40), dtype=np.float32)
    clean = Normalization(kind).measure(image, None).apply(image[None])
    image[5, 5] = value
    normalised = Normalization(kind).measure(image, None).apply(image[None])
    assert normalised[0, 5, 5] in (normalised.min(), normalised.max())
    assert np.sign(normalised[0, 5, 5] - 0.5) == np.sign(value)
    others = np.arange(1600) != 5 * 40 + 5
    np.testing.assert_allclose(normalised.ravel()[others], clean.ravel()[others], atol=0.01)


def test_bright_specks_of_a_dark_image_keep_their_brightness():
    image = np.random.default_rng(0).integers(0, 2, (100, 100)).astype(np.float32)
    image[5, 5] = 65535
    assert Normalization().measure(image, None).apply(image[None]).max() == 65535


@pytest.mark.parametrize(
    "dtype, offset, factor",
    [
        ("uint32", 2**28, 1000),
        ("int64", 2**40, 1000),
        ("float64", 1e12, 1000),
        ("float64", 0, 1e-42),
        ("float64", 0, 1e42),
    ],
)
def test_values_that_float32_does_not_hold_keep_their_differences(dtype, offset, factor):
    gray = np.random.default_rng(0).random((30, 30))
    expected = Normalization().measure(gray, None).apply(gray[None])
    image = (gray * factor + offset).astype(dtype)
    found = Normalization().measure(image, None).apply(image[None])
    np.testing.assert_allclose(found, expected, atol=0.002)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float16"])
def test_ordinary_images_are_computed_in_float32(dtype):
    image = (np.random.default_rng(0).random((1, 30, 30)) * 200).astype(dtype)
    found = Normalization().measure(image, 0)
    offset, gain = np.float32(found.offset[0]), np.float32(found.gain[0])
    np.testing.assert_array_equal(found.apply(image), (image.astype(np.float32) - offset) * gain)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="percentile, zscore"):
        Normalization("minmax")
