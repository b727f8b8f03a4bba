"""The Model dock: what a model is, and one model for all docks of a viewer."""

import errno

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_segzoo import list_models
from napari_segzoo.model import SegmentationModel
from napari_segzoo.widgets.model_dock import ModelDock
from napari_segzoo.widgets.shared_model import shared_model
from napari_segzoo.zoo import get_spec


@pytest.fixture
def dock(open_dock):
    return open_dock("Model", menu="Layers")


def test_a_network_that_is_not_trained(dock):
    dock.choose("U-Net · unet")
    text = dock.details.text()
    assert "31,036,546 in 2D" in text
    assert "Tile 512×512" in text
    assert "https://arxiv.org/abs/1505.04597" in text
    assert "not trained yet" in dock.status.text()
    assert not dock.save_button.isEnabled()


def test_every_network_of_the_registry_is_offered(dock):
    offered = {dock.choices.itemText(n) for n in range(dock.choices.count())}
    assert {f"{spec.title} · {spec.name}" for spec in list_models()} <= offered


def type_and_enter(dock, text):
    field = dock.choices.lineEdit()
    field.selectAll()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)


@pytest.mark.parametrize(
    ("typed", "found"),
    [("attention", "attention_unet"), ("milletari", "vnet"), ("2016, 3dv", "vnet")],
)
def test_typing_finds_titles_families_and_papers(dock, typed, found):
    type_and_enter(dock, typed)
    assert dock._shared.choice.architecture == found
    assert dock.choices.currentText().endswith(found)


def test_what_is_not_found_changes_nothing(dock):
    dock.choose("U-Net · unet")
    type_and_enter(dock, "transformer")
    assert "matches 'transformer'" in dock.status.text()
    assert dock.choices.currentText() == "U-Net · unet"
    assert dock._shared.choice.architecture == "unet"
    dock._shared.choose(None)
    assert dock.choices.currentText() == "Choose a model…"


def set_tile(dock, text):
    dock.tile.setText(text)
    dock.tile.editingFinished.emit()


def test_costs_of_a_tile(dock):
    dock.choose("FCN-8s · fcn8s")
    set_tile(dock, "300, 217")
    cost = get_spec("fcn8s").cost((300, 217))
    assert "Tile 320×224" in dock.details.text()
    assert f"{cost.multiply_adds / 1e9:.1f} G multiply-adds" in dock.details.text()
    assert f"{cost.memory / 2**20:.0f} MiB" in dock.details.text()
    set_tile(dock, "32, 64, 64")
    assert "FCN-8s works in 2D" in dock.status.text()
    dock.choose("V-Net · vnet")
    assert "Tile 32×64×64" in dock.details.text()
    assert "512×512" not in dock.details.text()
    set_tile(dock, "big")
    assert "such as 512,512" in dock.status.text()


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
    assert dock.choices.currentText() == "mine"


def test_each_earlier_model_takes_one_line(dock, make_model, choose):
    first = {"steps": 400, "date": "2026-11-21", "validation": {"fluorescence": 0.93}}
    second = {"steps": 120, "base": "nuclei", "base_provenance": first}
    last = {"images": 7, "base": "mine & yours", "base_provenance": second}
    choose(make_model().with_info(provenance=last))
    text = dock.details.text()
    assert "images: 7<" in text
    assert "mine &amp; yours, 120 steps<br>nuclei, 400 steps, 2026-11-21<" in text
    assert "fluorescence" not in text


def test_scores_on_several_kinds_of_images_take_one_line_each(dock):
    dock.choose("nuclei (trained)")
    text = dock.details.text()
    assert "validation, fluorescence: images: 63, mean dice: 0.93" in text
    assert "<br>validation, histology purple: images: 12, " in text


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


def test_models_of_the_session_stay_at_hand(dock, open_dock, make_model, choose, tmp_path):
    start = open_dock("Train").form.start
    first, second = (make_model().with_info(name=f"cells (training {n})") for n in (1, 2))
    choose(first)
    choose(second)
    dock.choose("nuclei (trained)")
    assert start.base.title == "nuclei"
    start.choose("cells (training 2)")
    assert start.base.model is second
    dock.choose("cells (training 1)")
    assert dock._shared.choice.model is first
    dock.save(tmp_path / "mine.safetensors")
    titles = [dock.choices.itemText(n) for n in range(4)]
    assert titles[1:] == ["mine", "cells (training 2)", "generalist-2d (trained)"]
    dock.choose("cells (training 2)")
    dock.load(tmp_path / "mine.safetensors")
    assert dock.choices.currentText() == "mine"
