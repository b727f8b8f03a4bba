"""A run spread over processes gives the identical file, whatever happens to them."""

import os
import signal
import sys

import numpy as np
import psutil
import pytest
import tifffile
from tiny import noise, tiny_model
from typer.testing import CliRunner

import napari_segzoo as segzoo
from napari_segzoo.cli.commands import app
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.inference import (
    BlockSeparated,
    PredictOptions,
    TileDone,
    distributed,
    prepare,
    prepare_file,
    store,
    workers,
)
from napari_segzoo.inference.units import cut_units
from napari_segzoo.postprocess import objects
from napari_segzoo.preprocess import Normalization

dask_distributed = pytest.importorskip("distributed")


@pytest.mark.parametrize(
    ("shape", "axes", "ndim", "region"),
    [
        ((1000, 700), "YX", 2, None),
        ((3, 300, 200), "ZYX", 2, "z=1:3,y=20:280"),
        ((130, 90, 70), "ZYX", 3, "z=3:130"),
    ],
)
@pytest.mark.parametrize("workers", [1, 7])
def test_units_are_whole_chunks_and_cover_the_run_once(shape, axes, ndim, region, workers):
    options = PredictOptions(tile=16, region=region)
    plan = prepare(
        tiny_model(ndim),
        np.zeros(shape, np.uint8) + np.arange(shape[-1]),
        axes=axes,
        options=options,
    ).plan
    units = list(cut_units(plan, 32, workers))
    covered = np.zeros((*plan.layout.leading_shape, *plan.layout.spatial_shape), int)
    for unit in units:
        covered[(*unit.leading, *(slice(*span) for span in unit.box))] += 1
        for (start, stop), (first, last) in zip(unit.box, plan.tiling.wanted, strict=True):
            assert (start - first) % 32 == 0
            assert (stop - first) % 32 == 0 or stop == last
    wanted = tuple(slice(*span) for span in plan.tiling.wanted)
    assert (covered[..., *wanted] == 1).all()
    assert covered.sum() == covered[..., *wanted].size
    assert len(units) >= 4 * workers


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.setitem(store.CHUNK, 2, 32)
    segzoo.save_image(tmp_path / "image.tif", noise((200, 230)), "YX")
    return segzoo.open_image(tmp_path / "image.tif")


OPTIONS = PredictOptions("instances", tile=32, device="cpu", engine="torch")


def processes():
    """Those that this one has started to compute in."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if any("spawn_main" in word for word in p.cmdline())]


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_stopped_run_whose_worker_is_killed_gives_the_identical_file(
    tmp_path, image, monkeypatch
):
    monkeypatch.setitem(objects.BLOCK, 2, 64)
    model = tiny_model(task="instances", normalization=Normalization())
    mask = np.ones(image.shape, bool)
    mask[:70, 50:] = False
    (tmp_path / "whole").mkdir()
    whole, path = tmp_path / "whole" / "out.zarr", tmp_path / "out.zarr"
    for _ in prepare_file(model, image, whole, options=OPTIONS, mask=mask).run():
        pass
    run = prepare_file(model, image, path, options=OPTIONS, scheduler="local:2", mask=mask)
    units = len(list(cut_units(run.prediction.plan, 32, 2)))
    events = run.run()
    parts = (event for event in events if isinstance(event, TileDone))
    for _ in range(3):
        next(parts)
    events.close()
    assert not path.exists()
    assert not processes()
    run = prepare_file(
        model, image, path, options=OPTIONS, scheduler="local:2", mask=mask, resume=True
    )
    monkeypatch.setattr(objects, "find_in_block", None)  # the workers', not this process's
    done, blocks = 0, 0
    for event in run.run():
        done += isinstance(event, TileDone)
        blocks += isinstance(event, BlockSeparated)
        if isinstance(event, TileDone | BlockSeparated) and done + blocks in (1, units):
            os.kill(processes()[0].pid, signal.SIGKILL)
    assert done == units - 3
    assert blocks == 4 * 4
    assert files_of(path) == files_of(whole)
    assert segzoo.open_image(path).data[:].max() > 20


def test_a_worker_writes_its_unit_and_nothing_else(tmp_path, image):
    model = tiny_model()
    options = PredictOptions("probabilities", tile=32, region="y=10:170")
    run = prepare_file(model, image, tmp_path / "out.zarr", options=options, scheduler="local:2")
    shared = share(run, model)
    expected = segzoo.predict(model, image, output="probabilities", tile=32, region="y=10:170")
    result = run.prediction.result
    for unit in list(cut_units(shared.plan, 32, 2))[::-1]:
        result[:] = -1
        assert workers.compute(shared, unit) == unit.plan(shared.plan).tiles
        (y0, y1), x = unit.box[0], slice(*unit.box[1])
        y = slice(y0 - 10, y1 - 10)
        np.testing.assert_array_equal(result[:, y, x], expected[:, y, x])
        result[:, y, x] = -1
        assert (result[:] == -1).all()


def share(run, model):
    """What workers of a run on this machine are told."""
    model.save(run.store / workers.MODEL)
    ranges = tuple((0, n) for n in run.prediction.image.shape)
    intensity = run.prediction.intensity
    plan, options = run.prediction.plan, run.prediction.options
    where = (run.identity, str(run.store), run.source, "YX", ranges)
    return workers.Shared(*where, options, plan, intensity, run.prediction.origin)


@pytest.mark.slow
def test_the_images_of_a_folder_share_their_workers(tmp_path, monkeypatch):
    import distributed as dask

    started = []

    class Counted(dask.SpecCluster):
        def __init__(self, *args, **options):
            started.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(dask, "SpecCluster", Counted)
    tiny_model(2).save(tmp_path / "tiny.safetensors")
    (tmp_path / "images").mkdir()
    for n in (1, 2):
        segzoo.save_image(tmp_path / "images" / f"{n}.tif", noise((60, 40 * n)), "YX")
    words = ["predict", str(tmp_path / "tiny.safetensors"), str(tmp_path / "images")]
    for out, more in (("here", []), ("spread", ["--scheduler", "local:1"])):
        command = [*words, str(tmp_path / out), "--device", "cpu", *more]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    assert files_of(tmp_path / "spread") == files_of(tmp_path / "here")
    assert len(files_of(tmp_path / "here")) == 2
    assert len(started) == 1


@pytest.mark.parametrize("scheduler", ["local:0", "localhost", "2"])
def test_wrong_schedulers_are_told(tmp_path, image, scheduler):
    with pytest.raises(InputError, match="scheduler must be local, local:N, or the address"):
        segzoo.predict(tiny_model(), image, out=tmp_path / "a.tif", scheduler=scheduler)


def test_a_scheduler_needs_a_file_to_write(image):
    with pytest.raises(InputError, match="name it with out"):
        segzoo.predict(tiny_model(), image, scheduler="local:2")


def test_a_scheduler_that_is_not_there_is_told(tmp_path, image, monkeypatch):
    monkeypatch.setattr(distributed, "CONNECT_SECONDS", "1s")
    with pytest.raises(RunError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9"):
        segzoo.predict(tiny_model(), image, out=tmp_path / "a.tif", scheduler="tcp://127.0.0.1:9")


def test_a_missing_package_is_named_with_the_extra(tmp_path, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"napari-segzoo\[distributed\]"):
        segzoo.predict(tiny_model(), image, out=tmp_path / "a.tif", scheduler="local")


def test_workers_read_the_series_that_was_opened(tmp_path):
    from napari_segzoo.inference.source import find_file

    arrays = [(noise((40, 50), seed) * 255).astype(np.uint8) for seed in (0, 1)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for array in arrays:
            writer.write(array, metadata={"axes": "YX"}, compression="zlib")
    for series, kept in ((0, True), (1, False)):
        image = segzoo.open_image(tmp_path / "a.ome.tif", series=series)
        run = prepare_file(tiny_model(), image, tmp_path / f"{series}.tif", options=OPTIONS)
        file, _ = find_file(run, image.shape)
        assert (file == image.source) is kept
        np.testing.assert_array_equal(segzoo.open_image(file).data[:], arrays[series])


@pytest.mark.parametrize("visible, expected", [(None, ["0", "1"]), ("2,GPU-a", ["2", "GPU-a"])])
def test_each_local_worker_has_one_of_the_gpus_there_are(monkeypatch, visible, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    workers = distributed._local_workers(dask_distributed, "local", "cuda").values()
    assert [w["options"]["env"]["CUDA_VISIBLE_DEVICES"] for w in workers] == expected


def test_a_scheduler_without_workers_is_told(tmp_path, image, monkeypatch):
    monkeypatch.setattr(distributed, "WORKER_SECONDS", 0.2)
    scheduler = dask_distributed.LocalCluster(
        n_workers=0, processes=False, dashboard_address=None, silence_logs=50
    )
    with scheduler:
        address = scheduler.scheduler_address
        run = prepare_file(
            tiny_model(), image, tmp_path / "o.tif", options=OPTIONS, scheduler=address
        )
        events = run.run()
        assert "no workers yet" in next(events).message
        with pytest.raises(RunError, match="No worker joined"):
            next(events)
