import numpy as np
import pytest

from napari_segzoo.axes import find_layout
from napari_segzoo.errors import InputError


@pytest.mark.parametrize(
    "shape, axes, ndim, channels, leading, labels",
    [
        ((30, 40), None, 2, 1, "", (30, 40)),
        ((5, 30, 40), None, 3, 1, "", (5, 30, 40)),
        ((30, 40, 3), None, 2, 3, "", (30, 40)),
        ((3, 30, 40), None, 2, 3, "", (30, 40)),
        ((5, 30, 40), "ZYX", 2, 1, "Z", (5, 30, 40)),
        ((7, 5, 30, 40), "TZYX", 3, 1, "T", (7, 5, 30, 40)),
        ((7, 5, 2, 30, 40), "TZCYX", 2, 2, "TZ", (7, 5, 30, 40)),
        ((30, 40), "yx", 2, 3, "", (30, 40)),
        ((1, 30, 40), "CYX", 2, 1, "", (30, 40)),
    ],
)
def test_layout_of_an_image(shape, axes, ndim, channels, leading, labels):
    layout = find_layout(shape, axes, ndim=ndim, in_channels=channels)
    assert layout.leading_axes == leading
    assert layout.label_shape == labels
    assert layout.spatial_shape == labels[-ndim:]


@pytest.mark.parametrize(
    "shape, axes, ndim, channels, message",
    [
        ((5, 30, 40), None, 2, 1, "axes are not known"),
        ((3, 30, 3), None, 2, 3, "axes are not known"),
        ((4, 5, 30, 40), None, 3, 1, "axes='CZYX'|axes='TCZYX'|for example"),
        ((30, 40), "YX", 3, 1, "3D and needs the axes ZYX"),
        ((30, 40), "XY", 2, 1, "order Z, Y, X"),
        ((30, 40, 5), "YXT", 2, 1, "before YX"),
        ((30, 40), "ZYX", 3, 1, r"\(30, 40\)"),
        ((30, 40, 2), "YXC", 2, 1, r"takes 1 channel\(s\), but the image has 2"),
        ((30, 40, 4), "YXC", 2, 3, "the image has 4"),
    ],
)
def test_wrong_and_ambiguous_axes_are_told(shape, axes, ndim, channels, message):
    with pytest.raises(InputError, match=message):
        find_layout(shape, axes, ndim=ndim, in_channels=channels)


def test_a_region_is_read_with_channels_first():
    image = np.arange(4 * 6 * 8 * 2).reshape(4, 6, 8, 2)
    layout = find_layout(image.shape, "ZYXC", ndim=2, in_channels=2)
    block = layout.read(image, (3,), (slice(1, 3), slice(2, 7)))
    np.testing.assert_array_equal(block, np.moveaxis(image[3, 1:3, 2:7], -1, 0))


def test_a_grey_image_is_repeated_for_a_colour_model():
    image = np.arange(12).reshape(3, 4)
    layout = find_layout(image.shape, None, ndim=2, in_channels=3)
    block = layout.read(image, (), (slice(None), slice(None)))
    np.testing.assert_array_equal(block, np.stack([image] * 3))
