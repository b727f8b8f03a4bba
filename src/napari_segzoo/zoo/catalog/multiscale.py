"""Networks that join features of several resolutions: RefineNet, HRNet, FastFCN, FPN."""

from ..registry import register
from ..spec import ModelSpec, PublishedCount
from .costs import COSTS
from .licences import TORCHVISION_IMAGENET

_HRNET = "HRNet/HRNet-Semantic-Segmentation"
_FASTFCN = "wuhuikai/FastFCN"

register(
    *(
        ModelSpec(
            name=f"refinenet{depth}",
            title=f"RefineNet (ResNet-{depth})",
            family="RefineNet",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.refinenet:RefineNet",
            reference="Lin et al. 2017, CVPR",
            url="https://arxiv.org/abs/1611.06612",
            divisor=32,
            tile_invariant=True,
            receptive_field=field,
            costs=COSTS[f"refinenet{depth}"],
            options={
                "backbone": f"resnet{depth}",
                "width": 64,
                "stem": "torchvision",
                "dropout": 0.5,
            },
            published=(PublishedCount(2, 3, 21, count, "DrSleep/refinenet-pytorch"),),
            weights=("imagenet",),
            weights_licence=TORCHVISION_IMAGENET,
        )
        for depth, field, count in (
            (50, 3115, 99_060_309),
            (101, 3659, 118_052_437),
            (152, 4139, 133_696_085),
        )
    ),
    *(
        ModelSpec(
            name=f"hrnet_w{width}",
            title=f"HRNetV2-W{width}",
            family="HRNet",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.hrnet:HRNet",
            reference="Wang et al. 2020, IEEE TPAMI",
            url="https://arxiv.org/abs/1908.07919",
            divisor=32,
            tile_invariant=True,
            receptive_field=2847,
            costs=COSTS[f"hrnet_w{width}"],
            options={"width": width, "modules": (1, 4, 3), "stem_width": 64},
            published=(
                PublishedCount(2, 3, 19, with_19, _HRNET),
                PublishedCount(2, 3, 21, with_21, _HRNET),
            ),
        )
        for width, with_19, with_21 in (
            (18, 9_641_119, 9_641_661),
            (32, 29_546_515, 29_547_477),
            (48, 65_859_379, 65_860_821),
        )
    ),
    *(
        ModelSpec(
            name=f"fastfcn_{head}_resnet{depth}",
            title=f"FastFCN, {title} head (ResNet-{depth})",
            family="FastFCN",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.fastfcn:FastFCN",
            reference="Wu et al. 2019, arXiv",
            url="https://arxiv.org/abs/1903.11816",
            divisor=32,
            tile_invariant=head == "fcn",
            receptive_field=field,
            costs=COSTS[f"fastfcn_{head}_resnet{depth}"],
            options={
                "head": head,
                "backbone": f"resnet{depth}",
                "width": 64,
                "stem": "deep",
                "aux": False,
            },
            published=(PublishedCount(2, 3, 21, count, _FASTFCN, {"aux": True}),) if count else (),
            weights=("imagenet",),
            weights_licence=TORCHVISION_IMAGENET,
        )
        for head, title, depth, field, count in (
            ("fcn", "FCN", 50, 687, 55_181_546),
            ("psp", "PSP", 50, None, 68_817_130),
            ("deeplabv3", "DeepLab v3", 50, None, 61_863_402),
            ("encnet", "EncNet", 50, None, 47_346_015),
            ("fcn", "FCN", 101, 1231, None),
            ("psp", "PSP", 101, None, None),
            ("deeplabv3", "DeepLab v3", 101, None, None),
            ("encnet", "EncNet", 101, None, None),
        )
    ),
    ModelSpec(
        name="fpn_resnet50",
        title="Feature pyramid network (ResNet-50)",
        family="FPN",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.fpn:FPN",
        reference="Lin et al. 2017, CVPR; semantic branch: Kirillov et al. 2019, CVPR",
        url="https://arxiv.org/abs/1612.03144",
        divisor=32,
        tile_invariant=True,
        receptive_field=683,
        costs=COSTS["fpn_resnet50"],
        options={"backbone": "resnet50", "width": 64, "stem": "torchvision", "norm": "batch"},
        weights=("imagenet",),
        weights_licence=TORCHVISION_IMAGENET,
    ),
)
