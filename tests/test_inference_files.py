import errno

import numpy as np
import pytest
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.follow import Progress
from napari_segzoo.inference import PredictOptions, TileDone, prepare_file
from napari_segzoo.inference import files as inference_files
from napari_segzoo.inference.folder import pair_files

OPTIONS = PredictOptions(tile=32)


@pytest.fixture
def image():
    return segzoo.Image(noise((12, 90, 80)), "ZYX", (2.0, 0.5, 0.5), "micrometer")


@pytest.mark.parametrize("name", ["out.tif", "out.zarr", "out.nii.gz", "out.npy"])
def test_a_file_holds_the_labels_at_the_scale_of_the_image(tmp_path, image, name):
    model = tiny_model()
    segzoo.predict(model, image, out=tmp_path / name, tile=32)
    written = segzoo.open_image(tmp_path / name)
    np.testing.assert_array_equal(written.data[:], segzoo.predict(model, image, tile=32))
    if name != "out.npy":
        assert written.axes == "ZYX"
        in_micrometer = {"micrometer": 1, "millimeter": 1000}[written.unit]
        np.testing.assert_allclose(np.array(written.scale) * in_micrometer, image.scale, rtol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["p.tif", "p.zarr"])
def test_probabilities_have_a_channel_axis(tmp_path, image, name):
    model = tiny_model()
    segzoo.predict(model, image, out=tmp_path / name, output="probabilities")
    written = segzoo.open_image(tmp_path / name)
    assert written.axes == "ZCYX"
    assert written.shape == (12, 3, 90, 80)


def interrupt(model, image, path, tiles, monkeypatch, **options):
    monkeypatch.setattr(inference_files, "SAVE_SECONDS", 0)
    run = prepare_file(model, image, path, options=OPTIONS, **options)
    events = run.run()
    for event in events:
        if isinstance(event, TileDone) and event.done == tiles:
            break
    events.close()


def content(path):
    """Bytes of a file, or of all files of a folder."""
    files = [p for p in sorted(path.rglob("*")) if p.is_file()] or [path]
    return {p.relative_to(path): p.read_bytes() for p in files}


@pytest.mark.parametrize(("tiles", "ending"), [(1, "tif"), (40, "tif"), (40, "zarr")])
def test_an_interrupted_run_goes_on_and_gives_the_identical_file(
    tmp_path, image, monkeypatch, tiles, ending
):
    model = tiny_model()
    path, whole = tmp_path / f"out.{ending}", tmp_path / f"whole.{ending}"
    segzoo.predict(model, image, out=whole, tile=32)
    interrupt(model, image, path, tiles, monkeypatch)
    assert not path.exists()
    run = prepare_file(model, image, path, options=OPTIONS, resume=True)
    assert run.start == tiles
    computed = [e for e in run.run() if isinstance(e, TileDone)]
    assert len(computed) == run.prediction.plan.tiles - tiles
    assert without_name(content(path)) == without_name(content(whole))
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, whole.name]


@pytest.mark.parametrize("output", ["labels", "instances"])
@pytest.mark.parametrize("ending", ["tif", "zarr"])
def test_writing_can_be_stopped_and_goes_on(tmp_path, monkeypatch, output, ending):
    monkeypatch.setattr("napari_segzoo.io.zarr_writer.BUDGET", 1 << 16)
    monkeypatch.setattr("napari_segzoo.io.tiff_writer.BUDGET", 1 << 16)
    model, image = tiny_model(), segzoo.Image(noise((600, 700)), "YX")
    path, whole = tmp_path / f"out.{ending}", tmp_path / f"whole.{ending}"
    options = PredictOptions(output=output)
    segzoo.predict(model, image, out=whole, output=output)
    events = prepare_file(model, image, path, options=options).run()
    first = next(e for e in events if isinstance(e, Progress))
    events.close()
    assert first.done == 1
    assert not path.exists()
    rest = list(prepare_file(model, image, path, options=options, resume=True).run())
    assert not any(isinstance(e, TileDone) and e.region is not None for e in rest)
    written = [e for e in rest if isinstance(e, Progress)]
    assert [e.done for e in written] == list(range(1, first.total + 1))
    assert without_name(content(path)) == without_name(content(whole))
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, whole.name]


def without_name(files):
    """OME-Zarr holds its own name."""
    return {p: data.replace(b'"whole"', b'"out"') for p, data in files.items()}


def test_a_run_that_was_killed_after_its_file_was_whole_begins_anew(tmp_path, image, monkeypatch):
    model, path = tiny_model(), tmp_path / "out.zarr"
    with monkeypatch.context() as killed:
        killed.setattr(inference_files, "discard", lambda store: None)
        killed.setattr(inference_files, "SAVE_SECONDS", 0)
        segzoo.predict(model, image, out=path, tile=32)
    first = content(path)
    run = prepare_file(model, image, path, options=OPTIONS, resume=True)
    assert run.start == 0
    list(run.run())
    assert content(path) == first
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_resuming_with_nothing_to_resume_starts_from_the_beginning(tmp_path, image):
    path = tmp_path / "out.tif"
    segzoo.predict(tiny_model(), image, out=path, resume=True)
    assert path.exists()


def test_another_model_is_not_resumed(tmp_path, image, monkeypatch):
    path = tmp_path / "out.tif"
    interrupt(tiny_model(), image, path, 5, monkeypatch)
    with pytest.raises(InputError, match="another model, image or option"):
        prepare_file(tiny_model(seed=1), image, path, options=OPTIONS, resume=True)
    prepare_file(tiny_model(seed=1), image, path, options=OPTIONS)


def test_an_existing_file_is_refused_before_work_is_put_into_it(tmp_path, image):
    path = tmp_path / "out.tif"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        segzoo.predict(tiny_model(), image, out=path)
    assert path.read_bytes() == b"mine"
    segzoo.predict(tiny_model(), image, out=path, overwrite=True)
    assert path.read_bytes() != b"mine"


def test_a_disk_that_fills_up_leaves_what_is_done(tmp_path, image, monkeypatch):
    import napari_segzoo.io as io

    path = tmp_path / "out.tif"
    model = tiny_model()
    save = io.save_image

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(io, "save_image", no_space)
    monkeypatch.setattr(inference_files, "SAVE_SECONDS", 0)
    with pytest.raises(RunError, match=r"No space left.*make room and resume"):
        segzoo.predict(model, image, out=path, tile=32)
    assert not path.exists()
    monkeypatch.setattr(io, "save_image", save)
    run = prepare_file(model, image, path, options=OPTIONS, resume=True)
    assert run.start == run.prediction.plan.tiles
    segzoo.predict(model, image, out=path, tile=32, resume=True)
    np.testing.assert_array_equal(
        segzoo.open_image(path).data[:], segzoo.predict(model, image, tile=32)
    )


def test_images_are_paired_with_results(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("b.png", "a.tif", "notes.txt"):
        (source / name).write_bytes(b"x")
    pairs = pair_files(source, target)
    assert [(a.name, b.name) for a, b in pairs] == [("a.tif", "a.tif"), ("b.png", "b.tif")]
    (target / "a.tif").write_bytes(b"done")
    with pytest.raises(InputError, match="exists already"):
        pair_files(source, target)
    assert [a.name for a, _ in pair_files(source, target, resume=True)] == ["b.png"]
    assert len(pair_files(source, target, overwrite=True)) == 2


def test_results_that_would_share_a_name_are_refused(tmp_path):
    for name in ("a.png", "a.tif"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match="both be written"):
        pair_files(tmp_path, tmp_path / "out")


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no images"):
        pair_files(tmp_path, tmp_path / "out")


def test_resuming_leaves_out_what_is_complete_and_nothing_else(tmp_path, image, monkeypatch):
    model = tiny_model()
    path, begun = tmp_path / "out.tif", tmp_path / "begun.tif"
    for target in (path, begun):
        segzoo.predict(model, image, out=target, tile=32)
    interrupt(tiny_model(seed=1), image, begun, 5, monkeypatch, overwrite=True)
    (tmp_path / ".out.tif.partial" / "result.zarr").mkdir(parents=True)
    assert pair_files(tmp_path / "image.tif", path, resume=True) == []
    assert not (tmp_path / ".out.tif.partial").exists()
    assert len(pair_files(tmp_path / "image.tif", begun, resume=True)) == 1


def test_progress_of_a_plan_that_ran_out_of_memory_is_not_taken_up(tmp_path, image, monkeypatch):
    """Tiles of the larger plan are forgotten the moment a smaller one takes over."""
    from napari_segzoo.inference import Note
    from napari_segzoo.inference.store import read_progress, store_of

    model, path = tiny_model(), tmp_path / "out.tif"
    forward, tiles = type(model.network).forward, []

    def fail_late(network, x):
        tiles.append(x.shape)
        if len(tiles) == 8:
            raise MemoryError
        return forward(network, x)

    monkeypatch.setattr(type(model.network), "forward", fail_late)
    monkeypatch.setattr(inference_files, "SAVE_SECONDS", 0)
    run = prepare_file(model, image, path, options=OPTIONS)
    before = run.prediction.plan.tiling.tile
    for event in (events := run.run()):
        if isinstance(event, Note):
            break
    record = read_progress(store_of(path))
    assert record["done"] == 0
    assert tuple(record["tile"]) < before
    events.close()
