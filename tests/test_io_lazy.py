"""A region of an image costs what it holds, however large the image."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_segzoo.errors import InputError
from napari_segzoo.io import LazyArray, open_image, save_image
from napari_segzoo.io import blocks as io_blocks

VALUES = np.random.default_rng(0).integers(0, 60000, (6, 200, 300)).astype(np.uint16)
REGION = (slice(2, 4), slice(50, 130), slice(90, 210))


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.nii", "a.nii.gz", "a.npy"])
def test_region_equals_that_of_the_whole(tmp_path, name):
    opened = open_image(save_image(tmp_path / name, VALUES, "ZYX"))
    block = opened.data[REGION]
    assert isinstance(block, np.ndarray)
    np.testing.assert_array_equal(block, VALUES[REGION])
    np.testing.assert_array_equal(np.asarray(opened.data), VALUES)


@given(data=st.data())
def test_lazy_array_is_indexed_like_numpy(data):
    values = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    asked = []

    def read(region):
        asked.append(region)
        return values[region]

    lazy = LazyArray(values.shape, values.dtype, read)
    ends = st.none() | st.integers(-8, 8)
    steps = st.sampled_from([None, 1, 2, 3, -1, -2])
    parts = [
        data.draw(st.integers(-n, n - 1) | st.builds(slice, ends, ends, steps))
        for n in values.shape
    ]
    key = tuple(parts[: data.draw(st.integers(0, 3))])
    at = data.draw(st.integers(0, len(key)))
    if data.draw(st.booleans()):
        key = (*key[:at], ..., *key[at:])
    np.testing.assert_array_equal(lazy[key], values[key])
    assert all(r.step is None and 0 <= r.start <= r.stop for region in asked for r in region)


def test_lazy_array_refuses_what_is_no_index():
    lazy = LazyArray((2, 3), np.dtype("u1"), lambda region: np.zeros((2, 3), "u1")[region])
    assert (lazy.ndim, lazy.size, lazy.nbytes, len(lazy)) == (2, 6, 6, 2)
    for key in ((0, 0, 0), 2, (..., ...)):
        with pytest.raises(IndexError):
            lazy[key]
    with pytest.raises(TypeError):
        lazy["y"]


def test_zarr_reads_only_the_chunks_of_the_region(tmp_path, monkeypatch):
    save_image(tmp_path / "a.zarr", np.ones((1200, 1200), np.uint8), "YX")
    data = open_image(tmp_path / "a.zarr").data
    assert data.chunks == (512, 512)
    read = []
    get = zarr.storage.LocalStore.get

    async def spy(self, key, *args, **kwargs):
        read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", spy)
    assert data[600:700, 500:520].sum() == 2000
    assert sorted(read) == ["1/0", "1/1"]


def test_tiff_decodes_only_the_tiles_of_the_region(tmp_path):
    """Tiles beside the region are overwritten, which only reading them would tell."""
    values = np.random.default_rng(0).integers(0, 99, (3, 600, 600)).astype(np.uint8)
    path = save_image(tmp_path / "a.tif", values, "ZYX")
    data = open_image(path).data
    assert data.chunks == (1, 256, 256)
    with tifffile.TiffFile(path) as file, path.open("r+b") as stream:
        for z, page in enumerate(file.pages):
            for n, at in enumerate(page.dataoffsets):
                if (z, n) != (1, 4):
                    stream.seek(at)
                    stream.write(b"overwritten")
    np.testing.assert_array_equal(data[1, 256:512, 300:500], values[1, 256:512, 300:500])
    with pytest.raises(InputError, match=r"a\.tif is damaged"):
        data[1, 255:512, 300:500]


def test_a_region_of_a_tiff_in_compressed_strips_decodes_only_its_strips(tmp_path):
    """As most programs write them: a megabyte is held at most, of an image of 32."""
    values = np.random.default_rng(0).integers(0, 9, (8192, 4096)).astype(np.uint8)
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, values, compression="zlib", rowsperstrip=16)
    data = open_image(path).data
    data[:16, :16]
    tracemalloc.start()
    block = data[4000:4040, 100:300]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(block, values[4000:4040, 100:300])
    assert peak < 2**20


class Counting:
    """A large image that exists nowhere and counts how much of it is held at a time."""

    def __init__(self, shape):
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype("u2")
        self.largest = 0

    def __getitem__(self, key):
        sizes = [len(range(*s.indices(n))) for s, n in zip(key, self.shape, strict=True)]
        self.largest = max(self.largest, 2 * int(np.prod(sizes)))
        return np.full(sizes, 7, self.dtype)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.nii", "a.npy"])
def test_writing_holds_a_block_at_a_time(tmp_path, monkeypatch, name):
    megabyte = 2**20
    for module in ("blocks", "tiff_writer", "zarr_writer"):
        monkeypatch.setattr(f"napari_segzoo.io.{module}.BUDGET", 4 * megabyte)
    for function in (io_blocks.consecutive_blocks, io_blocks.grid_blocks):
        monkeypatch.setattr(function, "__defaults__", (4 * megabyte,))
    image = Counting((100, 512, 512))
    steps = []
    tracemalloc.start()
    path = save_image(
        tmp_path / name, image, "ZYX", progress=lambda done, total: steps.append((done, total))
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.largest <= 4 * megabyte
    assert peak < 32 * megabyte
    assert steps == [(n, len(steps)) for n in range(1, len(steps) + 1)]
    assert len(steps) > 5
    saved = open_image(path).data
    assert saved.shape == image.shape
    assert (saved[99, 500:] == 7).all()


def test_importing_io_loads_no_library_of_a_format():
    code = (
        "import sys, napari_segzoo.io; "
        "print({'torch', 'napari', 'zarr', 'tifffile', 'nibabel', 'h5py', 'PIL', 'imageio'} "
        "& set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.strip() == "set()", printed.stderr
