"""Which tile, engine and precision a run takes, and what it does when memory runs out."""

import json
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.axes import find_layout
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.inference import (
    Note,
    PredictOptions,
    choice,
    loading,
    openvino_engine,
    plan,
    prepare,
    remembered,
)
from napari_segzoo.inference.fit import Fit
from napari_segzoo.inference.forward import make_forward
from napari_segzoo.inference.loading import labels_agree, richest_part
from napari_segzoo.inference.plan import make_plan, shrink_plan
from napari_segzoo.inference.tiling import Tiling, round_up


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "tiles.json"
    monkeypatch.setattr(remembered, "cache_file", lambda: path)
    return path


@given(
    st.integers(2, 3).flatmap(lambda n: st.tuples(*[st.integers(1, 5000)] * n)),
    st.sampled_from([1, 8, 16]),
    st.sampled_from([None, 0.0, 0.5]),
)
def test_chosen_tiles_cover_the_image_with_few_voxels_twice(shape, divisor, share):
    fit = Fit(shape, (divisor,) * len(shape), None, share)
    budget = {2: 512**2, 3: 128**3}[len(shape)]
    tile = fit.tile(budget)
    assert prod(tile) <= budget
    tiling = Tiling(shape, tile, fit.overlap(tile, limited=True), fit.divisor)
    computed = len(tiling) * prod(tiling.window_shape)
    padded = prod(fit.padded)
    assert computed >= padded
    if share is None and min(shape) >= 256:
        assert computed <= padded * {2: 2.1, 3: 3.2}[len(shape)]
    if padded <= budget:
        assert len(tiling) == 1


def test_a_tile_fits_the_image_rather_than_a_round_number():
    fit = Fit((700, 700), (16, 16), None, None)
    tile = fit.tile(512**2)
    assert tile == (416, 416)
    assert len(Tiling(fit.shape, tile, fit.overlap(tile), fit.divisor)) == 4


def test_a_narrow_network_gets_larger_tiles_than_a_wide_one():
    narrow = planned(tiny_model(), (5000, 5000))
    wide = planned(tiny_model(widths=(64, 128)), (5000, 5000))
    voxels = prod(narrow.tiling.window_shape)
    assert 1024**2 >= voxels > prod(wide.tiling.window_shape) >= 400**2
    assert narrow.tiling.overlap == (128, 128)


def test_the_exact_blend_never_gets_a_tile_smaller_than_its_margins():
    fit = Fit((3000, 3000), (16, 16), (96, 96), None)
    assert min(fit.tile(1)) >= 2 * 96 + 16
    assert fit.overlap(fit.tile(512**2)) == (192, 192)


@pytest.mark.parametrize(
    "options, blend",
    [
        ({"output": "instances"}, "exact"),
        ({"output": "instances", "tile": 64}, "exact"),
        ({"output": "instances", "tile": 32}, "gaussian"),
        ({"output": "instances", "tile": 16}, "gaussian"),
        ({"output": "instances", "overlap": 0.5}, "gaussian"),
        ({"output": "instances", "blend": "gaussian"}, "gaussian"),
        ({"output": "labels"}, "gaussian"),
        ({"output": "probabilities"}, "gaussian"),
    ],
)
def test_only_objects_get_exact_margins_by_themselves(options, blend):
    made = planned(tiny_model(task="instances"), (300, 300), **options)
    assert made.tiling.blend == blend
    assert f"{blend} blend" in made.summary()


def test_objects_of_a_network_that_sees_the_whole_image_are_blended():
    made = planned(tiny_model(norm="instance"), (300, 300), tile=64, output="instances")
    assert made.tiling.blend == "gaussian"


def planned(model, shape, **options):
    layout = find_layout(shape, None, ndim=model.info.ndim, in_channels=1)
    return make_plan(model, layout, PredictOptions(**options))


@pytest.fixture
def every_run_is_long(monkeypatch):
    monkeypatch.setattr(choice, "LONG_RUN", 0)
    monkeypatch.setattr(plan, "TRIAL_WORK", 0)
    monkeypatch.setattr(choice, "half_precision", lambda device: "bfloat16")


@pytest.mark.parametrize(
    "options, on_trial",
    [
        ({}, True),
        ({"output": "instances"}, False),
        ({"output": "instances", "blend": "gaussian"}, True),
        ({"precision": "float32"}, False),
        ({"blend": "exact"}, False),
        ({"crf": True}, False),
        ({"output": "probabilities"}, False),
    ],
)
def test_bfloat16_is_tried_only_where_it_cannot_show(every_run_is_long, options, on_trial):
    made = planned(tiny_model(), (300, 300), tile=64, **options)
    assert made.on_trial == on_trial
    assert made.precision == "float32"
    assert ("bfloat16" in made.summary()) == on_trial


def test_a_run_has_to_be_longer_for_openvino_than_for_a_trial(monkeypatch):
    monkeypatch.setattr(choice, "half_precision", lambda device: "bfloat16")
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: True)
    model = tiny_model()
    side = 64
    seen = []
    while len(seen) < 3:
        made = planned(model, (side, side), tile=side // 8)
        if (made.engine, made.on_trial) not in seen:
            seen.append((made.engine, made.on_trial))
        side *= 2
    assert seen == [("torch", False), ("torch", True), ("openvino", True)]


def test_short_runs_stay_with_pytorch_and_float32():
    made = planned(tiny_model(), (300, 300), tile=64)
    assert (made.engine, made.precision, made.on_trial) == ("torch", "float32", False)


@pytest.mark.parametrize(
    "changed, foreground, agree",
    [(0, 0, True), (1, 0, False), (10, 5000, True), (11, 5000, False), (3, 100, False)],
)
def test_labels_agree_within_a_thousandth_and_a_hundredth_of_the_foreground(
    changed, foreground, agree
):
    exact = np.zeros(10_000, np.uint8)
    exact[:foreground] = 1
    found = exact.copy()
    found[:changed] ^= 1
    assert labels_agree(exact, found) == agree


@pytest.mark.parametrize("agree", [True, False])
def test_the_trial_decides_and_is_said(every_run_is_long, monkeypatch, agree):
    monkeypatch.setattr(loading, "labels_agree", lambda exact, found: agree)
    model, image = tiny_model(), noise((200, 200))
    run = prepare(model, image, options=PredictOptions(tile=64, engine="torch"))
    notes = [e.message for e in run.run() if isinstance(e, Note)]
    chosen = "bfloat16" if agree else "float32"
    assert len(notes) == 1
    assert f"so {chosen} is used" in notes[0]
    assert run.plan.precision == chosen
    asked = segzoo.predict(model, image, tile=64, engine="torch", precision=chosen)
    np.testing.assert_array_equal(run.result, asked)


@pytest.mark.parametrize(
    "agree, converted", [(True, ["bfloat16"]), (False, ["bfloat16", "float32"])]
)
def test_a_network_is_converted_for_float32_only_if_bfloat16_fails(
    every_run_is_long, monkeypatch, agree, converted
):
    made = []

    def by_torch(network, *, engine, precision, **options):
        made.append((engine, str(precision).removeprefix("torch.")))
        return make_forward(network, engine="torch", precision=precision, **options)

    monkeypatch.setattr(loading, "labels_agree", lambda exact, found: agree)
    monkeypatch.setattr(loading, "make_forward", by_torch)
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: True)
    run = prepare(tiny_model(), noise((200, 200)), options=PredictOptions(tile=64))
    assert sum(isinstance(e, Note) for e in run.run()) == 1
    assert [p for engine, p in made if engine == "openvino"] == converted
    assert run.plan.precision == converted[-1]


@pytest.mark.parametrize("shape", [(48, 80), (24, 40, 16)])
def test_bfloat16_is_tried_on_the_corner_that_shows_most(shape):
    tile = np.zeros((1, 2, *shape), np.float32)
    tile[..., -3:, -3:] = 1  # in 3D along all of Z, and more at its end
    tile[(..., *(slice(-3, None),) * len(shape))] = 2
    part = richest_part(tile, (8,) * len(shape))
    assert part.shape == (1, 2, *(round_up(n / 2, 8) for n in shape))
    np.testing.assert_array_equal(part, tile[(..., *(slice(-n, None) for n in part.shape[2:]))])


def test_openvino_is_demanded_by_name(monkeypatch):
    from napari_segzoo.inference import openvino_engine

    monkeypatch.setattr(openvino_engine, "is_installed", lambda: False)
    with pytest.raises(InputError, match=r"pip install 'napari-segzoo\[openvino\]'"):
        segzoo.predict(tiny_model(), noise((64, 64)), engine="openvino")


def test_openvino_runs_on_the_cpu_only(monkeypatch):
    from napari_segzoo.inference import openvino_engine

    monkeypatch.setattr(openvino_engine, "is_installed", lambda: True)
    with pytest.raises(InputError, match="device cpu"):
        segzoo.predict(tiny_model(), noise((64, 64)), engine="openvino", device="cuda")


def test_openvino_gives_the_labels_of_pytorch():
    pytest.importorskip("openvino")
    model, image = tiny_model(), noise((100, 90))
    run = prepare(model, image, options=PredictOptions(tile=64, engine="openvino"))
    for _ in run.run():
        pass
    assert run.plan.engine == "openvino"
    assert "openvino" in run.plan.summary()
    assert (run.result == segzoo.predict(model, image, tile=64)).mean() > 0.999


@pytest.fixture
def no_conversion(monkeypatch):
    from napari_segzoo.inference import openvino_engine

    def fail(*args):
        raise loading.ConversionError("unknown operation aten::fancy")

    monkeypatch.setattr(openvino_engine, "is_installed", lambda: True)
    monkeypatch.setattr(openvino_engine, "openvino_engine", fail)


def test_pytorch_takes_over_where_openvino_fails(no_conversion, every_run_is_long):
    model, image = tiny_model(), noise((64, 64))
    run = prepare(model, image)
    assert run.plan.engine == "openvino"
    notes = [e.message for e in run.run() if isinstance(e, Note)]
    assert "aten::fancy" in notes[0]
    assert run.plan.engine == "torch"
    np.testing.assert_array_equal(run.result, segzoo.predict(model, image, engine="torch"))


def test_a_network_that_openvino_cannot_run_is_an_error_where_it_was_asked_for(no_conversion):
    with pytest.raises(RunError, match=r"aten::fancy.*engine torch"):
        segzoo.predict(tiny_model(), noise((64, 64)), engine="openvino")


def out_of_memory(monkeypatch, too_much):
    """Let the network run out of memory wherever `too_much` says so of batch, tile, precision."""
    make = loading.make_forward

    def limited(network, *, shape, precision, **rest):
        run = make(network, shape=shape, precision=precision, **rest)

        def check(tiles):
            if too_much(len(tiles), tiles.shape[2:], precision):
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return run(tiles)

        return check

    monkeypatch.setattr(loading, "make_forward", limited)


def steps_down(run):
    """Batch, tile and precision after each step of the ladder."""
    for event in run.run():
        if isinstance(event, Note):
            assert "\n" not in event.message
            assert "Memory ran out" in event.message
            yield run.plan.batch, max(run.plan.tiling.window_shape), run.plan.precision


def test_memory_that_runs_out_costs_batch_then_tile_then_precision(monkeypatch):
    model, image = tiny_model(), noise((256, 256))
    monkeypatch.setattr(plan, "half_precision", lambda device: "bfloat16")
    run = prepare(model, image, options=PredictOptions(tile=64))
    run.plan = replace(run.plan, batch=4)
    out_of_memory(
        monkeypatch,
        lambda batch, tile, precision: batch > 1 or max(tile) > 32 or precision == torch.float32,
    )
    found = list(steps_down(run))
    assert [batch for batch, _, _ in found] == [2, 1, 1, 1, 1, 1]
    assert [tile for _, tile, _ in found] == [64, 64, 64, 32, 32, 32]
    assert [precision for _, _, precision in found] == ["float32"] * 5 + ["bfloat16"]
    half = segzoo.predict(model, image, tile=run.plan.tiling.tile, precision="bfloat16")
    np.testing.assert_array_equal(run.result, half)


def test_a_precision_asked_for_is_kept(monkeypatch):
    monkeypatch.setattr(plan, "half_precision", lambda device: "bfloat16")
    out_of_memory(monkeypatch, lambda batch, tile, precision: precision == torch.float32)
    with pytest.raises(RunError, match="smallest tile"):
        segzoo.predict(tiny_model(), noise((64, 64)), precision="float32")


def test_the_last_resort_of_a_gpu_is_the_cpu():
    model = tiny_model()
    on_gpu = replace(planned(model, (64, 64), tile=16), device="cuda", precision="bfloat16")
    smaller = shrink_plan(model, on_gpu, PredictOptions(tile=16))
    assert smaller is not None
    assert smaller.device == "cpu"
    assert shrink_plan(model, smaller, PredictOptions(tile=16, precision="float32")) is None


def test_the_tile_that_fitted_is_remembered_per_model(monkeypatch, cache):
    model, image = tiny_model(), noise((256, 256))
    assert prepare(model, image).plan.tiles == 1
    with monkeypatch.context() as patched:
        out_of_memory(patched, lambda batch, tile, precision: prod(tile) > 128**2)
        run = prepare(model, image)
        assert list(steps_down(run))
    assert cache.exists()
    again = prepare(model, image)
    assert prod(again.plan.tiling.window_shape) <= 128**2
    assert not any(isinstance(e, Note) for e in again.run())
    assert prepare(tiny_model(widths=(4, 8, 8)), image).plan.tiles == 1
    assert prepare(model, image, options=PredictOptions(tile=256)).plan.tiles == 1
    monkeypatch.setattr(remembered, "free_memory", lambda device: 1 << 60)
    assert prepare(model, image).plan.tiles == 1


def test_a_cache_that_is_damaged_or_closed_is_no_obstacle(cache):
    cache.parent.mkdir()
    cache.write_text("{")
    model = tiny_model()
    made = planned(model, (64, 64))
    remembered.remember(model, made)
    assert remembered.recall(model, torch.device("cpu")) == round_up(64, 2) ** 2
    cache.unlink()
    cache.parent.rmdir()
    cache.parent.write_text("in the way")
    remembered.remember(model, made)
    assert remembered.recall(model, torch.device("cpu")) is None


@pytest.mark.parametrize("content", ["[]", '{"x": 1}'])
def test_a_cache_of_another_kind_is_empty(cache, content):
    cache.parent.mkdir()
    cache.write_text(content)
    assert planned(tiny_model(), (64, 64)).tiles == 1
    model = tiny_model()
    remembered.remember(model, planned(model, (64, 64)))
    key = next(k for k in json.loads(cache.read_text()) if k != "x")
    cache.write_text(json.dumps({key: []}))
    assert planned(model, (64, 64)).tiles == 1


@pytest.mark.parametrize("asked", ["float16", "auto"])
def test_half_precision_of_a_gpu_ends_on_the_cpu(asked):
    model = tiny_model()
    on_gpu = replace(planned(model, (16, 16), tile=16), device="cuda", precision="float16")
    smaller = shrink_plan(model, on_gpu, PredictOptions(tile=16, device="cuda", precision=asked))
    assert (smaller.device, smaller.precision) == ("cpu", "float32")


@pytest.mark.parametrize("capability, expected", [((7, 5), "float16"), ((8, 0), "bfloat16")])
def test_bfloat16_is_for_gpus_that_compute_in_it(monkeypatch, capability, expected):
    from napari_segzoo.inference.device import find_precision
    from napari_segzoo.training.step import training_precision

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.version, "hip", None)
    asked = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability
    )
    gpu = torch.device("cuda:1")
    assert find_precision("auto", gpu) == getattr(torch, expected)
    assert choice.half_precision("cuda:1") == expected
    trained = torch.bfloat16 if expected == "bfloat16" else torch.float32
    assert training_precision(gpu) == trained
    assert set(asked) == {gpu}


def test_kept_memory_of_a_gpu_counts_as_free(monkeypatch):
    from napari_segzoo.inference.device import free_memory

    for name, value in (
        ("mem_get_info", (100, 999)),
        ("memory_reserved", 70),
        ("memory_allocated", 20),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory(torch.device("cuda")) == 150


@pytest.mark.parametrize(
    "text, expected",
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.", True),
        ("std::bad_alloc", True),
        ("bad allocation", True),
        ("could not create a primitive", True),
        ("could not create a memory object", True),
        ("Unable to find a valid cuDNN algorithm to run convolution", True),
        ("FIND was unable to find an engine to execute this computation", True),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_lack_of_memory_is_recognised(text, expected):
    from napari_segzoo.inference.device import is_out_of_memory

    assert is_out_of_memory(RuntimeError(text)) is expected
