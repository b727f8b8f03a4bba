"""Importing PyTorch's compiler takes seconds, which what a user waits for is spared."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np
import napari_segzoo as segzoo

image = np.random.default_rng(0).random((70, 64), np.float32)
drawn = np.zeros(image.shape, np.uint8)
drawn[4:8], drawn[40:44] = 1, 2
{}
print("torch" in sys.modules, "torch._dynamo" in sys.modules)
"""
TRAIN = """
for base in (None, "generalist-2d"):
    for event in segzoo.finetune(image, drawn, base=base, steps=1):
        pass
"""
PREDICT = """
segzoo.predict("nuclei", image, device="cpu", engine="torch", output="instances")
"""


@pytest.mark.parametrize("code", [TRAIN, PREDICT], ids=["train", "predict"])
def test_it_is_not_imported(code):
    words = [sys.executable, "-c", SCRIPT.format(code)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
