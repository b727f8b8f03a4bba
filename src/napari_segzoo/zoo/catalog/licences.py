"""Terms of the pretrained weights, as their publishers state them."""

TORCHVISION_IMAGENET = (
    "torchvision's weights, BSD-3-Clause; trained on ImageNet, whose images are for "
    "non-commercial research"
)
TORCHVISION_COCO = (
    "torchvision's weights, BSD-3-Clause; trained on ImageNet (non-commercial research) and "
    "COCO (CC BY 4.0 annotations, images under Flickr terms)"
)
