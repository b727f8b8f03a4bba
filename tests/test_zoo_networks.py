"""What single networks and layers promise beyond what all of them do."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from napari_segzoo.errors import InputError
from napari_segzoo.zoo import ModelSpec, create_model, list_models, register
from napari_segzoo.zoo.blocks import InstanceNorm, PooledNorm, count_parameters
from napari_segzoo.zoo.cost import cost, voxel_cost
from napari_segzoo.zoo.encnet import Encoding
from napari_segzoo.zoo.fastfcn import JPU
from napari_segzoo.zoo.fcn import FCN
from napari_segzoo.zoo.receptive_field import reach
from napari_segzoo.zoo.registry import ENTRY_POINTS, register_from_other_packages


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Network(nn.Sequential):
    divisor = (1, 1)


def test_cost_known_by_hand():
    network = Network(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    counted = cost(network, 3, (10, 10))
    assert counted.multiply_adds == (3 * 8 * 9 + 8 * 2) * 100
    assert counted.parameters == 3 * 8 * 9 + 8 + 8 * 2 + 2
    # The ReLU needs the input, what it reads and what it writes at the same time.
    assert counted.activation_bytes == 4 * 100 * (3 + 8 + 8)


def test_cost_of_transposed_convolution_counts_its_input():
    network = Network(nn.ConvTranspose2d(4, 2, 2, stride=2))
    assert cost(network, 4, (5, 5)).multiply_adds == 25 * 4 * 2 * 4


def test_cost_takes_no_memory_and_changes_nothing():
    with torch.device("meta"):
        network = create_model("vnet", ndim=3, in_channels=1, num_classes=2)
    huge = cost(network, 1, (512, 512, 512))
    assert huge.parameters == 61_982_682
    assert huge.activation_bytes > 2**34
    small = create_model("unet", ndim=2, in_channels=1, num_classes=2, widths=(4, 8))
    before = {k: v.clone() for k, v in small.train().state_dict().items()}
    cost(small, 1, (32, 32))
    assert small.training
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())


def test_cost_grows_with_the_tile():
    network = create_model("unet", ndim=2, in_channels=1, num_classes=2, widths=(4, 8))
    one, four = cost(network, 1, (32, 32)), cost(network, 1, (64, 64))
    assert four.multiply_adds == 4 * one.multiply_adds
    assert four.activation_bytes == pytest.approx(4 * one.activation_bytes, rel=0.01)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_unetpp_cut_to_a_depth_is_its_own_shallower_segmentation(depth):
    whole = create_model(
        "unetpp", ndim=2, in_channels=1, num_classes=2, widths=(4, 5, 6, 7), deep_supervision=True
    ).eval()
    x = torch.rand(1, 1, 32, 32)
    cut = whole.pruned(depth)
    with torch.no_grad():
        assert torch.equal(cut(x), whole.segmentations(x)[depth - 1])
    assert cut.divisor == (2**depth,) * 2
    assert not cut.training


def test_unetpp_with_deep_supervision_averages_its_segmentations():
    network = create_model(
        "unetpp", ndim=2, in_channels=1, num_classes=2, widths=(4, 5, 6), deep_supervision=True
    ).eval()
    x = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        main, deepest, shallowest = network.outputs(x)
    torch.testing.assert_close(main, (deepest + shallowest) / 2)


def test_unetpp_without_deep_supervision_cannot_be_cut():
    network = create_model("unetpp", ndim=2, in_channels=1, num_classes=2, widths=(4, 5))
    with pytest.raises(InputError, match="deep_supervision=True"):
        network.pruned(1)


def test_slices_far_apart_are_not_pooled():
    strides = ((1, 2, 2), 2)
    network = create_model(
        "resunet",
        ndim=3,
        in_channels=1,
        num_classes=2,
        widths=(4, 5, 6),
        blocks=(1, 1, 1),
        strides=strides,
        norm="batch",
    )
    assert network.divisor == (2, 4, 4)
    assert network(torch.rand(1, 1, 4, 8, 8)).shape == (1, 2, 4, 8, 8)
    z, y, _ = reach(network, 1)
    assert z[0] < y[0]


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "deeplabv3plus_resnet50"])
def test_deeplab_without_image_pooling_is_bounded(name):
    with torch.device("meta"):
        network = create_model(name, ndim=2, in_channels=3, num_classes=2, image_pooling=False)
    assert reach(network, 3) is not None


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_output_stride_is_the_divisor(output_stride):
    network = create_model(
        "deeplabv3_resnet50",
        ndim=2,
        in_channels=1,
        num_classes=2,
        width=4,
        output_stride=output_stride,
    ).eval()
    x = torch.rand(1, 1, 2 * output_stride, 64)
    assert network.divisor == (output_stride,) * 2
    assert network.backbone(x)[-1].shape[2:] == (2, 64 // output_stride)


def test_deep_stem_adds_what_it_should():
    options = {"ndim": 2, "in_channels": 3, "num_classes": 21}
    with torch.device("meta"):
        deep = create_model("pspnet50", **options)
        plain = create_model("pspnet50", stem="torchvision", **options)
    stem = (3 * 64 + 64 * 64 + 64 * 128) * 9 + 2 * (64 + 64 + 128)
    wider_first_block = 64 * 64 + 64 * 256
    difference = stem + wider_first_block - (3 * 64 * 49 + 2 * 64)
    assert count_parameters(deep) - count_parameters(plain) == difference


def test_jpu_has_the_published_count():
    with torch.device("meta"):
        assert count_parameters(JPU((512, 1024, 2048), 512, ndim=2)) == 19_735_552


def test_fcn_starts_as_linear_interpolation():
    network = FCN(1, 1, ndim=2, width=1)
    scores = torch.rand(1, 1, 4, 5)
    with torch.no_grad():
        up = network.upscores[-1](scores)
    expected = nn.functional.interpolate(scores, scale_factor=32, mode="bilinear")
    inner = (..., slice(32, -32), slice(32, -32))
    torch.testing.assert_close(up[inner], expected[inner], rtol=1e-4, atol=1e-4)


def test_fcn_at_once_scales_the_skips():
    torch.manual_seed(3)
    plain = FCN(1, 2, ndim=2, stride=8, width=2).eval()
    scaled = FCN(1, 2, ndim=2, stride=8, width=2, at_once=True).eval()
    scaled.load_state_dict(plain.state_dict())
    with torch.no_grad():
        plain.scores[1].weight.mul_(0.01)
        plain.scores[2].weight.mul_(0.0001)
        x = torch.rand(1, 1, 64, 64)
        torch.testing.assert_close(scaled(x), plain(x))


def test_encoding_equals_its_definition():
    layer = Encoding(channels=3, codes=4).double()
    x = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    features = x.flatten(2).transpose(1, 2)
    residuals = features[:, :, None] - layer.codewords
    weights = torch.softmax(layer.scale * residuals.square().sum(-1), dim=2)
    expected = (weights[..., None] * residuals).sum(1)
    torch.testing.assert_close(layer(x), expected)


def test_encnet_predicts_the_classes_of_the_image():
    network = create_model(
        "fastfcn_encnet_resnet50",
        ndim=2,
        in_channels=1,
        num_classes=3,
        backbone="resnet18",
        width=4,
        aux=True,
    ).eval()
    *_, classes = network.outputs(torch.rand(1, 1, 64, 64))
    assert classes.shape == (1, 3, 64, 64)
    torch.testing.assert_close(classes, classes[:, :, :1, :1].expand_as(classes))


def test_pooled_norm_is_batch_norm_wherever_that_can_train():
    ours, theirs = PooledNorm(3), nn.BatchNorm2d(3)
    x = torch.rand(4, 3, 1, 1)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    single = torch.rand(1, 3, 1, 1)
    torch.testing.assert_close(ours(single), theirs.eval()(single))


def test_instance_norm_is_that_of_pytorch_and_takes_a_single_voxel():
    ours, theirs = InstanceNorm(3), nn.InstanceNorm2d(3, affine=True)
    x = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    single = ours(torch.rand(1, 3, 1, 1))
    torch.testing.assert_close(single, torch.zeros(1, 3, 1, 1), rtol=0, atol=1e-4)
    assert set(ours.state_dict()) == set(theirs.state_dict())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet", {"norm": "layer"}, "norm must be batch, instance, group or none, not 'layer'"),
        ("unet", {"upsampling": "cubic"}, "upsampling must be transpose or linear"),
        ("unet", {"depth": 9}, "depth must be from 1 to 4"),
        ("unet", {"strides": (2, 2)}, "strides must give 4 steps"),
        ("unetpp", {"widths": (8,)}, "at least two widths"),
        ("vnet", {"variant": "caffe"}, "variant must be authors or port, not 'caffe'"),
        ("vnet", {"activation": "relu"}, "activation must be prelu or elu"),
        ("vnet", {"widths": (4, 8)}, "widths must be 5 numbers"),
        ("resunet", {"blocks": (1, 1)}, "one number per resolution"),
        ("fcn8s", {"stride": 4}, "stride must be 8, 16 or 32"),
        ("fcn8s", {"backbone": "vgg19"}, "backbone must be vgg16 or vgg16_bn"),
        ("fcn_resnet50", {"backbone": "resnet7"}, "backbone must be one of resnet18"),
        ("fcn_resnet50", {"output_stride": 4}, "output_stride must be 8, 16 or 32"),
        ("pspnet50", {"stem": "shallow"}, "stem must be torchvision or deep"),
        ("fastfcn_fcn_resnet50", {"head": "crf"}, "head must be one of fcn, psp"),
        ("hrnet_w18", {"modules": (1,)}, "modules must be 3 numbers"),
        ("fc_densenet56", {"layers": ()}, "at least one dense block"),
    ],
)
def test_wrong_options_are_told(name, options, message):
    with pytest.raises(InputError, match=message):
        create_model(name, ndim=2, in_channels=1, num_classes=2, **options)


def one_convolution(in_channels: int, num_classes: int, *, ndim: int, width: int = 4) -> nn.Module:
    network = Network(nn.Conv2d(in_channels, width, 3, padding=1), nn.Conv2d(width, num_classes, 1))
    assert ndim == 2
    return network


def test_a_network_from_outside_is_one_registration(monkeypatch):
    monkeypatch.setattr("napari_segzoo.zoo.registry._SPECS", {})
    spec = ModelSpec(
        name="plain",
        title="One convolution",
        family="Mine",
        ndims=(2,),
        builder=f"{__name__}:one_convolution",
        reference="-",
        url="",
        divisor=1,
        tile_invariant=True,
        receptive_field=3,
        options={"width": 4},
    )
    register(spec)
    assert list_models() == [spec]
    network = create_model("plain", ndim=2, in_channels=2, num_classes=3, width=7)
    assert network(torch.rand(1, 2, 9, 9)).shape == (1, 3, 9, 9)
    with pytest.raises(InputError, match="registered already"):
        register(spec)


def announce(monkeypatch, folder, text):
    """Install a package whose module `other_networks` is announced as an entry point."""
    (folder / "other_networks.py").write_text(text)
    metadata = folder / "other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nother = other_networks\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr("napari_segzoo.zoo.registry._SPECS", {})
    monkeypatch.delitem(sys.modules, "other_networks", raising=False)


def test_networks_of_other_packages_are_found(monkeypatch, tmp_path):
    announce(
        monkeypatch,
        tmp_path,
        "from napari_segzoo import ModelSpec, register\n"
        "register(ModelSpec('theirs', 'Theirs', 'Other', (2,), 'a:b', '', '', 1, True, 3))\n",
    )
    register_from_other_packages()
    assert [spec.name for spec in list_models()] == ["theirs"]


def test_a_broken_package_only_warns(monkeypatch, tmp_path):
    announce(monkeypatch, tmp_path, "raise RuntimeError('half installed')\n")
    with pytest.warns(UserWarning, match="other_networks could not be registered: half installed"):
        register_from_other_packages()


def test_the_documented_example_works(monkeypatch, tmp_path, capsys):
    text = (Path(__file__).parents[1] / "docs" / "how-to" / "add-a-network.md").read_text("utf-8")
    module, entry, use = re.findall(r"```python[^\n]*\n(.*?)```", text, re.S)
    (tmp_path / "documented_stack.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("napari_segzoo.zoo.registry._SPECS", {})
    exec(entry.replace("napari_segzoo.zoo.stack:", "documented_stack:"), {})
    exec(use, {})
    (spec,) = list_models()
    field, measured = capsys.readouterr().out.splitlines()
    assert (field, spec.receptive_field) == ("(31, 31)", 31)
    assert measured == str(spec.costs[0])
    assert spec.costs == tuple(voxel_cost("stack", ndim) for ndim in spec.ndims)
    for ndim in spec.ndims:
        network = create_model("stack", ndim=ndim, in_channels=2, num_classes=3)
        assert network(torch.rand(1, 2, *(7, 9, 11)[:ndim])).shape[1] == 3
