"""A part of an image is segmented as it is within the whole."""

import numpy as np
import pytest
from tiny import Watched, noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError
from napari_segzoo.inference import PredictOptions, TileDone, prepare
from napari_segzoo.preprocess import Normalization

PERCENTILE = Normalization()


@pytest.mark.parametrize("output", ["labels", "probabilities"])
@pytest.mark.parametrize("blend", ["gaussian", "exact"])
def test_a_region_is_that_part_of_the_whole(output, blend):
    model = tiny_model(normalization=PERCENTILE)
    image = noise((150, 180)) + np.linspace(0, 1, 180, dtype=np.float32)
    options = {"output": output, "blend": blend, "tile": 48}
    whole = segzoo.predict(model, image, **options)
    for y, x in ((0, 0), (10, 97), (70, 33), (110, 150)):
        stops = min(150, y + 61), min(180, x + 47)
        part = segzoo.predict(model, image, region=f"y={y}:{stops[0]},x={x}:{stops[1]}", **options)
        np.testing.assert_array_equal(part, whole[..., y : stops[0], x : stops[1]])


def test_a_region_of_a_volume_and_of_slices():
    image = noise((14, 40, 44))
    for model in (tiny_model(3), tiny_model(2, normalization=PERCENTILE)):
        options = {"axes": "ZYX", "tile": 16, "output": "probabilities"}
        whole = segzoo.predict(model, image, **options)
        part = segzoo.predict(model, image, region="z=3:9,x=20:", **options)
        wanted = whole[:, 3:9, ..., 20:] if model.info.ndim == 3 else whole[3:9, ..., 20:]
        np.testing.assert_array_equal(part, wanted)


def test_a_mask_lies_where_it_lies_in_the_whole():
    image, mask = noise((5, 60, 60)), noise((5, 60, 60), seed=1) > 0.5
    options = {"axes": "ZYX", "mask": mask, "tile": 32}
    whole = segzoo.predict(tiny_model(), image, **options)
    part = segzoo.predict(tiny_model(), image, region="1:4,20:50,0:30", **options)
    np.testing.assert_array_equal(part, whole[1:4, 20:50, :30])


def test_only_the_tiles_that_reach_into_the_region_are_computed():
    image = Watched(noise((500, 500)))
    model = tiny_model()
    run = prepare(model, image, options=PredictOptions(tile=32, region="100:120,100:120"))
    events = [e for e in run.run() if isinstance(e, TileDone)]
    assert len(events) == run.plan.tiles <= 9
    assert image.total < 20_000
    assert run.result.shape == (20, 20)


def test_objects_of_a_region_are_numbered_from_one():
    model = tiny_model(task="instances")
    found = segzoo.predict(model, noise((90, 90)), output="instances", region="40:90,10:60")
    np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))


def test_a_file_of_a_region(tmp_path):
    image = segzoo.Image(noise((60, 70)), "YX", (0.5, 0.5), "micrometer")
    options = {"region": "y=10:50", "tile": 32}
    written = segzoo.predict(tiny_model(), image, out=tmp_path / "a.tif", **options)
    np.testing.assert_array_equal(written[:], segzoo.predict(tiny_model(), image, **options))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("0:512;0:512", "region must be ranges such as"),
        ("y=0:5,y=5:9", "region must be ranges such as"),
        ("c=0:1", "axis C, but it can be cut along YX only"),
        ("y=50:100", "50:100 along Y, where the image has 0:60"),
        ("x=9:9", "9:9 along X, where the image has 0:70"),
    ],
)
def test_wrong_regions_are_told(region, message):
    with pytest.raises(InputError, match=message):
        segzoo.predict(tiny_model(), noise((60, 70)), region=region)


def test_a_region_is_not_refined():
    with pytest.raises(InputError, match="leave out crf or region"):
        segzoo.predict(tiny_model(), noise((60, 70)), region="0:9,0:9", crf=True)
