"""Images survive the way to a file and back, in every format."""

import gzip
import json

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_segzoo.errors import InputError
from napari_segzoo.io import Image, list_images, open_image, save_image
from napari_segzoo.io.blocks import consecutive_blocks, grid_blocks
from napari_segzoo.io.units import length_factor, length_unit

STEP = {"T": 2.5, "C": 1.0, "Z": 1.5, "Y": 0.25, "X": 0.3}
SIZE = {"T": 3, "C": 2, "Z": 4, "Y": 21, "X": 30}
ALL_AXES = ["YX", "CYX", "ZYX", "TYX", "CZYX", "TZYX", "TCYX", "TCZYX"]


def numbers(axes, dtype="uint16", **sizes):
    shape = [{**SIZE, **sizes}[a] for a in axes]
    values = np.random.default_rng(0).integers(0, 200, shape)
    return values.astype(dtype)


def steps(axes):
    return tuple(STEP[a] for a in axes)


def assert_same(opened, values, axes):
    assert opened.axes == axes
    assert opened.shape == values.shape
    assert opened.data.dtype == values.dtype
    np.testing.assert_array_equal(opened.data[...], values)


@pytest.mark.parametrize("axes", ALL_AXES)
@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_axes_scale_and_unit_come_back(tmp_path, name, axes, dtype):
    values = numbers(axes, dtype)
    path = save_image(tmp_path / name, values, axes, scale=steps(axes), unit="micrometer")
    opened = open_image(path)
    assert_same(opened, values, axes)
    assert opened.scale == pytest.approx(steps(axes))
    assert opened.unit == "micrometer"
    assert opened.source == str(path)
    assert opened.voxel_size == pytest.approx([STEP[a] for a in opened.spatial_axes])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TZYX", "CZYX"])
def test_nifti_comes_back_in_millimeters(tmp_path, name, axes):
    values = numbers(axes, "int16")
    path = save_image(tmp_path / name, values, axes, scale=steps(axes), unit="micrometer")
    opened = open_image(path)
    assert_same(opened, values, axes)
    expected = [STEP[a] if a in "TC" else STEP[a] / 1000 for a in axes]
    assert opened.scale == pytest.approx(expected)
    assert opened.unit == "millimeter"


def test_nifti_is_what_nibabel_understands(tmp_path):
    values = numbers("ZYX", "float32")
    path = save_image(tmp_path / "a.nii.gz", values, "ZYX", scale=(3, 2, 1), unit="millimeter")
    read = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(read.dataobj), values.transpose(2, 1, 0))
    np.testing.assert_allclose(read.affine, np.diag([1, 2, 3, 1]))
    assert read.header.get_xyzt_units() == ("mm", "sec")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_of_nibabel_is_scaled_and_keeps_its_orientation(tmp_path, name):
    stored = numbers("XYZ", "int16")
    affine = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
    written = nibabel.Nifti1Image(stored, affine)
    written.header.set_slope_inter(2, -10)
    nibabel.save(written, tmp_path / name)
    opened = open_image(tmp_path / name)
    expected = np.asarray(nibabel.load(tmp_path / name).dataobj).T
    np.testing.assert_allclose(opened.data[1:3, :, 5], expected[1:3, :, 5])
    assert opened.data.dtype == np.float32
    assert opened.voxel_size == pytest.approx((4, 2, 3))
    labels = np.zeros(opened.shape, np.uint8)
    again = save_image(tmp_path / "labels.nii.gz", labels, "ZYX", affine=opened.affine)
    np.testing.assert_allclose(nibabel.load(again).affine, affine)


def test_nifti_channels_are_its_fifth_axis(tmp_path):
    values = numbers("CZYX", "float32")
    path = save_image(tmp_path / "a.nii", values, "CZYX")
    assert nibabel.load(path).shape == (30, 21, 4, 1, 2)


def test_nifti_without_calibration_is_in_pixels(tmp_path):
    path = save_image(tmp_path / "a.nii", numbers("ZYX"), "ZYX")
    assert open_image(path).unit == "pixel"


def test_nifti_beyond_32767_voxels_along_an_axis(tmp_path):
    values = numbers("YX", Y=2, X=40000)
    path = save_image(tmp_path / "a.nii", values, "YX")
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), values.T)
    assert_same(open_image(path), values, "YX")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_tiff_stores_colours_as_colours(tmp_path, dtype):
    values = numbers("YXC", dtype, C=3)
    path = save_image(tmp_path / "a.tif", values, "YXC", scale=(2, 3, 1), unit="nanometer")
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
    opened = open_image(path)
    assert_same(opened, values, "YXC")
    assert opened.voxel_size == (2, 3)
    assert opened.unit == "nanometer"


def test_tiff_moves_other_channels_to_the_front(tmp_path):
    values = numbers("ZYXC", "float32")
    path = save_image(tmp_path / "a.tif", values, "ZYXC", scale=(1.5, 0.25, 0.3, 1))
    opened = open_image(path)
    assert_same(opened, np.moveaxis(values, -1, 1), "ZCYX")
    assert opened.scale == pytest.approx((1.5, 1, 0.25, 0.3))


def test_tiff_larger_than_a_tile_is_read_alike_by_tifffile(tmp_path):
    values = numbers("ZYX", "uint16", Y=300, X=517)
    path = save_image(tmp_path / "a.tif", values, "ZYX")
    np.testing.assert_array_equal(tifffile.imread(path), values)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.pages[0].is_tiled
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_tiff_written_in_bands_and_slabs_is_the_same(tmp_path, monkeypatch):
    values = numbers("TYX", "uint16", Y=700, X=300)
    for budget in (1, 256 * 300 * 2, 700 * 300 * 2, 3 * 700 * 300 * 2):
        monkeypatch.setattr("napari_segzoo.io.tiff_writer.BUDGET", budget)
        path = save_image(tmp_path / f"{budget}.tif", values, "TYX")
        np.testing.assert_array_equal(tifffile.imread(path), values)


def test_imagej_hyperstack(tmp_path):
    values = numbers("TZCYX", "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        imagej=True,
        resolution=(4, 5),
        metadata={"axes": "TZCYX", "spacing": 2.0, "unit": "um", "finterval": 0.5},
    )
    opened = open_image(tmp_path / "a.tif")
    assert_same(opened, values, "TZCYX")
    assert opened.scale == pytest.approx((0.5, 2, 1, 0.2, 0.25))
    assert opened.unit == "micrometer"


def test_ome_sizes_in_several_units_become_one(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 500, "PhysicalSizeZ": 0.002}
    units = {"PhysicalSizeYUnit": "nm", "PhysicalSizeZUnit": "mm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", numbers("ZYX"), metadata=metadata | units)
    opened = open_image(tmp_path / "a.ome.tif")
    assert opened.voxel_size == pytest.approx((2, 0.5, 0.5))
    assert opened.unit == "micrometer"


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"compression": "zlib", "rowsperstrip": 7, "predictor": True},
        {"compression": "zlib", "tile": (16, 16), "byteorder": ">"},
        {"tile": (16, 32)},
        {"bigtiff": True},
    ],
)
def test_tiff_of_any_layout(tmp_path, options):
    values = numbers("ZYX")
    gray = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", values, **gray, **options)
    opened = open_image(tmp_path / "a.tif")
    assert_same(opened, values, "ZYX")
    assert opened.data.dtype.isnative
    np.testing.assert_array_equal(opened.data[1, 3:19:2, -9:], values[1, 3:19:2, -9:])


def test_tiff_pyramid_opens_at_its_finest_level(tmp_path):
    values = numbers("YX", "uint8", Y=128, X=96)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        tiled = {"tile": (32, 32), "compression": "zlib"}
        writer.write(values, subifds=1, metadata={"axes": "YX"}, **tiled)
        writer.write(values[::2, ::2], subfiletype=1, **tiled)
    opened = open_image(tmp_path / "a.ome.tif")
    assert_same(opened, values, "YX")
    assert [level.shape for level in opened.levels] == [(128, 96), (64, 48)]
    np.testing.assert_array_equal(opened.levels[1][...], values[::2, ::2])


def test_tiff_with_several_series(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(numbers("YX"))
        writer.write(numbers("YX", "float32", Y=5))
    assert open_image(tmp_path / "a.tif").shape == (21, 30)
    assert open_image(tmp_path / "a.tif", series=1).shape == (5, 30)
    with pytest.raises(InputError, match="holds 2 image series, not 3"):
        open_image(tmp_path / "a.tif", series=2)


def test_tiff_axes_of_length_one_are_there_when_asked_for(tmp_path):
    values = numbers("TZYX", T=1, Z=1)
    path = save_image(tmp_path / "a.tif", values, "TZYX", scale=(1, 7, 2, 2))
    assert_same(open_image(path), values[0, 0], "YX")
    assert_same(open_image(path, axes="TZYX"), values, "TZYX")
    assert open_image(path, axes="ZYX").voxel_size == (7, 2, 2)
    np.testing.assert_array_equal(open_image(path, axes="ZYX").data[0, 3:5], values[0, 0, 3:5])
    tifffile.imwrite(tmp_path / "b.tif", values[0, 0], metadata=None)
    with pytest.raises(InputError, match="needs 2 letters"):
        open_image(tmp_path / "b.tif", axes="ZYX")


def test_axes_that_nothing_tells_stay_open_until_given(tmp_path):
    values = numbers("ZYX")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", metadata=None)
    np.save(tmp_path / "a.npy", values)
    zarr.save_array(tmp_path / "a.zarr", values)
    for name in ("a.tif", "a.npy", "a.zarr"):
        opened = open_image(tmp_path / name)
        assert opened.axes == ""
        assert opened.scale == (1, 1, 1)
        assert_same(open_image(tmp_path / name, axes="tyx"), values, "TYX")


def test_two_dimensions_can_only_be_y_and_x(tmp_path):
    np.save(tmp_path / "a.npy", numbers("YX"))
    assert open_image(tmp_path / "a.npy").axes == "YX"


def test_given_axes_overrule_those_of_the_file(tmp_path):
    path = save_image(tmp_path / "a.nii", numbers("TZYX"), "TZYX", scale=(9, 3, 2, 1), unit="mm")
    opened = open_image(path, axes="CZYX")
    assert opened.axes == "CZYX"
    assert opened.scale == pytest.approx((1, 3, 2, 1))


def test_npy_in_any_order_of_bytes_and_axes(tmp_path):
    values = numbers("ZYX")
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    np.save(tmp_path / "b.npy", values.astype(">u2"))
    for name in ("f.npy", "b.npy"):
        opened = open_image(tmp_path / name, axes="ZYX")
        assert_same(opened, values, "ZYX")
        assert opened.data.dtype.isnative
    path = save_image(tmp_path / "s.npy", values.transpose(), "XYZ")
    np.testing.assert_array_equal(np.load(path), values.transpose())


@pytest.mark.parametrize("axes", ["YX", "YXC"])
def test_png(tmp_path, axes):
    values = numbers(axes, "uint8", C=3)
    path = save_image(tmp_path / "a.png", values, axes)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), values)
    assert_same(open_image(path), values, axes)


def test_png_of_16_bits(tmp_path):
    values = numbers("YX", "int32") * 300
    path = save_image(tmp_path / "a.png", values, "YX")
    assert_same(open_image(path), values.astype(np.uint16), "YX")


def test_jpeg_is_opened(tmp_path):
    PIL.Image.fromarray(numbers("YXC", "uint8", C=3)).save(tmp_path / "a.jpg")
    assert open_image(tmp_path / "a.jpg").axes == "YXC"


def test_palette_gives_colours_or_label_values(tmp_path):
    indices = numbers("YX", "uint8") % 3
    file = PIL.Image.fromarray(indices).convert("P")
    file.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    file.save(tmp_path / "a.png")
    assert_same(open_image(tmp_path / "a.png", labels=True), indices, "YX")
    colours = open_image(tmp_path / "a.png")
    assert colours.axes == "YXC"
    np.testing.assert_array_equal(colours.data[..., 1] == 255, indices == 2)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.nii", "a.npy", "a.png"])
def test_masks_are_stored_as_bytes(tmp_path, name):
    mask = numbers("YX") > 100
    opened = open_image(save_image(tmp_path / name, mask, "YX"))
    assert opened.data.dtype == np.uint8
    np.testing.assert_array_equal(opened.data[...], mask)


@pytest.mark.parametrize("name", ["a.tif", "a.nii"])
def test_wide_types_are_narrowed_only_if_values_fit(tmp_path, name):
    labels = numbers("YX", "int64")
    opened = open_image(save_image(tmp_path / name, labels, "YX"))
    assert opened.data.dtype == np.int32
    np.testing.assert_array_equal(opened.data[...], labels)
    labels[3, 4] = 5_000_000_000
    with pytest.raises(InputError, match=rf"{name}.* 5000000000 does not fit"):
        save_image(tmp_path / name, labels, "YX", overwrite=True)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_metadata_follow_the_specification(tmp_path, version):
    values = numbers("TCZYX", "uint8", Y=300, X=270)
    path = save_image(
        tmp_path / "a.ome.zarr",
        values,
        "TCZYX",
        scale=steps("TCZYX"),
        unit="micrometer",
        ome_zarr=version,
    )
    if version == "0.4":
        attributes = json.loads((path / ".zattrs").read_text())
        assert json.loads((path / "0" / ".zarray").read_text())["dimension_separator"] == "/"
        assert attributes["multiscales"][0]["version"] == "0.4"
    else:
        attributes = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
        assert attributes["version"] == "0.5"
        names = json.loads((path / "0" / "zarr.json").read_text())["dimension_names"]
        assert names == ["t", "c", "z", "y", "x"]
    multiscale = attributes["multiscales"][0]
    assert multiscale["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        *({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"),
    ]
    transforms = [d["coordinateTransformations"][0] for d in multiscale["datasets"]]
    assert transforms[0] == {"type": "scale", "scale": [2.5, 1, 1.5, 0.25, 0.3]}
    assert transforms[1] == {"type": "scale", "scale": [2.5, 1, 1.5, 0.5, 0.6]}
    assert_same(open_image(path), values, "TCZYX")
    assert [level.shape for level in open_image(path).levels] == [
        (3, 2, 4, 300, 270),
        (3, 2, 4, 150, 135),
    ]


def test_pyramid_averages_intensities_and_picks_labels(tmp_path):
    values = numbers("YX", "float32", Y=301, X=400)
    path = save_image(tmp_path / "a.zarr", values, "YX")
    half = open_image(path).levels[1][...]
    assert half.shape == (151, 200)
    np.testing.assert_allclose(half[:150], values[:300].reshape(150, 2, 200, 2).mean((1, 3)))
    np.testing.assert_allclose(half[150], values[300].reshape(200, 2).mean(1))
    labels = values.astype(np.uint16)
    path = save_image(tmp_path / "labels.zarr", labels, "YX")
    np.testing.assert_array_equal(open_image(path).levels[1][...], labels[::2, ::2])
    path = save_image(tmp_path / "image.zarr", labels, "YX", labels=False)
    np.testing.assert_array_equal(open_image(path).levels[1][...], half.round())


def test_pyramid_makes_coarse_voxels_isotropic(tmp_path):
    values = numbers("ZYX", "uint8", Z=8, Y=1100, X=600)
    path = save_image(tmp_path / "a.zarr", values, "ZYX", scale=(2, 0.5, 0.5))
    shapes = [level.shape for level in open_image(path).levels]
    assert shapes == [(8, 1100, 600), (8, 550, 300), (8, 275, 150), (4, 138, 75)]


@pytest.mark.parametrize("budget", [1, 5000, 10**9])
def test_zarr_written_in_blocks_of_any_size_is_the_same(tmp_path, monkeypatch, budget):
    values = numbers("ZYX", "uint16", Z=5, Y=120, X=300)
    monkeypatch.setattr("napari_segzoo.io.zarr_writer.BUDGET", budget)
    path = save_image(tmp_path / "a.zarr", values, "ZYX")
    assert_same(open_image(path), values, "ZYX")
    np.testing.assert_array_equal(open_image(path).levels[1][...], values[::2, ::2, ::2])


def test_ome_zarr_of_other_writers(tmp_path):
    """Version 0.3 names axes by strings; units differ; the group of a series stands inside."""
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    group = root.create_group("0")
    values = numbers("ZYX")
    group.create_array("full", data=values, chunks=(2, 8, 8))
    group.attrs["multiscales"] = [{"axes": ["z", "y", "x"], "datasets": [{"path": "full"}]}]
    assert_same(open_image(tmp_path / "a.zarr"), values, "ZYX")
    units = [{"name": "z", "unit": "micrometer"}, *({"name": n, "unit": "nanometer"} for n in "yx")]
    scale = [{"type": "scale", "scale": [2, 250, 250]}]
    group.attrs["multiscales"] = [
        {"axes": units, "datasets": [{"path": "full", "coordinateTransformations": scale}]}
    ]
    opened = open_image(tmp_path / "a.zarr" / "0")
    assert opened.unit == "nanometer"
    assert opened.scale == pytest.approx((2000, 250, 250))


def test_zarr_array_with_named_dimensions(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=numbers("ZYX"), dimension_names=["z", "y", "x"])
    assert open_image(tmp_path / "a.zarr").axes == "ZYX"


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    itemsize=st.sampled_from([1, 4]),
    budget=st.integers(1, 3000),
    data=st.data(),
)
def test_blocks_tile_the_array_within_the_budget(shape, itemsize, budget, data):
    chunks = [data.draw(st.integers(1, n)) for n in shape]
    in_order = np.full(shape, -1)
    n = 0
    for region in consecutive_blocks(shape, itemsize, budget):
        block = in_order[region]
        assert block.size * itemsize <= max(budget, itemsize)
        in_order[region] = np.arange(n, n + block.size).reshape(block.shape)
        n += block.size
    np.testing.assert_array_equal(in_order.ravel(), np.arange(in_order.size))
    times = np.zeros(shape, int)
    for region in grid_blocks(shape, chunks, itemsize, budget):
        times[region] += 1
        assert times[region].size * itemsize <= max(budget, np.prod(chunks) * itemsize)
        assert all(r.start % c == 0 for r, c in zip(region, chunks, strict=True))
    assert (times == 1).all()


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("µm", "micrometer"),
        ("μm", "micrometer"),
        ("\\u00B5m", "micrometer"),
        ("um", "micrometer"),
        ("micron", "micrometer"),
        ("Microns", "micrometer"),
        ("micrometre", "micrometer"),
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("millimeters", "millimeter"),
        ("Å", "angstrom"),
        ("m", "meter"),
        ("inch", "inch"),
        ("pixels", "pixel"),
        ("furlong", "pixel"),
        ("", "pixel"),
        (None, "pixel"),
    ],
)
def test_units_of_length_in_all_spellings(spelled, name):
    assert length_unit(spelled) == name


def test_factors_between_units():
    assert length_factor("micrometer", "millimeter") == pytest.approx(1e-3)
    assert length_factor("inch", "millimeter") == pytest.approx(25.4)
    assert length_factor("pixel", "millimeter") == 1


def test_folder_is_listed_in_order_and_zarr_counts_as_one(tmp_path):
    for name in ("b.tif", "a.nii.gz", "c.zarr", "d.PNG"):
        save_image(tmp_path / name, numbers("YX", "uint8"), "YX")
    for name in ("notes.txt", ".hidden.tif"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "folder").mkdir()
    names = [path.name for path in list_images(tmp_path)]
    assert names == ["a.nii.gz", "b.tif", "c.zarr", "d.PNG"]


def test_image_fills_in_what_is_left_out():
    image = Image(numbers("ZYX"), "ZYX")
    assert image.scale == (1, 1, 1)
    assert image.unit == "pixel"
    assert Image(numbers("ZYX"), "ZYX", (0, np.nan, 2)).scale == (1, 1, 2)


def test_gzip_holds_the_same_bytes_as_the_plain_file(tmp_path):
    values = numbers("ZYX", "uint8")
    plain = save_image(tmp_path / "a.nii", values, "ZYX")
    packed = save_image(tmp_path / "b.nii.gz", values, "ZYX")
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


@pytest.mark.parametrize("ending", [".nii.gz", ".tif", ".npy"])
def test_labels_stored_as_real_numbers_become_whole(tmp_path, ending):
    labels = np.arange(24, dtype=np.float32).reshape(2, 3, 4) % 3
    path = save_image(tmp_path / f"labels{ending}", labels, "ZYX")
    read = open_image(path, labels=True).data
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read[1], labels[1])
    path = save_image(tmp_path / f"other{ending}", labels + 0.5, "ZYX")
    with pytest.raises(InputError, match="not whole numbers"):
        open_image(path, labels=True).data[:]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_zarr_says_where_the_first_voxel_lies(tmp_path, version):
    values, place = numbers("TZYX", Y=600), (0.0, 7.0, -100.0, 50.5)
    how = {"scale": steps("TZYX"), "unit": "micrometer", "translate": place}
    opened = open_image(save_image(tmp_path / "a.zarr", values, "TZYX", **how, ome_zarr=version))
    assert opened.translate == place
    assert opened.with_axes("TZYX").translate == place
    assert open_image(save_image(tmp_path / "b.zarr", values, "TZYX")).translate == (0.0,) * 4


def test_nifti_says_where_the_first_voxel_lies(tmp_path):
    how = {"scale": (3.0, 2.0, 2.0), "unit": "micrometer", "translate": (30.0, 20.0, 10.0)}
    path = save_image(tmp_path / "a.nii", numbers("ZYX", "int16"), "ZYX", **how)
    np.testing.assert_allclose(nibabel.load(path).affine[:3, 3], [0.01, 0.02, 0.03])
