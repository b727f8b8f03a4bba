"""What is wrong with a file is told in one sentence that names it, and nothing is left behind."""

import builtins
import errno
import json
import os
import struct
import subprocess
import sys
import zlib
from importlib.util import find_spec

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr

from napari_segzoo.errors import InputError, RunError
from napari_segzoo.io import check_output, list_images, open_image, save_image
from napari_segzoo.io.image import reading

VALUES = np.random.default_rng(0).integers(0, 60000, (6, 80, 90)).astype(np.uint16)


def refuse(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def read_whole(path):
    return open_image(path).data[...]


@pytest.fixture
def whole(tmp_path):
    """Write one whole file of a name."""

    def write(name):
        path = tmp_path / name
        if name == "imagej.tif":
            tifffile.imwrite(path, VALUES, imagej=True, metadata={"axes": "ZYX"})
        elif name == "plain.tif":
            tifffile.imwrite(path, VALUES, photometric="minisblack", metadata=None)
        elif name == "strips.tif":
            tifffile.imwrite(path, VALUES, compression="zlib", metadata={"axes": "ZYX"})
        elif name in ("gray.png", "photo.jpg"):
            PIL.Image.fromarray((VALUES[0] // 256).astype(np.uint8)).save(path)
        else:
            save_image(path, VALUES, "ZYX", scale=(2, 1, 1), unit="micrometer")
        return path

    return write


@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize(
    "name",
    [
        "ome.tif",
        "imagej.tif",
        "plain.tif",
        "strips.tif",
        "gray.png",
        "photo.jpg",
        "a.nii",
        "a.nii.gz",
        "a.npy",
    ],
)
def test_truncated_file(whole, name, part):
    path = whole(name)
    read_whole(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refuse(f"{name} is .*(truncated|empty)", read_whole, path)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.nii", "a.nii.gz", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"This is no image.", b"\0" * 5000])
def test_file_of_something_else(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refuse(f"{name} is (damaged|empty)", read_whole, path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_zarr_with_a_damaged_part(tmp_path, version):
    path = save_image(tmp_path / "a.zarr", VALUES, "ZYX", ome_zarr=version)
    chunk = path / "0" / ("0/0/0" if version == "0.4" else "c/0/0/0")
    content = chunk.read_bytes()
    for damaged in (content[: len(content) // 2], content[:20], content[:5], b""):
        chunk.write_bytes(damaged)
        refuse("a.zarr is damaged or truncated", read_whole, path)
    chunk.write_bytes(content)
    np.testing.assert_array_equal(read_whole(path), VALUES)
    for metadata in path.rglob(".z*" if version == "0.4" else "zarr.json"):
        text = metadata.read_text()
        metadata.write_text(text[: len(text) // 2])
        refuse("a.zarr is damaged or truncated", read_whole, path)
        metadata.write_text(text)


def test_zarr_that_is_no_single_image(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    refuse(r"choose one of its arrays \(none\)", open_image, tmp_path / "a.zarr")
    root.create_array("one", data=VALUES)
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").data[...], VALUES)
    root.create_array("two", data=VALUES)
    refuse(r"choose one of its arrays \(one, two\)", open_image, tmp_path / "a.zarr")
    root.attrs["plate"] = {}
    refuse("is a plate or well", open_image, tmp_path / "a.zarr")


def test_zarr_whose_metadata_contradict_its_data(tmp_path):
    path = save_image(tmp_path / "a.zarr", VALUES, "ZYX")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["axes"].pop()
    (path / ".zattrs").write_text(json.dumps(attributes))
    refuse("names 2 axes, but its data have 3 dimensions", open_image, path)


def test_zarr_with_chunks_that_no_memory_holds(tmp_path):
    side = 10**6
    zarr.create_array(tmp_path / "a.zarr", shape=(side, side), chunks=(side, side), dtype="u1")
    refuse(r"its chunks \(1000000, 1000000\)", open_image, tmp_path / "a.zarr")


def test_headers_that_announce_more_than_the_file_holds(whole):
    path = whole("a.nii")
    content = bytearray(path.read_bytes())
    content[42:48] = struct.pack("<3h", 30000, 30000, 30000)
    path.write_bytes(content)
    refuse("a.nii is damaged .* announces 54,000,000,000,352 bytes", open_image, path)
    path = whole("b.nii.gz")
    path.write_bytes(zlib.compress(bytes(content), wbits=31))
    refuse("b.nii.gz is damaged .* announces 54,000,000,000,352 bytes", open_image, path)
    path = whole("a.npy")
    path.write_bytes(path.read_bytes().replace(b"(6, 80, 90)", b"(6, 8000000000, 9)"[:11]))
    refuse("a.npy is damaged", open_image, path)


def test_tiff_that_announces_more_than_it_can_hold(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", rowsperstrip=64)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[tag].overwrite(60000)
    refuse("a.tif is damaged .* announces 3,600,000,000 bytes", open_image, path)


def png(width, height, content):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_decompression_bomb(tmp_path):
    (tmp_path / "a.png").write_bytes(png(100_000, 100_000, bytes(10**6)))
    refuse("a.png has more than 178 million pixels; convert it", open_image, tmp_path / "a.png")


def test_empty_images(tmp_path):
    np.save(tmp_path / "a.npy", VALUES[:0])
    refuse(r"a.npy is empty: its shape is \(0, 80, 90\)", open_image, tmp_path / "a.npy")
    zarr.create_array(tmp_path / "a.zarr", shape=(0, 5), chunks=(1, 1), dtype="u1")
    refuse("a.zarr is empty", open_image, tmp_path / "a.zarr")
    refuse("cannot be written", save_image, tmp_path / "b.tif", VALUES[:0], "ZYX")


def test_values_that_are_no_intensities(tmp_path):
    np.save(tmp_path / "c.npy", VALUES.astype(np.complex64))
    refuse("c.npy holds values of type complex64", open_image, tmp_path / "c.npy")
    np.save(tmp_path / "line.npy", VALUES[0, 0])
    refuse(r"has the shape \(90,\)", open_image, tmp_path / "line.npy")
    colours = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii")
    refuse("rgb.nii holds values of type", open_image, tmp_path / "rgb.nii")
    refuse("complex64", save_image, tmp_path / "a.tif", VALUES.astype(np.complex64), "ZYX")


def test_pickled_objects_are_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.save(tmp_path / "a.npy", np.array([Bomb(), 1], object), allow_pickle=True)
    refuse("a.npy holds Python objects, which are not opened", open_image, tmp_path / "a.npy")


def test_wrong_paths(tmp_path):
    refuse("There is no file or folder .*none.tif", open_image, tmp_path / "none.tif")
    refuse("folder, but no Zarr", open_image, tmp_path)
    (tmp_path / "a.gif").write_bytes(b"GIF")
    refuse(r"a.gif has an ending.*\.tif.*\.nii.gz", open_image, tmp_path / "a.gif")
    (tmp_path / "packed.zarr").write_bytes(b"PK")
    refuse("packed.zarr is a file, but a .zarr is a folder", open_image, tmp_path / "packed.zarr")
    refuse("There is no folder", list_images, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("axes", "match"),
    [
        ("YX", r"shape \(6, 80, 90\), so axes needs 3 letters.*not 'YX'"),
        ("YYX", r"own letter of TCZYX, not 'YYX'.*shape \(6, 80, 90\)"),
        ("QYX", "own letter of TCZYX, not 'QYX'"),
        ("TZX", "axes must hold Y and X"),
    ],
)
def test_axes_that_do_not_fit(whole, axes, match):
    path = whole("a.npy")
    refuse(match, open_image, path, axes=axes)
    refuse(r"a\.npy", open_image, path, axes=axes)
    refuse(match, save_image, path.with_name("b.npy"), VALUES, axes)


def test_scale_of_another_length(tmp_path):
    refuse("3 dimensions, but 2 scale", save_image, tmp_path / "a.tif", VALUES, "ZYX", scale=(1, 1))
    refuse("ome_zarr must be 0.4", save_image, tmp_path / "a.zarr", VALUES, "ZYX", ome_zarr="1")


def test_missing_nibabel_names_the_extra(whole, monkeypatch):
    path = whole("a.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    refuse(r'pip install "napari-segzoo\[nifti\]"', open_image, path)
    refuse(
        r'pip install "napari-segzoo\[nifti\]"', save_image, path.with_name("b.nii"), VALUES, "ZYX"
    )


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs is installed")
def test_missing_codec_names_the_package(tmp_path):
    PIL.Image.fromarray(VALUES[0]).save(tmp_path / "a.tif", compression="tiff_lzw")
    refuse("compressed with LZW.*pip install imagecodecs", open_image, tmp_path / "a.tif")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_file_that_may_not_be_read(whole, monkeypatch):
    path = whole("a.npy")

    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(np.lib.format, "open_memmap", denied)
    refuse("a.npy may not be read; check its permissions", open_image, path)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.nii", "a.nii.gz", "a.npy"])
def test_existing_output_is_refused_or_replaced(tmp_path, name):
    path = save_image(tmp_path / name, VALUES, "ZYX")
    refuse(f"{name} exists already", save_image, path, VALUES + 1, "ZYX")
    refuse(f"{name} exists already", check_output, path)
    np.testing.assert_array_equal(read_whole(path), VALUES)
    assert check_output(path, overwrite=True) == path
    save_image(path, VALUES + 1, "ZYX", overwrite=True)
    np.testing.assert_array_equal(read_whole(path), VALUES + 1)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_image_can_be_overwritten_by_what_is_read_from_it(tmp_path):
    path = save_image(tmp_path / "a.zarr", VALUES, "ZYX")
    save_image(path, open_image(path).data, "ZYX", overwrite=True)
    np.testing.assert_array_equal(read_whole(path), VALUES)


def test_folders_of_the_user_are_never_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("years of work")
    refuse(
        "folder that is not a Zarr", save_image, tmp_path / "a.zarr", VALUES, "ZYX", overwrite=True
    )
    assert (tmp_path / "a.zarr" / "thesis.txt").exists()


def test_outputs_that_cannot_be(tmp_path):
    refuse("folder .*nowhere does not exist", save_image, tmp_path / "nowhere/a.tif", VALUES, "ZYX")
    refuse("folder .*nowhere does not exist", check_output, tmp_path / "nowhere" / "a.tif")
    refuse("a.jpg has an ending", save_image, tmp_path / "a.jpg", VALUES[0], "YX")
    refuse("a.txt has an ending", check_output, tmp_path / "a.txt")


def test_what_png_cannot_hold(tmp_path):
    path = tmp_path / "a.png"
    refuse("a.png: PNG holds one plane .* not ZYX", save_image, path, VALUES, "ZYX")
    refuse("a.png: PNG holds integers, not float32", save_image, path, np.ones((2, 2), "f4"), "YX")
    labels = np.full((2, 2), 65536)
    refuse("from 0 to 65535, and here is 65536", save_image, path, labels, "YX")
    refuse("from 0 to 65535, and here is -1", save_image, path, -np.ones((2, 2), int), "YX")
    refuse("from 0 to 255, and", save_image, path, np.full((2, 2, 3), 256, "u2"), "YXC")
    assert not any(tmp_path.iterdir())


class FullDisk:
    """Stands in for a disk that is full after some bytes."""

    def __init__(self, monkeypatch, room=20_000):
        self.room = room
        opened = builtins.open

        def limited(file, mode="r", *args, **kwargs):
            stream = opened(file, mode, *args, **kwargs)
            return self._limit(stream) if set(mode) & set("wxa+") and "b" in mode else stream

        monkeypatch.setattr(builtins, "open", limited)
        monkeypatch.setattr("io.open", limited)

    def _limit(self, stream):
        disk = self

        class Limited:
            def __getattr__(self, name):
                return getattr(stream, name)

            def __enter__(self):
                return self

            def __exit__(self, *error):
                stream.close()

            def write(self, content):
                disk.room -= memoryview(content).nbytes
                if disk.room < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return stream.write(content)

        return Limited()


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.nii", "a.nii.gz", "a.npy", "a.png"])
@pytest.mark.parametrize("replace", [False, True])
def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch, name, replace):
    values, axes = (VALUES[0], "YX") if name == "a.png" else (VALUES, "ZYX")
    path = tmp_path / name
    if replace:
        save_image(path, values, axes)
    with monkeypatch.context() as patch:
        FullDisk(patch, room=10_000)
        with pytest.raises(RunError, match=f"{name} could not be written: No space left on device"):
            save_image(path, values[..., ::-1], axes, overwrite=replace)
    assert [p.name for p in tmp_path.iterdir()] == [name] * replace
    if replace:
        np.testing.assert_array_equal(read_whole(path), values)


def test_nothing_is_left_when_the_user_stops(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_image(tmp_path / "a.zarr", VALUES, "ZYX", progress=stop)
    assert not any(tmp_path.iterdir())


def test_damaged_source_is_named_rather_than_the_output(whole, tmp_path):
    path = whole("a.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refuse("a.nii.gz is damaged", save_image, tmp_path / "b.tif", open_image(path).data, "ZYX")
    assert not (tmp_path / "b.tif").exists()


def test_tiff_whose_tiles_no_memory_holds(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), "u1"), tile=(64, 64), compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ("TileWidth", "TileLength"):
            at = file.pages[0].tags[name].valueoffset
            content[at : at + 2] = (24576).to_bytes(2, "little")
    path.write_bytes(content)
    refuse("announces 603,979,776 bytes", open_image, path)


def test_an_error_of_the_disk_is_not_taken_for_a_damaged_file(tmp_path):
    said = r"a\.zarr could not be read: Input/output error"
    with pytest.raises(RunError, match=said), reading(tmp_path / "a.zarr"):
        raise OSError(errno.EIO, "Input/output error")


def test_what_killed_processes_left_is_removed(tmp_path):
    from napari_segzoo.io import blocks

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    running = os.getpid()
    for number, elsewhere in ((ended.pid, ""), (running, ""), (ended.pid, "0")):
        (tmp_path / f".a.npy.{elsewhere}{blocks._process(number)}.xyz.part").mkdir()
    save_image(tmp_path / "a.npy", np.zeros((4, 4), "u1"), "YX")
    left = [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")]
    assert sorted(left) == sorted(
        [
            f".a.npy.{blocks._process(running)}.xyz.part",
            f".a.npy.0{blocks._process(ended.pid)}.xyz.part",
        ]
    )
