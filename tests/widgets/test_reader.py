"""NIfTI files opened in napari: what they hold, and that no other format is touched."""

import subprocess
import sys

import numpy as np
import pytest
from napari.layers import Image
from napari.settings import get_settings

from napari_segzoo.errors import InputError
from napari_segzoo.io import LazyArray, open_image, save_image
from napari_segzoo.reader import get_reader, read_layers
from napari_segzoo.widgets.layers import core_image, file_of, possible_axes

OURS = "napari-segzoo"


@pytest.fixture
def stack():
    return np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8)


@pytest.fixture
def nifti(tmp_path, stack):
    """A stack with slices 0.5 mm apart and pixels of 0.1 mm by 0.2 mm."""
    path = tmp_path / "mouse.1.nii.gz"
    return save_image(path, stack, "ZYX", scale=(0.5, 0.1, 0.2), unit="millimeter")


def test_only_single_nifti_files_are_taken(tmp_path):
    for name in ("a.nii", "a.nii.gz", "A.NII.GZ"):
        assert get_reader(str(tmp_path / name)) is read_layers
    for name in ("a.ome.tif", "a.tif", "a.gz", "a.zarr", "nii"):
        assert get_reader(str(tmp_path / name)) is None
    assert get_reader(["a.nii", "b.nii"]) is None


def test_looking_at_a_name_loads_no_library():
    code = (
        "import sys, napari_segzoo.reader as r; r.get_reader('a.nii');"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "napari", "qtpy", "numpy", "nibabel"} & set(done.stdout.split())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_stack_has_its_voxel_size(tmp_path, stack, ending):
    path = tmp_path / f"cells{ending}"
    save_image(path, stack, "ZYX", scale=(2.0, 0.5, 0.25), unit="micrometer")
    [(data, metadata, kind)] = read_layers(str(path))
    assert kind == "image"
    assert data.dtype == stack.dtype
    np.testing.assert_array_equal(data, stack)
    assert metadata.pop("scale") == pytest.approx((0.002, 0.0005, 0.00025))
    metadata.pop("contrast_limits")
    assert metadata == {
        "name": "cells",
        "units": ("millimeter",) * 3,
        "axis_labels": ("z", "y", "x"),
    }


def test_a_few_bright_voxels_do_not_darken_a_scan(tmp_path):
    scan = np.random.default_rng(0).integers(0, 1000, (20, 30, 40)).astype(np.int16)
    scan[0, 0, :5] = 30000
    [(_, metadata, _)] = read_layers(str(save_image(tmp_path / "a.nii", scan, "ZYX")))
    assert metadata["contrast_limits"] == pytest.approx((1, 998), abs=1)
    flat = np.full((4, 5, 6), 7, np.int16)
    [(_, metadata, _)] = read_layers(str(save_image(tmp_path / "b.nii", flat, "ZYX")))
    assert "contrast_limits" not in metadata


def test_time_points_and_planes(tmp_path, stack):
    path = save_image(tmp_path / "film.nii", stack[None], "TZYX", scale=(3.0, 1.0, 1.0, 1.0))
    [(_, metadata, _)] = read_layers(str(path))
    assert metadata["axis_labels"] == ("t", "z", "y", "x")
    assert metadata["scale"] == (3.0, 1.0, 1.0, 1.0)
    path = save_image(tmp_path / "plane.nii", stack[0], "YX")
    [(data, metadata, _)] = read_layers(str(path))
    np.testing.assert_array_equal(data, stack[0])
    assert metadata["axis_labels"] == ("y", "x")
    assert metadata["units"] == ("pixel", "pixel")


def test_a_large_file_stays_where_it_is(tmp_path, stack, monkeypatch, make_napari_viewer):
    monkeypatch.setattr("napari_segzoo.reader.LARGEST_IN_MEMORY", 100)
    path = save_image(tmp_path / "large.nii", stack, "ZYX")
    viewer = make_napari_viewer()
    [layer] = viewer.open(path, plugin=OURS)
    assert isinstance(layer.data, LazyArray)
    viewer.dims.set_current_step(0, 1)
    assert layer.get_value((1, 2, 3), world=False) == stack[1, 2, 3]


def test_a_layer_in_the_docks_is_the_same_image(make_napari_viewer, nifti, stack):
    [layer] = make_napari_viewer().open(nifti, plugin=OURS)
    assert isinstance(layer, Image)
    assert layer.name == "mouse.1"
    np.testing.assert_array_equal(layer.data, stack)
    axes = possible_axes(layer)[0]
    assert axes == "ZYX"
    image, from_file = core_image(layer, axes), open_image(nifti)
    assert image.voxel_size == pytest.approx((0.5, 0.1, 0.2))
    assert image.voxel_size == from_file.voxel_size
    assert image.unit == from_file.unit == "millimeter"
    assert file_of(layer, axes) == str(nifti)


def test_channels_become_layers(make_napari_viewer, tmp_path, stack):
    path = tmp_path / "two.nii.gz"
    both = np.stack([stack, stack[::-1]])
    save_image(path, both, "CZYX", scale=(1.0, 0.5, 0.1, 0.2), unit="millimeter")
    layers = make_napari_viewer().open(path, plugin=OURS)
    assert len(layers) == 2
    for layer, channel in zip(layers, both, strict=True):
        np.testing.assert_array_equal(layer.data, channel)
        assert layer.axis_labels == ("z", "y", "x")
        assert tuple(layer.scale) == pytest.approx((0.5, 0.1, 0.2))
        assert {str(unit) for unit in layer.units} == {"millimeter"}


def test_what_napari_remembers_opens_without_a_question(make_napari_viewer, nifti, monkeypatch):
    """Its dialog remembers the last part of the ending."""
    viewer = make_napari_viewer()
    monkeypatch.setattr(get_settings().plugins, "extension2reader", {"*.gz": OURS})
    [layer] = viewer.open(nifti, plugin=None)
    assert layer.source.reader_plugin == OURS


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.png"])
def test_other_formats_open_without_a_question(make_napari_viewer, tmp_path, stack, name):
    path = save_image(tmp_path / name, stack[0].astype(np.uint8), "YX")
    [layer] = make_napari_viewer().open(path, plugin=None)
    assert layer.source.reader_plugin == "napari"


@pytest.mark.parametrize("kept", [0, 20, -40])
def test_a_broken_file_is_told(make_napari_viewer, nifti, kept):
    nifti.write_bytes(nifti.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"mouse\.1\.nii\.gz is (empty|damaged|truncated)"):
        make_napari_viewer().open(nifti, plugin=OURS)


def test_a_missing_package_is_told(nifti, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=r'^NIfTI files need one more package: pip install "'):
        read_layers(str(nifti))
