"""Every network, in each number of dimensions it has, runs through the tiled engine."""

import numpy as np
import torch
from zoo_cases import Case, every_case

import napari_segzoo as segzoo
from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes

SHAPE = {2: (150, 217), 3: (20, 37, 51)}
TILE = {2: 96, 3: 32}


@every_case
def test_any_size_is_segmented_in_tiles(case: Case):
    torch.manual_seed(0)
    info = ModelInfo(case.name, case.ndim, 1, default_classes(3), case.options)
    model = SegmentationModel.create(info)
    image = np.random.default_rng(0).random(SHAPE[case.ndim], np.float32)
    run = {"axes": "ZYX"[-case.ndim :], "tile": TILE[case.ndim], "device": "cpu"}
    probabilities = segzoo.predict(model, image, output="probabilities", overlap=0.1, **run)
    assert probabilities.shape == (3, *image.shape)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=0, atol=1e-3)
