"""Drawings show how a signal passes through a network, and are on the page by themselves."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_segzoo.zoo import ModelSpec, create_model, list_models, register
from napari_segzoo.zoo.drawing import POOLED, Cell, draw, draw_network, trace

ROOT = Path(__file__).parents[1]
ONE_PER_BUILDER = list({spec.builder: spec.name for spec in list_models()}.values())


class Hourglass(nn.Module):
    """Down once, up by interpolation, with one skip and one residual."""

    divisor = (2, 2)

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(8, 8, 3, padding=1)
        self.one, self.other = nn.Conv2d(12, 3, 1), nn.Conv2d(12, 5, 3, padding=1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        fine = self.fine(x).relu_()
        coarse = self.down(fine)
        coarse = coarse + self.coarse(coarse)
        joined = torch.cat([F.interpolate(coarse, scale_factor=2), fine], 1)
        return self.last(torch.cat([self.one(joined), self.other(joined)], 1))


def test_flow_known_by_hand():
    flow = trace(Hourglass().to("meta"), 1)
    assert flow.channels == {
        Cell(1, 1): 4,
        Cell(2, 2): 8,
        Cell(2, 3): 8,
        Cell(1, 4): 3 + 5,
        Cell(1, 5): 2,
    }
    down, up, skip = (Cell(1, 1), Cell(2, 2)), (Cell(2, 3), Cell(1, 4)), (Cell(1, 1), Cell(1, 4))
    assert flow.links == {down, up, skip}
    assert flow.depth == 5


def test_image_and_logits_are_ends():
    class Strided(nn.Sequential):
        divisor = (2, 2)

    network = Strided(nn.Conv2d(3, 2, 1, stride=2), nn.Upsample(scale_factor=2)).to("meta")
    flow = trace(network, 3)
    assert flow.links == {(Cell(1, 0), Cell(2, 1)), (Cell(2, 1), Cell(1, 2))}


@pytest.mark.parametrize("name", ["unet", "segnet", "resunet", "fc_densenet56", "vnet"])
def test_each_resolution_but_the_coarsest_is_skipped_across(name):
    with torch.device("meta"):
        network = create_model(name, ndim=2, in_channels=1, num_classes=2)
    flow = trace(network, 1)
    strides = {cell.stride for cell in flow.channels}
    skips = {a.stride for a, b in flow.links if a.stride == b.stride}
    assert skips == strides - {max(strides)}


def test_what_is_pooled_over_the_image_has_a_row_of_its_own():
    with torch.device("meta"):
        network = create_model("pspnet50", ndim=2, in_channels=1, num_classes=2)
    strides = {cell.stride for cell in trace(network, 1).channels}
    assert strides == {2, 4, 8, POOLED}


@pytest.mark.parametrize("name", ONE_PER_BUILDER)
def test_every_kind_of_network_is_drawn_within_its_frame(name):
    drawing = ElementTree.fromstring(draw_network(name))
    width, height = float(drawing.get("width")), float(drawing.get("height"))
    assert width <= 720
    paths = [path.get("d") for path in drawing if path.tag.endswith("path")]
    starts = [start.split("h")[0].split("L")[0] for d in paths for start in d.split("M")[1:]]
    points = [tuple(map(float, start.split())) for start in starts]
    assert len(points) > 10
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_titles_are_escaped():
    assert "<title>A &lt; B</title>" in draw(trace(Hourglass().to("meta"), 1), "A < B")


def test_a_new_network_is_on_the_page_of_networks(monkeypatch):
    location = importlib.util.spec_from_file_location("hooks", ROOT / "scripts/mkdocs_hooks.py")
    hooks = importlib.util.module_from_spec(location)
    location.loader.exec_module(hooks)
    monkeypatch.setattr("napari_segzoo.zoo.registry._SPECS", {})
    register(
        ModelSpec(
            name="mine",
            title="My U-Net",
            family="Mine",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.unet:UNet",
            reference="Me 2026",
            url="https://example.org",
            divisor=2,
            tile_invariant=True,
            receptive_field=18,
            options={"widths": (4, 8)},
        )
    )
    text = (ROOT / "docs/reference/networks.md").read_text(encoding="utf-8")
    page = hooks.on_page_markdown(text)
    assert "### mine" in page
    assert "[Me 2026](https://example.org)" in page
    assert page.count("<svg") == 1
    network = create_model("mine", ndim=3, in_channels=1, num_classes=2)
    assert f"{sum(p.numel() for p in network.parameters()):,}" in page
    assert hooks.on_page_markdown("another page") == "another page"
