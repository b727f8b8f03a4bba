"""`export`: files for other programs hold what the model is and compute what it computes."""

import json
import sys
import zipfile
from importlib import import_module

import numpy as np
import onnx
import pytest
import torch
from bioimageio.spec import load_description
from tiny import noise, tiny_model
from torch import nn
from zoo_cases import every_case

from napari_segzoo import export_model, load_model
from napari_segzoo.cli import main
from napari_segzoo.errors import InputError, RunError
from napari_segzoo.export import choose_format, onnx_file
from napari_segzoo.export.onnx_file import run_onnx
from napari_segzoo.export.package import package_name
from napari_segzoo.export.tensors import preprocessing
from napari_segzoo.export.traceable import PartMeans, for_inference, traceable
from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes
from napari_segzoo.preprocess import Normalization

KINDS = {
    "percentile": Normalization("percentile", 2.0, 99.0),
    "zscore": Normalization("zscore"),
    "range": Normalization("range", 100.0, 300.0),
    "fixed": Normalization("fixed", mean=(0.4, 0.5), std=(0.2, 0.3)),
}


def logits(model, x):
    with torch.no_grad():
        return model.network(torch.from_numpy(x)).numpy()


@pytest.fixture(scope="module")
def model():
    """Objects in anisotropic stacks."""
    options = {"task": "instances", "strides": ((1, 2, 2),), "normalization": Normalization()}
    return tiny_model(3, 1, 3, **options).with_info(
        classes=default_classes(2, ("background", "cell")),
        name="Zellen / grün",
        voxel_size=(2.0, 0.5, 0.5),
        unit="micrometer",
        licence="ask us first",
    )


@pytest.fixture(scope="module")
def package(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "cells.zip"
    before = {k: v.clone() for k, v in model.network.train().state_dict().items()}
    done = export_model(model, path, authors=["A. Ü. Thor"])
    assert model.network.training
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    model.network.eval()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(path.parent / "parts")
    return done, load_description(path), path.parent / "parts"


def test_an_onnx_file_computes_what_the_model_computes(tmp_path, capsys):
    path, out = tmp_path / "spots.safetensors", tmp_path / "spots.onnx"
    tiny_model(2, 2, 3, normalization=KINDS["range"]).save(path)
    assert main(["export", str(path), str(out), "--licence", "CC0-1.0", "--json"]) == 0
    printed, said = capsys.readouterr()
    record = json.loads(printed.splitlines()[-1])
    assert record["format"] == "onnx" and record["axes"] == "NCYX" and record["channels"] == 2
    assert record["divisor"] == [2, 2] and record["largest_difference"] < 1e-5
    assert "Written to" in said
    for shape in ((1, 2, 2, 2), (3, 2, 6, 40)):
        x = noise(shape)
        np.testing.assert_allclose(run_onnx(out, x), logits(load_model(path), x), atol=1e-5)
    file = onnx.load(out)
    kept = {p.key: p.value for p in file.metadata_props}
    assert file.opset_import[0].version == record["opset"]
    assert kept["name"] == "spots" and kept["licence"] == "CC0-1.0"
    assert json.loads(kept["classes"]) == ["background", "class 1", "class 2"]
    assert json.loads(kept["normalization"]) == {"kind": "range", "low": 100.0, "high": 300.0}
    assert main(["export", str(path), str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_package_is_valid_and_says_what_the_model_is(package):
    done, description, _ = package
    assert description.validation_summary.status != "failed"
    assert done.format_version == description.format_version
    assert description.name == "Zellen - gr-n" and description.authors[0].name == "A. Ü. Thor"
    assert {"3d", "instance-segmentation", "unet", "cells"} <= set(description.tags)
    assert str(description.cite[0].doi) == "10.48550/arXiv.1505.04597"
    (image,), (found,) = description.inputs, description.outputs
    space = {str(axis.id): axis for axis in image.axes[2:]}
    assert {k: axis.size.step for k, axis in space.items()} == {"z": 1, "y": 2, "x": 2}
    assert {k: axis.scale for k, axis in space.items()} == {"z": 2.0, "y": 0.5, "x": 0.5}
    assert found.axes[1].channel_names == ["background", "cell interior", "cell border"]


def test_what_no_licence_list_knows_goes_into_a_file(package):
    _, description, parts = package
    assert description.license.source.path.name == "LICENSE.txt"
    assert (parts / "LICENSE.txt").read_text(encoding="utf-8") == "ask us first\n"


def test_both_weights_of_a_package_give_the_test_output(package, model):
    _, description, parts = package
    image, expected = (np.load(parts / f"test_{k}.npy") for k in ("inputs", "outputs"))
    scaled = model.info.normalization.measure(image[0], 0).apply(image[0])[None]
    build = description.weights.pytorch_state_dict.architecture
    network = getattr(import_module(build.import_from), str(build.callable))(**build.kwargs)
    network.load_state_dict(torch.load(parts / "weights.pt", weights_only=True))
    with torch.no_grad():
        found = torch.softmax(network.eval()(torch.from_numpy(scaled)), 1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    run = torch.softmax(torch.from_numpy(run_onnx(parts / "weights.onnx", scaled)), 1).numpy()
    np.testing.assert_allclose(run, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_scales_intensities_as_the_model_does(kind):
    scaling = KINDS[kind]
    info = ModelInfo("unet", 2, 2, default_classes(2), normalization=scaling)
    (step,) = preprocessing(info)
    image = np.random.default_rng(0).integers(0, 256, (2, 20, 30), np.uint8)
    given, how = image.astype(np.float64), step.kwargs
    if kind == "percentile":
        ends = [how.min_percentile, how.max_percentile]
        low, high = np.percentile(given, ends, axis=(1, 2), keepdims=True)
        found = (given - low) / (high - low + how.eps)
    elif kind == "zscore":
        mean, std = (f(axis=(1, 2), keepdims=True) for f in (given.mean, given.std))
        found = (given - mean) / (std + how.eps)
    elif kind == "range":
        found = how.gain * given + how.offset
    else:
        mean, std = (np.reshape(v, (2, 1, 1)) for v in (how.mean, how.std))
        found = (given - mean) / std
    np.testing.assert_allclose(scaling.measure(image, 0).apply(image), found, atol=1e-5)


@pytest.mark.parametrize("parts", [(2, 3), (1, 6), (1, 1), (2, 3, 4)])
def test_means_of_parts_are_those_of_adaptive_pooling(parts):
    pool = nn.AdaptiveAvgPool2d(parts) if len(parts) == 2 else nn.AdaptiveAvgPool3d(parts)
    x = torch.from_numpy(noise((2, 3, 7, 10, 9)[: 2 + len(parts)]))
    torch.testing.assert_close(PartMeans(parts)(x), pool(x))


@pytest.mark.slow
def test_pooling_to_parts_is_right_for_every_size(tmp_path):
    class Pooled(nn.Module):
        divisor = (1, 1)

        def __init__(self):
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(3)

        def forward(self, x):
            return x + nn.functional.interpolate(self.pool(x), x.shape[2:])

    network = for_inference(Pooled())
    onnx_file.convert(traceable(network), 1, "Pooled").save(tmp_path / "a.onnx")
    assert onnx_file.compare(tmp_path / "a.onnx", network, 1, "Pooled").largest_difference < 1e-5


@pytest.mark.slow
@every_case
def test_every_network_can_be_exported(case, tmp_path):
    torch.manual_seed(0)
    info = ModelInfo(case.name, case.ndim, 2, default_classes(3), case.options)
    created = SegmentationModel.create(info)
    done = export_model(created, tmp_path / "a.onnx")
    created.network.eval()
    largest = np.abs(logits(created, noise(done.checked_shape))).max()
    assert done.largest_difference < 1e-3 * largest


@pytest.mark.parametrize(
    ("out", "format", "message"),
    [
        ("a.onnx", "bioimageio", r"must end in \.zip"),
        ("a.zip", "onnx", r"must end in \.onnx"),
        ("a.pt", None, r"\.onnx.*or \.zip"),
        ("a.onnx", "torchscript", "onnx or bioimageio"),
    ],
)
def test_format_and_ending_have_to_agree(out, format, message):
    with pytest.raises(InputError, match=message):
        choose_format(out, format)


def test_the_ending_names_the_format():
    assert (choose_format("a.ONNX"), choose_format("a.zip")) == ("onnx", "bioimageio")


@pytest.mark.parametrize(
    ("module", "out", "extra"),
    [("onnxscript", "a.onnx", "onnx"), ("bioimageio.spec", "a.zip", "bioimageio")],
)
def test_a_missing_package_is_named_with_its_extra(module, out, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"napari-segzoo\[{extra}\]"):
        export_model("nuclei", tmp_path / out)


def test_a_name_that_bioimageio_does_not_take_is_told_at_once(model, tmp_path):
    with pytest.raises(InputError, match="without slashes"):
        export_model(model, tmp_path / "a.zip", authors=["me/you"])
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_converted_is_told_in_a_sentence(model, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("no such operator.\nand much more") from KeyError("why")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(RunError, match=r"U-Net cannot be written as ONNX.*\('why'\)\.$"):
        export_model(model, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_refused(package, model):
    _, _, parts = package
    other = for_inference(model.network)
    other.head.bias.data += 1
    with pytest.raises(RunError, match="differ by 1"):
        onnx_file.compare(parts / "weights.onnx", other, 1, "U-Net")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Zelle", "Zelle"),
        ("a", "a segmentation"),
        ("", "unet segmentation"),
        ("é" * 9, "unet segmentation"),
    ],
)
def test_names_are_such_as_bioimageio_takes(model, name, expected):
    assert package_name(model.with_info(name=name)) == expected
