"""A 3D network that begins with what a 2D one has learnt.

Each kernel becomes the middle slice of a 3D kernel that is zero elsewhere, so that the network
first sees slice by slice as before (Carreira & Zisserman 2017, CVPR, arXiv:1705.07750, spread the
kernel over all slices instead). Channels of the image become one.
"""

from dataclasses import replace

import torch

from napari_segzoo import SegmentationModel


def inflate(model, widths):
    """Return a 3D U-Net of one channel with the weights of a 2D one.

    `widths` are those of `model`, of which the last may be left out.
    """
    options = {**model.info.options, "widths": widths}
    left_out = len(model.info.options["widths"]) - len(widths)
    new = SegmentationModel.create(
        replace(model.info, ndim=3, in_channels=1, options=options, voxel_size=None)
    )
    old, state = model.network.state_dict(), new.network.state_dict()
    for name, value in state.items():
        state[name] = inflate_weight(old[name_in_2d(name, left_out)], value)
    new.network.load_state_dict(state)
    return new


def name_in_2d(name, left_out):
    """Blocks of the decoder are counted from the coarsest resolution."""
    part, number, *rest = name.split(".")
    if part not in ("ups", "decoder"):
        return name
    return ".".join([part, str(int(number) + left_out), *rest])


def inflate_weight(old, new):
    if old.ndim < 4:
        return old.clone()
    if old.shape[1] != new.shape[1]:
        old = old.sum(1, keepdim=True)
    slices = new.shape[2]
    if slices == 2:
        return old.unsqueeze(2).repeat(1, 1, slices, 1, 1)
    inflated = torch.zeros_like(new)
    inflated[:, :, slices // 2] = old
    return inflated
