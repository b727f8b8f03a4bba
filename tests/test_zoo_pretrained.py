"""Weights made elsewhere: torchvision's, U²-Net's, files; and what is refused."""

import pytest
import torch
from torch import nn
from torchvision import models

from napari_segzoo.errors import InputError, RunError
from napari_segzoo.zoo import create_model, get_spec
from napari_segzoo.zoo.backbones import VGG16, ResNet
from napari_segzoo.zoo.checkpoints import import_checkpoint
from napari_segzoo.zoo.pretrained import adapt_kernel, imagenet_statistics, read_state_dict

SEGMENTATION = ("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def with_random_statistics(network: nn.Module) -> nn.Module:
    """Give batch normalisation statistics other than the initial ones, and evaluate."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
    return network.eval()


@pytest.mark.parametrize("name", SEGMENTATION)
def test_segmentation_networks_equal_torchvision(name):
    build = getattr(models.segmentation, name)
    theirs = build(weights=None, weights_backbone=None, num_classes=7, aux_loss=True)
    theirs = with_random_statistics(theirs)
    ours = create_model(name, ndim=2, in_channels=3, num_classes=7, aux=True).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected, (main, aux) = theirs(x), ours.outputs(x)
    torch.testing.assert_close(main, expected["out"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(aux, expected["aux"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_backbone_equals_torchvision(name):
    theirs = with_random_statistics(getattr(models, name)(weights=None))
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    ours = ResNet(name, 3, ndim=2).eval()
    ours.load_state_dict(state)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.fc(theirs.avgpool(ours(x)[-1]).flatten(1))
        torch.testing.assert_close(expected, theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_vgg_equals_torchvision(name):
    theirs = getattr(models, name)(weights=None).features.eval()
    ours = VGG16(name, 3, ndim=2).eval()
    ours.features.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[-1], theirs(x))


def test_backbone_file_fills_the_encoder_and_leaves_the_head(tmp_path):
    theirs = models.resnet18(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    network = create_model(
        "fpn_resnet50",
        ndim=2,
        in_channels=1,
        num_classes=4,
        backbone="resnet18",
        weights=tmp_path / "resnet18.pth",
    )
    assert torch.equal(network.backbone.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)
    gray = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        expected = theirs.conv1(gray.expand(-1, 3, -1, -1))
        torch.testing.assert_close(network.backbone.conv1(gray), expected, rtol=1e-4, atol=1e-5)


def test_fcn_takes_the_classifier_of_vgg(tmp_path):
    width = 2
    theirs = models.vgg16(weights=None)
    narrow = VGG16("vgg16", 3, ndim=2, width=width).state_dict()
    large, inner = 64 * width, 8 * width * 49
    classifier = {
        "classifier.0.weight": torch.rand(large, inner),
        "classifier.0.bias": torch.rand(large),
        "classifier.3.weight": torch.rand(large, large),
        "classifier.3.bias": torch.rand(large),
    }
    assert set(classifier) <= set(theirs.state_dict())
    torch.save({**narrow, **classifier}, tmp_path / "vgg.pth")
    network = create_model(
        "fcn8s", ndim=2, in_channels=3, num_classes=2, width=width, weights=tmp_path / "vgg.pth"
    )
    features = torch.rand(1, 8 * width, 7, 7)
    expected = features.flatten(1) @ classifier["classifier.0.weight"].T
    expected = expected + classifier["classifier.0.bias"]
    with torch.no_grad():
        centre = network.fc6(features)[0, :, 3, 3]
    torch.testing.assert_close(centre, expected[0], rtol=1e-4, atol=1e-4)


def test_other_numbers_of_classes_keep_a_random_last_layer(tmp_path):
    options = {"ndim": 2, "in_channels": 3, "backbone": "resnet18", "width": 4}
    base = create_model("fcn_resnet50", num_classes=21, **options)
    torch.save(base.state_dict(), tmp_path / "voc.pth")
    network = create_model("fcn_resnet50", num_classes=2, weights=tmp_path / "voc.pth", **options)
    assert torch.equal(network.classifier[0].weight, base.classifier[0].weight)
    assert network.classifier[4].weight.shape[0] == 2


def test_first_kernel_keeps_the_response_to_gray():
    kernel, image = torch.rand(4, 3, 3, 3), torch.rand(1, 1, 8, 8)
    expected = nn.functional.conv2d(image.expand(-1, 3, -1, -1), kernel)
    for channels in (1, 2, 5):
        adapted = adapt_kernel(kernel, channels)
        result = nn.functional.conv2d(image.expand(-1, channels, -1, -1), adapted)
        torch.testing.assert_close(result, expected)


def test_imagenet_statistics_follow_the_channels():
    assert imagenet_statistics(3) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mean, std = imagenet_statistics(2)
    assert mean == pytest.approx((0.449, 0.449))
    assert std == pytest.approx((0.226, 0.226))


def fake_download(monkeypatch, state):
    asked = []

    def get(model, version):
        asked.append((model, version))
        return state

    monkeypatch.setattr("napari_segzoo.zoo.pretrained._download", get)
    return asked


def test_named_weights_ask_torchvision_for_the_right_model(monkeypatch):
    asked = fake_download(monkeypatch, models.resnet50(weights=None).state_dict())
    create_model("deeplabv3_resnet50", ndim=2, in_channels=1, num_classes=2, weights="imagenet")
    create_model(
        "pspnet50", ndim=2, in_channels=1, num_classes=2, weights="imagenet", stem="torchvision"
    )
    assert asked == [("resnet50", "IMAGENET1K_V1")] * 2
    theirs = models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    asked = fake_download(monkeypatch, theirs.state_dict())
    network = create_model("fcn_resnet50", ndim=2, in_channels=3, num_classes=5, weights="coco_voc")
    assert asked == [("fcn_resnet50", "COCO_WITH_VOC_LABELS_V1")]
    assert torch.equal(network.classifier[0].weight, theirs.classifier[0].weight)


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "vgg16_bn", *SEGMENTATION])
def test_torchvision_knows_the_weights(name):
    from napari_segzoo.zoo.pretrained import NAMED

    version = NAMED["coco_voc" if name in SEGMENTATION else "imagenet"]
    assert models.get_model_weights(name)[version].url.startswith("https://")


def test_a_failed_download_names_the_way_out(monkeypatch):
    from urllib.error import URLError

    def fail(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(RunError, match=r"resnet101.*--weights FILE"):
        create_model(
            "deeplabv2_resnet101", ndim=2, in_channels=3, num_classes=2, weights="imagenet"
        )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "unet",
            {"weights": "imagenet"},
            "U-Net has no weights 'imagenet'; there are none for it, or name",
        ),
        ("pspnet50", {"weights": "imagenet"}, "stem=torchvision"),
        ("fpn_resnet50", {"weights": "imagenet", "width": 8}, "width of 64"),
        ("fpn_resnet50", {"weights": "coco_voc"}, "it has imagenet, or name a file"),
        ("fcn_resnet50", {"weights": "coco_voc", "backbone": "resnet18"}, "for resnet50"),
        ("unet", {"weights": "missing.pth"}, "There is no file of weights missing.pth"),
    ],
)
def test_weights_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        create_model(name, ndim=2, in_channels=3, num_classes=2, **options)


def test_named_weights_are_for_2d():
    with pytest.raises(InputError, match="for 2D images, not for 3D"):
        create_model(
            "fpn_resnet50", ndim=3, in_channels=3, num_classes=2, width=8, weights="imagenet"
        )


def save_small_unet(path, **options):
    options = {"widths": (4, 8), **options}
    network = create_model("unet", ndim=2, in_channels=2, num_classes=3, **options)
    torch.save(network.state_dict(), path)
    return network


def test_deeper_or_wider_weights_are_refused(tmp_path):
    file = tmp_path / "unet.pth"
    save_small_unet(file)
    with pytest.raises(InputError, match=r"unet\.pth does not fit .* has the shape"):
        create_model("unet", ndim=2, in_channels=2, num_classes=3, widths=(5, 8), weights=file)
    with pytest.raises(InputError, match="it holds no "):
        create_model("unet", ndim=2, in_channels=2, num_classes=3, widths=(4, 8, 8), weights=file)
    save_small_unet(file, residual=True)
    with pytest.raises(InputError, match=r"it holds encoder\.0\.shortcut"):
        create_model("unet", ndim=2, in_channels=2, num_classes=3, widths=(4, 8), weights=file)


def test_nothing_in_a_file_is_executed(tmp_path):
    file = tmp_path / "model.pth"
    torch.save(nn.Conv2d(1, 1, 1), file)
    with pytest.raises(InputError, match="holds more than weights"):
        read_state_dict(file)


def test_damaged_and_foreign_files_are_told(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="damaged"):
        read_state_dict(file)
    for content in (b"\x80\x02h.", b"\x80\x02e.", b"\x80\x02Nb.", b"\x80\x02}N}u.", b""):
        file.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            read_state_dict(file)
    torch.save([1, 2], file)
    with pytest.raises(InputError, match="no state dictionary, but list"):
        read_state_dict(file)
    torch.save({"epoch": 3}, file)
    with pytest.raises(InputError, match="entries other than tensors"):
        read_state_dict(file)
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(b"1234567890")
    with pytest.raises(InputError, match="damaged"):
        read_state_dict(broken)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 1, "state_dict": s}])
def test_checkpoints_of_data_parallel_training_are_unwrapped(tmp_path, wrap):
    state = {"module.conv.weight": torch.rand(2, 2)}
    torch.save(wrap(state), tmp_path / "a.pth")
    assert set(read_state_dict(tmp_path / "a.pth")) == {"conv.weight"}


def test_import_reads_channels_classes_and_dimensions(tmp_path):
    network = create_model("unetpp", ndim=3, in_channels=2, num_classes=4, widths=(4, 6)).eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    imported = import_checkpoint(tmp_path / "a.pth", "unetpp", widths=(4, 6))
    assert (imported.ndim, imported.in_channels, imported.num_classes) == (3, 2, 4)
    x = torch.rand(1, 2, 4, 4, 4)
    with torch.no_grad():
        assert torch.equal(imported.network(x), network(x))


def test_imported_u2net_has_the_public_names_and_two_classes(tmp_path):
    public = create_model("u2netp", ndim=2, in_channels=3, num_classes=1).eval()
    with_random_statistics(public)
    state = public.state_dict()
    for name in ("stage1.rebnconvin.conv_s1.weight", "stage6.rebnconv3d.bn_s1.running_mean"):
        assert name in state
    assert {"side6.bias", "outconv.weight", "stage1d.rebnconv1d.conv_s1.bias"} <= set(state)
    torch.save(state, tmp_path / "u2netp.pth")
    imported = import_checkpoint(tmp_path / "u2netp.pth", "u2netp")
    assert (imported.ndim, imported.in_channels, imported.num_classes) == (2, 3, 2)
    assert imported.mean == (0.485, 0.456, 0.406)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        probability = torch.softmax(imported.network(x), dim=1)[:, 1:]
        torch.testing.assert_close(probability, torch.sigmoid(public(x)))


def test_imported_torchvision_checkpoint_drops_the_auxiliary_head(tmp_path):
    theirs = models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=3, aux_loss=True
    ).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    imported = import_checkpoint(tmp_path / "a.pth", "deeplabv3_resnet50")
    assert (imported.in_channels, imported.num_classes) == (3, 3)
    assert imported.network.aux_classifier is None
    with pytest.raises(InputError, match="does not fit"):
        import_checkpoint(tmp_path / "a.pth", "fcn_resnet50")


def test_import_under_the_wrong_name_is_told(tmp_path):
    save_small_unet(tmp_path / "a.pth")
    with pytest.raises(InputError, match="not named as those of a U²-Net"):
        import_checkpoint(tmp_path / "a.pth", "u2net")


def test_every_named_weight_states_its_licence():
    for name in ("fcn8s", "fpn_resnet50", "deeplabv3_resnet101"):
        spec = get_spec(name)
        assert spec.weights
        assert "ImageNet" in spec.weights_licence
