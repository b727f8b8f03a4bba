import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Watched, noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.inference import Note, PredictOptions, TileDone, prepare
from napari_segzoo.inference.tiling import Tiling
from napari_segzoo.inference.walk import cut_columns
from napari_segzoo.preprocess import Normalization

SHAPES = {2: (131, 97), 3: (21, 47, 66)}


def probabilities(model, image, **options):
    return segzoo.predict(model, image, output="probabilities", **options)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("options", [{}, {"residual": True, "upsampling": "linear"}])
def test_exact_tiles_equal_one_pass_at_odd_sizes(ndim, options):
    model = tiny_model(ndim, **options)
    image = noise(SHAPES[ndim])
    whole = probabilities(model, image, tile=1024)
    run = prepare(model, image, options=PredictOptions("probabilities", 32, blend="exact"))
    assert run.plan.tiles > 4
    for _ in run.run():
        pass
    np.testing.assert_allclose(run.result, whole, atol=1e-5)


def test_exact_tiles_equal_one_pass_with_anisotropic_strides():
    model = tiny_model(3, widths=(4, 8, 8), strides=((1, 2, 2), (1, 2, 2)))
    image = noise((9, 77, 90))
    whole = probabilities(model, image, tile=1024)
    tiled = probabilities(model, image, tile=(9, 60, 60), blend="exact")
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@given(st.data())
@settings(max_examples=15)
def test_any_tile_size_gives_probabilities_and_their_argmax(data):
    shape = data.draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    tile = data.draw(st.integers(1, 80))
    overlap = data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.9]))
    model = tiny_model()
    image = noise(shape)
    p = probabilities(model, image, tile=tile, overlap=overlap)
    assert p.shape == (3, *shape)
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-5)
    labels = segzoo.predict(model, image, tile=tile, overlap=overlap)
    np.testing.assert_array_equal(labels, p.argmax(0))


@given(st.integers(1, 5000))
@settings(max_examples=12)
def test_columns_complete_every_tile_once(max_voxels):
    tiling = Tiling((20, 50, 60), (8, 16, 16), (4, 4, 8), (4, 4, 4))
    columns = cut_columns(tiling, max_voxels)
    seen = np.zeros(tiling.shape, int)
    for column in columns:
        for window in tiling.windows()[0]:
            for tile, own in column.tiles(window):
                if own:
                    seen[tile.complete] += 1
    assert (seen == 1).all()


def test_the_result_does_not_depend_on_how_the_cross_section_is_cut():
    model = tiny_model(3)
    image = noise((20, 50, 60))
    results = []
    for column_voxels in (1 << 30, 8000):
        run = prepare(model, image, options=PredictOptions("probabilities", 16))
        object.__setattr__(run.plan, "column_voxels", column_voxels)
        results.append(run)
        for _ in run.run():
            pass
    np.testing.assert_array_equal(results[0].result, results[1].result)


def test_tiles_are_read_one_by_one():
    image = Watched(noise((400, 300)))
    segzoo.predict(tiny_model(), image, tile=64)
    assert image.largest <= 64 * 64


def test_stacks_and_time_series_are_run_through_plane_by_plane():
    model = tiny_model()
    image = noise((2, 3, 40, 50))
    labels = segzoo.predict(model, image, axes="TZYX")
    assert labels.shape == image.shape
    for t, z in np.ndindex(2, 3):
        np.testing.assert_array_equal(labels[t, z], segzoo.predict(model, image[t, z]))
    p = segzoo.predict(model, image, axes="TZYX", output="probabilities")
    assert p.shape == (2, 3, 3, 40, 50)


def test_channels_may_stand_first_or_last():
    model = tiny_model(in_channels=3)
    image = noise((40, 50, 3))
    first = segzoo.predict(model, np.moveaxis(image, -1, 0), axes="CYX")
    np.testing.assert_array_equal(segzoo.predict(model, image, axes="YXC"), first)


def test_the_same_intensities_wherever_a_tile_lies():
    """One bright corner must not change how the far corner is scaled: statistics are global."""
    model = tiny_model(normalization=Normalization())
    image = noise((200, 200))
    image[:64, :64] *= 50
    whole = probabilities(model, image, tile=1024)
    tiled = probabilities(model, image, tile=48, blend="exact")
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_mirrored_tiles_make_the_result_symmetric():
    model = tiny_model()
    image = noise((32, 48))
    p = probabilities(model, image, tta=True)
    mirrored = probabilities(model, image[:, ::-1].copy(), tta=True)[:, :, ::-1]
    np.testing.assert_allclose(p, mirrored, atol=1e-5)
    assert not np.allclose(p, probabilities(model, image), atol=1e-4)


def test_instances_are_numbered_without_gaps():
    model = tiny_model(classes=2)
    objects = segzoo.predict(model, noise((60, 60)), output="instances")
    foreground = segzoo.predict(model, noise((60, 60))) > 0
    assert objects.dtype == np.uint32
    np.testing.assert_array_equal(objects > 0, foreground)
    assert set(np.unique(objects)) == set(range(objects.max() + 1))


def test_an_instance_model_gives_foreground_as_labels():
    model = tiny_model(classes=2, task="instances")
    labels = segzoo.predict(model, noise((60, 60)))
    assert set(np.unique(labels)) == {0, 1}
    objects = segzoo.predict(model, noise((60, 60)), output="instances")
    assert (labels[objects > 0] == 1).all()


def test_closing_the_run_stops_it_and_keeps_what_is_done():
    image = Watched(noise((200, 200)))
    run = prepare(tiny_model(), image, options=PredictOptions(tile=32))
    events = run.run()
    done = [next(events) for _ in range(20)]
    events.close()
    assert all(isinstance(e, TileDone) for e in done)
    whole = segzoo.predict(tiny_model(), image.array, tile=32)
    for event in done:
        np.testing.assert_array_equal(run.result[event.region], whole[event.region])
    assert not np.array_equal(run.result, whole)


@pytest.mark.parametrize("start", [1, 7, 30, 58])
@pytest.mark.parametrize("column_voxels", [1 << 30, 3000])
def test_a_run_goes_on_where_it_was_stopped(start, column_voxels):
    model, image = tiny_model(), noise((150, 160))
    options = PredictOptions("probabilities", 32, 0.4)

    def run_from(tiles, result):
        run = prepare(model, image, options=options, result=result)
        object.__setattr__(run.plan, "column_voxels", column_voxels)
        for event in run.run(start=tiles):
            if event.done == start:
                break
        return run.result

    whole = probabilities(model, image, tile=32, overlap=0.4)
    partial = run_from(0, None)
    assert not np.array_equal(partial, whole)
    run = prepare(model, image, options=options, result=partial)
    object.__setattr__(run.plan, "column_voxels", column_voxels)
    for _ in run.run(start=start):
        pass
    np.testing.assert_array_equal(partial, whole)


@pytest.fixture
def little_memory(monkeypatch, tmp_path):
    """Make the network run out of memory on tiles above a number of pixels."""
    from napari_segzoo.inference import loading, remembered

    monkeypatch.setattr(remembered, "cache_file", lambda: tmp_path / "tiles.json")
    make = loading.make_forward

    def limited(limit):
        def make_limited(*args, **kwargs):
            run = make(*args, **kwargs)

            def check(tiles):
                if tiles[0, 0].size > limit:
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 99 bytes")
                return run(tiles)

            return check

        monkeypatch.setattr(loading, "make_forward", make_limited)

    return limited


def test_running_out_of_memory_steps_down_and_says_so(little_memory):
    model, image = tiny_model(), noise((256, 200))
    expected = probabilities(model, image, tile=(64, 64))
    little_memory(64 * 64)
    run = prepare(model, image, options=PredictOptions("probabilities"))
    notes = [e for e in run.run() if isinstance(e, Note)]
    assert notes
    assert "Memory ran out" in notes[0].message
    assert run.plan.tiling.window_shape[0] <= 64
    assert not run.blank
    np.testing.assert_allclose(run.result, expected, atol=0.2)
    np.testing.assert_allclose(run.result.sum(0), 1, atol=1e-5)


def test_no_memory_at_all_is_one_sentence(little_memory):
    little_memory(0)
    with pytest.raises(RunError, match="smallest tile"):
        segzoo.predict(tiny_model(), noise((64, 64)))


def test_other_errors_are_not_taken_for_lack_of_memory(monkeypatch):
    from napari_segzoo.inference import loading

    def broken(*args, **kwargs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loading, "make_forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        segzoo.predict(tiny_model(), noise((64, 64)))


def test_nan_is_said_and_does_not_spread():
    image = noise((64, 64))
    image[3, 3], image[40, 40] = np.nan, np.inf
    model = tiny_model(normalization=Normalization())
    events = []
    p = probabilities(model, image, progress=events.append)
    assert np.isfinite(p).all()
    assert any(isinstance(e, Note) and "NaN" in e.message for e in events)


@pytest.mark.parametrize(
    "image, options, message",
    [
        (noise((0, 5)), {}, "empty"),
        (np.zeros((9, 9), complex), {}, "complex"),
        (noise((5, 9, 9)), {}, "axes are not known"),
        (noise((9, 9)), {"device": "cuda"}, "GPU|CUDA"),
        (noise((9, 9)), {"device": "tpu"}, "device must be"),
        (noise((9, 9)), {"precision": "float16", "device": "cpu"}, "float16"),
        (noise((9, 9)), {"precision": "int8"}, "precision must be"),
        (noise((9, 9)), {"engine": "warp"}, "engine must be"),
        (noise((9, 9)), {"output": "masks"}, "output must be"),
        (noise((9, 9)), {"blend": "none"}, "blend must be"),
        (noise((9, 9)), {"overlap": 1.0}, "overlap"),
        (noise((9, 9)), {"tile": "big"}, "tile must be"),
        (noise((9, 9)), {"tile": (8, 8, 8)}, "tile must be"),
        (noise((99, 99)), {"tile": 8, "blend": "exact"}, "tiles of at least"),
    ],
)
def test_wrong_use_is_told(image, options, message):
    import torch

    if options.get("device") == "cuda" and torch.cuda.is_available():
        options = {"device": "cuda:99"}
    with pytest.raises(InputError, match=message):
        segzoo.predict(tiny_model(), image, **options)


def test_the_exact_blend_refuses_a_network_that_sees_the_whole_image():
    with pytest.raises(InputError, match="gaussian blend"):
        segzoo.predict(tiny_model(norm="instance"), noise((64, 64)), blend="exact")


def test_the_plan_is_one_line():
    run = prepare(tiny_model(3), noise((20, 30, 40)), options=PredictOptions(tile=16))
    line = run.plan.summary()
    assert "\n" not in line
    for part in ("cpu", "float32", "16×16×16", "MiB", "ZYX", "labels"):
        assert part in line


@pytest.mark.parametrize(
    "image, options, said",
    [
        (None, {}, "must be an array"),
        (5, {}, "must be an array"),
        (noise((40, 40)), {"tile": 32.5}, "tile must be"),
        (noise((40, 40)), {"tile": None}, "tile must be"),
        (noise((40, 40)), {"overlap": "a"}, "overlap is a share"),
        (noise((40, 40)), {"device": None}, "device must be"),
    ],
)
def test_wrong_types_are_told(image, options, said):
    with pytest.raises(InputError, match=said):
        segzoo.predict(tiny_model(), image, **options)


def test_what_pytorch_and_numpy_give_is_taken():
    image = noise((40, 40))
    expected = segzoo.predict(tiny_model(), image, tile=32)
    for same, how in (
        (torch.from_numpy(image), {"tile": np.int64(32)}),
        (image, {"tile": np.array([32, 32]), "device": torch.device("cpu")}),
    ):
        np.testing.assert_array_equal(segzoo.predict(tiny_model(), same, **how), expected)
    half = torch.from_numpy(image).bfloat16()
    assert segzoo.predict(tiny_model(), half).shape == (40, 40)


def test_transparency_is_left_out_and_said(tmp_path):
    model, events = tiny_model(in_channels=3), []
    colors = (noise((40, 40, 4)) * 255).astype(np.uint8)
    found = segzoo.predict(model, colors, axes="YXC", progress=events.append)
    np.testing.assert_array_equal(found, segzoo.predict(model, colors[..., :3], axes="YXC"))
    assert any(isinstance(e, Note) and "transparency" in e.message for e in events)
    with pytest.raises(InputError, match=r"takes 3 channel.*has 4"):
        segzoo.predict(model, noise((40, 40, 4)), axes="YXC")


def test_unknown_axes_name_the_file_and_the_option(tmp_path):
    np.save(tmp_path / "a.npy", noise((5, 9, 9)))
    with pytest.raises(InputError, match=r"a\.npy has shape \(5, 9, 9\).*--axes ZYX"):
        segzoo.predict(tiny_model(), tmp_path / "a.npy")


def test_nothing_of_a_tile_is_held_when_a_smaller_one_is_planned(monkeypatch):
    from napari_segzoo.inference import loading, prediction

    held = []

    def make(*args, **kwargs):
        def fail(tiles):
            block = np.zeros(9)
            held.append(weakref.ref(block))
            raise RuntimeError("CUDA out of memory.")

        return fail

    def shrink(*args):
        assert held[-1]() is None

    monkeypatch.setattr(loading, "make_forward", make)
    monkeypatch.setattr(prediction, "shrink_plan", shrink)
    with pytest.raises(RunError, match="Memory ran out"):
        segzoo.predict(tiny_model(), noise((64, 64)))
