import errno
import json
import subprocess
import sys

import numpy as np
import pytest
from tiny import noise, squares, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.cli import main
from napari_segzoo.preprocess import Normalization


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an image, labels drawn on it, the truth, and a model."""
    monkeypatch.chdir(tmp_path)
    image, truth = squares()
    drawn = np.where(truth, 2, 1).astype(np.uint8)
    drawn[20:] = 0
    for name, array in (("image", image), ("drawn", drawn), ("truth", truth.astype(np.uint8))):
        segzoo.save_image(f"{name}.tif", array, "YX", scale=(0.5, 0.5), unit="micrometer")
    tiny_model(classes=2, normalization=Normalization()).save("model.safetensors")
    return tmp_path


def run(capsys, *words):
    status = main([str(w) for w in words])
    out, err = capsys.readouterr()
    return status, out, err


def last_json(out):
    return json.loads(out.splitlines()[-1])


def test_predict_writes_a_file_and_tells_how(folder, capsys):
    status, out, err = run(capsys, "predict", "model.safetensors", "image.tif", "out.tif", "--json")
    assert status == 0
    record = last_json(out)
    assert list(record) == [
        "output", "shape", "axes", "seconds", "tiles", "tile", "overlap", "device", "precision",
        "engine", "peak_memory_bytes",
    ]  # fmt: skip
    assert record["shape"] == [96, 96]
    assert record["axes"] == "YX"
    assert record["peak_memory_bytes"] > 2**20
    assert "up to" in err, "the plan is shown before the run"
    assert "%|" not in err, "the progress bar stays out of pipes"
    written = segzoo.open_image("out.tif")
    assert (written.scale, written.unit) == ((0.5, 0.5), "micrometer")


def test_resuming_what_is_complete_does_nothing_and_says_so(folder, capsys):
    (folder / "out.tif").write_bytes(b"done")
    status, out, err = run(
        capsys, "predict", "model.safetensors", "image.tif", "out.tif", "--resume", "--json"
    )
    assert (status, last_json(out)["output"]) == (0, "out.tif")
    assert "complete already" in err
    assert (folder / "out.tif").read_bytes() == b"done"


def test_what_is_complete_is_told_as_far_as_it_is_known(folder, capsys):
    words = ["predict", "model.safetensors", "image.tif", "out.tif", "--json"]
    made = last_json(run(capsys, *words)[1])
    found = last_json(run(capsys, *words, "--resume")[1])
    assert list(found) == list(made)
    assert [found[k] for k in ("output", "shape", "axes")] == ["out.tif", [96, 96], "YX"]


def test_a_folder_goes_on_after_an_image_that_fails(folder, capsys):
    (folder / "in").mkdir()
    for name, array in (("a", squares()[0]), ("c", np.zeros((96, 96), "u1")), ("d", squares()[0])):
        segzoo.save_image(folder / "in" / f"{name}.tif", array, "YX")
    (folder / "in" / "b.tif").write_bytes((folder / "in" / "a.tif").read_bytes()[:300])
    words = ["predict", "model.safetensors", "in", "out", "--json"]
    for again in ([], ["--resume"]):
        status, out, err = run(capsys, *words, *again)
        assert status == 1
        record = last_json(out)
        assert len(record["images"]) == (0 if again else 3)
        assert [f["input"] for f in record["failed"]] == ["in/b.tif"]
        assert "1 of" in err and "b.tif" in err.splitlines()[-1]
        assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.tif", "c.tif", "d.tif"]
    assert segzoo.open_image("out/c.tif").data[:].max() == 0


def test_predict_with_every_option(folder, capsys):
    status, out, _ = run(
        capsys, "predict", "model.safetensors", "image.tif", "out.zarr", "--output",
        "probabilities", "--axes", "YX", "--tile", "64,32", "--blend", "exact", "--device", "cpu",
        "--precision", "float32", "--engine", "torch", "--tta", "--json",
    )  # fmt: skip
    assert status == 0
    record = last_json(out)
    assert record["tile"] == [64, 32]
    assert record["shape"] == [2, 96, 96]


def test_predict_a_folder(folder, capsys):
    (folder / "in").mkdir()
    for n in range(3):
        segzoo.save_image(folder / "in" / f"{n}.png", squares(seed=n)[0], "YX")
    status, out, _ = run(capsys, "predict", "model.safetensors", "in", "results", "--json")
    assert status == 0
    assert len(last_json(out)["images"]) == 3
    assert sorted(p.name for p in (folder / "results").iterdir()) == ["0.tif", "1.tif", "2.tif"]
    status, out, err = run(capsys, "predict", "model.safetensors", "in", "results", "--json")
    assert status == 2
    assert "exists already" in err
    status, out, err = run(
        capsys, "predict", "model.safetensors", "in", "results", "--json", "--resume"
    )
    assert status == 0
    assert last_json(out)["images"] == []


def test_finetune_then_predict_then_evaluate(folder, capsys):
    status, out, _ = run(
        capsys, "finetune", "new.safetensors", "--image", "image.tif", "--labels", "drawn.tif",
        "--steps", "25", "--option", "widths=[8,16]", "--seed", "1", "--val-image", "image.tif",
        "--val-labels", "drawn.tif", "--json",
    )  # fmt: skip
    assert status == 0
    record = last_json(out)
    assert list(record) == [
        "output", "steps", "seconds", "loss", "validation", "labelled_voxels", "device",
    ]  # fmt: skip
    assert record["steps"] == 25
    assert set(record["labelled_voxels"]) == {"1", "2"}
    assert run(capsys, "predict", "new.safetensors", "image.tif", "out.tif")[0] == 0
    status, out, _ = run(
        capsys, "evaluate", "truth.tif", "out.tif", "--csv", "scores.csv", "--overlay",
        "errors.tif", "--per-slice", "--json",
    )  # fmt: skip
    assert status == 0
    report = last_json(out)
    assert set(report) >= {
        "dice", "iou", "precision", "recall", "mean_dice", "mean_iou", "pixel_accuracy",
        "mean_pixel_accuracy", "frequency_weighted_iou", "hd95", "assd", "nsd", "confusion",
        "labels",
    }  # fmt: skip
    assert report["dice"]["1"] > 0.8
    assert "dice" in (folder / "scores.csv").read_text().lower()
    errors = segzoo.open_image("errors.tif").data[:]
    truth, found = (segzoo.open_image(f"{n}.tif").data[:] for n in ("truth", "out"))
    assert (errors == 1).sum() == ((truth == 1) & (found == 1)).sum()


def test_finetune_from_a_base_and_with_zero_as_background(folder, capsys):
    status, out, _ = run(
        capsys, "finetune", "new.safetensors", "--image", "image.tif", "--labels", "truth.tif",
        "--base", "model.safetensors", "--unlabeled", "background", "--steps", "1", "--json",
    )  # fmt: skip
    assert status == 0
    assert set(last_json(out)["labelled_voxels"]) == {"1"}


def test_evaluate_instances(folder, capsys):
    status, out, _ = run(
        capsys, "evaluate", "truth.tif", "truth.tif", "--task", "instances", "--json"
    )
    assert status == 0
    report = last_json(out)
    assert set(report) >= {
        "ap", "mean_ap", "f1", "precision", "recall", "panoptic_quality", "segmentation_quality",
        "recognition_quality", "aji", "seg", "n_reference", "n_prediction",
    }  # fmt: skip
    assert report["ap"]["0.5"] == report["ap"]["0.95"] == 1


def test_spacing_of_the_file_or_of_the_command(folder, capsys):
    moved = np.roll(segzoo.open_image("truth.tif").data[:], 3, axis=1)
    segzoo.save_image("moved.tif", moved, "YX")
    of_file = last_json(run(capsys, "evaluate", "truth.tif", "moved.tif", "--json")[1])
    given = last_json(
        run(capsys, "evaluate", "truth.tif", "moved.tif", "--spacing", "1,1", "--json")[1]
    )
    assert given["hd95"]["1"] == pytest.approx(2 * of_file["hd95"]["1"])


def test_folders_are_scored_image_by_image(folder, capsys):
    for name, shift in (("a", 0), ("b", 4)):
        truth = segzoo.open_image("truth.tif").data[:]
        for kind in ("true", "found"):
            (folder / kind).mkdir(exist_ok=True)
            moved = np.roll(truth, shift if kind == "found" else 0, axis=0)
            segzoo.save_image(f"{kind}/{name}.tif", moved, "YX")
    status, out, _ = run(capsys, "evaluate", "true", "found", "--csv", "all.csv", "--json")
    assert status == 0
    record = last_json(out)
    dice = [record["images"][name]["dice"]["1"] for name in "ab"]
    assert dice[0] == 1
    assert record["overall"]["dice 1"]["mean"] == pytest.approx(np.mean(dice))
    assert (folder / "all.csv").exists()


def test_models_and_info(folder, capsys):
    status, out, _ = run(capsys, "models", "--json")
    assert status == 0
    names = [n["name"] for n in last_json(out)["networks"]]
    assert names == [s.name for s in segzoo.list_models()]
    status, out, _ = run(capsys, "info", "unet", "--json")
    assert last_json(out)["parameters"] == 31037698
    status, out, _ = run(capsys, "info", "model.safetensors", "--json")
    record = last_json(out)
    assert record["architecture"] == "unet"
    assert record["parameters"] == sum(
        p.numel() for p in segzoo.load_model("model.safetensors").network.parameters()
    )
    assert "unet" in run(capsys, "models")[1]


BAD = [
    (["predict", "model.safetensors", "missing.tif", "o.tif"], 2, "missing.tif"),
    (["predict", "missing.safetensors", "image.tif", "o.tif"], 2, "missing.safetensors"),
    (["predict", "image.tif", "image.tif", "o.tif"], 2, "not a model file"),
    (["predict", "model.safetensors", "image.tif", "truth.tif"], 2, "exists already"),
    (["predict", "model.safetensors", "image.tif", "o.jpg"], 2, "ending"),
    (["predict", "model.safetensors", "image.tif", "no/o.tif"], 2, "does not exist"),
    (["predict", "model.safetensors", "image.tif", "o.tif", "--axes", "XY"], 2, "order"),
    (["predict", "model.safetensors", "stack.tif", "o.tif"], 2, "axes"),
    (["predict", "model.safetensors", "image.tif", "o.tif", "--tile", "a"], 2, "--tile"),
    (["predict", "model.safetensors", "image.tif", "o.tif", "--tile", "8,8,8"], 2, "tile"),
    (["predict", "model.safetensors", "image.tif", "o.tif", "--overlap", "2"], 2, "overlap"),
    (["predict", "model.safetensors", "image.tif", "o.tif", "--device", "cuda:77"], 2, "GPU"),
    (["predict", "model.safetensors", "image.tif", "o.tif", "--blend", "x"], 2, "blend"),
    (["predict", "model.safetensors", "broken.tif", "o.tif"], 2, "broken.tif"),
    (["predict", "model.safetensors", "image.tif", "o.tif", "--tile", "64.7"], 2, "whole numbers"),
    (["predict", "model.safetensors", "image.tif", "image.tif", "--overwrite"], 2, "image itself"),
    (["predict", "model.safetensors"], 2, "Missing argument"),
    (["predict", "--nonsense"], 2, "--nonsense"),
    (["finetune", "o.safetensors", "--image", "image.tif"], 2, "--labels"),
    (["finetune", "o.pt", "--image", "image.tif", "--labels", "drawn.tif"], 2, ".safetensors"),
    (["finetune", "model.safetensors", "--image", "image.tif", "--labels", "drawn.tif"], 2,
     "exists already"),
    (["finetune", "o.safetensors", "--image", "image.tif", "--labels", "zero.tif"], 2,
     "Nothing is drawn"),
    (["finetune", "o.safetensors", "--image", "image.tif", "--labels", "truth.tif"], 2,
     "Only label 1"),
    (["finetune", "o.safetensors", "--image", "image.tif", "--labels", "stack.tif"], 2, "shape"),
    (["finetune", "o.safetensors", "--image", "image.tif", "--labels", "drawn.tif", "--option",
      "widths"], 2, "key=value"),
    (["finetune", "o.safetensors", "--image", "image.tif", "--labels", "drawn.tif",
      "--architecture", "yolo"], 2, "yolo"),
    (["evaluate", "truth.tif", "stack.tif"], 2, "shape"),
    (["evaluate", "truth.tif", "missing.tif"], 2, "missing.tif"),
    (["evaluate", "truth.tif", "truth.tif", "--csv", "image.tif"], 2, "exists already"),
    (["evaluate", "truth.tif", "truth.tif", "--spacing", "1,x"], 2, "--spacing"),
    (["evaluate", "truth.tif", "truth.tif", "--task", "x"], 2, "task"),
    (["info", "nothing"], 2, "nothing"),
    (["info", "nothing"], 2, "no network or trained model"),
    (["predict", "unet", "image.tif", "o.tif"], 2, "yet to be trained"),
    (["frobnicate"], 2, "frobnicate"),
    (["predct"], 2, "did you mean 'predict'?"),
    (["predict"], 2, "see napari-segzoo predict --help."),
    (["finetune", "o.safetensors", "--steps", "x"], 2, "'--steps'"),
    (["finetune", "o.safetensors", "--image", "image.tif", "--labels", "drawn.tif", "--seed",
      "-1"], 2, "'--seed'"),
    (["finetune", "o.safetensors", "--image", "image.tif", "--labels", "drawn.tif", "--option",
      "widths=abc"], 2, "widths='abc'"),
    (["evaluate", "truth.tif", "truth.tif", "--ignore", "x"], 2, "'--ignore'"),
    (["demo", "--out", "image.tif"], 2, "image.tif cannot be made a folder"),
]  # fmt: skip


@pytest.mark.parametrize("words, status, said", BAD, ids=[" ".join(b[0]) for b in BAD])
def test_wrong_use_is_one_sentence_and_leaves_everything_as_it_was(
    folder, capsys, words, status, said
):
    segzoo.save_image("zero.tif", np.zeros((96, 96), np.uint8), "YX")
    import tifffile

    tifffile.imwrite("stack.tif", (noise((5, 20, 20)) * 2).astype(np.uint8), metadata=None)
    whole = (folder / "image.tif").read_bytes()
    (folder / "broken.tif").write_bytes(whole[: len(whole) // 3])
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    found, out, err = run(capsys, *words)
    assert found == status, err
    assert said in err
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith("Error: ")] == [
        err.splitlines()[-1]
    ]
    assert out == ""
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_an_unforeseen_error_is_one_sentence_unless_debug(folder, capsys, monkeypatch):
    def broken(*args, **kwargs):
        raise KeyError("surprise")

    monkeypatch.setattr("napari_segzoo.model.load_model", broken)
    words = ["predict", "model.safetensors", "image.tif", "o.tif"]
    status, _, err = run(capsys, *words)
    assert status == 1
    assert "surprise" in err
    assert "--debug" in err
    status, _, err = run(capsys, *words, "--debug")
    assert status == 1
    assert "Traceback" in err and "in broken" in err


def test_memory_that_ran_out_is_one_sentence(folder, capsys, monkeypatch):
    def greedy(*args, **kwargs):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr("napari_segzoo.model.load_model", greedy)
    status, _, err = run(capsys, "predict", "model.safetensors", "image.tif", "o.tif")
    assert status == 1
    assert err.splitlines()[-1].startswith("Error: Memory ran out (Unable to allocate 9 GiB);")


def test_wrong_use_keeps_its_status_with_debug(capsys):
    status, _, err = run(capsys, "info", "nothing", "--debug")
    assert status == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("Error: There is no network")
    assert run(capsys, "predct", "--debug")[0] == 2


def test_help_is_no_error(capsys):
    status, out, err = run(capsys, "predict", "--help")
    assert (status, err) == (0, "")
    assert "napari-segzoo predict" in out
    status, out, err = run(capsys)
    assert (status, out) == (2, "")
    assert "predict" in err


def test_the_program_runs_as_a_user_starts_it(folder):
    program = [sys.executable, "-m", "napari_segzoo"]
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True)
    for command in ("demo", "models", "info", "predict", "finetune", "evaluate"):
        assert command in done.stdout
    failed = subprocess.run([*program, "info", "x"], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert failed.stderr.startswith("Error: ")
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "function, words, output",
    [
        ("napari_segzoo.io.save_image", ["predict", "model.safetensors", "image.tif"], "o.tif"),
        (
            "safetensors.torch.save_file",
            ["finetune", "--image", "image.tif", "--labels", "drawn.tif", "--steps", "1"],
            "o.safetensors",
        ),
    ],
)
def test_a_full_disk_is_one_sentence(folder, capsys, monkeypatch, function, words, output):
    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(function, no_space)
    status, _, err = run(capsys, *words, output)
    assert status == 1
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert not (folder / output).exists()
