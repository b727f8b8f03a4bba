"""The Model dock: what a model is, and one model for all docks of a viewer."""

import errno

import pytest

from napari_segzoo.model import SegmentationModel
from napari_segzoo.widgets.model_dock import ModelDock
from napari_segzoo.widgets.shared_model import shared_model


@pytest.fixture
def dock(open_dock):
    return open_dock("Model", menu="Layers")


def test_a_network_that_is_not_trained(dock):
    dock.choose("U-Net · unet")
    text = dock.details.text()
    assert "31,037,698" in text
    assert "https://arxiv.org/abs/1505.04597" in text
    assert "not trained yet" in dock.status.text()
    assert not dock.save_button.isEnabled()


def test_every_network_of_the_registry_is_offered(dock):
    from napari_segzoo import list_models

    offered = {dock.choices.itemText(n) for n in range(dock.choices.count())}
    assert {f"{spec.title} · {spec.name}" for spec in list_models()} <= offered


def test_save_and_load(dock, make_model, choose, tmp_path):
    model = make_model()
    choose(model)
    assert "not saved yet" in dock.details.text()
    dock.save(tmp_path / "mine")
    path = tmp_path / "mine.safetensors"
    assert SegmentationModel.load(path).info == model.info
    assert dock._shared.choice.path == path
    dock.choose("U-Net · unet")
    dock.load(path)
    text = dock.details.text()
    parameters = sum(p.numel() for p in model.network.parameters())
    for expected in ("2D, 1 channel", "1 cell", f"{parameters:,}", "CC0-1.0", str(path)):
        assert expected in text
    assert dock.choices.currentText() == "tiny"


def test_files_that_are_no_models(dock, tmp_path):
    dock.load(tmp_path / "absent.safetensors")
    assert "There is no model file" in dock.status.text()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model")
    dock.load(broken)
    assert "is not a model file" in dock.status.text()
    assert dock._shared.choice is None


def test_saving_into_a_missing_folder_loses_nothing(dock, make_model, choose, tmp_path):
    model = make_model()
    choose(model)
    dock.save(tmp_path / "absent" / "mine.safetensors")
    assert "does not exist" in dock.status.text()
    assert dock._shared.choice.model is model


def test_two_copies_of_a_dock_agree(viewer, dock):
    other = ModelDock(viewer)
    viewer.window.add_dock_widget(other, name="second copy")
    dock.choose("U-Net · unet")
    assert other.choices.currentText() == "U-Net · unet"
    assert other.details.text() == dock.details.text()


def test_viewers_do_not_share_a_model(viewer, make_napari_viewer, choose, make_model):
    choose(make_model())
    assert shared_model(viewer).choice is not None
    assert shared_model(make_napari_viewer()).choice is None


def test_a_full_disk_loses_nothing(dock, make_model, choose, tmp_path, monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    model = make_model()
    choose(model)
    monkeypatch.setattr("safetensors.torch.save_file", no_space)
    dock.save(tmp_path / "mine.safetensors")
    assert "No space left on device" in dock.status.text()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    dock.save(tmp_path / "mine.safetensors")
    assert SegmentationModel.load(tmp_path / "mine.safetensors").info == model.info
