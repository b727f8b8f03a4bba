"""Drawings are kept in files beside images, and none is lost to another."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.io import (
    Image,
    find_strokes,
    list_images,
    open_image,
    read_strokes,
    save_strokes,
)
from napari_segzoo.io import strokes as module

OPEN_FILES = Path("/proc/self/fd")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """The folder for strokes on images without a file, empty at first."""
    folder = tmp_path / "of the user"
    monkeypatch.setattr(module, "strokes_folder", lambda: folder)
    return folder


def image_of(shape=(40, 50), axes="YX", seed=0, **about):
    data = np.random.default_rng(seed).integers(0, 200, shape).astype(np.uint8)
    return Image(data, axes, source="cells", **about)


def strokes(shape=(40, 50), *rows):
    labels = np.zeros(shape, np.uint16)
    for n, row in enumerate(rows or (3, 20)):
        labels[..., row : row + 2, 5:30] = 1 + n
    return labels


def values(path):
    return np.asarray(open_image(path, labels=True).data[...])


def test_a_drawing_comes_back_with_axes_and_voxel_size_beside_its_image(tmp_path):
    image = image_of((2, 6, 40, 50), "CZYX", scale=(1, 2.5, 0.5, 0.5), unit="micrometer")
    drawn = strokes((6, 40, 50))
    path = save_strokes(drawn, image, str(tmp_path / "cells.tif"))
    assert path == tmp_path / "cells.tif.strokes.tif"
    assert find_strokes(image, str(tmp_path / "cells.tif")) == path
    kept = open_image(path, labels=True)
    assert np.array_equal(kept.data[...], drawn)
    assert kept.axes == "ZYX"
    assert kept.scale == (2.5, 0.5, 0.5)
    assert kept.unit == "micrometer"
    assert path.stat().st_size < drawn.nbytes / 4


def test_other_programs_read_it(tmp_path):
    drawn = strokes()
    path = save_strokes(drawn, image_of(), str(tmp_path / "cells.png"))
    assert np.array_equal(tifffile.imread(path), drawn)


@pytest.mark.parametrize(("shape", "axes"), [((1, 40, 50), "ZYX"), ((1, 1, 40, 50), "TZYX")])
def test_single_slices_stay_an_axis(tmp_path, shape, axes):
    image = image_of(shape, axes)
    path = save_strokes(strokes(shape), image, str(tmp_path / "a.tif"))
    assert find_strokes(image, str(tmp_path / "a.tif")) == path
    assert np.array_equal(read_strokes(path, axes).data, strokes(shape))
    assert save_strokes(strokes(shape), image, str(tmp_path / "a.tif")) == path


def test_labels_of_another_image(tmp_path):
    with pytest.raises(InputError, match=r"shape \(5, 7\), but the image needs \(40, 50\)"):
        save_strokes(np.ones((5, 7), np.uint8), image_of(), str(tmp_path / "a.tif"))


def test_read_with_other_axes(tmp_path):
    path = save_strokes(strokes(), image_of(), str(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="not 'YQ'"):
        read_strokes(path, "YQ")


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="no list of open files here")
def test_no_file_stays_open(tmp_path):
    """Windows replaces no file that is open."""
    file, image = str(tmp_path / "cells.tif"), image_of()
    path = save_strokes(strokes(), image, file)
    save_strokes(strokes((40, 50), 3, 20, 30), image, file)
    find_strokes(image, file)
    read_strokes(path, "YX")
    assert str(path) not in {os.path.realpath(link) for link in OPEN_FILES.iterdir()}


def test_an_empty_drawing_writes_nothing_and_replaces_nothing(tmp_path, own_folder):
    file = str(tmp_path / "cells.tif")
    assert save_strokes(np.zeros((40, 50), np.uint16), image_of(), file) is None
    assert not list(tmp_path.iterdir())
    path = save_strokes(strokes(), image_of(), file)
    assert save_strokes(np.zeros((40, 50), np.uint16), image_of(), file) is None
    assert np.array_equal(values(path), strokes())


def test_a_drawing_that_grows_or_is_mended_stays_in_its_file(tmp_path):
    file = str(tmp_path / "cells.tif")
    drawn = strokes()
    path = save_strokes(drawn, image_of(), file)
    drawn[30:33, 10:40] = 2
    drawn[3:5, 5:10] = 0
    assert save_strokes(drawn, image_of(), file) == path
    assert np.array_equal(values(path), drawn)
    assert [p.name for p in tmp_path.iterdir()] == ["cells.tif.strokes.tif"]


def test_the_same_drawing_is_not_written_again_but_is_the_one_offered(tmp_path):
    file = str(tmp_path / "cells.tif")
    path = save_strokes(strokes(), image_of(), file)
    os.utime(path, ns=(0, 0))
    newer = save_strokes(strokes((40, 50), 10, 30), image_of(), file)
    os.utime(newer, ns=(1, 1))
    assert find_strokes(image_of(), file) == newer
    number = path.stat().st_ino
    assert save_strokes(strokes(), image_of(), file) == path
    assert path.stat().st_ino == number, "it was written anew"
    assert find_strokes(image_of(), file) == path


def test_another_drawing_gets_a_file_of_its_own_and_is_the_one_offered(tmp_path):
    file = str(tmp_path / "cells.tif")
    first, other = strokes((40, 50), 3, 20), strokes((40, 50), 10, 30)
    path = save_strokes(first, image_of(), file)
    os.utime(path, ns=(0, 0))
    second = save_strokes(other, image_of(), file)
    assert second == tmp_path / "cells.tif.2.strokes.tif"
    assert np.array_equal(values(path), first)
    assert find_strokes(image_of(), file) == second
    first[25:28, 5:30] = 1
    assert save_strokes(first, image_of(), file) == path
    assert np.array_equal(values(second), other)


@settings(max_examples=30)
@given(
    st.lists(
        st.lists(st.integers(0, 7), max_size=4, unique=True).map(tuple), min_size=1, max_size=6
    )
)
def test_whatever_is_saved_in_turn_a_file_gives_way_only_to_what_holds_half_of_it(
    tmp_path_factory, drawings
):
    file = str(tmp_path_factory.mktemp("strokes") / "a.tif")
    image = image_of((8, 6))
    before = {}
    for rows in drawings:
        drawn = np.zeros((8, 6), np.uint8)
        drawn[list(rows)] = 1
        path = save_strokes(drawn, image, file)
        assert (path is None) == (not drawn.any())
        if path is None:
            continue
        if path in before:
            kept = np.count_nonzero((before[path] == drawn) & (drawn > 0))
            assert kept >= np.count_nonzero(before[path]) / 2
        before[path] = drawn
        assert all(np.array_equal(values(p), d) for p, d in before.items())


def test_files_of_another_shape_or_damaged_are_left_alone(tmp_path):
    file = str(tmp_path / "cells.tif")
    damaged = tmp_path / "cells.tif.strokes.tif"
    damaged.write_bytes(b"no TIFF at all")
    assert find_strokes(image_of(), file) is None
    larger = save_strokes(strokes((60, 70)), image_of((60, 70)), file)
    path = save_strokes(strokes(), image_of(), file)
    assert len({damaged, larger, path}) == 3
    assert damaged.read_bytes() == b"no TIFF at all"
    assert find_strokes(image_of(), file) == path
    assert find_strokes(image_of((60, 70)), file) == larger


def test_images_without_a_folder_are_told_apart_by_name_and_content(own_folder):
    image = image_of()
    path = save_strokes(strokes(), image)
    assert path.parent == own_folder
    assert path.name.startswith("cells-")
    assert find_strokes(image_of()) == path
    assert find_strokes(image_of(seed=1)) is None
    assert find_strokes(Image(image.data, "YX", source="other")) is None
    assert find_strokes(image_of((40, 51))) is None


def test_names_that_are_no_file_names(own_folder):
    image = Image(image_of().data, "YX", source="cells/plate 1: ../µ")
    path = save_strokes(strokes(), image)
    assert path.parent == own_folder
    assert find_strokes(image) == path


@pytest.mark.parametrize("file", ["https://example.org/cells.zarr", "/nowhere/at/all/cells.tif"])
def test_a_file_in_no_folder_here(own_folder, file):
    path = save_strokes(strokes(), image_of(), file)
    assert path.parent == own_folder
    assert find_strokes(image_of(), file) == path


def test_a_folder_that_may_not_be_written(tmp_path, own_folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    file = str(tmp_path / "cells.tif")
    path = save_strokes(strokes(), image_of(), file)
    assert path.parent == own_folder
    assert find_strokes(image_of(), file) == path


def test_a_full_disk_leaves_the_saved_drawing_as_it_was(tmp_path, monkeypatch):
    file = str(tmp_path / "cells.tif")
    path = save_strokes(strokes(), image_of(), file)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    more = strokes((40, 50), 3, 20, 30)
    with pytest.raises(RunError, match="could not be written: No space left on device"):
        save_strokes(more, image_of(), file)
    assert np.array_equal(values(path), strokes())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_no_folder_can_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(module, "strokes_folder", lambda: tmp_path / "file" / "strokes")
    with pytest.raises(RunError, match="could not be made"):
        save_strokes(strokes(), image_of())
    assert find_strokes(image_of()) is None


def test_labels_that_no_tiff_holds(tmp_path):
    drawn = strokes().astype(np.int64)
    drawn[0, 0] = 2**40
    with pytest.raises(InputError, match="1099511627776"):
        save_strokes(drawn, image_of(), str(tmp_path / "a.tif"))
    assert not list(tmp_path.iterdir())


def test_folders_of_images_do_not_list_strokes(tmp_path):
    image = image_of()
    segzoo.save_image(tmp_path / "cells.tif", image.data, "YX")
    save_strokes(strokes(), image, str(tmp_path / "cells.tif"))
    save_strokes(strokes((40, 50), 12, 33), image, str(tmp_path / "cells.tif"))
    assert [p.name for p in list_images(tmp_path)] == ["cells.tif"]


def test_finetune_takes_the_file(tmp_path):
    image = image_of()
    segzoo.save_image(tmp_path / "cells.tif", image.data, "YX")
    path = save_strokes(strokes(), image, str(tmp_path / "cells.tif"))
    *_, finished = segzoo.finetune(tmp_path / "cells.tif", path, steps=1, device="cpu")
    assert finished.labelled_voxels == {1: 50, 2: 50}
