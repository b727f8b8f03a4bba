"""A 2D model in a volume, in slices along all three axes."""

import errno
import json
import sys
import tempfile

import numpy as np
import pytest
import torch
from tiny import Watched, noise, tiny_model
from typer.testing import CliRunner

import napari_segzoo as segzoo
from napari_segzoo.cli.commands import app
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.inference import Note, PredictOptions, TileDone, files, prepare, slabs
from napari_segzoo.inference.slabs import Turned
from napari_segzoo.preprocess import Intensity, Normalization

ROUNDING = 5e-4
"""Of probabilities kept in half precision."""


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory, monkeypatch):
    """Folder for temporary files, in which nothing may be left."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert left_in(folder) == []


def left_in(folder):
    return list(folder.glob("napari-segzoo-*"))


def sure_model(in_channels=1, **options):
    """A model whose probabilities differ much from voxel to voxel."""
    model = tiny_model(in_channels=in_channels, **options)
    with torch.no_grad():
        for parameter in model.network.head.parameters():
            parameter.mul_(20)
    return model


def mean_of_three(model, image, **options):
    """The same by hand, of a volume [C]ZYX: probabilities (Z, C, Y, X)."""
    *channel, z, y, x = range(image.ndim)
    how = {"axes": "CZYX"[-image.ndim :], "output": "probabilities", **options}
    along_z = segzoo.predict(model, image, **how)
    along_y = segzoo.predict(model, image.transpose(*channel, y, z, x), **how)
    along_x = segzoo.predict(model, image.transpose(*channel, x, z, y), **how)
    return (along_z + along_y.transpose(2, 1, 0, 3) + along_x.transpose(2, 1, 3, 0)) / 3


def assert_most_probable(labels, probabilities):
    """Labels are the most probable classes, where rounding leaves no doubt."""
    second, first = np.sort(probabilities, axis=1)[:, -2:].swapaxes(0, 1)
    clear = first - second > 2 * ROUNDING
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(labels[clear], probabilities.argmax(axis=1)[clear])


@pytest.mark.parametrize("buffer", [1 << 20, 20_000, pytest.param(1, marks=pytest.mark.slow)])
def test_the_result_is_the_mean_of_three_runs(monkeypatch, buffer):
    monkeypatch.setattr(slabs, "BUFFER_BYTES", buffer)
    model = sure_model(normalization=Normalization())
    image = noise((13, 37, 41)) + np.linspace(0, 1, 41, dtype=np.float32)
    expected = mean_of_three(model, image, tile=24)
    options = {"axes": "ZYX", "tile": 24, "planes": "zyx"}
    found = segzoo.predict(model, Watched(image), output="probabilities", **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=ROUNDING)
    only_z = segzoo.predict(model, image, axes="ZYX", tile=24, output="probabilities")
    assert np.abs(found - only_z).max() > 0.1
    labels = segzoo.predict(model, image, **options)
    assert labels.dtype == np.uint8
    assert_most_probable(labels, expected)


def test_a_volume_that_looks_the_same_along_all_axes_stays_so():
    z, y, x = np.indices((24, 24, 24)) - 11.5
    ball = np.exp(-(z**2 + y**2 + x**2) / 60).astype(np.float32)
    model = sure_model()
    found = segzoo.predict(model, ball, axes="ZYX", planes="zyx", output="probabilities")
    found = found.transpose(1, 0, 2, 3)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=3 * ROUNDING)
    single = segzoo.predict(model, ball, axes="ZYX", output="probabilities").transpose(1, 0, 2, 3)
    by_hand = (single + single.transpose(0, 2, 1, 3) + single.transpose(0, 2, 3, 1)) / 3
    np.testing.assert_allclose(found, by_hand, atol=ROUNDING)


@pytest.mark.parametrize("axes", ["TZYX", "ZYXC", "CZYX", "ZCYX"])
def test_time_and_channels_stay_where_they_are(axes):
    sizes = {"T": 2, "C": 2, "Z": 9, "Y": 20, "X": 26}
    image = noise(tuple(sizes[a] for a in axes))
    model = sure_model(in_channels=2 if "C" in axes else 1)
    found = segzoo.predict(model, Watched(image), axes=axes, planes="zyx", output="probabilities")
    if axes == "TZYX":
        expected = [mean_of_three(model, volume) for volume in image]
    else:
        expected = mean_of_three(model, np.moveaxis(image, axes.index("C"), 0))
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_a_part_and_a_mask_are_those_of_the_whole():
    model, image = sure_model(normalization=Normalization()), noise((12, 40, 44))
    mask = noise((12, 40, 44), seed=1) > 0.4
    options = {"axes": "ZYX", "tile": 16, "planes": "zyx", "output": "probabilities"}
    whole = segzoo.predict(model, image, mask=mask, **options)
    expected = np.where(mask[:, None], mean_of_three(model, image, tile=16), 0)
    expected[:, 0][~mask] = 1
    np.testing.assert_allclose(whole, expected, atol=ROUNDING)
    part = segzoo.predict(model, image, mask=mask, region="z=3:9,y=5:31,x=20:", **options)
    np.testing.assert_array_equal(part, whole[3:9, :, 5:31, 20:])
    flat = segzoo.predict(model, image, mask=mask[0], **options)
    assert (flat[:, 0][:, ~mask[0]] == 1).all()


def test_objects_are_three_dimensional():
    model, image = tiny_model(classes=2), noise((20, 20, 20))
    options = {"axes": "ZYX", "planes": "zyx"}
    classes = segzoo.predict(model, image, **options)
    objects = segzoo.predict(model, image, output="instances", **options)
    np.testing.assert_array_equal(objects > 0, classes > 0)
    assert any((objects == n).any(axis=(1, 2)).sum() > 1 for n in range(1, objects.max() + 1))


def test_files_are_read_in_slabs_and_not_as_a_whole(monkeypatch):
    monkeypatch.setattr(slabs, "BUFFER_BYTES", 40_000)
    image = Watched(noise((40, 48, 56)))
    options = PredictOptions(tile=32, planes="zyx", device="cpu")
    run = prepare(
        tiny_model(normalization=Normalization("fixed", mean=(0.0,), std=(1.0,))),
        image,
        axes="ZYX",
        options=options,
    )
    for _ in run.run():
        pass
    assert image.largest * 4 <= 40_000
    assert image.total < 8 * np.prod(image.shape)


def test_progress_runs_over_all_three_passes():
    options = PredictOptions(tile=16, planes="zyx")
    run = prepare(tiny_model(), noise((10, 30, 34)), axes="ZYX", options=options)
    assert "mean of slices along Z, Y and X" in run.plan.summary()
    events = list(run.run())
    done = [e.done for e in events if isinstance(e, TileDone) and e.region is None]
    assert done == list(range(1, len(done) + 1))
    assert {e.total for e in events if isinstance(e, TileDone)} == {len(done)} == {run.plan.tiles}
    assert [e.message[:9] for e in events if isinstance(e, Note)] == [
        "Planes YX",
        "Planes ZX",
        "Planes ZY",
    ]
    filled = np.zeros(run.result.shape, int)
    for event in events:
        if isinstance(event, TileDone) and event.region is not None:
            filled[event.region] += 1
    assert (filled == 1).all()


def running_out(tile):
    """What stands for `Intensity.apply`, and fails for lack of memory once, at one tile."""
    calls, apply = [], Intensity.apply

    def runs_out_once(self, block):
        calls.append(1)
        if len(calls) == tile:
            raise MemoryError
        return apply(self, block)

    return runs_out_once


def test_memory_that_runs_out_leaves_no_trace_in_the_result(monkeypatch):
    image, model = noise((10, 70, 74)), sure_model()
    expected = mean_of_three(model, image, tile=64, blend="exact")
    monkeypatch.setattr(Intensity, "apply", running_out(14))
    options = PredictOptions(
        "probabilities", tile=64, blend="exact", precision="float32", planes="zyx"
    )
    run = prepare(model, image, axes="ZYX", options=options)
    notes = [e.message for e in run.run() if isinstance(e, Note)]
    assert any("Memory ran out" in message for message in notes)
    np.testing.assert_allclose(run.result, expected, atol=ROUNDING)


class Stop(Exception):
    pass


def stopping_at(tiles, counted):
    """A callback that counts tiles, and ends the run at one of them."""

    def stop(event):
        if isinstance(event, TileDone) and event.region is None:
            counted.append(event.done)
            if event.done == tiles:
                raise Stop

    return stop


def test_a_cancelled_run_leaves_nothing(temporary):
    image = segzoo.Image(noise((10, 30, 34)), "ZYX")
    with pytest.raises(Stop):
        segzoo.predict(
            tiny_model(), image, tile=16, planes="zyx", progress=stopping_at(40, counted := [])
        )
    assert counted[-1] == 40
    assert left_in(temporary) == []


@pytest.mark.parametrize(
    ("buffer", "output"),
    [
        (1 << 20, "probabilities"),
        (1, "instances"),
        pytest.param(20_000, "probabilities", marks=pytest.mark.slow),
        pytest.param(1, "probabilities", marks=pytest.mark.slow),
        pytest.param(20_000, "instances", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, monkeypatch, buffer, output):
    monkeypatch.setattr(slabs, "BUFFER_BYTES", buffer)
    monkeypatch.setattr(files, "SAVE_SECONDS", 0)
    model, image = sure_model(), segzoo.Image(noise((2, 7, 18, 34)), "TZYX")
    how = {"tile": 16, "planes": "zyx", "output": output}
    expected = segzoo.predict(model, image, **how)
    out, computed = tmp_path / "a.zarr", []
    how |= {"out": out, "resume": True}
    tiles = prepare(model, image, options=PredictOptions(planes="zyx", tile=16)).plan.tiles
    for stop in (5, tiles // 4, tiles // 2, tiles):
        with pytest.raises(Stop):
            segzoo.predict(model, image, progress=stopping_at(stop, computed), **how)
        assert {p.name for p in tmp_path.iterdir()} == {".a.zarr.partial"}
    found = segzoo.predict(model, image, progress=stopping_at(0, computed), **how)
    np.testing.assert_array_equal(found, expected)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
    if buffer < 1 << 20:
        assert len(computed) < 1.7 * tiles


@pytest.mark.slow
def test_after_memory_ran_out_a_run_goes_on_with_its_smaller_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SAVE_SECONDS", 0)
    monkeypatch.setattr(slabs, "BUFFER_BYTES", 1)
    image, model = segzoo.Image(noise((10, 70, 74)), "ZYX"), sure_model()
    how = {"tile": 64, "planes": "zyx", "output": "probabilities", "precision": "float32"}
    with monkeypatch.context() as short:
        short.setattr(Intensity, "apply", running_out(14))
        expected = segzoo.predict(model, image, **how)
    with monkeypatch.context() as short:
        short.setattr(Intensity, "apply", running_out(14))
        with pytest.raises(Stop):
            segzoo.predict(
                model, image, out=tmp_path / "a.tif", progress=stopping_at(120, []), **how
            )
    how |= {"out": tmp_path / "a.tif", "resume": True}
    found = segzoo.predict(model, image, progress=stopping_at(0, again := []), **how)
    np.testing.assert_array_equal(found, expected)
    assert min(again) > 100


def test_a_full_disk_is_told_and_the_run_goes_on_with_room(tmp_path, monkeypatch):
    import zarr

    image, model = segzoo.Image(noise((10, 30, 34)), "ZYX"), tiny_model()
    expected = segzoo.predict(model, image, planes="zyx")
    written, write = [], zarr.Array.__setitem__

    def full(self, where, value):
        written.append(where)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, where, value)

    with monkeypatch.context() as short:
        short.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(RunError, match=r"No space left on device; make room .* and resume"):
            segzoo.predict(model, image, planes="zyx", out=tmp_path / "a.tif")
    found = segzoo.predict(model, image, planes="zyx", out=tmp_path / "a.tif", resume=True)
    np.testing.assert_array_equal(found, expected)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
@pytest.mark.parametrize("kind", ["labels", "instances", "probabilities"])
def test_the_command_line_writes_the_same(tmp_path, name, kind):
    model, image = tiny_model(), segzoo.Image(noise((9, 40, 44)), "ZYX", (2, 1, 1), "micrometer")
    model.save(tmp_path / "m.safetensors")
    segzoo.save_image(tmp_path / "in.zarr", image.data, "ZYX", scale=(2, 1, 1), unit="micrometer")
    words = [str(tmp_path / n) for n in ("m.safetensors", "in.zarr", name)]
    options = ["--output", kind, "--planes", "zyx", "--tile", "24", "--json"]
    result = CliRunner().invoke(app, ["predict", *words, *options], catch_exceptions=False)
    assert result.exit_code == 0
    written = segzoo.open_image(tmp_path / name)
    how = {"tile": 24, "planes": "zyx", "output": kind}
    np.testing.assert_array_equal(written.data[:], segzoo.predict(model, image, **how))
    record = json.loads(result.stdout)
    plan = prepare(model, image, options=PredictOptions(**how)).plan
    assert record["tiles"] == plan.tiles > 9 * 4
    assert {p.name for p in tmp_path.iterdir()} == {"m.safetensors", "in.zarr", name}


@pytest.mark.parametrize(
    ("ndim", "shape", "options", "message"),
    [
        (3, (16, 16, 16), {}, "is for 2D models, but this one is 3D"),
        (2, (16, 16), {}, "needs a volume with the axes ZYX, but the image has YX"),
        (2, (16, 16, 16), {"planes": "xy"}, "planes must be one of z, zyx, not 'xy'"),
        (2, (16, 16, 16), {"crf": True}, "leave out crf or planes"),
        (2, (16, 16, 16), {"scheduler": "local:2"}, "cannot be combined with scheduler"),
    ],
)
def test_wrong_use_is_told(tmp_path, ndim, shape, options, message):
    how = {"planes": "zyx", "axes": "ZYX"[-len(shape) :], "out": tmp_path / "a.tif", **options}
    with pytest.raises(InputError, match=message):
        segzoo.predict(tiny_model(ndim), noise(shape), **how)
    assert list(tmp_path.iterdir()) == []


def test_a_plane_is_the_right_one_though_another_thread_reads_in_between():
    volume = noise((96, 4, 4))

    class Lazy:
        shape, dtype = volume.shape, volume.dtype

        def __getitem__(self, where):
            return volume[where]

    turned = Turned(Lazy(), (0, 1, 2), 0)
    plane = (slice(0, 4), slice(0, 4))

    def interfere(frame, event, argument):
        if frame.f_code is not Turned.__getitem__.__code__:
            return None
        turned[(70, *plane)]  # not traced itself
        return interfere

    for n in (3, 4, 40):
        before = sys.gettrace()
        sys.settrace(interfere)
        try:
            found = turned[(n, *plane)]
        finally:
            sys.settrace(before)
        np.testing.assert_array_equal(found, volume[n])
