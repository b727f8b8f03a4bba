"""VGG16-based networks and FC-DenseNet."""

from ..registry import register
from ..spec import ModelSpec, PublishedCount
from .costs import COSTS
from .licences import TORCHVISION_IMAGENET

_FCN = "wkentaro/pytorch-fcn"
_TIRAMISU = "bfortuner/pytorch_tiramisu"
_PAPER = "layer list of the paper"

register(
    *(
        ModelSpec(
            name=f"fcn{stride}s",
            title=f"FCN-{stride}s",
            family="FCN",
            ndims=(2,),
            builder="napari_segzoo.zoo.fcn:FCN",
            reference="Long et al. 2015, CVPR",
            url="https://arxiv.org/abs/1411.4038",
            divisor=32,
            tile_invariant=True,
            receptive_field=field,
            costs=COSTS[f"fcn{stride}s"],
            options={
                "stride": stride,
                "backbone": "vgg16",
                "width": 64,
                "dropout": 0.5,
                "at_once": False,
            },
            published=(PublishedCount(2, 3, 21, count, _FCN),),
            weights=("imagenet",),
            weights_licence=TORCHVISION_IMAGENET,
        )
        for stride, field, count in (
            (32, 436, 136_152_917),
            (16, 468, 134_815_994),
            (8, 468, 134_489_759),
        )
    ),
    ModelSpec(
        name="segnet",
        title="SegNet",
        family="SegNet",
        ndims=(2, 3),
        builder="napari_segzoo.zoo.segnet:SegNet",
        reference="Badrinarayanan et al. 2017, IEEE TPAMI",
        url="https://arxiv.org/abs/1511.00561",
        divisor=32,
        tile_invariant=True,
        receptive_field=404,
        costs=COSTS["segnet"],
        options={"backbone": "vgg16_bn", "width": 64},
        published=(
            PublishedCount(2, 3, 11, 29_449_355, _PAPER),
            PublishedCount(2, 3, 21, 29_455_125, _PAPER),
        ),
        weights=("imagenet",),
        weights_licence=TORCHVISION_IMAGENET,
    ),
    *(
        ModelSpec(
            name=name,
            title=title,
            family="DeepLab",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.deeplab:deeplab_vgg",
            reference=reference,
            url=url,
            divisor=8,
            tile_invariant=True,
            receptive_field=field,
            costs=COSTS[name],
            options={"backbone": "vgg16", "width": 64, "dropout": 0.5, "rates": rates},
            published=(PublishedCount(2, 3, 21, count, _PAPER),),
            weights=("imagenet",),
            weights_licence=TORCHVISION_IMAGENET,
        )
        for name, title, reference, url, field, rates, count in (
            (
                "deeplabv1",
                "DeepLab v1 (LargeFOV)",
                "Chen et al. 2015, ICLR",
                "https://arxiv.org/abs/1412.7062",
                427,
                (12,),
                20_505_429,
            ),
            (
                "deeplabv2_vgg16",
                "DeepLab v2 (VGG16)",
                "Chen et al. 2018, IEEE TPAMI",
                "https://arxiv.org/abs/1606.00915",
                619,
                (6, 12, 18, 24),
                37_877_652,
            ),
        )
    ),
    *(
        ModelSpec(
            name=f"fc_densenet{depth}",
            title=f"FC-DenseNet-{depth}",
            family="FC-DenseNet",
            ndims=(2, 3),
            builder="napari_segzoo.zoo.fc_densenet:FCDenseNet",
            reference="Jégou et al. 2017, CVPR Workshops",
            url="https://arxiv.org/abs/1611.09326",
            divisor=32,
            tile_invariant=True,
            receptive_field=field,
            costs=COSTS[f"fc_densenet{depth}"],
            options={
                "layers": layers,
                "bottleneck": bottleneck,
                "growth_rate": growth,
                "width": 48,
                "dropout": 0.2,
            },
            published=(PublishedCount(2, 3, 11, count, _TIRAMISU),),
        )
        for depth, layers, bottleneck, growth, field, count in (
            (56, (4, 4, 4, 4, 4), 4, 12, 826, 1_376_795),
            (67, (5, 5, 5, 5, 5), 5, 16, 1016, 3_463_243),
            (103, (4, 5, 7, 10, 12), 15, 16, 2294, 9_322_091),
        )
    ),
)
