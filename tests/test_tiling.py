import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segzoo.errors import InputError
from napari_segzoo.inference.tiling import Tiling, make_windows


@st.composite
def tilings(draw):
    ndim = draw(st.integers(1, 3))
    axes = []
    for _ in range(ndim):
        divisor = draw(st.sampled_from([1, 2, 4, 8]))
        tile = draw(st.integers(1, 6)) * divisor
        overlap = draw(st.integers(0, tile // divisor - 1)) * divisor
        axes.append((draw(st.integers(1, 40)), tile, overlap, divisor))
    shape, tile, overlap, divisor = zip(*axes, strict=True)
    return Tiling(shape, tile, overlap, divisor, draw(st.sampled_from(["gaussian", "exact"])))


@given(tilings())
@settings(max_examples=200, deadline=None)
def test_every_voxel_is_completed_exactly_once_and_weights_sum_to_one(tiling):
    completed = np.zeros(tiling.shape, int)
    weight = np.zeros(tiling.shape)
    tiles = [tile for layer in tiling.layers() for tile in layer]
    assert len(tiles) == len(tiling)
    for tile in tiles:
        where = tuple(slice(w.lo, w.hi) for w in tile.windows)
        assert (completed[where] == 0).all(), "a later tile reaches a completed voxel"
        share = np.ones(())
        for w in tile.windows:
            share = np.multiply.outer(share, w.weights)
        weight[where] += share
        completed[tile.complete] += 1
    assert (completed == 1).all()
    np.testing.assert_allclose(weight, 1, atol=1e-5)


@given(tilings())
@settings(max_examples=200, deadline=None)
def test_windows_have_one_shape_and_starts_on_the_divisor(tiling):
    for axis, windows in enumerate(tiling.windows()):
        assert {w.stop - w.start for w in windows} == {tiling.window_shape[axis]}
        assert all(w.start % tiling.divisor[axis] == 0 for w in windows)
        for a, b in itertools.pairwise(windows):
            assert a.stop - b.start >= min(tiling.overlap[axis], tiling.window_shape[axis])


def test_exact_windows_keep_half_the_overlap_from_their_inner_edges():
    windows = make_windows(size=100, tile=40, overlap=16, divisor=4, blend="exact")
    for a, b in itertools.pairwise(windows):
        assert a.stop - a.hi >= 8
        assert b.lo - b.start >= 8
    assert windows[0].lo == 0
    assert windows[-1].hi == 100


@pytest.mark.parametrize("tile, overlap", [((10,), (0,)), ((8,), (8,)), ((8,), (3,)), ((0,), (0,))])
def test_impossible_tiles_are_refused(tile, overlap):
    with pytest.raises(InputError, match="multiples"):
        Tiling((32,), tile, overlap, (4,))
