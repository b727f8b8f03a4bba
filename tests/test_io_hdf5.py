import json
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
from tiny import tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError
from napari_segzoo.io import list_images, open_image

VALUES = np.random.default_rng(0).integers(0, 60000, (6, 40, 50)).astype(np.uint16)


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        yield opened


def test_the_only_image_in_a_file_is_found(tmp_path, file):
    file.create_dataset("exported/data", data=VALUES, chunks=(2, 16, 16), compression="gzip")
    file["a number"] = 3
    file.flush()
    image = open_image(tmp_path / "a.h5")
    assert (image.shape, image.data.dtype, image.data.chunks) == ((6, 40, 50), "u2", (2, 16, 16))
    assert image.axes == ""
    np.testing.assert_array_equal(image.data[2:4, ::3, -1], VALUES[2:4, ::3, -1])
    assert [p.name for p in list_images(tmp_path)] == ["a.h5"]


def test_one_of_several_images_is_named_in_the_path(tmp_path, file):
    file["raw"], file["group/labels"] = VALUES, VALUES[0]
    file.flush()
    with pytest.raises(InputError, match=r"group/labels, raw; name the one.*a\.h5/group/labels"):
        open_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(open_image(tmp_path / "a.h5/raw").data[:], VALUES)
    image = open_image(tmp_path / "a.h5" / "group")
    assert image.axes == "YX"
    assert image.source.endswith("a.h5/group")
    with pytest.raises(InputError, match="holds no rwa; it holds the images group/labels, raw"):
        open_image(tmp_path / "a.h5/rwa")


def test_axes_and_voxel_size_are_taken_from_the_attributes(tmp_path, file):
    file["ilastik"], file["labelled"], file["unknown"] = VALUES[..., None], VALUES, VALUES
    tags = {"axes": [{"key": k} for k in "zyxc"]}
    file["ilastik"].attrs["axistags"] = json.dumps(tags)
    file["ilastik"].attrs["element_size_um"] = (2.0, 0.5, 0.25)
    for n, label in enumerate("tyx"):
        file["labelled"].dims[n].label = label
    file["unknown"].attrs["element_size_um"] = (2.0, 0.5, 0.25)
    file.flush()
    image = open_image(tmp_path / "a.h5/ilastik")
    assert (image.axes, image.scale, image.unit) == ("ZYXC", (2, 0.5, 0.25, 1), "micrometer")
    assert open_image(tmp_path / "a.h5/labelled").axes == "TYX"
    image = open_image(tmp_path / "a.h5/unknown", axes="ZYX")
    assert image.voxel_size == (2, 0.5, 0.25)


def test_unknown_axes_are_asked_for(tmp_path, file):
    file["data"] = VALUES
    file.flush()
    with pytest.raises(InputError, match="axes are not known"):
        segzoo.predict(tiny_model(), tmp_path / "a.h5")
    labels = segzoo.predict(tiny_model(), tmp_path / "a.h5", axes="ZYX")
    np.testing.assert_array_equal(labels, segzoo.predict(tiny_model(), VALUES, axes="ZYX"))


def test_a_region_is_read_without_the_rest(tmp_path, file):
    file.create_dataset("data", (4096, 4096), "u2", chunks=(64, 64), compression="gzip")
    file["data"][1000:1100, 1000:1100] = 7
    file.flush()
    data = open_image(tmp_path / "a.h5").data
    tracemalloc.start()
    assert (data[1000:1100, 1000:1100] == 7).all()
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_what_is_no_image_is_told(tmp_path, file):
    file["text"] = "abc"
    file["complex"] = np.ones((3, 3), complex)
    file.flush()
    with pytest.raises(InputError, match="holds no image"):
        open_image(tmp_path / "a.h5")
    with pytest.raises(InputError, match="integers or real numbers"):
        open_image(tmp_path / "a.h5/complex")
    (tmp_path / "b.h5").write_bytes(b"no HDF5 file")
    with pytest.raises(InputError, match=r"b\.h5 is damaged"):
        open_image(tmp_path / "b.h5")
    with pytest.raises(InputError, match="no file or folder"):
        open_image(tmp_path / "c.h5")


def test_a_missing_package_is_named_with_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"napari-segzoo\[hdf5\]"):
        open_image(tmp_path / "a.h5")
