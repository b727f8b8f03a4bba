"""The published configurations that ship with the package, one entry each."""

from .registry import ModelSpec, PublishedCount, register

_MILESIAL = "milesial/Pytorch-UNet"

register(
    ModelSpec(
        name="unet",
        title="U-Net",
        family="U-Net",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.unet:UNet",
        reference="Ronneberger et al. 2015, MICCAI; 3D: Çiçek et al. 2016, MICCAI",
        url="https://arxiv.org/abs/1505.04597",
        divisor=16,
        tile_invariant=True,
        receptive_field=204,
        options={
            "widths": (64, 128, 256, 512, 1024),
            "depth": None,
            "norm": "batch",
            "upsampling": "transpose",
            "dropout": 0.0,
            "residual": False,
            "strides": None,
        },
        published=(
            PublishedCount(2, 3, 2, 31_037_698, _MILESIAL),
            PublishedCount(2, 1, 1, 31_036_481, _MILESIAL),
            PublishedCount(2, 3, 2, 17_263_042, _MILESIAL, {"upsampling": "linear"}),
        ),
    ),
)
