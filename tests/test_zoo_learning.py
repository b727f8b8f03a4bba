"""Every registered network can learn and can be exported (small versions)."""

import pytest
import torch
from torch.nn import functional as F
from zoo_cases import CASES, Case

FLAT = [case for case in CASES if case.ndim == 2]
every_flat_case = pytest.mark.parametrize("case", FLAT, ids=[c.name for c in FLAT])
EXPORTED_QUICKLY = ("unet", "segnet", "fcn8s", "deeplabv3_resnet50")


def one_image() -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy image (1, 1, 64, 64) whose bright quarter is the object."""
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(1, 64, 64, dtype=torch.int64)
    target[:, :32, 32:] = 1
    image = target[:, None] + 0.3 * torch.randn(1, 1, 64, 64, generator=generator)
    return image, target


@every_flat_case
def test_one_image_can_be_learned_by_heart(case: Case):
    torch.manual_seed(0)
    network = case.build(in_channels=1, num_classes=2).train()
    image, target = one_image()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    accuracy = 0.0
    for _ in range(150):
        if hasattr(network, "output_weights"):
            outputs, weights = network.outputs(image), network.output_weights
        else:
            outputs, weights = [network(image)], (1.0,)
        accuracy = float((outputs[0].argmax(1) == target).float().mean())
        if accuracy > 0.97:
            break
        loss = sum(w * F.cross_entropy(y, target) for w, y in zip(weights, outputs, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert accuracy > 0.97


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=c.name, marks=[pytest.mark.slow] * (c.name not in EXPORTED_QUICKLY))
        for c in FLAT
    ],
)
def test_exported_program_gives_the_same_logits(case: Case):
    """2D and 3D share their code."""
    torch.manual_seed(0)
    network = case.build(in_channels=1, num_classes=2).eval()
    x = torch.rand(1, 1, *case.size)
    program = torch.export.export(network, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(program(x), network(x))
