"""Ctrl-C and SIGTERM: one sentence, the status that shells expect, and nothing lost."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from datasets import write_folders
from tiny import squares, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.cli import main
from napari_segzoo.preprocess import Normalization
from napari_segzoo.training import train as folder_training
from napari_segzoo.training.adamw import AdamW

SIGNALS = [signal.SIGINT, signal.SIGTERM]
FINETUNE = [
    "finetune", "new.safetensors", "--image", "image.tif", "--labels", "drawn.tif", "--steps", "9",
    "--option", "widths=[4,8]", "--device", "cpu", "--json",
]  # fmt: skip
IMPORTING = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from napari_segzoo.cli import main
sys.exit(main(["models"]))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image, truth = squares(48)
    segzoo.save_image("image.tif", image, "YX")
    segzoo.save_image("drawn.tif", np.where(truth, 2, 1).astype(np.uint8), "YX")
    tiny_model(classes=2, normalization=Normalization()).save("model.safetensors")
    return tmp_path


@pytest.fixture
def interrupt(monkeypatch):
    """Let a function be called some times, and signals come during the last."""

    def patch(owner, name, *numbers, calls=1):
        original, made = getattr(owner, name), []

        def wrapper(*args, **kwargs):
            made.append(name)
            if len(made) == calls:
                for number in numbers:
                    signal.raise_signal(number)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    return patch


def told(capsys):
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out.splitlines(), err.strip().splitlines()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_prediction_says_how_to_go_on(folder, interrupt, capsys, number):
    import napari_segzoo.inference.files as files

    interrupt(files, "save", number)
    words = ["predict", "model.safetensors", "image.tif", "out.tif", "--device", "cpu"]
    before = [signal.getsignal(n) for n in SIGNALS]
    assert main(words) == 128 + number
    assert [signal.getsignal(n) for n in SIGNALS] == before
    *_, last = told(capsys)[1]
    assert last.startswith("Stopped; ") and "--resume" in last
    assert not (folder / "out.tif").exists()
    assert main([*words, "--resume"]) == 0
    assert (folder / "out.tif").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    folder, interrupt, monkeypatch, capsys, number
):
    """A validation is due at the step during which it is stopped."""
    write_folders(folder / "data", count=3, size=32)
    common = ["--data", "data", "--option", "widths=[4,8]", "--device", "cpu", "--epochs", "2"]
    common += ["--batch", "4", "--crop", "16"]
    assert main(["train", "whole.safetensors", *common]) == 0
    interrupt(folder_training, "take_step", number, calls=3)
    assert main(["train", "stopped.safetensors", *common]) == 128 + number
    *_, last = told(capsys)[1]
    assert last.startswith("Stopped; ") and "--resume" in last
    assert not (folder / "stopped.safetensors").exists()
    assert (folder / ".stopped.safetensors.checkpoint").exists()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main(["train", "stopped.safetensors", *common, "--resume"]) == 0
    assert "Going on after 3 steps" in capsys.readouterr().err
    whole, stopped = (
        segzoo.load_model(f"{n}.safetensors").network.state_dict() for n in ("whole", "stopped")
    )
    assert all(torch.equal(value, whole[name]) for name, value in stopped.items())


def test_a_training_that_is_to_leave_at_once_leaves_the_older_checkpoint(folder, interrupt, capsys):
    write_folders(folder / "data", count=3, size=32)
    words = ["train", "new.safetensors", "--data", "data", "--option", "widths=[4,8]"]
    words += ["--device", "cpu", "--epochs", "2", "--crop", "16", "--batch", "2"]
    words += ["--checkpoint-seconds", "0"]
    interrupt(folder_training, "take_step", signal.SIGINT, signal.SIGINT, calls=3)
    assert main(words) == 130
    assert told(capsys)[1][-1].startswith("Stopped; ")
    assert main([*words, "--resume"]) == 0
    assert "Going on after 2 steps" in capsys.readouterr().err


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_finetuning_keeps_its_model(folder, interrupt, capsys, number):
    interrupt(AdamW, "step", number, calls=3)
    assert main(FINETUNE) == 128 + number
    out, err = told(capsys)
    assert json.loads(out[-1])["steps"] == 3
    assert any(line.startswith("Stopping after this step") for line in err)
    assert segzoo.load_model("new.safetensors").info.provenance["steps"] == 3


def test_a_second_signal_abandons_a_finetuning(folder, interrupt, capsys):
    interrupt(AdamW, "step", signal.SIGINT, signal.SIGINT, calls=3)
    assert main(FINETUNE) == 130
    assert told(capsys)[1][-1] == "Stopped; no model was written."
    assert not (folder / "new.safetensors").exists()


def test_a_finetuning_that_learnt_nothing_yet_writes_nothing(folder, interrupt, capsys):
    interrupt(AdamW, "step", signal.SIGTERM, calls=1)
    assert main(FINETUNE) == 143
    assert told(capsys)[1][-1] == "Stopped; no model was written."
    assert not (folder / "new.safetensors").exists()


def test_an_interrupt_while_libraries_load_shows_no_traceback():
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "Stopped; it had not finished.\n"
