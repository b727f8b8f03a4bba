"""Tiles that hold nothing are not computed and become background."""

import numpy as np
import pytest
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError
from napari_segzoo.inference import PredictOptions, loading, prepare, prepare_file


@pytest.fixture
def computed(monkeypatch):
    """Counts the tiles that go through the network."""
    make, count = loading.make_forward, [0]

    def counting(*args, **kwargs):
        run = make(*args, **kwargs)

        def forward(tiles):
            count[0] += len(tiles)
            return run(tiles)

        return forward

    monkeypatch.setattr(loading, "make_forward", counting)
    return count


def half_empty(shape=(64, 160)):
    image = noise(shape) + 1
    image[..., 96:] = 0.25
    return image


@pytest.mark.parametrize("blend", ["gaussian", "exact"])
def test_dark_tiles_are_background_and_cost_nothing(computed, blend):
    model, image = tiny_model(), half_empty()
    options = {"tile": 32, "overlap": 0.0, "blend": blend}
    whole = segzoo.predict(model, image, **options)
    all_tiles, computed[0] = computed[0], 0
    found = segzoo.predict(model, image, skip_below=0.5, **options)
    assert computed[0] < all_tiles
    assert (whole[:, 128:] != 0).any()
    assert not found[:, 128:].any()
    np.testing.assert_array_equal(found[:, :64], whole[:, :64])


def test_a_tile_with_one_bright_voxel_is_computed(computed):
    image = np.zeros((64, 64), np.uint16)
    image[40, 50] = 300
    segzoo.predict(tiny_model(), image, tile=32, overlap=0.0, skip_below=300)
    assert computed[0] == 1
    computed[0] = 0
    assert not segzoo.predict(tiny_model(), image, tile=32, skip_below=301).any()
    assert computed[0] == 0


def test_probabilities_of_an_empty_tile_are_those_of_certain_background():
    p = segzoo.predict(
        tiny_model(), half_empty(), output="probabilities", tile=32, overlap=0.5, skip_below=0.5
    )
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(p[0][:, 128:], 1, atol=1e-6)
    assert p[0][:, :96].min() < 0.5


class Recorded:
    """An array of zeros that remembers where it was written to."""

    def __init__(self, like):
        self.array, self.written = np.zeros_like(like), np.zeros(like.shape, bool)
        self.shape = like.shape

    def __setitem__(self, region, block):
        self.array[region], self.written[region] = block, True


@pytest.mark.parametrize("skip_below", [0.5, None])
@pytest.mark.parametrize("blend", ["gaussian", "exact"])
def test_background_is_not_written_where_there_is_nothing_else(skip_below, blend):
    image = half_empty((3, 64, 160))
    image[1] = 0.25
    options = PredictOptions(tile=32, overlap=0.5, blend=blend, skip_below=skip_below)
    runs = []
    for blank in (False, True):
        run = prepare(tiny_model(), image, axes="ZYX", options=options)
        assert run.blank
        run.blank, run.result = blank, Recorded(run.result)
        covered = np.zeros(run.result.shape, int)
        for event in run.run():
            covered[event.region] += event.region is not None
        assert (covered == 1).all()
        runs.append(run.result)
    np.testing.assert_array_equal(runs[0].array, runs[1].array)
    assert runs[0].written.all()
    assert runs[1].written.all() == (skip_below is None)
    if skip_below is not None:
        assert not runs[1].written[1].any()
        assert runs[1].written[::2, :, :96].all()


def test_outside_a_mask_all_is_background(computed):
    model, image = tiny_model(), noise((64, 160)) + 1
    mask = np.zeros(image.shape, np.uint8)
    mask[10:50, 20:60] = 7
    whole = segzoo.predict(model, image, tile=32, overlap=0.0)
    computed[0] = 0
    found = segzoo.predict(model, image, tile=32, overlap=0.0, mask=mask)
    assert computed[0] == 4
    np.testing.assert_array_equal(found, np.where(mask, whole, 0))
    p = segzoo.predict(model, image, output="probabilities", tile=32, mask=mask)
    assert (p[0][mask == 0] == 1).all()
    assert (p[1:, mask == 0] == 0).all()


def test_a_mask_of_one_plane_holds_for_the_whole_stack():
    model, image = tiny_model(), noise((3, 64, 64))
    mask = np.zeros((64, 64), bool)
    mask[:32] = True
    found = segzoo.predict(model, image, axes="ZYX", tile=32, mask=mask)
    each = segzoo.predict(
        model, image, axes="ZYX", tile=32, mask=np.broadcast_to(mask, image.shape)
    )
    np.testing.assert_array_equal(found, each)
    assert found[:, :32].any()
    assert not found[:, 32:].any()


def test_a_mask_of_another_shape_is_told():
    with pytest.raises(InputError, match=r"mask has the shape \(3, 3\).*\(64, 64\).*YX"):
        segzoo.predict(tiny_model(), noise((64, 64)), mask=np.ones((3, 3)))


@pytest.mark.parametrize("output", ["labels", "instances", "probabilities"])
def test_an_interrupted_run_with_empty_tiles_gives_the_identical_file(tmp_path, output):
    model, image = tiny_model(classes=2), half_empty()
    mask = np.ones(image.shape, bool)
    mask[:, :40] = False
    options = PredictOptions(output, 32, skip_below=0.5)
    prepared = {"options": options, "mask": mask}
    for _ in prepare_file(model, image, tmp_path / "whole.tif", **prepared).run():
        pass
    from napari_segzoo.inference import files

    patched = pytest.MonkeyPatch()
    patched.setattr(files, "SAVE_SECONDS", 0)
    with patched.context():
        events = prepare_file(model, image, tmp_path / "out.tif", **prepared).run()
        for _ in range(9):
            next(events)
        events.close()
    patched.undo()
    with pytest.raises(InputError, match="another model, image or option"):
        prepare_file(model, image, tmp_path / "out.tif", options=options, resume=True)
    resumed = prepare_file(model, image, tmp_path / "out.tif", resume=True, **prepared)
    assert resumed.start > 0
    for _ in resumed.run():
        pass
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_a_volume_is_skipped_tile_by_tile_too(computed):
    model = tiny_model(3)
    image = np.zeros((20, 48, 48), np.float32)
    image[:8, :16, :16] = noise((8, 16, 16)) + 1
    run = prepare(model, image, options=PredictOptions(tile=16, overlap=0.0, skip_below=0.5))
    for _ in run.run():
        pass
    assert computed[0] < run.plan.tiles / 4
    assert not run.result[:, 32:].any()
