"""The Run dock while it runs: what is there already, where it lies, and how it stops."""

import threading

import numpy as np
import pytest
from tiny import tiny_model

import napari_segzoo as segzoo
from napari_segzoo.inference import loading

WAIT = 60_000
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


def done(viewer, name, part, expected):
    """Whether a part of a layer shows what it will show at the end."""
    return name in viewer.layers and np.array_equal(viewer.layers[name].data[part], expected[part])


def test_the_visible_corner_appears_first(viewer, run, choose, finish, qtbot, gate, run_until):
    image = noise((300, 400))
    viewer.add_image(image, name="big", scale=(0.5, 0.5))
    model = tiny_model()
    choose(model)
    plain = segzoo.predict(model, image, tile=32)
    viewer.scene.camera.zoom = 40
    viewer.scene.camera.center = (150, 200) - np.array(viewer.canvas.size) / 80
    qtbot.wait(100)
    seen = run.form.first()
    assert (seen["Y"][1], seen["X"][1]) == (300, 400)
    part = tuple(slice(*seen[a]) for a in "YX")
    assert plain[part].any()
    tiles = run_until(lambda: done(viewer, "big labels", part, plain))
    found = viewer.layers["big labels"].data.copy()
    assert tiles < run.progress.maximum() / 5
    assert not found[:200].any()
    assert not found[:, :300].any()
    assert plain[:200].any()
    gate.let(ALL)
    finish(run)
    assert run.status.text().startswith("Done")
    assert viewer.layers["big labels"].data.tobytes() == plain.tobytes()


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
    assert not found[40:].any()
    gate.let(ALL)
    finish(run)
    np.testing.assert_array_equal(viewer.layers["small labels"].data, plain)
