"""What the networks cost per voxel, measured by `zoo.cost.voxel_cost`; the tests measure again."""

from ..spec import VoxelCost

COSTS: dict[str, tuple[VoxelCost, ...]] = {
    "unet": (
        VoxelCost(2, 31_036_546, 733_888, 1_796),
        VoxelCost(3, 90_298_626, 905_408, 1_796),
    ),
    "resunet": (
        VoxelCost(2, 71_814_658, 481_632, 636),
        VoxelCost(3, 213_237_826, 357_824, 559),
    ),
    "attention_unet": (
        VoxelCost(2, 31_388_078, 750_332, 1_796),
        VoxelCost(3, 90_650_158, 913_130, 1_796),
    ),
    "unetpp": (
        VoxelCost(2, 9_041_634, 453_984, 1_932),
        VoxelCost(3, 26_198_306, 802_304, 1_696),
    ),
    "vnet": (
        VoxelCost(2, 12_636_314, 244_436, 580),
        VoxelCost(3, 61_982_682, 366_820, 548),
    ),
    "u2net": (
        VoxelCost(2, 44_022_566, 571_965, 1_969),
        VoxelCost(3, 131_981_222, 767_165, 1_818),
    ),
    "u2netp": (
        VoxelCost(2, 1_133_510, 192_564, 1_820),
        VoxelCost(3, 3_383_366, 470_652, 1_770),
    ),
    "fcn32s": (VoxelCost(2, 134_283_970, 421_464, 516),),
    "fcn16s": (VoxelCost(2, 134_272_772, 421_468, 516),),
    "fcn8s": (VoxelCost(2, 134_270_278, 421_476, 516),),
    "segnet": (
        VoxelCost(2, 29_443_010, 609_984, 964),
        VoxelCost(3, 88_281_410, 609_984, 868),
    ),
    "deeplabv1": (
        VoxelCost(2, 20_484_802, 477_792, 516),
        VoxelCost(3, 59_340_610, 370_116, 516),
    ),
    "deeplabv2_vgg16": (
        VoxelCost(2, 37_798_600, 748_224, 516),
        VoxelCost(3, 104_965_960, 459_216, 516),
    ),
    "fc_densenet56": (
        VoxelCost(2, 1_374_194, 175_122, 2_260),
        VoxelCost(3, 3_661_202, 381_076, 2_236),
    ),
    "fc_densenet67": (
        VoxelCost(2, 3_459_778, 413_111, 3_412),
        VoxelCost(3, 9_335_842, 896_271, 3_372),
    ),
    "fc_densenet103": (
        VoxelCost(2, 9_318_914, 396_875, 3_028),
        VoxelCost(3, 26_166_626, 723_669, 2_988),
    ),
    "fcn_resnet50": (
        VoxelCost(2, 32_940_994, 526_112, 580),
        VoxelCost(3, 74_468_674, 154_426, 84),
    ),
    "fcn_resnet101": (
        VoxelCost(2, 51_933_122, 822_048, 580),
        VoxelCost(3, 113_514_818, 230_586, 84),
    ),
    "deeplabv2_resnet101": (
        VoxelCost(2, 42_641_352, 676_880, 580),
        VoxelCost(3, 85_643_592, 176_152, 84),
    ),
    "deeplabv3_resnet50": (
        VoxelCost(2, 39_627_714, 622_362, 580),
        VoxelCost(3, 91_772_226, 187_193, 84),
    ),
    "deeplabv3_resnet101": (
        VoxelCost(2, 58_619_842, 918_298, 580),
        VoxelCost(3, 130_818_370, 263_353, 84),
    ),
    "deeplabv3plus_resnet50": (
        VoxelCost(2, 40_341_026, 262_194, 480),
        VoxelCost(3, 93_886_370, 96_688, 110),
    ),
    "deeplabv3plus_resnet101": (
        VoxelCost(2, 59_333_154, 336_178, 480),
        VoxelCost(3, 132_932_514, 106_208, 110),
    ),
    "pspnet50": (
        VoxelCost(2, 46_705_474, 702_056, 580),
        VoxelCost(3, 107_311_042, 249_112, 132),
    ),
    "pspnet101": (
        VoxelCost(2, 65_697_602, 997_992, 580),
        VoxelCost(3, 146_357_186, 325_272, 132),
    ),
    "refinenet50": (
        VoxelCost(2, 99_010_242, 924_592, 652),
        VoxelCost(3, 272_667_714, 536_756, 155),
    ),
    "refinenet101": (
        VoxelCost(2, 118_002_370, 998_576, 652),
        VoxelCost(3, 311_713_858, 546_276, 155),
    ),
    "refinenet152": (
        VoxelCost(2, 133_646_018, 1_072_560, 652),
        VoxelCost(3, 343_872_578, 558_036, 155),
    ),
    "hrnet_w18": (
        VoxelCost(2, 9_635_360, 69_711, 228),
        VoxelCost(3, 28_245_704, 30_736, 68),
    ),
    "hrnet_w32": (
        VoxelCost(2, 29_537_186, 171_448, 379),
        VoxelCost(3, 87_212_066, 70_072, 97),
    ),
    "hrnet_w48": (
        VoxelCost(2, 65_845_970, 355_389, 567),
        VoxelCost(3, 194_820_434, 140_701, 143),
    ),
    "fastfcn_fcn_resnet50": (
        VoxelCost(2, 52_805_442, 370_176, 540),
        VoxelCost(3, 127_677_378, 138_502, 132),
    ),
    "fastfcn_psp_resnet50": (
        VoxelCost(2, 66_441_026, 517_832, 540),
        VoxelCost(3, 160_187_330, 193_924, 132),
    ),
    "fastfcn_deeplabv3_resnet50": (
        VoxelCost(2, 59_492_162, 466_426, 540),
        VoxelCost(3, 144_980_930, 171_269, 132),
    ),
    "fastfcn_encnet_resnet50": (
        VoxelCost(2, 44_959_138, 243_713, 540),
        VoxelCost(3, 100_956_706, 85_830, 132),
    ),
    "fastfcn_fcn_resnet101": (
        VoxelCost(2, 71_797_570, 444_160, 540),
        VoxelCost(3, 166_723_522, 148_022, 132),
    ),
    "fastfcn_psp_resnet101": (
        VoxelCost(2, 85_433_154, 591_816, 540),
        VoxelCost(3, 199_233_474, 203_444, 132),
    ),
    "fastfcn_deeplabv3_resnet101": (
        VoxelCost(2, 78_484_290, 540_410, 540),
        VoxelCost(3, 184_027_074, 180_789, 132),
    ),
    "fastfcn_encnet_resnet101": (
        VoxelCost(2, 63_951_266, 317_697, 540),
        VoxelCost(3, 140_002_850, 95_350, 132),
    ),
    "fpn_resnet50": (
        VoxelCost(2, 28_470_210, 166_208, 337),
        VoxelCost(3, 59_086_146, 69_913, 76),
    ),
}
