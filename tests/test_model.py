import errno
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.model import (
    ModelInfo,
    SegmentClass,
    check_model_target,
    default_classes,
    read_info,
)
from napari_segzoo.preprocess import Normalization


@pytest.fixture
def saved(tmp_path):
    model = tiny_model(3, 2, 4, strides=((1, 2, 2),)).with_info(
        name="blobs",
        voxel_size=(2.0, 0.5, 0.5),
        unit="micrometer",
        licence="CC0-1.0",
        normalization=Normalization("zscore"),
        provenance={"images": 3, "scores": {"dice": 0.5}},
    )
    return model, model.save(tmp_path / "blobs.safetensors")


def test_a_model_comes_back_bit_for_bit(saved):
    model, path = saved
    loaded = segzoo.load_model(path)
    assert loaded.info == model.info
    state, again = model.network.state_dict(), loaded.network.state_dict()
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)
    image = noise((2, 6, 20, 20))
    np.testing.assert_array_equal(
        segzoo.predict(model, image, axes="CZYX", output="probabilities"),
        segzoo.predict(loaded, image, axes="CZYX", output="probabilities"),
    )


def test_the_header_is_read_without_pytorch(saved):
    _, path = saved
    code = (
        "import sys; from napari_segzoo.model import read_info, count_stored_parameters;"
        f"info = read_info({str(path)!r}); count_stored_parameters({str(path)!r});"
        "assert info.name == 'blobs' and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_json_round_trip_keeps_every_field():
    info = ModelInfo(
        "unet",
        2,
        3,
        (SegmentClass("ground", "#000000"), SegmentClass("Zelle ü", "#ff0000")),
        options={"widths": (4, 8)},
        normalization=Normalization("fixed", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0)),
        voxel_size=(0.5, 0.25),
    )
    assert ModelInfo.from_json(info.to_json()) == info


def test_an_existing_file_is_refused_and_kept(saved):
    model, path = saved
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        model.save(path)
    assert path.read_bytes() == before
    model.save(path, overwrite=True)


def test_another_ending_and_a_missing_folder_are_refused(saved, tmp_path):
    model, _ = saved
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        model.save(tmp_path / "model.pt")
    with pytest.raises(InputError, match="does not exist"):
        model.save(tmp_path / "nowhere" / "model.safetensors")


def test_a_folder_that_cannot_be_written_is_told_before_the_training(tmp_path, monkeypatch):
    def read_only(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    assert check_model_target(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(InputError, match=r"Nothing can be written to .*Permission denied"):
        check_model_target(tmp_path / "model.safetensors")


def test_a_full_disk_leaves_nothing_behind(saved, tmp_path, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def no_space(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", no_space)
    with pytest.raises(RunError, match="No space left"):
        model.save(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["blobs.safetensors"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not a model file, or it is damaged"),
        (b"hello, this is text", "not a model file, or it is damaged"),
        (pickle.dumps({"a": 1}), "not a model file, or it is damaged"),
        (b"\xff" * 64, "not a model file, or it is damaged"),
    ],
)
def test_what_is_no_model_is_told(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        segzoo.load_model(path)


def test_a_truncated_model_is_told(saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        segzoo.load_model(path)


def test_a_safetensors_file_of_another_program_is_told(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not a napari-segzoo model"):
        segzoo.load_model(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"architecture": "nonsense"}, "no network named"),
        ({"options": {"widths": [400000000, 800000000]}}, "announces"),
        ({"in_channels": 7}, "announces"),
    ],
)
def test_a_header_that_does_not_fit_its_weights_is_told(saved, change, message):
    from safetensors import safe_open
    from safetensors.torch import save_file

    model, path = saved
    with safe_open(path, "pt") as f:
        metadata = f.metadata()
    record = {**json.loads(metadata["model"]), **change}
    save_file(model.network.state_dict(), path, {**metadata, "model": json.dumps(record)})
    with pytest.raises(InputError, match=message):
        segzoo.load_model(path)


def test_a_newer_format_asks_for_an_update(saved):
    from safetensors import safe_open
    from safetensors.torch import save_file

    model, path = saved
    with safe_open(path, "pt") as f:
        metadata = f.metadata()
    save_file(model.network.state_dict(), path, {**metadata, "format_version": "99"})
    with pytest.raises(InputError, match="newer"):
        read_info(path)


def test_an_unknown_name_lists_the_bundled_models():
    with pytest.raises(InputError, match=r"no model 'nope'.*bundled"):
        segzoo.load_model("nope")


def test_a_network_is_no_trained_model():
    with pytest.raises(InputError, match=r"unet is a network that is yet to be trained.*nuclei"):
        segzoo.load_model("unet")


def test_a_model_is_a_name_or_a_path():
    with pytest.raises(InputError, match="a bundled name or a file, not 5"):
        segzoo.load_model(5)


def test_classes_have_names_and_different_colours():
    classes = default_classes(4, ("ground", "cell"))
    assert [c.name for c in classes] == ["ground", "cell", "class 2", "class 3"]
    assert len({c.color for c in classes}) == 4
