"""What the tests of the metrics share."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segzoo.metrics import acceleration


@contextmanager
def without_numba() -> Iterator[None]:
    """Take the paths that are taken where Numba is not installed."""
    acceleration._compiled.cache_clear()
    with mock.patch.object(acceleration, "import_module", side_effect=ImportError):
        yield
    acceleration._compiled.cache_clear()


@pytest.fixture(params=["numba", "numpy"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test with the compiled loops and without them."""
    if request.param == "numba":
        pytest.importorskip("numba")
        assert acceleration.kernels() is not None
        yield request.param
    else:
        with without_numba():
            yield request.param


@st.composite
def label_pairs(draw: st.DrawFn, max_label: int = 4, min_dims: int = 1, max_dims: int = 3):
    """Two label images of one shape that agree in part, and a spacing for them."""
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, max_side=9))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint64]))
    reference = random.integers(0, max_label + 1, shape)
    coarse = draw(st.integers(1, 3))
    for axis in range(len(shape)):
        reference = np.repeat(reference, coarse, axis)
    reference = reference[tuple(slice(0, n) for n in shape)]
    wrong = random.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    prediction = np.where(wrong, random.integers(0, max_label + 1, shape), reference)
    spacing = tuple(random.uniform(0.2, 4, len(shape)))
    return reference.astype(dtype), prediction.astype(dtype), spacing


def assert_same_scores(first, second) -> None:
    """Check that two reports (or parts of them) hold the same numbers."""
    assert list(first) == list(second)
    for name in first:
        ours, theirs = first[name], second[name]
        if isinstance(ours, dict):
            assert_same_scores(ours, theirs)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=name)
