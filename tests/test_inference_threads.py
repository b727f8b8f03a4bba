"""Tiles are blended in one thread; the network and all that follows keep theirs."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.inference import prediction


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_blending_takes_one_thread_and_leaves_the_others_theirs(monkeypatch, three_threads):
    seen = []
    write = prediction.Prediction.write

    def watched(self, *args):
        seen.append(torch.get_num_threads())
        return write(self, *args)

    monkeypatch.setattr(prediction.Prediction, "write", watched)
    segzoo.predict(tiny_model(), noise((64, 64)), tile=32)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 3
    assert threads_of_a_new_thread() == 3
