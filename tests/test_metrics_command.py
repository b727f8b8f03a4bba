"""The command `evaluate`: parts of images, other shapes, several predictions, its files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from napari_segzoo import open_image, save_image
from napari_segzoo.cli import main

TRUTH = np.zeros((20, 30), np.uint8)
TRUTH[5:15, 5:15] = 1
FOUND = np.zeros((20, 30), np.uint8)
FOUND[5:15, 5:17] = 1


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_image("truth.tif", TRUTH, "YX")
    save_image("found.tif", FOUND, "YX")
    return tmp_path


@pytest.fixture
def evaluate(capsys):
    def call(*words):
        status = main(["evaluate", *words, "--json"])
        out, err = capsys.readouterr()
        return status, json.loads(out.splitlines()[-1]) if status == 0 else None, err

    return call


def test_other_shapes_are_cropped_or_resampled_and_told(evaluate):
    save_image("cut.tif", FOUND[:, :25], "YX")
    save_image("fine.tif", FOUND.repeat(2, 0).repeat(2, 1), "YX")
    status, _, err = evaluate("truth.tif", "cut.tif")
    assert status == 2
    assert "(20, 30)" in err
    assert "fit" in err
    _, report, err = evaluate("truth.tif", "cut.tif", "--fit", "crop")
    assert report["dice"]["1"] == pytest.approx(200 / 220)
    assert "Cropped both to (20, 25)" in err
    _, report, err = evaluate("truth.tif", "fine.tif", "--fit", "resample")
    assert report["dice"]["1"] == pytest.approx(200 / 220)
    assert "Resampled" in err


def test_offset_places_the_prediction(evaluate):
    save_image("part.tif", FOUND[4:, 3:], "YX", scale=(1, 1))
    for fit in ("crop", "resample"):
        _, report, _ = evaluate("truth.tif", "part.tif", "--fit", fit, "--offset", "4,3")
        assert report["dice"]["1"] == pytest.approx(200 / 220)
        assert sum(map(sum, report["confusion"])) == 16 * 27
    status, _, err = evaluate("truth.tif", "part.tif", "--fit", "crop", "--offset", "4")
    assert status == 2
    assert "--offset has 1 numbers" in err
    status, _, err = evaluate("truth.tif", "found.tif", "--offset", "0,0")
    assert status == 2
    assert "needs fit" in err


def test_region_and_mask(evaluate):
    _, report, _ = evaluate("truth.tif", "found.tif", "--region", ":,14:18")
    assert report["precision"]["1"] == pytest.approx(1 / 3)
    mask = np.zeros(TRUTH.shape, np.uint8)
    mask[:10, 14:18] = 255
    save_image("mask.png", mask, "YX")
    words = ("--mask", "mask.png", "--overlay", "errors.tif")
    _, report, _ = evaluate("truth.tif", "found.tif", *words, "--region", ":8,:")
    # columns 14 to 17 of rows 0 to 7: three rows of objects, one column of which is right
    assert report["confusion"] == [[23, 6], [0, 3]]
    errors = open_image("errors.tif").data[...]
    assert errors.shape == TRUTH.shape
    assert np.bincount(errors.ravel()).tolist() == [600 - 9, 3, 6]
    status, _, err = evaluate("truth.tif", "found.tif", "--region", "3,4")
    assert status == 2
    assert "--region takes one range" in err


def test_objects_go_to_a_second_table(evaluate, folder):
    words = ("truth.tif", "found.tif", "--task", "instances", "--csv", "scores.csv")
    assert evaluate(*words)[0] == 0
    (row,) = csv.DictReader((folder / "scores_objects.csv").open(encoding="utf-8"))
    assert row["status"] == "matched"
    assert float(row["iou"]) == pytest.approx(100 / 120)
    (folder / "scores.csv").unlink()
    status, _, err = evaluate(*words)
    assert status == 2
    assert "scores_objects.csv exists already" in err


def test_labels_that_look_like_objects_are_pointed_out(evaluate):
    save_image("many.tif", np.arange(600, dtype=np.uint16).reshape(20, 30) // 10, "YX")
    _, _, err = evaluate("many.tif", "many.tif")
    assert "60 labels" in err
    assert "--task instances" in err


def test_several_predictions_are_compared_over_folders(evaluate, folder, capsys):
    random = np.random.default_rng(0)
    for name, wrong in (("truth", 0), ("good", 0.02), ("bad", 0.2)):
        (folder / name).mkdir()
        for k in range(5):
            noise = (random.random(TRUTH.shape) < wrong).astype(np.uint8)
            save_image(f"{name}/{k}.tif", TRUTH ^ noise, "YX")
    save_image("bad/extra.tif", TRUTH, "YX")
    status, record, err = evaluate("truth", "good", "bad", "--csv", "all.csv")
    assert status == 0
    assert "bad/extra.tif" in err
    means = {n: p["overall"]["dice 1"]["mean"] for n, p in record["predictions"].items()}
    (found,) = record["comparisons"]["dice 1"]
    assert found["difference"] == pytest.approx(means["good"] - means["bad"])
    assert found["p"] == pytest.approx(2 / 2**5)
    assert found["images"] == 5
    assert main(["evaluate", "truth", "good", "bad"]) == 0
    assert "**good - bad**" in capsys.readouterr().out
    assert evaluate("truth.tif", "found.tif", "found.tif")[0] == 2
    assert evaluate("truth", "good", "--region", ":,:")[0] == 2


def test_slices_have_the_numbers_of_the_whole_stack(capsys):
    stack = np.zeros((4, 8, 8), np.uint8)
    stack[:, 2:4] = 1
    found = stack.copy()
    found[2, 3] = 0
    save_image("stack.tif", stack, "ZYX")
    save_image("segmented.tif", found, "ZYX")
    words = ["--per-slice", "--region", "1:3,:,:", "--csv", "slices.csv"]
    assert main(["evaluate", "stack.tif", "segmented.tif", *words]) == 0
    assert "dice 1" in capsys.readouterr().out
    lines = csv.DictReader(Path("slices.csv").read_text(encoding="utf-8").splitlines())
    rows = {r["slice"]: r["value"] for r in lines if (r["metric"], r["key"]) == ("dice", "1")}
    assert rows["1"] == "1.0" and float(rows["2"]) == pytest.approx(2 / 3)
    assert set(rows) == {"", "1", "2"}


@pytest.mark.parametrize("axes", ["CYX", "YXC", "YX"])
def test_probabilities(evaluate, axes):
    """Object or not with a chance of 0.8 or 0.2: the right class always has 0.8."""
    chance = np.where(TRUTH, 0.8, 0.2).astype(np.float32)
    both = np.stack([1 - chance, chance])
    image = {"CYX": both, "YXC": np.moveaxis(both, 0, 2), "YX": chance}[axes]
    save_image("chance.tif", image, axes)
    words = ("truth.tif", "found.tif", "--probabilities", "chance.tif")
    _, report, _ = evaluate(*words, "--region", "3:12,2:20")
    assert report["cross_entropy"] == pytest.approx(-np.log(0.8), abs=1e-5)
    assert report["brier"] == pytest.approx(2 * 0.2**2, abs=1e-5)
    assert report["calibration_error"] == pytest.approx(0.2, abs=1e-5)
    assert sum(row["voxels"] for row in report["calibration"]) == 9 * 18
    assert evaluate(*words, "--task", "instances")[0] == 2
