"""Heads on dilated ResNets: FCN, DeepLab v2 to v3+, PSPNet."""

from ..registry import register
from ..spec import ModelSpec, PublishedCount
from .costs import COSTS
from .licences import TORCHVISION_COCO, TORCHVISION_IMAGENET

_AUX = {"aux": True}
_SEMSEG = "hszhao/semseg"


def _resnet(depth: int, output_stride: int = 8, stem: str = "torchvision") -> dict[str, object]:
    return {
        "backbone": f"resnet{depth}",
        "width": 64,
        "output_stride": output_stride,
        "stem": stem,
    }


register(
    *(
        ModelSpec(
            name=f"fcn_resnet{depth}",
            title=f"FCN (ResNet-{depth})",
            family="FCN",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.fcn:fcn_resnet",
            reference="Long et al. 2015, CVPR, on He et al. 2016, CVPR",
            url="https://arxiv.org/abs/1411.4038",
            divisor=8,
            tile_invariant=True,
            receptive_field=field,
            costs=COSTS[f"fcn_resnet{depth}"],
            options={**_resnet(depth), "aux": False},
            published=(
                PublishedCount(2, 3, 21, plain, "torchvision"),
                PublishedCount(2, 3, 21, with_aux, "torchvision", _AUX),
            ),
            weights=("imagenet", "coco_voc"),
            weights_licence=TORCHVISION_COCO,
        )
        for depth, field, plain, with_aux in (
            (50, 451, 32_957_013, 35_322_218),
            (101, 995, 51_949_141, 54_314_346),
        )
    ),
    ModelSpec(
        name="deeplabv2_resnet101",
        title="DeepLab v2 (ResNet-101)",
        family="DeepLab",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.deeplab:deeplabv2_resnet",
        reference="Chen et al. 2018, IEEE TPAMI",
        url="https://arxiv.org/abs/1606.00915",
        divisor=8,
        tile_invariant=True,
        receptive_field=1363,
        costs=COSTS["deeplabv2_resnet101"],
        options={**_resnet(101), "rates": (6, 12, 18, 24)},
        published=(PublishedCount(2, 3, 21, 44_048_532, "kazuto1011/deeplab-pytorch"),),
        weights=("imagenet",),
        weights_licence=TORCHVISION_IMAGENET,
    ),
    *(
        ModelSpec(
            name=f"deeplabv3_resnet{depth}",
            title=f"DeepLab v3 (ResNet-{depth})",
            family="DeepLab",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.deeplabv3:deeplabv3",
            reference="Chen et al. 2017, arXiv",
            url="https://arxiv.org/abs/1706.05587",
            divisor=8,
            tile_invariant=False,
            receptive_field=None,
            costs=COSTS[f"deeplabv3_resnet{depth}"],
            options={**_resnet(depth), "rates": None, "image_pooling": True, "aux": False},
            published=(
                PublishedCount(2, 3, 21, plain, "torchvision"),
                PublishedCount(2, 3, 21, with_aux, "torchvision", _AUX),
            ),
            weights=("imagenet", "coco_voc"),
            weights_licence=TORCHVISION_COCO,
        )
        for depth, plain, with_aux in (
            (50, 39_638_869, 42_004_074),
            (101, 58_630_997, 60_996_202),
        )
    ),
    *(
        ModelSpec(
            name=f"deeplabv3plus_resnet{depth}",
            title=f"DeepLab v3+ (ResNet-{depth})",
            family="DeepLab",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.deeplabv3:DeepLabV3Plus",
            reference="Chen et al. 2018, ECCV",
            url="https://arxiv.org/abs/1802.02611",
            divisor=16,
            tile_invariant=False,
            receptive_field=None,
            costs=COSTS[f"deeplabv3plus_resnet{depth}"],
            options={**_resnet(depth, output_stride=16), "rates": None, "image_pooling": True},
            weights=("imagenet",),
            weights_licence=TORCHVISION_IMAGENET,
        )
        for depth in (50, 101)
    ),
    *(
        ModelSpec(
            name=f"pspnet{depth}",
            title=f"PSPNet (ResNet-{depth})",
            family="PSPNet",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.pspnet:pspnet",
            reference="Zhao et al. 2017, CVPR",
            url="https://arxiv.org/abs/1612.01105",
            divisor=8,
            tile_invariant=False,
            receptive_field=None,
            costs=COSTS[f"pspnet{depth}"],
            options={**_resnet(depth, stem="deep"), "bins": (1, 2, 3, 6), "aux": False},
            published=(
                PublishedCount(2, 3, 21, plain, _SEMSEG),
                PublishedCount(2, 3, 21, with_aux, _SEMSEG, _AUX),
            ),
            weights=("imagenet",),
            weights_licence=TORCHVISION_IMAGENET,
        )
        for depth, plain, with_aux in (
            (50, 46_716_373, 49_081_578),
            (101, 65_708_501, 68_073_706),
        )
    ),
)
