"""Where to draw next: uncertain, not drawn, and each place once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.cli import main
from napari_segzoo.errors import InputError
from napari_segzoo.training import Places, where_to_draw
from napari_segzoo.training.uncertain import default_window, entropy, uncertain_places


def test_entropy_by_hand():
    p = np.array([[1.0, 0.5, 0.25], [0.0, 0.5, 0.75]])
    quarters = 0.25 * 2 + 0.75 * np.log2(4 / 3)
    assert np.allclose(entropy(p), [0, 1, quarters])
    assert np.allclose(entropy(np.full((4, 3), 0.25)), 1)
    assert np.allclose(entropy(p.T, axis=1), entropy(p))


def centers(*args, **options):
    return [place.center for place in uncertain_places(*args, **options)]


def test_places_by_hand():
    uncertainty = np.zeros((8, 12))
    uncertainty[0:4, 0:4] = 0.5
    uncertainty[4:8, 8:12] = 0.75
    uncertainty[0, 8] = 0.16
    drawn = np.zeros((8, 12), np.uint8)
    places = uncertain_places(uncertainty, drawn, (4, 4))
    assert [p.center for p in places] == [(6, 10), (2, 2), (2, 8)]
    assert [p.uncertainty for p in places] == pytest.approx([0.75, 0.5, 0.01])
    assert places[0].window == (slice(4, 8), slice(8, 12))
    assert centers(uncertainty, drawn, (4, 4), count=1) == [(6, 10)]
    drawn[7, 11] = 2
    places = uncertain_places(uncertainty, drawn, (4, 4))
    assert [p.center for p in places] == [(2, 2), (4, 10)]
    assert places[1].uncertainty == pytest.approx(0.75 / 2)


def test_nothing_to_draw():
    assert uncertain_places(np.zeros((8, 8)), np.zeros((8, 8)), (4, 4)) == []
    assert uncertain_places(np.ones((8, 8)), np.ones((8, 8)), (4, 4)) == []


def test_slices_far_apart_are_places_of_their_own():
    uncertainty = np.zeros((12, 4, 4))
    uncertainty[2], uncertainty[3], uncertainty[9] = 0.5, 0.4, 0.3
    found = centers(uncertainty, np.zeros_like(uncertainty), (3, 4, 4))
    assert found[0] in [(2, 2, 2), (3, 2, 2)]
    assert [center for center in found if center[0] > 7]
    assert all(abs(a[0] - b[0]) >= 3 for a in found for b in found if a != b)


@given(
    arrays(np.float64, (9, 13), elements=st.floats(0, 1)),
    arrays(np.bool_, (9, 13), elements=st.booleans()),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_places_are_free_apart_and_in_order(uncertainty, drawn, window):
    places = uncertain_places(uncertainty, drawn, window)
    taken = np.zeros(drawn.shape, int)
    for place in places:
        taken[place.window] += 1
        assert uncertainty[place.window].shape == window
        assert place.uncertainty == pytest.approx(uncertainty[place.window].mean())
    assert taken.max() <= 1
    assert not (taken.astype(bool) & drawn).any()
    scores = [place.uncertainty for place in places]
    assert scores == sorted(scores, reverse=True)


def test_size_of_a_place():
    assert default_window("YX", (512, 800)) == (64, 64)
    assert default_window("TZYX", (9, 3, 64, 64)) == (1, 3, 16, 16)
    assert default_window("ZYX", (40, 4000, 4000)) == (5, 128, 128)
    assert default_window("YX", (10, 4000)) == (10, 16)


@pytest.mark.parametrize(("ndim", "axes"), [(2, "YX"), (2, "ZYX"), (3, "TZYX")])
def test_a_model_is_asked_everywhere(ndim, axes):
    shape = (2, 8, 40, 56)[-len(axes) :]
    model, image = tiny_model(ndim), noise(shape)
    options = {"axes": axes, "device": "cpu"}
    found = list(where_to_draw(model, image, count=100, **options))[-1]
    assert isinstance(found, Places)
    assert found.axes == axes
    classes = axes.index("ZYX"[-ndim])
    uncertainty = entropy(segzoo.predict(model, image, output="probabilities", **options), classes)
    window = default_window(axes, shape)
    expected = uncertain_places(uncertainty, np.zeros(shape), window, 100)
    assert [p.center for p in found.places] == [p.center for p in expected]
    best = found.places[0]
    assert best.uncertainty == pytest.approx(uncertainty[best.window].mean(), rel=1e-4)
    drawn = np.zeros(shape, np.uint8)
    drawn[best.center] = 1
    after = list(where_to_draw(model, image, drawn, **options))[-1]
    assert all(not drawn[p.window].any() for p in after.places)


def test_wrong_use_names_what_is_wrong():
    model, image = tiny_model(), noise((32, 32))
    with pytest.raises(InputError, match=r"\(5, 7\).*\(32, 32\)"):
        list(where_to_draw(model, image, np.zeros((5, 7))))
    with pytest.raises(InputError, match="count must be at least 1, not 0"):
        list(where_to_draw(model, image, count=0))


def test_the_command_prints_a_table_or_json(tmp_path, capsys):
    tiny_model().save(tmp_path / "model.safetensors")
    image, drawn = noise((48, 96)), np.zeros((48, 96), np.uint8)
    drawn[:, :32] = 1
    segzoo.save_image(tmp_path / "image.tif", image, "YX")
    segzoo.save_image(tmp_path / "drawn.tif", drawn, "YX", labels=True)
    words = ["draw-next", *(str(tmp_path / n) for n in ("model.safetensors", "image.tif"))]
    words += ["--labels", str(tmp_path / "drawn.tif"), "--count", "3", "--device", "cpu"]
    assert main(words) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["Y", "X", "uncertainty"]
    assert len(rows) == 3
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["axes"] == "YX"
    assert [p["center"] for p in record["places"]] == [
        [int(n) for n in row.split()[:2]] for row in rows
    ]
    assert all(p["center"][1] >= 40 for p in record["places"])
