"""Importing PyTorch's compiler takes seconds, which what a user waits for is spared."""

import subprocess
import sys

SCRIPT = """
import sys
import numpy as np
import napari_segzoo as segzoo

image = np.random.default_rng(0).random((70, 64), np.float32)
drawn = np.zeros(image.shape, np.uint8)
drawn[4:8], drawn[40:44] = 1, 2
segzoo.predict("nuclei", image, device="cpu", engine="torch", output="instances")
print("torch._dynamo" in sys.modules)
for base in (None, "generalist-2d"):
    for event in segzoo.finetune(image, drawn, base=base, steps=1):
        pass
    print("torch._dynamo" in sys.modules)
print("torch" in sys.modules)
"""


def test_neither_prediction_nor_training_imports_it():
    words = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False", "True"]
