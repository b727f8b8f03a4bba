"""What holds for every registered network."""

from __future__ import annotations

import io

import pytest
import torch
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from zoo_cases import CASES, Case, every_case

from napari_segzoo.errors import InputError
from napari_segzoo.zoo import create_model, get_spec, list_models
from napari_segzoo.zoo.backbones import ResidualBlock
from napari_segzoo.zoo.blocks import count_parameters
from napari_segzoo.zoo.cost import configuration_cost, cost, planning_cost, voxel_cost
from napari_segzoo.zoo.receptive_field import reach, receptive_field

PUBLISHED = [(spec.name, count) for spec in list_models() for count in spec.published]
NAMES = [spec.name for spec in list_models()]
FIRST = {spec.builder: spec.name for spec in reversed(list_models())}.values()
NAMES_QUICKLY = [pytest.param(n, marks=[pytest.mark.slow] * (n not in FIRST)) for n in NAMES]
"""The first network of each builder; stored figures of the others are measured by test-all."""
FLAT = [case for case in CASES if case.ndim == 2 and case.name != "u2net"]  # as U²-NetP
BOUNDED = [case for case in FLAT if get_spec(case.name).tile_invariant]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_all_names_of_the_design_are_registered():
    heads = ("fcn", "psp", "deeplabv3", "encnet")
    expected = {
        *("unet", "resunet", "attention_unet", "unetpp", "vnet", "u2net", "u2netp", "segnet"),
        *("fcn32s", "fcn16s", "fcn8s", "fcn_resnet50", "fcn_resnet101", "deeplabv1"),
        *("deeplabv2_vgg16", "deeplabv2_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"),
        *("deeplabv3plus_resnet50", "deeplabv3plus_resnet101", "pspnet50", "pspnet101"),
        *("refinenet50", "refinenet101", "refinenet152", "hrnet_w18", "hrnet_w32", "hrnet_w48"),
        *(f"fastfcn_{head}_resnet{depth}" for head in heads for depth in (50, 101)),
        *("fc_densenet56", "fc_densenet67", "fc_densenet103", "fpn_resnet50"),
    }
    assert set(NAMES) >= expected


@pytest.mark.parametrize(
    ("name", "published"), PUBLISHED, ids=[f"{n}-{c.count}" for n, c in PUBLISHED]
)
def test_published_parameter_count(name, published):
    with torch.device("meta"):
        network = create_model(
            name,
            ndim=published.ndim,
            in_channels=published.in_channels,
            num_classes=published.num_classes,
            **published.options,
        )
    assert count_parameters(network) == published.count


@pytest.mark.parametrize("name", NAMES_QUICKLY)
def test_stored_facts_are_the_measured_ones(name):
    spec = get_spec(name)
    with torch.device("meta"):
        network = create_model(name, ndim=2, in_channels=1, num_classes=2)
    field = receptive_field(network, 1)
    assert network.divisor == (spec.divisor, spec.divisor)
    assert field == (None if spec.receptive_field is None else (spec.receptive_field,) * 2)
    assert spec.tile_invariant == (field is not None)


@pytest.mark.parametrize("name", NAMES_QUICKLY)
def test_stored_costs_are_the_measured_ones(name):
    spec = get_spec(name)
    assert spec.costs == tuple(voxel_cost(name, ndim) for ndim in spec.ndims)


@pytest.mark.parametrize(("name", "ndim"), [("unet", 2), ("pspnet50", 2), ("vnet", 3)])
def test_cost_of_a_tile_follows_from_the_stored_figures(name, ndim):
    tile = (300, 217) if ndim == 2 else (40, 67, 51)
    stored = get_spec(name).cost(tile)
    counted = configuration_cost(
        name, ndim=ndim, in_channels=1, num_classes=2, options={}, tile=tile
    )
    assert (stored.tile, stored.parameters) == (counted.tile, counted.parameters)
    assert stored.multiply_adds == pytest.approx(counted.multiply_adds, rel=0.01)
    assert stored.activation_bytes == pytest.approx(counted.activation_bytes, rel=0.01)
    assert get_spec("fcn8s").cost((32, 64, 64)) is None


@pytest.mark.parametrize(
    ("name", "ndim", "tile", "percent"),
    [
        ("unet", 2, (320, 208), 0.1),
        ("fpn_resnet50", 2, (256, 96), 0.1),
        ("deeplabv3_resnet50", 2, (192, 192), 0.2),
        ("pspnet50", 2, (512, 512), 10),
        ("vnet", 3, (32, 48, 48), 0),
        ("segnet", 2, (32, 64), 0.1),
    ],
)
def test_cost_for_planning_is_nearly_the_counted_one(name, ndim, tile, percent):
    network = create_model(name, ndim=ndim, in_channels=1, num_classes=3)
    network.train()
    counted, found = cost(network, 1, tile), planning_cost(network, 1, tile)
    assert (found.tile, found.parameters) == (counted.tile, counted.parameters)
    assert found.multiply_adds == pytest.approx(counted.multiply_adds, rel=percent / 100)
    assert found.activation_bytes == pytest.approx(counted.activation_bytes, rel=percent / 100)
    assert network.training and all(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("U2", ["u2net", "u2netp"]),
        ("cicek", ["unet"]),
        ("milletari 3DV", ["vnet"]),
        ("resnet-152", ["refinenet152"]),
        ("unet chen", []),
    ],
)
def test_search_looks_at_names_titles_families_and_papers(search, found):
    assert [spec.name for spec in list_models(search=search)] == found


@pytest.mark.parametrize("name", NAMES)
def test_a_side_head_exists_only_if_asked_for(name):
    spec = get_spec(name)
    for option in {"aux", "deep_supervision"} & set(spec.options):
        with torch.device("meta"):
            plain = create_model(name, ndim=2, in_channels=3, num_classes=4)
            extra = create_model(name, ndim=2, in_channels=3, num_classes=4, **{option: True})
        assert not hasattr(plain, "output_weights")
        assert len(extra.output_weights) > 1
        if not name.startswith("u2net"):  # its side outputs are part of the fused one
            assert count_parameters(extra) > count_parameters(plain)


@every_case
def test_logits_have_the_size_of_the_input(case: Case):
    network = case.build(in_channels=5, num_classes=3).eval()
    size = tuple(d * (1 + n % 2) for n, d in enumerate(network.divisor))
    with torch.no_grad():
        y = network(torch.rand(1, 5, *size))
    assert y.shape == (1, 3, *size)
    assert torch.isfinite(y).all()


def _measure_statistics(network, x):
    """Let batch normalisation take over the statistics of `x`, which keep the signal alive."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(x)


@every_case
def test_every_parameter_learns(case: Case):
    network = case.build(in_channels=2, num_classes=3)
    size = (*case.size[:-1], 64)
    x = torch.rand(2, 2, *size)
    _measure_statistics(network, x)
    network.eval()
    if hasattr(network, "output_weights"):
        outputs = network.outputs(x)
        assert len(outputs) == len(network.output_weights)
        assert all(y.shape == outputs[0].shape for y in outputs)
    else:
        outputs = [network(x)]
    target = torch.randint(0, 3, (2, *size))
    sum(F.cross_entropy(y, target) for y in outputs).backward()
    silent = [
        name
        for name, p in network.named_parameters()
        if p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any()
    ]
    assert not silent


@every_case
def test_evaluation_is_deterministic_and_side_outputs_start_with_the_main_one(case: Case):
    network = case.build(in_channels=1, num_classes=2).eval()
    x = torch.rand(1, 1, *case.size)
    with torch.no_grad():
        y = network(x)
        assert torch.equal(y, network(x))
        if hasattr(network, "outputs"):
            assert torch.equal(y, network.outputs(x)[0])


@every_case
def test_training_takes_a_single_image(case: Case):
    network = case.build(in_channels=1, num_classes=2).train()
    *others, last = network.divisor
    size = (*others, 2 * last)
    network(torch.rand(1, 1, *size)).sum().backward()


@every_case
def test_saved_weights_give_the_same_result_to_the_bit(case: Case):
    network = case.build(in_channels=1, num_classes=2)
    x = torch.rand(1, 1, *case.size)
    stored = io.BytesIO()
    torch.save(network.state_dict(), stored)
    stored.seek(0)
    again = case.build(in_channels=1, num_classes=2)
    again.load_state_dict(torch.load(stored, weights_only=True))
    with torch.no_grad():
        assert torch.equal(network.eval()(x), again.eval()(x))


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=[pytest.mark.slow] * (c.name == "u2netp")) for c in BOUNDED],
)
def test_a_tile_with_margins_gives_what_the_whole_image_gives(case: Case):
    """Within its reach a network sees nothing of where the tile ends."""
    network = case.build(in_channels=1, num_classes=2).eval().double()
    margins = reach(network, 1)
    assert margins is not None
    before, after = margins[1]
    d = network.divisor[1]
    before, after = -(-before // d) * d, -(-after // d) * d
    whole = torch.rand(1, 1, network.divisor[0], before + after + 4 * d, dtype=torch.float64)
    with torch.no_grad():
        expected = network(whole)[..., d + before : 3 * d + before]
        tile = network(whole[..., d : 3 * d + before + after])[..., before : before + 2 * d]
    torch.testing.assert_close(tile, expected, rtol=0, atol=1e-9)


def test_a_network_is_flat_unless_said_otherwise():
    network = create_model("unet", in_channels=1, num_classes=2, widths=(4, 8))
    assert len(network.divisor) == 2


def test_two_threads_give_a_residual_block_the_same_gradients_each_time():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    block = ResidualBlock(4, 8, ndim=2, bottleneck=False, stride=2)
    block.to(memory_format=torch.channels_last)
    x = torch.rand(4, 4, 4, 4).contiguous(memory_format=torch.channels_last)
    found = set()
    for _ in range(300):
        block.zero_grad()
        block(x).square().sum().backward()
        found.add(tuple(p.grad.sum().item() for p in block.parameters()))
    torch.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize("widths", ["abc", 5, (-4, 8)])
def test_an_option_of_the_wrong_kind_is_told_with_the_usual_one(widths):
    with pytest.raises(InputError, match=r"^U-Net cannot be built with widths=.*\(64, 128"):
        create_model("unet", in_channels=1, num_classes=2, widths=widths)


def test_unknown_names_options_and_dimensions_are_told():
    with pytest.raises(InputError, match="did you mean 'unet'"):
        create_model("unett", ndim=2, in_channels=1, num_classes=2)
    with pytest.raises(InputError, match="no option 'width'"):
        create_model("unet", ndim=2, in_channels=1, num_classes=2, width=3)
    with pytest.raises(InputError, match="2D, not in 3D"):
        create_model("fcn8s", ndim=3, in_channels=1, num_classes=2)
    with pytest.raises(InputError, match="num_classes must be at least 1"):
        create_model("unet", ndim=2, in_channels=1, num_classes=0)
