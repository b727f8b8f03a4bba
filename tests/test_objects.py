"""Objects of class maps of any size: the same however the map is cut into blocks."""

import numpy as np
import pytest
from scipy.spatial import KDTree
from tiny import Watched, noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.inference import BlockSeparated, PredictOptions, TileDone, prepare, prepare_file
from napari_segzoo.inference import files as inference_files
from napari_segzoo.postprocess import Objects, objects, separate_objects
from napari_segzoo.postprocess.basins import find_basins
from napari_segzoo.synthetic import nuclei
from napari_segzoo.training.data import interior_and_border


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setitem(objects.BLOCK, 2, 32)


def same_partition(a, b):
    """Whether two label images hold the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return all(len(np.unique(row)) == pairs.shape[1] for row in pairs)


def classes_of(ids, task):
    return interior_and_border(ids) if task == "instances" else (ids > 0).astype(np.uint8)


@pytest.mark.parametrize("task", ["semantic", "instances"])
@pytest.mark.parametrize(
    ("shape", "diameter", "blocks"),
    [((300, 400), 15, (1024, 150, 97)), ((30, 80, 90), 10, (128, 47))],
)
def test_objects_do_not_depend_on_the_blocks(task, shape, diameter, blocks):
    _, ids = nuclei(shape, count=90, diameter=diameter)
    found = [separate_objects(classes_of(ids, task), task, block) for block in blocks]
    assert found[0].max() > 50
    assert all(same_partition(found[0], other) for other in found[1:])
    assert all((np.unique(f) == np.arange(f.max() + 1)).all() for f in found)


def test_objects_in_a_sheet_without_gaps_do_not_depend_on_the_blocks(monkeypatch):
    """All nuclei touch, so that the sheet as a whole fits into no block and its margin."""
    monkeypatch.setitem(objects.MARGIN, 2, 40)
    centres = np.random.default_rng(0).uniform(0, 280, (240, 2))
    voxels = np.indices((280, 280)).reshape(2, -1).T
    nearest = KDTree(centres).query(voxels)[1].reshape(280, 280)
    classes = interior_and_border(nearest + 1)
    whole, *others = (separate_objects(classes, "instances", block) for block in (280, 90, 61))
    assert whole.max() > 180
    assert all(same_partition(whole, other) for other in others)


@pytest.mark.parametrize("shape", [(20, 900), (12, 12, 400)])
def test_an_object_longer_than_a_block_and_its_margin_stays_one(shape):
    bar = np.zeros(shape, np.uint8)
    bar[..., 4:-4, 5:-5] = 1
    found = separate_objects(bar, "semantic", 40)
    np.testing.assert_array_equal(found, bar)


def test_only_a_block_and_its_margin_are_read():
    classes = Watched(np.ones((1000, 600), np.uint8))
    result = np.zeros(classes.shape, np.uint32)
    assert len(list(Objects(classes, result, 2, "semantic", 100).separate())) == 60
    assert classes.largest <= (100 + 2 * 128) ** 2


def test_numbers_go_on_over_slices_and_time_points():
    _, ids = nuclei((80, 90), count=12, diameter=12)
    movie = np.stack([ids > 0] * 3)
    result = np.zeros(movie.shape, np.uint32)
    found = Objects(movie.astype(np.uint8), result, 2, "semantic")
    regions = list(found.separate())
    numbers = found.final_numbers()[result]
    assert len(regions) == 3
    per_image = numbers[0].max()
    np.testing.assert_array_equal(np.unique(numbers), np.arange(3 * per_image + 1))
    assert all(same_partition(numbers[0], n) for n in numbers[1:])


@pytest.mark.parametrize(
    ("least", "share", "basins"),
    [
        (0.4, 0.0, [0, 1, 1, 1, 2, 2, 0, 3]),
        (0.6, 0.0, [0, 1, 1, 1, 1, 1, 0, 2]),
        (0.4, 0.21, [0, 1, 1, 1, 1, 1, 0, 2]),
    ],
)
def test_tops_that_hardly_rise_above_the_pass_belong_together(least, share, basins):
    heights = np.array([0, 1, 3, 2, 2.5, 1, 0, 0.1])
    np.testing.assert_array_equal(find_basins(heights, least, share), basins)


def test_the_highest_pass_is_joined_first():
    """The low top in the middle belongs to the top behind its higher pass, here the lower one."""
    heights = np.array([5, 1.5, 2, 1.8, 4.0])
    np.testing.assert_array_equal(find_basins(heights, 0.6), [1, 1, 2, 2, 2])


@pytest.mark.parametrize("blend", ["auto", "exact"])
def test_instances_with_exact_margins_do_not_depend_on_the_tiles(small_blocks, blend):
    model, image = tiny_model(task="instances"), noise((150, 170))
    whole, *others = (
        segzoo.predict(model, image, output="instances", tile=tile, blend=blend)
        for tile in (256, 96, 64)
    )
    assert whole.max() > 20
    for other in others:
        np.testing.assert_array_equal(whole, other)


def test_a_run_goes_on_with_the_blend_it_was_begun_with(tmp_path, small_blocks, monkeypatch):
    monkeypatch.setattr(inference_files, "SAVE_SECONDS", 0)
    model, image = tiny_model(task="instances"), noise((150, 170))
    path, whole = tmp_path / "out.tif", tmp_path / "whole.tif"
    options = PredictOptions(tile=64, output="instances")
    segzoo.predict(model, image, out=whole, tile=64, output="instances")
    events = prepare_file(model, image, path, options=options).run()
    for event in events:
        if isinstance(event, TileDone) and event.done == 3:
            break
    events.close()
    monkeypatch.setattr("napari_segzoo.inference.plan.MOST_TIMES", 0)
    segzoo.predict(model, image, out=path, tile=64, output="instances", resume=True)
    assert path.read_bytes() == whole.read_bytes()


def test_a_file_holds_the_same_objects_as_a_run_in_memory(tmp_path, small_blocks):
    model, image = tiny_model(task="instances"), noise((3, 90, 80))
    options = {"axes": "ZYX", "tile": 32, "output": "instances"}
    written = segzoo.predict(model, image, out=tmp_path / "out.tif", **options)
    np.testing.assert_array_equal(written[:], segzoo.predict(model, image, **options))
    assert written.dtype == np.uint32
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.parametrize("blocks", [1, 4, 9])
def test_a_run_interrupted_while_separating_goes_on(tmp_path, small_blocks, monkeypatch, blocks):
    monkeypatch.setattr(inference_files, "SAVE_SECONDS", 0)
    model, image = tiny_model(task="instances"), noise((90, 80))
    options = PredictOptions(tile=32, output="instances")
    path, whole = tmp_path / "out.tif", tmp_path / "whole.tif"
    segzoo.predict(model, image, out=whole, tile=32, output="instances")
    events = prepare_file(model, image, path, options=options).run()
    for event in events:
        if isinstance(event, BlockSeparated) and event.done == blocks:
            break
    events.close()
    rest = list(prepare_file(model, image, path, options=options, resume=True).run())
    assert [e.done for e in rest if isinstance(e, BlockSeparated)] == list(range(blocks + 1, 10))
    assert not any(isinstance(e, TileDone) for e in rest)
    assert path.read_bytes() == whole.read_bytes()


def test_cancelling_the_separation_keeps_whole_numbers(small_blocks):
    run = prepare(
        tiny_model(task="instances"), noise((90, 80)), options=PredictOptions(output="instances")
    )
    events = run.run()
    for event in events:
        if isinstance(event, BlockSeparated) and event.done == 3:
            break
    events.close()
    assert not run.result[32:].any()
    np.testing.assert_array_equal(np.unique(run.result), np.arange(run.result.max() + 1))


def test_specks_are_dropped_however_many_there_are():
    """Three planes leave hundreds of single voxels around a few dozens of nuclei."""
    classes = np.zeros((200, 200), np.uint8)
    classes[50:60, 50:60], classes[80:92, 80:92] = 1, 1
    classes[::7, 120::7] = 1
    found = separate_objects(classes, "instances")
    assert sorted(np.bincount(found.ravel())[1:]) == [100, 144]
    only_specks = np.where(np.arange(200) < 120, 0, classes)
    assert separate_objects(only_specks, "instances").max() == np.count_nonzero(only_specks)
