"""`import`: public checkpoints become models that say where they come from."""

import hashlib
import json

import numpy as np
import pytest
import torch

from napari_segzoo import create_model, load_model, predict
from napari_segzoo.cli import main
from napari_segzoo.imported import UNKNOWN_LICENCE


@pytest.fixture
def checkpoint(tmp_path):
    """U²-NetP with one output, as its authors publish it."""
    torch.manual_seed(0)
    network = create_model("u2netp", ndim=2, in_channels=3, num_classes=1, width=8).eval()
    path = tmp_path / "u2netp.pth"
    torch.save(network.state_dict(), path)
    return path, network


def test_a_public_checkpoint_runs_as_its_network(checkpoint, tmp_path, capsys):
    path, network = checkpoint
    out = tmp_path / "out.safetensors"
    arguments = ["import", str(path), "--architecture", "u2netp", str(out)]
    assert main([*arguments, "--option", "width=8", "--licence", "Apache-2.0", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["classes"] == ["background", "class 1"] and record["licence"] == "Apache-2.0"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["provenance"]["sha256"] == digest
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    found = predict(out, image, axes="YXC", output="probabilities", device="cpu")
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.no_grad():
        expected = network((x - mean) / std).sigmoid()[0, 0]
    np.testing.assert_allclose(found[1], expected.numpy(), atol=1e-5)


def test_names_and_licence_are_kept(checkpoint, tmp_path):
    out = tmp_path / "out.safetensors"
    common = ["import", str(checkpoint[0]), str(out), "--architecture", "u2netp"]
    names = ["--class-name", "ground", "--class-name", "figure"]
    assert main([*common, "--option", "width=8", *names]) == 0
    info = load_model(out).info
    assert [c.name for c in info.classes] == ["ground", "figure"]
    assert info.licence == UNKNOWN_LICENCE
    assert main([*common, "--option", "width=8"]) == 2
    assert main([*common, "--option", "width=8", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--architecture", "u2netp"], "does not fit"),
        (["--architecture", "unet"], "named"),
        (["--architecture", "u2nett"], "did you mean"),
        (["--architecture", "u2netp", "--option", "width=8", "--class-name", "a"], "1 class names"),
    ],
)
def test_what_does_not_fit_is_told(checkpoint, tmp_path, capsys, arguments, message):
    out = tmp_path / "out.safetensors"
    assert main(["import", str(checkpoint[0]), str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and message in error and error.count("\n") == 1
    assert not out.exists()
