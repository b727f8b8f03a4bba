"""What `models` and `info` tell of the networks."""

import json

import pytest

from napari_segzoo.cli import main
from napari_segzoo.errors import InputError
from napari_segzoo.zoo import ModelSpec, create_model, get_spec, list_models, register
from napari_segzoo.zoo.blocks import count_parameters
from napari_segzoo.zoo.facts import memory_text, parse_tile, short, tiles_for


def run(capsys, *words):
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, out, err


def told(capsys, *words):
    """What a command prints as JSON."""
    status, out, err = run(capsys, *words, "--json")
    assert status == 0, err
    return json.loads(out)


def test_the_table_tells_all_there_is_to_choose_by(capsys):
    _, out, _ = run(capsys, "models")
    for spec in list_models():
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [spec.name])
        assert spec.reference in line
        assert all(weights in line for weights in spec.weights)
        assert ("yes" in line) == spec.tile_invariant
        assert str(spec.receptive_field or "whole image") in line
        assert short(spec.cost((512, 512)).multiply_adds) in line
    assert "tile of 512×512" in out
    assert "non-commercial" in out
    assert "nuclei" in out


def test_models_are_found_by_words(capsys):
    found = told(capsys, "models", "chen", "resnet-101")
    assert [n["name"] for n in found["networks"]] == [
        "deeplabv2_resnet101",
        "deeplabv3_resnet101",
        "deeplabv3plus_resnet101",
    ]
    assert found["trained"] == []
    histology = told(capsys, "models", "histology")
    assert (histology["networks"], [m["name"] for m in histology["trained"]]) == ([], ["nuclei"])
    status, out, err = run(capsys, "models", "transformer")
    assert (status, out) == (0, "")
    assert "Nothing matches 'transformer'" in err


def test_a_tile_of_three_sides_lists_the_3d_networks(capsys):
    found = told(capsys, "models", "--tile", "32,64,64")["networks"]
    assert [n["name"] for n in found] == [s.name for s in list_models(ndim=3)]
    (cost,) = next(n for n in found if n["name"] == "vnet")["costs"]
    assert cost["tile"] == [32, 64, 64]
    assert cost["parameters"] == 61_982_682
    assert cost["memory_bytes"] == cost["activation_bytes"] + 4 * cost["parameters"]


def test_info_costs_the_published_configuration_in_each_dimension(capsys):
    costs = told(capsys, "info", "unet", "--tile", "100")["costs"]
    assert [c["tile"] for c in costs] == [[112, 112], [112, 112, 112]]
    out = run(capsys, "info", "pspnet50")[1]
    for expected in ("Zhao et al. 2017", "non-commercial", "the result depends on the tile"):
        assert expected in out
    assert "bins=[1,2,3,6]" in out


def test_info_costs_the_configuration_asked_for(capsys):
    asked = ("--channels", "3", "--classes", "4", "--option", "widths=[4,8,16]")
    record = told(capsys, "info", "unet", "--tile", "10,20", *asked)
    network = create_model("unet", ndim=2, in_channels=3, num_classes=4, widths=(4, 8, 16))
    (cost,) = record["costs"]
    assert record["parameters"] == cost["parameters"] == count_parameters(network)
    assert (record["divisor"], cost["tile"]) == (4, [12, 20])
    assert record["receptive_field"] < get_spec("unet").receptive_field
    bounded = told(capsys, "info", "unet", "--option", "norm=instance")
    assert (bounded["tile_invariant"], bounded["receptive_field"]) == (False, None)


def test_info_costs_a_trained_model(capsys):
    assert told(capsys, "info", "nuclei")["costs"] == []
    (cost,) = told(capsys, "info", "nuclei", "--tile", "64")["costs"]
    assert cost["tile"] == [64, 64]
    assert cost["parameters"] == told(capsys, "info", "nuclei")["parameters"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "fcn8s", "--tile", "8,8,8"], "FCN-8s works in 2D, so a tile cannot have 3 sides"),
        (["info", "nuclei", "--tile", "8,8,8"], "nuclei works in 2D"),
        (["info", "nuclei", "--channels", "3"], "those of nuclei are settled"),
        (["models", "--tile", "big"], "not 'big'"),
        (["info", "unet", "--option", "width=3"], "no option 'width'"),
    ],
)
def test_wrong_use_is_told(capsys, words, message):
    status, _, err = run(capsys, *words)
    assert status == 2
    assert message in err


def test_a_network_registered_elsewhere_is_listed_and_measured(capsys, monkeypatch):
    monkeypatch.setattr("napari_segzoo.zoo.registry._SPECS", {})
    register(
        ModelSpec(
            name="mine",
            title="My U-Net",
            family="Mine",
            ndims=(2,),
            builder="napari_segzoo.zoo.unet:UNet",
            reference="Me 2026",
            url="",
            divisor=2,
            tile_invariant=True,
            receptive_field=18,
            options={"widths": (4, 8)},
        )
    )
    (record,) = told(capsys, "models", "me 2026")["networks"]
    network = create_model("mine", ndim=2, in_channels=1, num_classes=2)
    assert record["parameters"] == count_parameters(network)
    assert "My U-Net (Mine)" in run(capsys, "info", "mine")[1]


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("", ()),
        ("256", (256,)),
        ("300, 217", (300, 217)),
        ("40x67×51", (40, 67, 51)),
        ("3 4", (3, 4)),
    ],
)
def test_tiles_as_people_write_them(text, sides):
    assert parse_tile(text) == sides


@pytest.mark.parametrize("text", ["0", "1,2,3,4", "-5", "5,", "a"])
def test_what_is_no_tile_is_told(text):
    with pytest.raises(InputError, match="such as 512,512"):
        parse_tile(text)


def test_one_side_is_for_all_axes():
    assert tiles_for("X", (2, 3), (64,)) == [(64, 64), (64, 64, 64)]
    assert tiles_for("X", (2, 3), (4, 5, 6)) == [(4, 5, 6)]


def test_numbers_for_people():
    assert [short(n) for n in (7, 999.9, 31_036_546, 999_700, 1.5e12)] == [
        "7.00",
        "1.00 k",
        "31.0 M",
        "1.00 M",
        "1.50 T",
    ]
    assert [memory_text(n) for n in (2**20, 3 * 2**30)] == ["1 MiB", "3.00 GiB"]
