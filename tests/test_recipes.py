"""A copied command or script repeats the run that it was copied from."""

import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_segzoo as segzoo
from napari_segzoo import recipes
from napari_segzoo.inference import PredictOptions
from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes
from napari_segzoo.training.job import FinetuneOptions

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56)).astype(np.uint8)
DRAWN = np.zeros(IMAGE.shape, np.uint8)
DRAWN[:6], DRAWN[20:26] = 1, 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an image, drawn labels and a model, whose names need quoting."""
    monkeypatch.chdir(tmp_path)
    segzoo.save_image("my image.tif", IMAGE, "YX")
    segzoo.save_image("my drawing.tif", DRAWN, "YX")
    info = ModelInfo("unet", 2, 1, default_classes(2), {"widths": (4, 8)})
    SegmentationModel.create(info).save("my model.safetensors")
    return tmp_path


def run_command(command):
    from napari_segzoo.cli.commands import app

    program, *arguments = shlex.split(command)
    assert program == "napari-segzoo"
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def run_script(script):
    exec(compile(script, "script.py", "exec"), {})


OPTIONS = PredictOptions(
    output="probabilities", tile=(16, 32), overlap=0.5, device="cpu", precision="float32", tta=True
)


@pytest.mark.parametrize("options", [PredictOptions(), OPTIONS], ids=["usual", "unusual"])
def test_predict(folder, options):
    arguments = ("my model.safetensors", "my image.tif")
    run_command(recipes.predict_command(*arguments, "a b.tif", "YX", options))
    run_script(recipes.predict_script(*arguments, "c d.tif", "YX", options))
    expected = segzoo.predict(
        "my model.safetensors",
        IMAGE,
        output=options.output,
        tile=options.tile,
        overlap=options.overlap,
        tta=options.tta,
    )
    for name in ("a b.tif", "c d.tif"):
        assert np.allclose(np.asarray(segzoo.open_image(name).data), expected, atol=1e-6)


def make_training(**changes):
    values = {
        "out": "new model.safetensors",
        "images": ("my image.tif",),
        "labels": ("my drawing.tif",),
        "axes": "YX",
        "base": "my model.safetensors",
        "options": FinetuneOptions(steps=2, seed=3, device="cpu"),
    }
    return recipes.Training(**{**values, **changes})


def test_finetune(folder):
    training = make_training(class_names=("background", "it's a cell"))
    run_command(recipes.finetune_command(training))
    by_command = segzoo.load_model("new model.safetensors").info
    assert (by_command.provenance["steps"], by_command.provenance["seed"]) == (2, 3)
    (folder / training.out).unlink()
    run_script(recipes.finetune_script(training))
    by_script = segzoo.load_model("new model.safetensors").info
    assert (by_script.provenance["steps"], by_script.provenance["seed"]) == (2, 3)
    assert [c.name for c in by_script.classes] == ["background", "it's a cell"]


UNUSUAL = [
    (
        {"base": None},
        {"architecture_options": {"widths": (4, 8), "norm": "group"}, "loss": "focal"},
        {"loss": "focal"},
    ),
    ({}, {"tune": "low-rank", "hold_out": 0.5}, {"tune": "low-rank"}),
    (
        {"validation_images": ("my image.tif",), "validation_labels": ("my drawing.tif",)},
        {},
        {"tune": "all"},
    ),
]


@pytest.mark.parametrize(("changes", "options", "noted"), UNUSUAL)
def test_unusual_options_are_repeated(folder, changes, options, noted):
    chosen = FinetuneOptions(steps=2, seed=3, device="cpu", **options)
    training = make_training(options=chosen, **changes)
    run_command(recipes.finetune_command(training))
    by_command = segzoo.load_model(training.out)
    (folder / training.out).unlink()
    run_script(recipes.finetune_script(training))
    by_script = segzoo.load_model(training.out)
    a, b = by_command.network.state_dict(), by_script.network.state_dict()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    provenance = by_command.info.provenance
    assert {name: provenance[name] for name in noted} == noted
    assert (provenance["validation_dice"] is not None) == bool(training.validation_images)
    for name, value in chosen.architecture_options.items():
        assert by_command.info.options[name] == value


def test_usual_options_are_left_out():
    command = recipes.finetune_command(
        make_training(base=None, options=FinetuneOptions(budget=60.0))
    )
    assert shlex.split(command)[2:] == [
        *("new model.safetensors", "--image", "my image.tif", "--labels", "my drawing.tif"),
        *("--axes", "YX", "--budget", "60"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"spacing": (0.5, 2.0), "ignore": 1, "tolerance": 2.5, "centreline": True},
        {
            "fit": "resample",
            "offset": (0.5, -1.0),
            "region": (slice(2, 30), slice(0, 20)),
            "mask": "my drawing.tif",
        },
    ],
)
def test_evaluate(folder, capsys, options):
    """Command and script print the same numbers."""
    measured = recipes.Measurement(
        "my drawing.tif", "my drawing.tif", **{"spacing": None, "task": "semantic", **options}
    )
    printed = run_command(recipes.evaluate_command(measured))
    assert "mean_dice" in printed
    run_script(recipes.evaluate_script(measured))
    assert capsys.readouterr().out == printed
