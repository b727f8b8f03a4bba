"""Fine-tuning a part of the weights: that part changes, and nothing else does."""

import numpy as np
import pytest
import torch
from tiny import AS_IS, noise, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.errors import InputError
from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes
from napari_segzoo.training import Started
from napari_segzoo.training.job import TUNES
from napari_segzoo.training.tune import plain_state, restrict


def other_model(architecture, **options):
    torch.manual_seed(0)
    info = ModelInfo(architecture, 2, 1, default_classes(2), options, normalization=AS_IS)
    return SegmentationModel.create(info)


BASES = {
    "unet 2d": (tiny_model(classes=2), {"decoder": ("ups.", "decoder."), "last": "head."}),
    "unet 3d": (
        tiny_model(ndim=3, classes=2, norm="instance"),
        {"decoder": ("ups.", "decoder."), "last": "head."},
    ),
    "segnet": (
        other_model("segnet", width=4),
        {"decoder": ("decoder.",), "last": "classifier."},
    ),
    "fpn": (
        other_model("fpn_resnet50", width=8),
        {"decoder": ("laterals.", "smooth.", "branches."), "last": "head.1."},
    ),
}

SHAPE = {2: (32, 32), 3: (16, 16, 16)}


def train(base, labels=None, steps=2, **options):
    """Fine-tune on two bands of noise; return the events."""
    ndim = base.info.ndim
    image = noise(SHAPE[ndim], seed=3)
    if labels is None:
        labels = np.zeros(image.shape, np.uint8)
        labels[2:6], labels[-8:-4] = 1, 2
    return list(segzoo.finetune(image, labels, base=base, steps=steps, device="cpu", **options))


def norms(model):
    """Parameters of normalisation layers, found by their one-dimensional weight."""
    names = dict(model.network.named_parameters())
    layers = {n.removesuffix(".weight") for n, p in names.items() if n.endswith("weight")}
    return {n for n in layers if names[f"{n}.weight"].ndim == 1}


@pytest.mark.parametrize("unlabeled", ["ignore", "background"])
@pytest.mark.parametrize("tune", ["decoder", "norm", "low-rank"])
@pytest.mark.parametrize("which", BASES)
def test_only_what_is_named_changes(which, tune, unlabeled):
    base, parts = BASES[which]
    labels = None
    if unlabeled == "background":
        labels = np.zeros(SHAPE[base.info.ndim], np.uint8)
        labels[-8:] = 1
    model = train(base, labels, tune=tune, unlabeled=unlabeled)[-1].model
    normalising = norms(base)

    def may_change(name):
        layer, _, kind = name.rpartition(".")
        if name.startswith(parts["last"]):
            return True
        if tune == "decoder":
            return name.startswith(parts["decoder"]) and kind in ("weight", "bias")
        if tune == "norm":
            return layer in normalising and kind in ("weight", "bias")
        return kind == "weight" and layer not in normalising

    before, after = base.network.state_dict(), model.network.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    wrong = {name for name in changed if not may_change(name)}
    assert not wrong
    assert any(name.startswith(parts["last"]) for name in changed)
    others = {n for n in changed if not n.startswith(parts["last"])}
    assert others, "nothing but the last layer changed"


def test_all_is_what_it_was():
    base, _ = BASES["unet 2d"]
    plain, named = train(base)[-1].model, train(base, tune="all")[-1].model
    a, b = plain.network.state_dict(), named.network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("which", BASES)
def test_low_rank_updates_add_up_to_a_plain_network(which):
    base, _ = BASES[which]
    network = base.network.train()
    torch.manual_seed(1)
    changed = restrict(network, "low-rank", base.info)
    x = torch.rand(2, 1, *(32,) * base.info.ndim)
    changed(x).square().mean().backward()
    with torch.no_grad():
        for parameter in changed.parameters():
            if parameter.requires_grad:
                parameter.sub_(0.05 * parameter.grad.sign())
    plain = SegmentationModel.create(base.info).network
    plain.load_state_dict(plain_state(changed))
    changed.eval(), plain.eval()
    with torch.inference_mode():
        torch.testing.assert_close(plain(x), changed(x), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(plain(x), network.eval()(x), atol=1e-3)
    before, after = network.state_dict(), plain.state_dict()
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    kernels = [n for n in moved if before[n].ndim > 2 and before[n].shape == after[n].shape]
    ranks = [
        int(torch.linalg.matrix_rank((after[n] - before[n]).flatten(1), rtol=1e-3)) for n in kernels
    ]
    outputs = 1 if which != "fpn" else 2
    assert sum(rank > 4 for rank in ranks) <= outputs
    assert max(ranks) > 1


@pytest.mark.parametrize("tune", TUNES)
def test_the_same_seed_gives_the_same_model_that_can_be_kept(tune, tmp_path):
    base, _ = BASES["unet 2d"]
    first, second = (train(base, tune=tune, seed=5)[-1].model for _ in range(2))
    a, b = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert all(p.requires_grad for p in first.network.parameters())
    loaded = segzoo.load_model(first.save(tmp_path / "model.safetensors"))
    assert loaded.info.provenance["tune"] == tune
    image = noise((32, 32), seed=8)
    outputs = [
        segzoo.predict(model, image, output="probabilities", engine="torch", device="cpu")
        for model in (first, loaded)
    ]
    np.testing.assert_allclose(*outputs, atol=1e-6)
    again = train(loaded, tune=tune)[-1].model
    assert again.info.provenance["base_provenance"]["tune"] == tune


def test_fewer_weights_are_trained():
    base = tiny_model(widths=(16, 32, 64))
    started = {t: train(base, tune=t, steps=1)[0] for t in TUNES}
    assert all(isinstance(event, Started) for event in started.values())
    count = {t: event.parameters for t, event in started.items()}
    assert count["norm"] < count["low-rank"] < count["decoder"] < count["all"]


def test_new_classes_get_a_last_layer_that_is_trained():
    base = tiny_model(classes=3)
    for tune in TUNES:
        model = train(base, tune=tune)[-1].model
        assert model.network.head.weight.shape[0] == 2


def test_objects_are_trained_as_well():
    base = tiny_model(classes=2)
    labels = np.zeros((32, 32), np.uint8)
    labels[4:12, 4:12], labels[18:28, 18:28] = 1, 2
    model = train(base, labels, tune="norm", task="instances")[-1].model
    before, after = base.network.state_dict(), model.network.state_dict()
    assert after["head.weight"].shape[0] == 3
    kernels = [n for n in before if before[n].ndim > 2 and not n.startswith("head")]
    assert all(torch.equal(before[n], after[n]) for n in kernels)


ONE_PER_BUILDER = {spec.builder: spec.name for spec in reversed(segzoo.list_models())}


@pytest.mark.parametrize("name", ONE_PER_BUILDER.values())
def test_every_network_has_an_encoder_or_says_that_it_has_none(name):
    info = ModelInfo(name, 2, 1, default_classes(2))
    with torch.device("meta"):
        network = SegmentationModel.create(info).network
    if name.startswith("hrnet"):
        with pytest.raises(InputError, match="has no encoder"):
            restrict(network, "decoder", info)
        return
    restrict(network, "decoder", info)
    trained = [p.requires_grad for p in network.parameters()]
    assert not trained[0], "the first layer belongs to the encoder"
    assert trained.index(True) > 2
    assert trained[-1]


WRONG = [
    ({"tune": "some"}, "must be one of all, decoder, norm, low-rank, not 'some'"),
    ({"tune": "norm", "base": None}, "keeps weights of a base, but there is none"),
    ({"tune": "norm", "base": tiny_model(norm="none")}, "no normalisation layers to train"),
    ({"tune": "decoder", "base": other_model("hrnet_w18", width=4)}, "no encoder"),
]


@pytest.mark.parametrize(("options", "match"), WRONG)
def test_what_cannot_be_done_is_told_before_anything_is_trained(options, match):
    options = {"base": tiny_model(), **options}
    labels = np.zeros((64, 64), np.uint8)
    labels[2:6], labels[20:24] = 1, 2
    with pytest.raises(InputError, match=match):
        segzoo.finetune(noise((64, 64)), labels, steps=1, device="cpu", **options)
