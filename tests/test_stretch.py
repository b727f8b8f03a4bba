"""Slices along Y and X of a volume whose voxels are longer along Z."""

import numpy as np
import pytest
from scipy import ndimage
from test_planes import ROUNDING, sure_model
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.inference import Note, PredictOptions, prepare, slabs
from napari_segzoo.inference.stretch import Stretched, find_stretch


@pytest.mark.parametrize(
    ("axes", "scale", "times"),
    [
        ("ZYX", (2.0, 0.5, 0.5), 4),
        ("TZYX", (60.0, 0.284, 0.127, 0.127), 2),
        ("CZYX", (1.0, 3.0, 1.0, 4.0), 2),  # the mean of Y and X is their geometric one
        ("ZYX", (1.4, 1.0, 1.0), 1),
        ("ZYX", (0.2, 1.0, 1.0), 1),
        ("ZYX", (100.0, 1.0, 1.0), 10),
        ("ZYX", (), 1),
        ("YX", (1.0, 2.0), 1),
    ],
)
def test_how_many_times_as_finely(axes, scale, times):
    assert find_stretch(axes, scale) == times


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_slices_between_two_lie_on_a_line(times):
    image = (noise((3, 5, 4)) * 200).astype(np.uint8)
    finer = ndimage.zoom(image.astype(float), (1, (4 * times + 1) / 5, 1), order=1)
    view = Stretched(image, 1, times)
    assert view.shape == finer.shape
    np.testing.assert_allclose(view[:, :, :], finer, rtol=1e-5)
    for start, stop in ((0, 1), (1, 3), (2, 4 * times + 1), (3, 5)):
        np.testing.assert_allclose(view[1, start:stop, 2:], finer[1, start:stop, 2:], rtol=1e-5)


def test_slices_of_a_mask_are_copies_of_the_nearest_one():
    view = Stretched(np.array([1, 0, 1, 0], bool), 0, 3, nearest=True)
    assert view[:,].tolist() == [1, 1, 0, 0, 0, 1, 1, 1, 0, 0]
    assert Stretched(np.array([1, 0]), 0, 2, nearest=True)[:,].tolist() == [1, 0, 0]
    assert view.dtype == bool


def test_what_is_not_finite_stays_in_its_slice():
    image = np.array([[np.nan, np.inf], [1, 2]], np.float32)
    np.testing.assert_array_equal(Stretched(image, 0, 2)[::,][[0, 2]], image)


def by_hand(model, image, times, **options):
    """The mean of three passes, two through a volume interpolated by SciPy, which count less."""
    z, y, x = range(3)
    depth = (image.shape[0] - 1) * times + 1
    finer = ndimage.zoom(image, (depth / image.shape[0], 1, 1), order=1)
    how = {"axes": "ZYX", "output": "probabilities", **options}
    along_z = segzoo.predict(model, image, **how)
    along_y = segzoo.predict(model, finer.transpose(y, z, x), **how).transpose(2, 1, 0, 3)
    along_x = segzoo.predict(model, finer.transpose(x, z, y), **how).transpose(2, 1, 3, 0)
    return (times * along_z + along_y[::times] + along_x[::times]) / (times + 2)


@pytest.mark.parametrize("buffer", [20_000, 1])
def test_z_is_interpolated_where_voxels_are_longer_along_it(monkeypatch, buffer):
    monkeypatch.setattr(slabs, "BUFFER_BYTES", buffer)
    model, image = sure_model(), noise((6, 18, 23))
    how = {"tile": 16, "precision": "float32"}
    expected = by_hand(model, image, 3, **how)
    how |= {"planes": "zyx", "output": "probabilities"}
    longer = segzoo.Image(image, "ZYX", (3.1, 1, 1))
    found = segzoo.predict(model, longer, **how)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)
    assert np.abs(found - segzoo.predict(model, image, axes="ZYX", **how)).max() > 0.1
    mask = noise(image.shape, seed=1) > 0.4
    part = segzoo.predict(model, longer, mask=mask, region="z=2:5,y=5:16,x=9:", **how)
    background = np.reshape([1, 0, 0], (1, 3, 1, 1))
    masked = np.where(mask[:, None], expected, background)
    np.testing.assert_allclose(part, masked[2:5, :, 5:16, 9:], atol=ROUNDING)


def test_the_run_tells_of_it():
    image = segzoo.Image(noise((5, 20, 24)), "ZYX", (4, 1, 1))
    run = prepare(tiny_model(), image, options=PredictOptions(planes="zyx", tile=16))
    notes = [e.message for e in run.run() if isinstance(e, Note)]
    assert notes == [
        "Planes YX, 1 of 3.",
        "Planes ZX, 2 of 3, with Z 4 times as fine.",
        "Planes ZY, 3 of 3, with Z 4 times as fine.",
    ]
