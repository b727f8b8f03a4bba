"""Exports, probabilities, overlays and folders."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from scipy.stats import wilcoxon

import napari_segzoo
from napari_segzoo import InputError, Report, open_image, save_image
from napari_segzoo.metrics import (
    DEFINITIONS,
    LEGENDS,
    Entry,
    as_batch,
    bootstrap_interval,
    compare,
    error_overlay,
    evaluate,
    evaluate_folder,
    scan,
    soft_scores,
    with_entry,
)

REFERENCE = np.array([[0, 1, 1, 2], [0, 1, 2, 2]])
PREDICTION = np.array([[0, 1, 2, 2], [1, 1, 2, 0]])


def test_importing_the_metrics_loads_no_heavy_library():
    code = (
        "import sys, napari_segzoo.metrics\n"
        "print([m for m in ('torch', 'napari', 'qtpy', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("task", ["semantic", "instances"])
def test_every_number_of_a_report_is_defined(task):
    report = evaluate(REFERENCE, PREDICTION, task=task, centreline=task == "semantic")
    assert isinstance(report, Report)
    assert set(report) - {"confusion", "labels"} <= set(DEFINITIONS)


def test_the_keys_that_others_rely_on_are_there():
    semantic = evaluate(REFERENCE, PREDICTION)
    for name in ("dice", "iou", "precision", "recall"):
        assert list(semantic[name]) == ["0", "1", "2"]
    for name in ("hd95", "assd", "nsd"):
        assert list(semantic[name]) == ["1", "2"]
    overall = ("mean_dice", "mean_iou", "pixel_accuracy", "mean_pixel_accuracy")
    assert all(isinstance(semantic[n], float) for n in (*overall, "frequency_weighted_iou"))
    instances = evaluate(REFERENCE, PREDICTION, task="instances")
    quality = ("panoptic_quality", "segmentation_quality", "recognition_quality", "aji", "seg")
    assert all(isinstance(instances[n], float) for n in ("precision", "recall", *quality))
    assert isinstance(instances["n_reference"], int)
    assert isinstance(instances["f1"], dict)
    assert json.loads(instances.to_json())["ap"]["0.5"] == instances["ap"]["0.5"]


def test_csv_has_one_line_per_number_with_its_definition(tmp_path):
    report = evaluate(REFERENCE, PREDICTION, class_names=["background", "cell", "fibre"])
    text = report.to_csv(tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8") == text
    lines = list(csv.DictReader(io.StringIO(text)))
    found = {(row["metric"], row["key"]): row for row in lines}
    assert float(found["dice", "2"]["value"]) == report["dice"]["2"]
    assert found["dice", "2"]["name"] == "fibre"
    assert found["dice", "2"]["definition"] == DEFINITIONS["dice"]
    assert ("hd95", "0") not in found
    assert float(found["mean_dice", ""]["value"]) == report["mean_dice"]
    assert found["napari-segzoo", ""]["value"] == napari_segzoo.__version__


STACK = np.array([[0, 1, 1], [0, 0, 0], [2, 2, 0]]), np.array([[0, 1, 0], [0, 0, 0], [2, 2, 2]])


def test_slices_are_in_the_table_and_in_the_csv():
    report = evaluate(*STACK, per_slice=True, class_names={2: "fibre"})
    lines = list(csv.DictReader(io.StringIO(report.to_csv())))
    found = {(r["metric"], r["key"], r["slice"]): r for r in lines}
    assert float(found["dice", "1", "0"]["value"]) == pytest.approx(2 / 3)
    assert float(found["iou", "2", "2"]["value"]) == pytest.approx(2 / 3)
    assert found["iou", "2", "2"]["name"] == "fibre"
    assert found["dice", "1", "1"]["value"] == "nan"
    assert float(found["dice", "1", ""]["value"]) == report["dice"]["1"]
    assert len([r for r in lines if r["slice"]]) == 2 * 3 * 3
    assert "slice" not in evaluate(*STACK).to_csv()
    table = [[c.strip() for c in line.split("|")] for line in report.to_markdown().splitlines()]
    assert ["", "slice", "dice 1", "dice 2 fibre", ""] in table
    assert ["", "0", "0.6667", "nan", ""] in table
    assert ["", "2", "nan", "0.8", ""] in table


def test_slices_of_many_classes_are_averaged():
    image = np.arange(1, 21).reshape(2, 10)
    wrong = np.where(image == 1, 0, image)
    text = evaluate(image, wrong, per_slice=True).to_markdown()
    table = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["slice", "mean dice"] in table
    assert ["0", "0.9"] in table and ["1", "1"] in table


def test_markdown_is_a_table_with_names_definitions_and_version():
    report = evaluate(REFERENCE, PREDICTION, class_names={1: "cell"})
    text = report.to_markdown()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert lines[0] == ["score", "0", "1 cell", "2"]
    assert ["dice", *(f"{v:.4g}" for v in report["dice"].values())] in lines
    assert ["mean_dice", f"{report['mean_dice']:.4g}"] in lines
    assert len({len(line) for line in text.splitlines()[:10]}) == 1
    assert DEFINITIONS["hd95"] in text
    assert napari_segzoo.__version__ in text


def test_many_classes_stand_below_each_other():
    image = np.arange(20)
    lines = evaluate(image, image, class_names={3: "cell"}).to_markdown().splitlines()
    assert lines[0].split("|")[1:4] == [" label ", " name ", " dice "]
    assert lines[5].split("|")[1:3] == [" 3     ", " cell "]


def test_the_ending_chooses_the_format(tmp_path):
    report = evaluate(REFERENCE, PREDICTION, task="instances")
    for name in ("scores.csv", "scores.md", "scores.json"):
        report.save(tmp_path / name)
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8") == report.to_csv()
    assert (tmp_path / "scores_objects.csv").read_text(encoding="utf-8") == report.objects_to_csv()
    assert (tmp_path / "scores.md").read_text(encoding="utf-8") == report.to_markdown()
    assert (tmp_path / "scores.json").read_text(encoding="utf-8") == report.to_json()
    with pytest.raises(InputError, match="does not exist"):
        report.save(tmp_path / "absent" / "scores.csv")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("task", ["semantic", "instances"])
def test_preview_scores_the_blocks_read_so_far(monkeypatch, task):
    monkeypatch.setattr(scan, "PREVIEW_EVERY", 0)
    monkeypatch.setattr(scan, "regions", partial(scan.regions, voxels=10))
    reference, prediction = np.ones((2, 4, 10), np.uint8)
    prediction[1:] = 0
    seen = []
    final = evaluate(reference, prediction, task=task, preview=seen.append)
    key = "dice" if task == "semantic" else "f1"
    found = [report[key]["1" if task == "semantic" else "0.5"] for report in seen]
    # one of one, two and three rows; 10, 20 and 30 voxels of the reference
    expected = [1, 2 / 3, 1 / 2] if task == "semantic" else [1, 1, 0]
    assert found == pytest.approx(expected)
    assert set(seen[0]) <= set(final)


def test_rows_are_what_a_table_shows():
    rows = evaluate(REFERENCE, PREDICTION, class_names=["nothing", "cell"]).rows()
    assert [row["label"] for row in rows] == [0, 1, 2]
    assert [row["name"] for row in rows] == ["nothing", "cell", ""]
    assert rows[0]["hd"] is None
    thresholds = evaluate(REFERENCE, PREDICTION, task="instances").rows()
    assert [row["threshold"] for row in thresholds][:2] == [0.5, 0.55]
    assert set(thresholds[0]) == {"threshold", "ap", "f1"}


def test_objects_are_exported_one_per_line(tmp_path):
    report = evaluate(REFERENCE, PREDICTION, task="instances").placed(np.array([1, 2]), {})
    lines = list(csv.DictReader(io.StringIO(report.objects_to_csv(tmp_path / "objects.csv"))))
    assert [line["status"] for line in lines] == [row["status"] for row in report.objects]
    assert (tmp_path / "objects.csv").exists()
    places = [line["position"] for line in lines]
    assert all(re.fullmatch(r"\(\d+, \d+\)", place) for place in places), places


def test_overlay_of_classes():
    found = error_overlay(REFERENCE, PREDICTION)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[0, 1, 4, 1], [2, 1, 1, 3]])
    hidden = error_overlay(REFERENCE, PREDICTION, ignore=2)
    np.testing.assert_array_equal(hidden, [[0, 1, 4, 0], [2, 1, 0, 0]])
    assert set(np.unique(found)) - {0} <= set(LEGENDS["semantic"])
    out = np.full(REFERENCE.shape, 9, np.uint8)
    assert error_overlay(REFERENCE, PREDICTION, out=out) is out
    np.testing.assert_array_equal(out, found)


@pytest.mark.parametrize("factor", [1, 100_000_000])
def test_overlay_of_objects(factor):
    """1 is matched by 1, 2 is split into 2 and 3, 4 swallows 4 and 5, 6 is missed, 7 false."""
    reference = [1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 4, 4, 4, 5, 5, 5, 6, 6, 0, 0, 0]
    prediction = [1, 1, 0, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 0, 0, 0, 7, 7]
    found = error_overlay(
        np.array(reference) * factor, np.array(prediction) * factor, task="instances"
    )
    # 2-2 and 4-4 reach an IoU of exactly 0.5; of the two halves one is the partner
    assert found[:4].tolist() == [1, 1, 3, 2]
    assert sorted(found[4:10].tolist()) == [1, 1, 1, 4, 4, 4]
    assert sorted(found[10:16].tolist()) == [1, 1, 1, 5, 5, 5]
    assert found[16:].tolist() == [3, 3, 0, 2, 2]


def test_probabilities_by_hand():
    reference = np.array([0, 1, 1, 255])
    foreground = np.array([0.2, 0.9, 0.4, 0.5])
    scores = soft_scores(reference, foreground, ignore=255, bins=2)
    right = np.array([0.8, 0.9, 0.4])
    assert scores.cross_entropy == pytest.approx(-np.log(right).mean())
    assert scores.brier == pytest.approx((2 * (1 - right) ** 2).mean())
    # confidences 0.8, 0.9 and 0.6, all in the upper bin, two of three right
    assert scores.voxels == (0, 3)
    assert scores.confidence[1] == pytest.approx((0.8 + 0.9 + 0.6) / 3)
    assert scores.accuracy[1] == pytest.approx(2 / 3)
    assert math.isnan(scores.accuracy[0])
    assert scores.calibration_error == pytest.approx(abs(2.3 - 2) / 3)
    stacked = np.stack([1 - foreground, foreground])
    again = soft_scores(reference, stacked, ignore=255, bins=2)
    assert again.cross_entropy == pytest.approx(scores.cross_entropy)
    assert again.brier == pytest.approx(scores.brier)


def test_perfect_and_wrong_certainty():
    reference = np.array([[0, 1], [2, 1]])
    certain = np.stack([reference == k for k in range(3)]).astype(np.float32)
    best = soft_scores(reference, certain)
    assert (best.cross_entropy, best.brier, best.calibration_error) == (0, 0, 0)
    worst = soft_scores(reference, np.roll(certain, 1, axis=0))
    assert worst.brier == pytest.approx(2)
    assert worst.cross_entropy == pytest.approx(-math.log(1e-7))
    assert worst.calibration_error == pytest.approx(1)
    assert math.isnan(soft_scores(np.full(3, 9), np.zeros((2, 3)), ignore=9).brier)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.zeros((2, 5)), r"\(2, 5\).*\(3,\)"),
        (np.full((2, 3), 4.0), "range from 4 to 4.*softmax"),
        (np.full((2, 3), 0.9), "sum up"),
        (np.full((2, 3), np.nan), "range from nan"),
        (np.full((1, 3), 1.0), "label 1.*labels 0 to 0"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities, message):
    with pytest.raises(InputError, match=message):
        soft_scores(np.array([0, 1, 1]), probabilities)


@pytest.fixture
def folders(tmp_path):
    """Six references and two predictions of them: one good, one worse."""
    random = np.random.default_rng(0)
    for name in ("reference", "good", "bad"):
        (tmp_path / name).mkdir()
    for k in range(6):
        labels = np.kron(random.integers(0, 2, (5, 5)), np.ones((6, 6), int)).astype("u1")
        save_image(
            tmp_path / "reference" / f"im{k}.tif", labels, "YX", scale=(2, 2), unit="micrometer"
        )
        noisy = labels ^ (random.random(labels.shape) < 0.02).astype("u1")
        save_image(tmp_path / "good" / f"im{k}.png", noisy, "YX")
        save_image(tmp_path / "bad" / f"im{k}.npy", np.roll(labels, 2, axis=0), "YX")
    return tmp_path


def test_folders_are_paired_scored_and_compared(folders, tmp_path):
    seen = []
    batch = evaluate_folder(
        folders / "reference",
        [folders / "good", folders / "bad"],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (12, 12)
    assert batch.images == tuple(f"im{k}" for k in range(6))
    good, bad = (batch.values("mean_dice")[name] for name in ("good", "bad"))
    assert min(good) > max(bad)
    overall = batch.overall("mean_dice")["good"]
    assert overall.mean == pytest.approx(np.mean(good))
    assert overall.median == pytest.approx(np.median(good))
    assert overall.low < overall.mean < overall.high
    (comparison,) = batch.comparisons("mean_dice")
    assert comparison.difference == pytest.approx(np.mean(good) - np.mean(bad))
    assert comparison.p == pytest.approx(wilcoxon(good, bad).pvalue)
    text = batch.to_csv(tmp_path / "batch.csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["kind"] for line in lines] == ["image"] * 12 + ["overall"] * 10 + [
        "comparison"
    ] * 6 + ["definition"]
    table = {(line["prediction"], line["row"]): line for line in lines}
    assert float(table["good", "im3"]["mean_dice"]) == pytest.approx(good[3])
    assert float(table["bad", "mean"]["dice 1"]) == pytest.approx(
        np.mean(batch.values("dice 1")["bad"])
    )
    assert float(table["good - bad", "p"]["mean_dice"]) == pytest.approx(comparison.p)
    assert lines[-1]["dice 1"] == DEFINITIONS["dice"]
    assert f"napari-segzoo {napari_segzoo.__version__}" in lines[-1]["row"]


def test_folders_as_markdown(folders):
    batch = evaluate_folder(folders / "reference", [folders / "good", folders / "bad"])
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] or line
        for line in batch.to_markdown().splitlines()
    ]
    good = batch.overall("dice 1")["good"]
    interval = f"{good.low:.4g} to {good.high:.4g}"
    assert ["dice 1", "6", f"{good.mean:.4g}", f"{good.median:.4g}", interval] in lines
    (c,) = batch.comparisons("mean_dice")
    interval = f"{c.low:.4g} to {c.high:.4g}"
    row = ["mean_dice", "6", f"{c.difference:.4g}", interval, f"{c.p:.4g}", f"{c.p_holm:.4g}"]
    assert row in lines
    assert "**good - bad** (p: Wilcoxon signed-rank test)" in lines


def test_folders_of_other_shapes_are_cropped_or_resampled_on_demand(folders):
    whole = evaluate_folder(folders / "reference", folders / "good")
    for path in (folders / "good").iterdir():
        labels = open_image(path, labels=True).data[...]
        path.unlink()
        save_image(path, labels.repeat(2, 0).repeat(2, 1), "YX")
    with pytest.raises(InputError, match="option fit"):
        evaluate_folder(folders / "reference", folders / "good")
    finer = evaluate_folder(folders / "reference", folders / "good", fit="resample")
    assert finer.values("dice 1") == whole.values("dice 1")
    assert finer.reports["good"][0].settings["fit"] == "resample"


def test_folders_take_the_spacing_that_is_asked_for(folders):
    own = evaluate_folder(folders / "reference", folders / "bad")
    pixels = evaluate_folder(folders / "reference", {"mine": folders / "bad"}, spacing=1)
    assert own.values("assd 1")["bad"] == pytest.approx(
        [2 * v for v in pixels.values("assd 1")["mine"]]
    )


def test_missing_and_surplus_predictions_are_told(folders):
    save_image(folders / "good" / "extra.png", np.zeros((4, 4), "u1"), "YX")
    assert evaluate_folder(folders / "reference", folders / "good").unpaired == (
        str(folders / "good" / "extra.png"),
    )
    (folders / "bad" / "im2.npy").unlink()
    with pytest.raises(InputError, match="no prediction for 'im2'"):
        evaluate_folder(folders / "reference", folders / "bad")
    save_image(folders / "reference" / "im1.png", np.zeros((4, 4), "u1"), "YX")
    with pytest.raises(InputError, match="same name"):
        evaluate_folder(folders / "reference", folders / "good")
    (folders / "none").mkdir()
    with pytest.raises(InputError, match="no images"):
        evaluate_folder(folders / "none", folders / "good")


def test_a_pair_that_does_not_fit_is_named(folders):
    np.save(folders / "bad" / "im0.npy", np.zeros((3, 3), "u1"))
    with pytest.raises(InputError, match=r"im0\.tif and .*im0\.npy: .*\(30, 30\)"):
        evaluate_folder(folders / "reference", folders / "bad")


def test_interval_narrows_with_images_and_holds_the_mean():
    random = np.random.default_rng(0)
    few, many = random.normal(0.8, 0.1, 8), random.normal(0.8, 0.1, 800)
    widths = [np.ptp(bootstrap_interval(values)) for values in (few, many)]
    assert widths[0] > 4 * widths[1]
    # for many images it is the normal approximation
    assert widths[1] == pytest.approx(2 * 1.96 * many.std() / math.sqrt(800), rel=0.1)
    assert bootstrap_interval(few) == bootstrap_interval(few)
    assert bootstrap_interval([*few, math.nan]) == bootstrap_interval(few)
    assert all(math.isnan(v) for v in bootstrap_interval([0.3]))
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_several_comparisons_are_corrected():
    random = np.random.default_rng(1)
    base = random.random(12)
    scores = {
        "a": base,
        "b": base + 0.1 * random.random(12),
        "c": base + 0.01 * random.normal(size=12),
    }
    found = compare(scores)
    assert [(c.first, c.second) for c in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    ordered = sorted(found, key=lambda c: c.p)
    assert ordered[0].p_holm == pytest.approx(min(1, 3 * ordered[0].p))
    assert all(c.p <= c.p_holm <= 1 for c in found)
    (same,) = compare({"a": base, "b": base})
    assert (same.p, same.difference) == (1, 0)
    (gaps,) = compare({"a": [0.1, math.nan, math.inf], "b": [0.2, 0.3, 0.4]})
    assert gaps.images == 1


def test_history_summarises_what_was_scored_one_by_one():
    """Two models on two images; model b was run twice on the first, and not on the second."""
    truth = np.array([1, 1, 1, 1, 0, 0])
    reports = [evaluate(truth, [1] * k + [0] * (6 - k)) for k in (4, 3, 2)]
    entries = []
    for image, name, source, report in [
        ("one", "a", "one a", reports[2]),
        ("one", "b", "one b", reports[1]),
        ("two", "a", "two a", reports[0]),
        ("one", "b", "one b again", reports[0]),
        ("one", "a", "one a", reports[1]),
    ]:
        entries = with_entry(entries, Entry(image, name, source, report))
    entries = with_entry(entries, Entry("one", "a", "x", evaluate(truth, truth, task="instances")))
    names = [(e.image, e.prediction) for e in entries]
    assert names == [
        ("one", "a"), ("one", "b"), ("two", "a"), ("one", "b (one b again)"), ("one", "a"),
    ]  # fmt: skip
    batch = as_batch(entries, "semantic")
    assert batch.images == ("one", "two")
    dice = batch.values("dice 1")
    # the image scored again counts once: 3 of 4 voxels found, and all
    assert dice["a"] == pytest.approx([6 / 7, 1])
    assert dice["b"][0] == pytest.approx(6 / 7)
    assert math.isnan(dice["b"][1])
    assert batch.overall("dice 1")["b"].images == 1
    assert [c.images for c in batch.comparisons("dice 1")] == [1, 1, 1]
    lines = list(csv.DictReader(io.StringIO(batch.to_csv())))
    assert [line["row"] for line in lines if line["kind"] == "image"] == [
        "one",
        "two",
        "one",
        "one",
    ]
    assert "napari-segzoo" in batch.to_markdown()
