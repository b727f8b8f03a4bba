"""U-Net and its kin."""

from ..registry import register
from ..spec import ModelSpec, PublishedCount
from .costs import COSTS

_MILESIAL = "milesial/Pytorch-UNet"
_NESTED = "4uiiurz1/pytorch-nested-unet"
_RESENC = "MIC-DKFZ/dynamic-network-architectures"
_WIDTHS_3D = (32, 64, 128, 256, 320, 320)
_VNET_PORT = "mattmacy/vnet.pytorch"
_LINEAR = {"upsampling": "linear"}

_UNET = {
    "widths": (64, 128, 256, 512, 1024),
    "depth": None,
    "norm": "batch",
    "upsampling": "transpose",
    "dropout": 0.0,
    "residual": False,
    "strides": None,
    "attention": False,
}

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
        costs=COSTS["unet"],
        options=_UNET,
        published=(
            PublishedCount(2, 3, 2, 31_037_698, _MILESIAL),
            PublishedCount(2, 1, 1, 31_036_481, _MILESIAL),
            PublishedCount(2, 3, 2, 17_263_042, _MILESIAL, _LINEAR),
        ),
    ),
    ModelSpec(
        name="resunet",
        title="Residual-encoder U-Net",
        family="U-Net",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.resunet:ResUNet",
        reference="Isensee et al. 2024, MICCAI",
        url="https://arxiv.org/abs/2404.09556",
        divisor=32,
        tile_invariant=False,
        receptive_field=None,
        costs=COSTS["resunet"],
        options={
            "widths": (32, 64, 128, 256, 512, 512),
            "blocks": (1, 3, 4, 6, 6, 6),
            "norm": "instance",
            "strides": None,
            "deep_supervision": False,
        },
        published=(
            PublishedCount(2, 1, 2, 71_816_586, _RESENC, {"deep_supervision": True}),
            PublishedCount(
                3, 1, 2, 102_349_770, _RESENC, {"deep_supervision": True, "widths": _WIDTHS_3D}
            ),
        ),
    ),
    ModelSpec(
        name="attention_unet",
        title="Attention U-Net",
        family="U-Net",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.unet:UNet",
        reference="Oktay et al. 2018, MIDL",
        url="https://arxiv.org/abs/1804.03999",
        divisor=16,
        tile_invariant=True,
        receptive_field=204,
        costs=COSTS["attention_unet"],
        options={**_UNET, "attention": True},
    ),
    ModelSpec(
        name="unetpp",
        title="U-Net++",
        family="U-Net",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.unetpp:UNetPlusPlus",
        reference="Zhou et al. 2018, DLMIA; 2020, IEEE TMI",
        url="https://arxiv.org/abs/1807.10165",
        divisor=16,
        tile_invariant=True,
        receptive_field=204,
        costs=COSTS["unetpp"],
        options={
            "widths": (32, 64, 128, 256, 512),
            "norm": "none",
            "upsampling": "transpose",
            "deep_supervision": False,
        },
        published=(
            PublishedCount(2, 3, 1, 9_042_177, "layer list of the paper"),
            PublishedCount(2, 3, 1, 9_163_329, _NESTED, {**_LINEAR, "norm": "batch"}),
            PublishedCount(
                2, 3, 1, 9_163_428, _NESTED, {**_LINEAR, "norm": "batch", "deep_supervision": True}
            ),
        ),
    ),
    ModelSpec(
        name="vnet",
        title="V-Net",
        family="U-Net",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.vnet:VNet",
        reference="Milletari et al. 2016, 3DV",
        url="https://arxiv.org/abs/1606.04797",
        divisor=16,
        tile_invariant=True,
        receptive_field=492,
        costs=COSTS["vnet"],
        options={
            "variant": "authors",
            "activation": "prelu",
            "widths": (16, 32, 64, 128, 256),
        },
        published=(
            PublishedCount(3, 1, 2, 61_982_682, "faustomilletari/VNet (Caffe)"),
            PublishedCount(
                3,
                1,
                2,
                45_600_316,
                "mattmacy/vnet.pytorch",
                {"variant": "port", "activation": "elu"},
            ),
            PublishedCount(3, 1, 2, 45_603_934, "mattmacy/vnet.pytorch", {"variant": "port"}),
        ),
    ),
    *(
        ModelSpec(
            name=name,
            title=title,
            family="U-Net",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.u2net:U2Net",
            reference="Qin et al. 2020, Pattern Recognition",
            url="https://arxiv.org/abs/2005.09007",
            divisor=32,
            tile_invariant=True,
            receptive_field=6624,
            costs=COSTS[name],
            options={"width": 64, "small": small, "deep_supervision": False},
            published=(PublishedCount(2, 3, 1, count, "xuebinqin/U-2-Net"),),
        )
        for name, title, small, count in (
            ("u2net", "U²-Net", False, 44_009_869),
            ("u2netp", "U²-NetP (small)", True, 1_131_181),
        )
    ),
)
