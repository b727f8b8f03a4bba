"""Networks that other libraries have as well give the same numbers there."""

import pytest
import torch

from napari_segzoo.zoo import create_model


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_usual_v_net_is_that_of_monai(ndim):
    """MONAI's has no bias in the decoder's convolutions; everything else is the same."""
    nets = pytest.importorskip("monai.networks.nets")
    torch.manual_seed(0)
    theirs = nets.VNet(ndim, in_channels=1, out_channels=3, bias=True).eval()
    ours = create_model(
        "vnet", ndim=ndim, in_channels=1, num_classes=3, variant="port", activation="elu"
    ).eval()
    with torch.no_grad():
        for name, tensor in [*theirs.named_parameters(), *theirs.named_buffers()]:
            if "running_var" in name or name.endswith("N.weight"):
                tensor.uniform_(0.5, 1.5)
    pairs = [(theirs.in_tr, [ours.encoder[0]]), (theirs.out_tr, [ours.head])]
    downs = (theirs.down_tr32, theirs.down_tr64, theirs.down_tr128, theirs.down_tr256)
    ups = (theirs.up_tr256, theirs.up_tr128, theirs.up_tr64, theirs.up_tr32)
    for n in range(4):
        pairs.append((downs[n], [ours.downs[n], ours.encoder[n + 1]]))
        pairs.append((ups[n], [ours.ups[n], ours.decoder[n]]))
    for reference, parts in pairs:
        given = iter(reference.state_dict().values())
        for part in parts:
            missing = part in [*ours.decoder]
            for name, tensor in part.state_dict().items():
                is_bias_of_conv = name.endswith("bias") and _layer(part, name).weight.ndim > 1
                tensor.copy_(torch.zeros(()) if missing and is_bias_of_conv else next(given))
        assert next(given, None) is None
    x = torch.rand(1, 1, *(32, 48, 16)[:ndim])
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def _layer(part, name):
    return part.get_submodule(name.rpartition(".")[0])
