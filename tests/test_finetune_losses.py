"""Fine-tuning with another loss than the default."""

import numpy as np
import pytest
from tiny import squares

from napari_segzoo import InputError, finetune


def losses(**options):
    image, truth = squares(64)
    labels = np.where(truth, 2, 1).astype(np.uint8)
    small = {"widths": (4, 8)}
    events = finetune(image, labels, steps=2, device="cpu", architecture_options=small, **options)
    return [e.loss for e in events if hasattr(e, "learning_rate")]


@pytest.mark.parametrize("name", ["weighted_cross_entropy", "boundary", "tversky"])
def test_the_chosen_loss_is_what_is_minimised(name):
    chosen = losses(loss=name)
    assert np.isfinite(chosen).all()
    assert chosen != losses()


def test_an_unknown_loss_is_told_before_the_first_step():
    with pytest.raises(InputError, match="did you mean 'focal'"):
        losses(loss="focals")
