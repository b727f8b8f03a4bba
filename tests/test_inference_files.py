import errno
import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.follow import Progress
from napari_segzoo.inference import Note, PredictOptions, TileDone, prepare_file
from napari_segzoo.inference import files as inference_files
from napari_segzoo.inference.folder import pair_files
from napari_segzoo.io import LazyArray
from napari_segzoo.preprocess import Normalization

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


def read_badly(array, error, after):
    """An image whose reading fails once, after so many regions."""
    count = itertools.count()

    def read(region):
        if next(count) == after:
            raise error
        return array[region]

    return segzoo.Image(LazyArray(array.shape, array.dtype, read), "YX")


@pytest.mark.parametrize("error", [RunError("no network"), InputError("damaged")])
def test_an_error_of_reading_leaves_what_is_done(tmp_path, error):
    model, array, path = tiny_model(), noise((200, 200)), tmp_path / "out.tif"
    run = prepare_file(model, read_badly(array, error, 20), path, options=OPTIONS)
    with pytest.raises(type(error)):
        list(run.run())
    again = prepare_file(model, segzoo.Image(array, "YX"), path, options=OPTIONS, resume=True)
    assert again.start > 0
    list(again.run())
    np.testing.assert_array_equal(
        segzoo.open_image(path).data[:], segzoo.predict(model, array, tile=32)
    )


def test_an_error_at_the_very_start_leaves_nothing(tmp_path):
    image = read_badly(noise((200, 200)), InputError("damaged"), 2)
    with pytest.raises(InputError):
        list(prepare_file(tiny_model(), image, tmp_path / "out.tif", options=OPTIONS).run())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(90, 80), (1500, 1500)])
def test_another_image_of_the_same_shape_is_not_resumed(tmp_path, size, monkeypatch):
    image, other = (segzoo.Image((noise(size, seed) * 255).astype("u1"), "YX") for seed in (0, 1))
    model, path = tiny_model(), tmp_path / "out.tif"
    interrupt(model, image, path, 2, monkeypatch)
    for changed in (other, segzoo.Image(image.data, "YX", (2.0, 2.0))):
        with pytest.raises(InputError, match="another model, image or option"):
            prepare_file(model, changed, path, options=OPTIONS, resume=True)
    prepare_file(model, image, path, options=OPTIONS, resume=True)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"tile": 48}, r"tile=\[32\].*tile=\[48\]"),
        ({"precision": "bfloat16"}, "precision=auto"),
        ({"device": "cuda"}, "device=cpu"),
    ],
)
def test_a_run_goes_on_as_it_was_begun(tmp_path, image, monkeypatch, options, said):
    model, path = tiny_model(), tmp_path / "out.tif"
    interrupt(model, image, path, 5, monkeypatch)
    with pytest.raises(InputError, match=f"begun with {said}"):
        segzoo.predict(model, image, out=path, resume=True, **options)
    for options in ({"tile": 32}, {"tile": "auto"}):
        run = prepare_file(
            model, image, path, options=PredictOptions(**options, device="cpu"), resume=True
        )
        assert run.start == 5
        run.save_tiles(5)


def test_a_run_begun_on_a_gpu_is_told_where_there_is_none(tmp_path, image, monkeypatch):
    from napari_segzoo.inference.records import read_json, write_json
    from napari_segzoo.inference.store import PROGRESS, store_of

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    model, path = tiny_model(), tmp_path / "out.tif"
    interrupt(model, image, path, 5, monkeypatch)
    record = store_of(path) / PROGRESS
    write_json(record, {**read_json(record), "device": "cuda"})
    with pytest.raises(InputError, match="begun on the device cuda, which is not here"):
        prepare_file(model, image, path, options=OPTIONS, resume=True)


@pytest.mark.parametrize("name", ["o.tif", "o.zarr", "o.nii.gz", "o.png", "o.npy"])
def test_a_file_that_is_whole_is_left_as_it_is(tmp_path, image, name):
    model, path, plane = tiny_model(), tmp_path / name, image.data[0]
    segzoo.predict(model, plane, out=path)
    before = content(path)
    for tile in ("auto", 32):
        segzoo.predict(model, plane, out=path, resume=True, tile=tile)
    for other, how in ((tiny_model(seed=1), {}), (model, {"tta": True})):
        if name == "o.npy":
            segzoo.predict(other, plane, out=path, resume=True, **how)
        else:
            with pytest.raises(InputError, match="made by another model or with other options"):
                segzoo.predict(other, plane, out=path, resume=True, **how)
    assert content(path) == before


def test_a_run_that_can_be_resumed_needs_a_file(image):
    with pytest.raises(InputError, match="name it with out"):
        segzoo.predict(tiny_model(), image, resume=True)


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("o.png", {}, "PNG holds one plane"),
        ("o.png", {"output": "probabilities"}, "PNG holds one plane"),
        ("o.nii.gz", {}, "nibabel|nifti"),
    ],
)
def test_a_format_that_cannot_hold_the_result_is_told_before_the_run(
    tmp_path, image, monkeypatch, name, options, said
):
    if name.endswith(".gz"):
        monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=said):
        prepare_file(tiny_model(), image, tmp_path / name, options=PredictOptions(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("masked", [np.ones((12, 90, 80), bool), np.ones((90, 80), bool)])
def test_a_region_within_a_mask_goes_to_a_file(tmp_path, image, masked):
    how = {"region": "z=2:5,y=10:60", "mask": masked}
    written = segzoo.predict(tiny_model(), image, out=tmp_path / "o.tif", **how)
    np.testing.assert_array_equal(written[:], segzoo.predict(tiny_model(), image, **how))


def test_a_mask_is_hashed_in_blocks(tmp_path, image):
    reads = []

    class Mask:
        shape, dtype, chunks = (12, 90, 80), np.dtype(bool), (4, 32, 32)

        def __getitem__(self, where):
            reads.append(where)
            return np.ones(self.shape, bool)[where]

    prepare_file(tiny_model(), image, tmp_path / "o.tif", options=OPTIONS, mask=Mask())
    assert 1 <= len(reads) < 12


def test_a_region_lies_where_it_was_cut_from(tmp_path, image):
    affine = ((-2.0, 0, 0, 90), (0, 2.0, 0, -126), (0, 0, 3.0, -72), (0, 0, 0, 1.0))
    image = replace(image, translate=(10.0, 5.0, -3.0), affine=affine)
    region = "z=2:5,y=10:60,x=7:39"
    for ndim, name in ((2, "o.zarr"), (3, "p.zarr"), (2, "o.nii.gz")):
        segzoo.predict(tiny_model(ndim), image, out=tmp_path / name, region=region)
    for name in ("o.zarr", "p.zarr"):
        assert segzoo.open_image(tmp_path / name).translate == (14.0, 10.0, 0.5)
    import nibabel

    written = nibabel.load(tmp_path / "o.nii.gz").affine
    np.testing.assert_allclose(written[:3, 3], (np.array(affine) @ [7, 10, 2, 1])[:3])
    np.testing.assert_allclose(written[:, :3], np.array(affine)[:, :3])


def test_the_scale_stays_when_axes_are_named_otherwise(tmp_path):
    image = segzoo.Image(noise((3, 40, 40)), "TYX", (2.0, 0.5, 0.25))
    segzoo.predict(tiny_model(), image, axes="ZYX", out=tmp_path / "o.zarr")
    assert segzoo.open_image(tmp_path / "o.zarr").scale == (2.0, 0.5, 0.25)


@pytest.mark.parametrize("output", ["labels", "instances", "probabilities"])
@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_a_blank_image_is_background_and_said(tmp_path, value, output):
    model = tiny_model(normalization=Normalization())
    blank = np.full((40, 40), value, np.float32)
    for out in (None, tmp_path / "o.tif"):
        events = []
        found = segzoo.predict(model, blank, output=output, out=out, progress=events.append)[...]
        assert (found[1:] if output == "probabilities" else found).max() == 0
        assert sum("same value everywhere" in e.message for e in events if isinstance(e, Note)) == 1


@pytest.mark.parametrize("options", [{"crf": True}, {"planes": "zyx"}, {"region": "z=1:3"}])
def test_a_blank_volume_is_background_whatever_the_options(options):
    model, events = tiny_model(normalization=Normalization()), []
    found = segzoo.predict(
        model, np.zeros((4, 40, 40), "u1"), axes="ZYX", progress=events.append, **options
    )
    assert found.max() == 0
    assert sum("same value everywhere" in e.message for e in events if isinstance(e, Note)) == 1


def test_an_image_is_never_replaced_by_its_segmentation(tmp_path):
    segzoo.save_image(tmp_path / "a.tif", noise((40, 40)), "YX")
    with pytest.raises(InputError, match="is the image itself"):
        segzoo.predict(tiny_model(), tmp_path / "a.tif", out=tmp_path / "a.tif", overwrite=True)
    with pytest.raises(InputError, match="one of the images"):
        pair_files(tmp_path, tmp_path, overwrite=True)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"x")
    for name in ("out/f.tif", "out.zarr"):
        with pytest.raises(InputError, match="must be one too"):
            pair_files(tmp_path, tmp_path / name)
    with pytest.raises(InputError, match="cannot be made"):
        pair_files(tmp_path, tmp_path / "a.tif" / "out")
