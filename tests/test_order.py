"""A part of the image is computed first, and the result is that of the plain order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Watched, noise, tiny_model

from napari_segzoo.inference import PredictOptions, TileDone, loading, prepare
from napari_segzoo.preprocess import Normalization

PERCENTILE = Normalization()


def run_with(first, model, image, axes, column_voxels=1 << 30, **options):
    """Return the run, and the regions in the order in which they were written."""
    run = prepare(model, image, axes=axes, options=PredictOptions(**options), first=first)
    object.__setattr__(run.plan, "column_voxels", column_voxels)
    tiles = [e for e in run.run() if isinstance(e, TileDone)]
    assert [t.done for t in tiles] == list(range(1, len(tiles) + 1))
    assert {t.total for t in tiles} == {len(tiles)}
    return run, [t.region for t in tiles if t.region is not None]


def when_written(run, regions):
    """The number of the write that each voxel got; every voxel gets exactly one."""
    when = np.full(run.result.shape, -1)
    for number, region in enumerate(regions):
        assert (when[region] == -1).all()
        when[region] = number
    assert when.min() == 0
    return when


def index(axes, first):
    return tuple(slice(*first[a]) if a in first else slice(None) for a in axes)


@st.composite
def parts(draw, **sizes):
    first = {}
    for axis, size in sizes.items():
        start = draw(st.integers(0, size - 1))
        first[axis] = (start, draw(st.integers(start + 1, size)))
    return first


@given(parts(Y=70, X=80), st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([1 << 30, 900]))
@settings(max_examples=15)
def test_any_part_of_a_plane(first, overlap, column_voxels):
    model, image = tiny_model(), noise((70, 80))
    how = {"tile": 16, "overlap": overlap, "column_voxels": column_voxels}
    how["output"] = "probabilities"
    plain, _ = run_with({}, model, image, "YX", **how)
    run, regions = run_with(first, model, image, "YX", **how)
    np.testing.assert_array_equal(run.result, plain.result)
    when_written(run, regions)


@given(parts(Z=12, Y=40, X=50), st.sampled_from([1 << 30, 3000]))
@settings(max_examples=8)
def test_any_part_of_a_volume(first, column_voxels):
    model, image = tiny_model(3), noise((12, 40, 50))
    how = {"tile": (8, 16, 16), "column_voxels": column_voxels, "output": "probabilities"}
    plain, _ = run_with({}, model, image, "ZYX", **how)
    run, regions = run_with(first, model, image, "ZYX", **how)
    np.testing.assert_array_equal(run.result, plain.result)
    when_written(run, regions)


@pytest.mark.parametrize("blend", ["gaussian", "exact"])
def test_the_last_corner_comes_first(blend):
    model, image = tiny_model(normalization=PERCENTILE), noise((150, 200))
    first = {"Y": (120, 150), "X": (165, 200)}
    run, regions = run_with(first, model, image, "YX", tile=32, blend=blend)
    plain, _ = run_with({}, model, image, "YX", tile=32, blend=blend)
    assert run.result.tobytes() == plain.result.tobytes()
    when = when_written(run, regions)
    corner = when[index("YX", first)]
    assert corner.max() < np.median(when) / 4
    assert (when[:60] > corner.max()).all()


def test_the_slice_shown_comes_first_and_nothing_is_computed_twice():
    model, image = tiny_model(normalization=PERCENTILE), Watched(noise((2, 6, 40, 50)))
    plain, regions = run_with({}, model, image, "TZYX", tile=16)
    tiles, read = len(regions), image.total
    image.total = 0
    first = {"T": (1, 2), "Z": (4, 5)}
    run, regions = run_with(first, model, image, "TZYX", tile=16)
    np.testing.assert_array_equal(run.result, plain.result)
    assert len(regions) == tiles
    assert image.total == read
    when = when_written(run, regions)
    assert when[1, 4].max() < np.delete(when.reshape(12, -1), 10, axis=0).min()


def test_batches_hold_tiles_of_the_part_and_of_the_rest():
    model, image = tiny_model(), noise((3, 70, 90))
    results = []
    for first in ({}, {"Z": (2, 3), "Y": (50, 60), "X": (30, 50)}):
        how = PredictOptions(output="probabilities", tile=16)
        run = prepare(model, image, axes="ZYX", options=how, first=first)
        object.__setattr__(run.plan, "batch", 7)
        for _ in run.run():
            pass
        results.append(run.result)
    np.testing.assert_allclose(*results, atol=1e-5)


def test_skipped_tiles_masks_and_the_crf():
    model = tiny_model()
    image = noise((90, 110)) * (np.arange(110) > 40)
    mask = noise((90, 110), seed=1) > 0.3
    for options in ({"skip_below": 0.01}, {"crf": True}):
        how = PredictOptions(tile=16, **options)
        results = []
        for first in ({}, {"Y": (60, 80), "X": (60, 80)}):
            run = prepare(model, image, axes="YX", options=how, mask=mask, first=first)
            for _ in run.run():
                pass
            results.append(run.result)
        np.testing.assert_array_equal(*results)


def test_objects_are_those_of_the_plain_order():
    model = tiny_model(task="instances")
    results = []
    for first in ({}, {"Y": (100, 128), "X": (100, 128)}):
        how = PredictOptions("instances", 16)
        run = prepare(model, noise((128, 128)), options=how, first=first)
        for _ in run.run():
            pass
        results.append(run.result)
    assert results[0].max() > 3
    np.testing.assert_array_equal(*results)


@given(parts(Y=100, X=100))
@settings(max_examples=15)
def test_no_tile_is_computed_twice(first):
    computed = []
    make = loading.make_forward

    def noted(*arguments, **options):
        forward = make(*arguments, **options)
        return lambda tiles: computed.extend(tiles) or forward(tiles)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "make_forward", noted)
        run, _ = run_with(first, tiny_model(), noise((100, 100)), "YX", tile=16)
    assert len(computed) == run.plan.tiles
    assert len({tile.tobytes() for tile in computed}) == run.plan.tiles


def test_the_order_is_plain_where_probabilities_would_not_fit():
    first = {"Y": (50, 60), "X": (50, 60)}
    model, image = tiny_model(), noise((100, 100))
    for column_voxels, start in ((9 * 256, -1), (3 * 256, 0)):
        run, regions = run_with(first, model, image, "YX", tile=16, column_voxels=column_voxels)
        when = when_written(run, regions)
        assert (when[0, 0] == 0) == (start == 0)


def test_what_is_kept_counts_as_memory():
    model, image, how = tiny_model(), noise((100, 100)), PredictOptions(tile=16)
    plain = prepare(model, image, options=how)
    corner = prepare(model, image, options=how, first={"Y": (99, 100), "X": (99, 100)})
    # The corner's tile, and three that reach into it, of which three classes are kept.
    assert corner.plan.memory - plain.plan.memory in {4 * 3 * n * 256 for n in (3, 4)}
