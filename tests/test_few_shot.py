"""The promise of few-shot training, on a real image, with few enough steps for any machine."""

import numpy as np
import pytest
from tiny import dice

import napari_segzoo as segzoo
from napari_segzoo.sample_data import coins_strokes, load_coins
from napari_segzoo.training import Finished


@pytest.mark.slow
def test_ten_strokes_on_coins_with_the_bundled_model():
    image, reference = load_coins()
    events = segzoo.finetune(image, coins_strokes(), base="nuclei", steps=60, batch=1, seed=0)
    finished = list(events)[-1]
    assert isinstance(finished, Finished)
    found = segzoo.predict(finished.model, image) > 0
    assert dice(found, reference > 0) > 0.95


@pytest.mark.slow
def test_six_lines_in_two_slices_with_the_3d_base():
    from napari_segzoo.sample_data import load_nuclei

    volume, truth = (part[:, :128, :128] for part in load_nuclei(3))
    lines = np.zeros(volume.shape, np.uint8)
    for z in (14, 34):
        at = z, slice(20, None, 40), slice(20, 108)
        lines[at] = 1 + (truth[at] > 0)
    image = segzoo.Image(volume, "ZYX", (1.0, 0.25, 0.25), "micrometer")
    *_, finished = segzoo.finetune(image, lines, base="generalist-3d", steps=5, batch=1, seed=0)
    assert dice(segzoo.predict(finished.model, image) > 0, truth > 0) > 0.9


def test_the_bundled_model_finds_generated_nuclei():
    from napari_segzoo.sample_data import load_nuclei

    image, truth = load_nuclei(2)
    model = segzoo.load_model("nuclei")
    assert dice(segzoo.predict(model, image) > 0, truth > 0) > 0.85
    objects = segzoo.predict(model, image, output="instances")
    count = len(np.unique(truth)) - 1
    assert abs(int(objects.max()) - count) < 0.25 * count
