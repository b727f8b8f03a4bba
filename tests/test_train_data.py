"""Reading training data: the three layouts, what they mean, and what can be wrong with them."""

import json
import shutil

import numpy as np
import pytest
import torch
from datasets import write, write_decathlon, write_folders, write_voc
from tiny import squares

from napari_segzoo import InputError
from napari_segzoo.preprocess import Normalization
from napari_segzoo.training import find_dataset
from napari_segzoo.training.crops import CropOptions, Epochs, Reader, crop_options, take_crop
from napari_segzoo.training.data import IGNORE
from napari_segzoo.training.recipe import TrainOptions
from napari_segzoo.training.survey import Labels, survey

AS_IS = Normalization("range", 0.0, 1.0)


def read_all(dataset, found, part="training"):
    reader = Reader(dataset, found, AS_IS, 10**9)
    return [pair for sample in getattr(dataset, part) for pair in reader.read(sample)]


def test_folders_are_split_by_seed(tmp_path):
    write_folders(tmp_path, count=10, size=32)
    first = find_dataset(tmp_path, seed=1, validation_share=0.3)
    assert (len(first.training), len(first.validation)) == (7, 3)
    assert not set(first.training) & set(first.validation)
    assert find_dataset(tmp_path, seed=1, validation_share=0.3) == first
    assert find_dataset(tmp_path, seed=2, validation_share=0.3) != first
    assert find_dataset(tmp_path, validation_share=0).validation == ()


@pytest.mark.parametrize("outside", [True, False])
def test_folders_may_name_the_split(tmp_path, outside):
    write_folders(tmp_path, count=2, size=32, parts=("train", "val"))
    if outside:
        for part in ("train", "val"):
            for kind in ("images", "labels"):
                (tmp_path / part).mkdir(exist_ok=True)
                shutil.move(tmp_path / kind / part, tmp_path / part / kind)
        shutil.rmtree(tmp_path / "images")
    dataset = find_dataset(tmp_path)
    assert (len(dataset.training), len(dataset.validation)) == (2, 2)
    assert all("train" in s.image.parts and "train" in s.labels.parts for s in dataset.training)
    found = survey(dataset)
    truth = sum(int(target.sum()) for _, target in read_all(dataset, found))
    assert found.counts == (2 * 32 * 32 - truth, truth)
    assert (found.ndim, found.in_channels) == (2, 1)


def test_masks_of_0_and_255_are_background_and_object(tmp_path):
    mask = np.zeros((8, 10), np.uint8)
    mask[2:4] = 255
    write(tmp_path / "images" / "a.tif", np.arange(80, dtype=np.uint16).reshape(8, 10))
    write(tmp_path / "labels" / "a.png", mask)
    dataset = find_dataset(tmp_path)
    found = survey(dataset)
    assert found.labels.binary
    assert found.counts == (60, 20)
    ((image, target),) = read_all(dataset, found)
    assert target.unique().tolist() == [0, 1]
    assert image[0, 1, 2] == 12


def test_255_is_ignored_beside_other_classes(tmp_path):
    labels = np.array([[0, 1, 255], [2, 255, 0]], np.uint8)
    write(tmp_path / "images" / "a.png", labels)
    write(tmp_path / "labels" / "a.png", labels)
    dataset = find_dataset(tmp_path)
    found = survey(dataset)
    assert found.counts == (2, 1, 1)
    ((_, target),) = read_all(dataset, found)
    assert target.tolist() == [[0, 1, IGNORE], [2, IGNORE, 0]]
    assert Labels(ignore=1).to_target(labels).tolist() == [[0, IGNORE, 255], [2, 255, 0]]


@pytest.mark.parametrize("ignore", [65535, 1000, -5])
def test_any_number_may_be_ignored(tmp_path, ignore):
    write_folders(tmp_path, count=2, size=32, suffix=".npy")
    labels = np.zeros((32, 32), np.uint16 if ignore > 0 else np.int16)
    labels[:4], labels[4:10] = ignore, 1
    write(tmp_path / "labels" / "0.npy", labels, overwrite=True)
    dataset = find_dataset(tmp_path, validation_share=0)
    found = survey(dataset, ignore=ignore)
    assert len(found.counts) == 2
    target = read_all(dataset, found)[0][1]
    assert (target[:4] == IGNORE).all()
    assert (target[4:10] == 1).all() and (target[10:] == 0).all()
    with pytest.raises(InputError, match=f"holds the label {ignore}"):
        survey(dataset)


def test_voxels_of_images_that_hold_a_class_are_counted(tmp_path):
    """Two images of 16 pixels: class 1 is in both, 2 in the first, where 4 do not count."""
    first, second = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    first[0], first[1, :2], first[2, 0] = 255, 1, 2
    for n, labels in enumerate((first, second)):
        write(tmp_path / "images" / f"{n}.png", np.arange(16, dtype=np.uint8).reshape(4, 4))
        write(tmp_path / "labels" / f"{n}.png", labels)
    found = survey(find_dataset(tmp_path, validation_share=0))
    assert found.counts == (9, 18, 1)
    assert found.voxels == (12, 28, 12)


@pytest.mark.parametrize("unit, body", [("millimeter", True), ("micrometer", False)])
def test_scans_of_bodies_are_neither_mirrored_nor_resized_much(tmp_path, unit, body):
    for n in range(2):
        image, truth = squares(32, n, 3)
        write(tmp_path / "images" / f"{n}.tif", image, "ZYX", unit=unit)
        write(tmp_path / "labels" / f"{n}.tif", truth.astype(np.uint8), "ZYX")
    dataset = find_dataset(tmp_path)
    found = survey(dataset)
    options = TrainOptions().settled(dataset, found, (1, 1, 1))
    crops = crop_options(dataset, found, options.crop, options.resize)
    assert found.body_scans == body
    assert crops.mirrored == (() if body else (0, 1, 2))
    assert crops.resize == (pytest.approx((1 / 1.35, 1.35)) if body else (0.5, 2.0))
    narrow = TrainOptions(resize=(0.9, 1.2)).settled(dataset, found, (1, 1, 1))
    assert narrow.resize == (0.9, 1.2)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32])
def test_labels_may_be_of_any_type(tmp_path, dtype):
    for n in range(2):
        write(tmp_path / "images" / f"{n}.npy", np.eye(8, dtype=np.uint8))
        write(tmp_path / "labels" / f"{n}.npy", np.eye(8).astype(dtype))
    assert survey(find_dataset(tmp_path)).counts == (56, 8)


def test_classes_may_have_names(tmp_path):
    write_folders(tmp_path, count=1, size=32)
    (tmp_path / "classes.txt").write_text("ground\ncell\nspine\n")
    dataset = find_dataset(tmp_path)
    assert dataset.class_names == ("ground", "cell", "spine")
    assert len(survey(dataset).counts) == 3


def test_voc(tmp_path):
    dataset = find_dataset(write_voc(tmp_path))
    assert (dataset.layout, len(dataset.training), len(dataset.validation)) == ("voc", 2, 1)
    found = survey(dataset)
    assert (found.ndim, found.in_channels, len(found.counts)) == (2, 3, 21)
    assert dataset.class_names[15] == "person"
    assert found.counts[15] == 2 * 400
    assert found.counts[0] == 2 * (2000 - 24 * 24)
    image, target = read_all(dataset, found)[0]
    assert image.shape == (3, 40, 50)
    assert target[9, 9] == IGNORE and target[20, 20] == 15 and target[0, 0] == 0


def test_decathlon(tmp_path):
    dataset = find_dataset(write_decathlon(tmp_path), seed=3)
    assert (dataset.layout, len(dataset.training), len(dataset.validation)) == ("msd", 2, 1)
    assert dataset.class_names == ("background", "oedema", "tumour")
    found = survey(dataset)
    assert (found.ndim, found.in_channels, len(found.counts)) == (3, 2, 3)
    assert found.counts[1] == 0 < found.counts[2]
    assert found.unit == "millimeter"
    image, target = read_all(dataset, found)[0]
    assert image.shape == (2, 24, 24, 24) and target.shape == (24, 24, 24)
    torch.testing.assert_close(image[0], 255 - image[1])
    assert image[0][target == 2].mean() > image[0][target == 0].mean() + 60


def test_a_flat_model_takes_the_slices_of_a_stack(tmp_path):
    write_folders(tmp_path, count=1, size=32, ndim=3, suffix=".tif")
    dataset = find_dataset(tmp_path)
    assert survey(dataset).ndim == 3
    found = survey(dataset, ndim=2)
    assert found.shapes == (((32,), (32, 32)),)
    assert len(read_all(dataset, found)) == 32


def break_folders(folder, kind):
    write_folders(folder, count=2, size=32)
    if kind == "no labels":
        (folder / "labels" / "1.png").unlink()
    elif kind == "shape":
        write(folder / "labels" / "1.png", np.zeros((32, 31), np.uint8), overwrite=True)
    elif kind == "objects":
        write(folder / "labels" / "1.png", np.arange(1024).reshape(32, 32) % 90, overwrite=True)
    elif kind == "many objects":
        many = np.arange(1024, dtype=np.uint16).reshape(32, 32) + 3000
        write(folder / "labels" / "1.png", many, overwrite=True)
    elif kind == "fractions":
        (folder / "labels" / "1.png").unlink()
        write(folder / "labels" / "1.tif", np.full((32, 32), 0.5, np.float32))
    elif kind == "unnamed class":
        (folder / "classes.txt").write_text("background\n")
    elif kind == "empty":
        for n in range(2):
            write(folder / "labels" / f"{n}.png", np.zeros((32, 32), np.uint8), overwrite=True)
    elif kind == "channels":
        write(folder / "images" / "1.tif", np.zeros((3, 32, 32), np.uint8), "CYX")
        (folder / "images" / "1.png").unlink()
        write(folder / "images" / "0.tif", np.zeros((2, 32, 32), np.uint8), "CYX")
        (folder / "images" / "0.png").unlink()
    elif kind == "two labels":
        write(folder / "labels" / "1.tif", np.ones((32, 32), np.uint8))
    elif kind == "no images":
        shutil.rmtree(folder / "images")
    elif kind == "no label folder":
        shutil.rmtree(folder / "labels")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no labels", r"1\.png has no labels"),
        ("shape", r"1\.png has the shape \(32, 31\).*\(32, 32\)"),
        ("objects", "go up to 89.*object numbers.*classes.txt"),
        ("many objects", r"1\.png holds the label 4023"),
        ("fractions", r"1\.tif holds .* not whole numbers"),
        ("unnamed class", "holds the label 1, but the 1 named classes are 0 to 0"),
        ("empty", "nothing but background"),
        ("channels", r"0\.tif.*3 channel\(s\), but the image has 2"),
        ("two labels", r"1\.png and .*1\.tif have the same name without ending"),
        ("no images", "no folder images"),
        ("no label folder", "no folder .*labels"),
    ],
)
def test_what_is_wrong_with_folders_is_told(tmp_path, kind, message):
    break_folders(tmp_path, kind)
    with pytest.raises(InputError, match=message):
        survey(find_dataset(tmp_path))


def test_what_is_wrong_with_voc_is_told(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "SegmentationClass" / "2007_000001.png").unlink()
    with pytest.raises(InputError, match=r"lists 2007_000001, but there is no .*\.png"):
        find_dataset(tmp_path)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(InputError, match=r"train\.txt.*missing"):
        find_dataset(tmp_path)


def test_what_is_wrong_with_a_decathlon_task_is_told(tmp_path):
    write_decathlon(tmp_path, count=2)
    path = tmp_path / "dataset.json"
    record = json.loads(path.read_text())
    (tmp_path / "labelsTr" / "case_1.nii.gz").unlink()
    with pytest.raises(InputError, match=r"lists \./labelsTr/case_1\.nii\.gz, which is missing"):
        find_dataset(tmp_path)
    for content in ("{", "[]", json.dumps({**record, "labels": {"tumour": 1}})):
        path.write_text(content)
        with pytest.raises(InputError, match="no description of a Decathlon task"):
            find_dataset(tmp_path)
    with pytest.raises(InputError, match="layout must be"):
        find_dataset(tmp_path, layout="coco")
    with pytest.raises(InputError, match="There is no folder"):
        find_dataset(tmp_path / "nowhere")


def ramp(size=20, ndim=2):
    """An image whose value tells the place, labelled likewise."""
    target = torch.arange(size**ndim, dtype=torch.int16).view((size,) * ndim)
    return target.float()[None], target


@pytest.mark.parametrize("ndim", [2, 3])
def test_crops_show_image_and_labels_of_the_same_place(ndim):
    image, target = ramp(12, ndim)
    same = CropOptions((8,) * ndim, (1.0, 1.0), tuple(range(ndim)), 0.5)
    seen = set()
    for n in range(60):
        x, y = take_crop((image, target), same, np.random.default_rng(n))
        assert x.shape == (1, *(8,) * ndim) and y.dtype == torch.int64
        assert torch.equal(x[0].long(), y)
        seen.add(tuple(torch.sign(y.float().diff(dim=a).mean()).item() for a in range(ndim)))
    assert len(seen) == 2**ndim


def test_crops_are_resized_and_labels_keep_their_values():
    image, target = torch.zeros(1, 64, 64), torch.zeros(64, 64, dtype=torch.int16)
    target[:, 32:], image[..., 32:] = 7, 1.0
    shares = {}
    for factor in (0.5, 1.0, 2.0):
        options = CropOptions((48, 48), (factor, factor), (), 0.0)
        x, y = take_crop((image, target), options, np.random.default_rng(0))
        assert set(y.unique().tolist()) <= {IGNORE, 0, 7}
        assert (y[(y != IGNORE) & (x[0] > 0.9)] == 7).all()
        shares[factor] = (y != IGNORE).float().mean().item()
    # Shrunk to half, the image covers 32 of 48 pixels along each axis.
    assert shares == {0.5: pytest.approx((32 / 48) ** 2, abs=0.03), 1.0: 1.0, 2.0: 1.0}


def test_crops_reach_beyond_a_small_image_and_nothing_counts_there():
    image, target = torch.ones(1, 5, 6), torch.ones(5, 6, dtype=torch.int16)
    options = CropOptions((8, 8), (1.0, 1.0), (0, 1), 0.3)
    for n in range(10):
        x, y = take_crop((image, target), options, np.random.default_rng(n))
        assert (y == 1).sum() == 30 and (y == IGNORE).sum() == 34
        assert torch.equal(x[0] == 1, y == 1)


def test_crops_find_a_rare_class():
    image, target = torch.zeros(1, 200, 200), torch.zeros(200, 200, dtype=torch.int16)
    target[150, 20] = 1
    options = CropOptions((16, 16), (1.0, 1.0), (), 1.0)
    hits = sum(
        bool((take_crop((image, target), options, np.random.default_rng(n))[1] == 1).any())
        for n in range(40)
    )
    assert 10 < hits < 30


def test_photographs_are_never_upside_down(tmp_path):
    voc = find_dataset(write_voc(tmp_path / "voc"))
    other = find_dataset(write_folders(tmp_path / "other", size=32))
    assert crop_options(voc, survey(voc), (8, 8), (0.5, 2)).mirrored == (1,)
    assert crop_options(other, survey(other), (8, 8), (0.5, 2)).mirrored == (0, 1)


def make_epochs(tmp_path, batch=4, **processes):
    if not (tmp_path / "images").exists():
        write_folders(tmp_path, count=3, size=32)
    dataset = find_dataset(tmp_path, validation_share=0)
    reader = Reader(dataset, survey(dataset), AS_IS, 10**6)
    options = CropOptions((16, 16), (0.5, 2.0), (0, 1), 0.3)
    return Epochs(reader, options, batch, 7, **processes)


def test_an_epoch_covers_the_images_once(tmp_path):
    epochs = make_epochs(tmp_path)
    assert epochs.steps == 3  # 3 images of 4 crops, 4 a step
    batches = epochs.batches(0, 2)
    x, y = next(batches)
    batches.close()
    assert x.shape == (4, 1, 16, 16) and y.shape == (4, 16, 16)


def test_crops_depend_on_the_step_alone(tmp_path):
    epochs = make_epochs(tmp_path)
    walk = epochs.batches(0, 3)
    from_start = [next(walk) for _ in range(7)]
    walk.close()
    later = make_epochs(tmp_path).batches(5, 1)
    for expected in from_start[5:]:
        found = next(later)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    later.close()
    assert not torch.equal(from_start[0][0], from_start[3][0])  # another epoch


def test_processes_share_the_crops_of_a_step(tmp_path):
    alone = make_epochs(tmp_path).batches(0, 1)
    parts = [make_epochs(tmp_path, rank=r, processes=2).batches(0, 1) for r in range(2)]
    for _ in range(4):
        whole = next(alone)[0]
        halves = [next(p)[0] for p in parts]
        assert torch.equal(whole[0::2], halves[0]) and torch.equal(whole[1::2], halves[1])
    for batches in (alone, *parts):
        batches.close()


def test_images_beyond_the_memory_are_read_again(tmp_path):
    epochs = make_epochs(tmp_path)
    small = Reader(epochs.reader.dataset, epochs.reader.survey, AS_IS, 0)
    sample = small.dataset.training[0]
    assert small.read(sample) is not small.read(sample)
    assert epochs.reader.read(sample) is epochs.reader.read(sample)
    assert torch.equal(small.read(sample)[0][0], epochs.reader.read(sample)[0][0])
