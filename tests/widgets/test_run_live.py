"""The Run dock while it runs: what is there already, where it lies, and how it stops."""

import threading

import dask.array as da
import numpy as np
import pytest
import zarr
from tiny import tiny_model

import napari_segzoo as segzoo
from napari_segzoo.inference import loading
from napari_segzoo.widgets import results
from napari_segzoo.widgets.layers import full_array

WAIT = 30_000
ALL = 1 << 30


class Gate:
    """Lets as many tiles pass as the test allows, and counts those that were computed."""

    def __init__(self):
        self.computed, self.allowed = 0, ALL
        self._changed = threading.Condition()

    def let(self, tiles):
        with self._changed:
            self.allowed = tiles
            self._changed.notify()

    def around(self, forward):
        def gated(tiles):
            with self._changed:
                self._changed.wait_for(lambda: self.computed < self.allowed)
                self.computed += 1
            return forward(tiles)

        return gated


@pytest.fixture
def run(open_dock):
    dock = open_dock("Run", menu="Layers")
    dock.form.tile.setText("32")
    dock.form.device.setCurrentText("cpu")
    return dock


@pytest.fixture
def gate(run, monkeypatch):
    """Stop the forward pass of the run at will."""
    gate, make = Gate(), loading.make_forward
    monkeypatch.setattr(loading, "make_forward", lambda *a, **k: gate.around(make(*a, **k)))
    yield gate
    gate.let(ALL)


@pytest.fixture
def run_until(gate, run, qtbot):
    """Start a run and let tiles pass, one by one, until something is true; return how many."""

    def wait(true):
        gate.computed = gate.allowed = 0
        run.run()
        while not true():
            gate.let(gate.allowed + 1)
            qtbot.waitUntil(lambda: gate.computed == gate.allowed, timeout=WAIT)
        return gate.computed

    return wait


def noise(shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def look_at_end(viewer, end, zoom):
    """Let the canvas end, below and on the right, at a point of the world."""
    viewer.scene.camera.zoom = zoom
    viewer.scene.camera.center = end - np.array(viewer.canvas.size) / 2 / zoom


def done(viewer, name, part, expected):
    """Whether a part of a layer shows what it will show at the end."""
    if name not in viewer.layers:
        return False
    return np.array_equal(full_array(viewer.layers[name])[part], expected[part])


@pytest.mark.parametrize("pyramid", [False, True])
def test_the_visible_corner_is_there_first(
    viewer, run, choose, finish, qtbot, gate, run_until, monkeypatch, pyramid
):
    monkeypatch.setattr(results, "LARGEST_PLANE", 128 if pyramid else 16384)
    monkeypatch.setattr(results, "COARSEST_PLANE", 64)
    image = noise((181, 243))
    source = viewer.add_image(image, name="big", visible=False, scale=(0.5, 0.5), translate=(5, 9))
    model = tiny_model()
    choose(model)
    plain = segzoo.predict(model, image, tile=32)
    look_at_end(viewer, (95, 130), 40)
    qtbot.wait(100)
    seen = run.form.first()
    assert (seen["Y"][1], seen["X"][1]) == (181, 243)
    part = tuple(slice(*seen[a]) for a in "YX")
    assert plain[part].any()
    tiles = run_until(lambda: done(viewer, "big labels", part, plain))
    result = viewer.layers["big labels"]
    found = full_array(result).copy()
    assert not found[32:120].any()  # the first tiles of the rest may be there
    assert not found[32:, :160].any()
    assert plain[32:120].any()
    qtbot.waitUntil(lambda: colours(viewer) > 0, timeout=WAIT)
    gate.let(ALL)
    finish(run)
    assert run.status.text().startswith("Done")
    assert tiles < run.progress.maximum() / 4
    assert result.multiscale == pyramid
    assert full_array(result).tobytes() == plain.tobytes()
    for corner in ((0, 0), (180, 242)):
        assert np.allclose(result.data_to_world(corner), source.data_to_world(corner))


def colours(viewer):
    """How many pixels of the canvas are not grey."""
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    return np.count_nonzero(np.ptp(shot, axis=-1) > 30)


def test_the_visible_slice_appears_first(viewer, run, choose, finish, gate, run_until):
    stack = noise((5, 64, 64))
    viewer.add_image(stack, name="stack", scale=(4, 1, 1), axis_labels=("z", "y", "x"))
    model = tiny_model()
    choose(model)
    viewer.dims.set_point(0, 12)
    viewer.reset_view()
    plain = segzoo.predict(model, stack, axes="ZYX", tile=32)
    run_until(lambda: done(viewer, "stack labels", 3, plain))
    found = viewer.layers["stack labels"].data.copy()
    assert not found[[0, 1, 2, 4], 32:].any()
    assert plain[0, 32:].any()
    gate.let(ALL)
    finish(run)
    np.testing.assert_array_equal(viewer.layers["stack labels"].data, plain)
    assert gate.computed == 5 * 9  # none of them twice


def test_the_order_is_plain_where_all_is_visible(viewer, run, choose, finish, gate, run_until):
    image = noise((100, 100))
    viewer.add_image(image, name="small")
    model = tiny_model()
    choose(model)
    viewer.reset_view()
    plain = segzoo.predict(model, image, tile=32)
    run_until(lambda: done(viewer, "small labels", slice(0, 20), plain))
    found = viewer.layers["small labels"].data.copy()
    assert plain[:20].any()
    assert not found[80:].any()  # a row of tiles may follow before the first one shows
    gate.let(ALL)
    finish(run)
    np.testing.assert_array_equal(viewer.layers["small labels"].data, plain)


class Reads:
    """Notes what is read of lazily loaded data outside the thread of the window."""

    def __init__(self, monkeypatch):
        self.largest = 0
        read = zarr.Array.__getitem__

        def noted(array, where):
            block = read(array, where)
            if threading.current_thread() is not threading.main_thread():
                self.largest = max(self.largest, np.size(block))
            return block

        monkeypatch.setattr(zarr.Array, "__getitem__", noted)


def as_zarr(data, path, chunks):
    array = zarr.create_array(path, shape=data.shape, dtype=data.dtype, chunks=chunks)
    array[...] = data
    return array


def as_dask(array):
    """Dask reads through the array's own slicing, chunk by chunk."""
    return da.from_array(array, chunks=array.chunks, asarray=False)


@pytest.mark.parametrize(
    "kind", [*(pytest.param(k, marks=pytest.mark.slow) for k in ("zarr", "dask")), "pyramid"]
)
def test_lazily_loaded_images_fill_in_tile_by_tile(
    viewer, run, choose, finish, gate, run_until, tmp_path, monkeypatch, kind
):
    stack = noise((3, 130, 170))
    full = as_zarr(stack, tmp_path / "0.zarr", (1, 64, 64))
    half = as_zarr(stack[:, ::2, ::2].copy(), tmp_path / "1.zarr", (1, 64, 64))
    data = {"zarr": full, "dask": as_dask(full), "pyramid": [as_dask(full), as_dask(half)]}[kind]
    image = viewer.add_image(
        data,
        name="lazy",
        multiscale=kind == "pyramid",
        scale=(4, 0.5, 0.5),
        translate=(10, -3, 7),
        axis_labels=("z", "y", "x"),
        contrast_limits=(0, 1),
    )
    viewer.reset_view()
    viewer.dims.set_point(0, 10)
    model = tiny_model()
    choose(model)
    plain = segzoo.predict(model, stack, axes="ZYX", tile=32)
    reads = Reads(monkeypatch)
    run_until(lambda: done(viewer, "lazy labels", (0, slice(20), slice(20)), plain))
    result = viewer.layers["lazy labels"]
    assert plain[0, 60:].any()
    assert not result.data[0, 60:].any()
    for voxel in np.ndindex(2, 2, 2):
        corner = np.multiply(voxel, (2, 129, 169))
        np.testing.assert_allclose(result.data_to_world(corner), image.data_to_world(corner))
    gate.let(ALL)
    finish(run)
    np.testing.assert_array_equal(result.data, plain)
    assert result.data.shape == stack.shape
    assert 0 < reads.largest <= 64 * 64


def test_cancel_stops_after_the_tile_in_hand(viewer, run, choose, finish, gate, run_until):
    image = noise((200, 200))
    viewer.add_image(image, name="big")
    model = tiny_model()
    choose(model)
    viewer.reset_view()
    plain = segzoo.predict(model, image, tile=32)
    before = run_until(lambda: done(viewer, "big labels", slice(0, 20), plain))
    assert run.running
    run.cancel()
    gate.let(ALL)
    finish(run)
    assert gate.computed <= before + 1
    assert run.status.text().startswith("Cancelled")
    partial = viewer.layers["big labels (partial)"]
    assert partial.metadata["napari_segzoo"]["partial"]
    np.testing.assert_array_equal(partial.data[:20], plain[:20])
    assert not partial.data[100:].any()
    assert run.run_button.isEnabled()
    assert not run.cancel_button.isEnabled()
    run.run()
    finish(run)
    assert run.status.text().startswith("Done")
    np.testing.assert_array_equal(viewer.layers["big labels"].data, plain)


def test_a_result_larger_than_memory_is_told_before_the_run(viewer, run, choose, finish, tmp_path):
    shape = (40_000_000, 128, 128)
    empty = zarr.create_array(tmp_path / "0.zarr", shape=shape, dtype="u1", chunks=(1, 128, 128))
    viewer.add_image(empty, name="endless", axis_labels=("z", "y", "x"), contrast_limits=(0, 1))
    choose(tiny_model())
    run.run()
    finish(run)
    assert "The result takes 610.4 GiB" in run.status.text()
    assert "segment a part of the image" in run.status.text()
    assert len(viewer.layers) == 1
    assert run.run_button.isEnabled()
