"""Training from a folder: what it learns, that it can be killed, shared, and reproduced."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from datasets import write_decathlon, write_folders, write_voc

from napari_segzoo import InputError, RunError, load_model, open_image, predict
from napari_segzoo.cli import main
from napari_segzoo.training import Finished, Note, Saved, Scored, Snapshot, StepDone, find_dataset
from napari_segzoo.training.data import IGNORE
from napari_segzoo.training.recipe import TrainOptions
from napari_segzoo.training.train import train_model
from napari_segzoo.training.validate import count_confusion, score

SMALL = {"architecture_options": {"widths": (4, 8)}, "device": "cpu", "precision": "float32"}
COMMAND = ("--option", "widths=[4,8]", "--device", "cpu", "--batch", "4", "--crop", "16")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("folders"), count=5, size=48)


def train(folder, *, checkpoint=None, resume=False, seed=0, **options):
    settings = TrainOptions(**{**SMALL, "seed": seed, **options})
    return list(train_model(find_dataset(folder), settings, checkpoint=checkpoint, resume=resume))


def weights(model):
    return model.network.state_dict()


def assert_equal_weights(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_confusion_by_hand():
    # The example of the field's texts: target and prediction of nine pixels, four classes.
    target = np.array([0, 1, 1, 2, 2, 3, 1, 2, 3])
    prediction = np.array([1, 1, 1, 2, 3, 3, 1, 2, 3])
    table = count_confusion(np.append(target, IGNORE), np.append(prediction, 2), 4)
    assert table.tolist() == [[0, 1, 0, 0], [0, 3, 0, 0], [0, 0, 2, 1], [0, 0, 0, 2]]
    found = score(table, step=3)
    assert found.mean_iou == pytest.approx((0 + 3 / 4 + 2 / 3 + 2 / 3) / 4)
    assert found.iou[1] == 0.75 and found.step == 3
    assert found.mean_dice == pytest.approx((6 / 7 + 4 / 5 + 4 / 5) / 3)


def test_a_network_learns_and_the_best_is_kept(folders):
    events = train(folders, epochs=16, batch=4, crop=(32,), learning_rate=2e-2)
    steps = [e for e in events if isinstance(e, StepDone)]
    scores = [e.mean_iou for e in events if isinstance(e, Scored)]
    finished = events[-1]
    assert isinstance(finished, Finished) and finished.steps == len(steps) == 16 * 2
    assert steps[-1].progress == 1 and steps[0].learning_rate < steps[2].learning_rate
    assert 16 <= len(scores) <= 20
    assert finished.validation == max(scores) > 0.75
    assert len([e for e in events if isinstance(e, Snapshot)]) == len(scores)
    # The score is that of the model as users run it.
    (sample,) = find_dataset(folders).validation
    found = predict(finished.model, open_image(sample.image).data, device="cpu")
    truth = open_image(sample.labels).data[...]
    assert score(count_confusion(truth, found, 2), 0).mean_iou == pytest.approx(max(scores))
    provenance = finished.model.info.provenance
    assert provenance["validation_mean_iou"] == max(scores)
    assert provenance["images"] == 4 and provenance["optimizer"] == "adamw"
    json.dumps(dict(provenance))


def test_the_same_seed_gives_the_same_weights(folders):
    first, second, other = (
        train(folders, epochs=1, batch=4, crop=(16,), seed=s)[-1].model for s in (1, 1, 2)
    )
    assert_equal_weights(weights(first), weights(second))
    assert any(not torch.equal(v, weights(other)[k]) for k, v in weights(first).items())


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("unet", {"widths": (4, 8), "dropout": 0.3}),
        ("fcn_resnet50", {"width": 4, "backbone": "resnet18", "aux": True}),
    ],
)
def test_an_interrupted_training_ends_as_one_that_was_not(folders, tmp_path, architecture, options):
    """Dropout, running statistics, momentum, side outputs and the best model come back."""
    settings = TrainOptions(
        architecture=architecture,
        architecture_options=options,
        epochs=3,
        batch=4,
        crop=(16,),
        device="cpu",
        checkpoint_seconds=0,
    )
    dataset = find_dataset(folders)
    whole = list(train_model(dataset, settings))[-1]
    path = tmp_path / "state"
    broken = train_model(dataset, settings, checkpoint=path)
    for event in broken:
        if isinstance(event, Saved) and event.step == whole.steps // 2:
            break
    broken.close()
    resumed = list(train_model(dataset, settings, checkpoint=path, resume=True))
    notes = [e.message for e in resumed if isinstance(e, Note)]
    assert f"Going on after {whole.steps // 2} steps, in epoch 2." in notes
    assert resumed[-1].steps == whole.steps
    assert resumed[-1].loss == whole.loss and resumed[-1].validation == whole.validation
    assert_equal_weights(weights(resumed[-1].model), weights(whole.model))


def run_alone(*words):
    """Start the command line in a process of its own: bits depend on what else a process did."""
    script = "import sys; from napari_segzoo.cli import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_killed_training_ends_as_one_that_was_not(folders, tmp_path):
    """The process is killed at a random moment, while it writes checkpoints without pause."""
    common = ["--data", str(folders), *COMMAND, "--epochs", "8", "--checkpoint-seconds", "0"]
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    assert run_alone("train", str(whole), *common).wait() == 0
    process = run_alone("train", str(killed), *common)
    checkpoint = tmp_path / ".killed.safetensors.checkpoint"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(random.random() * 0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not killed.exists() and checkpoint.exists()
    assert main(["train", str(killed), *common]) == 2
    assert run_alone("train", str(killed), *common, "--resume").wait() == 0
    assert not checkpoint.exists()
    assert_equal_weights(weights(load_model(killed)), weights(load_model(whole)))


def test_a_checkpoint_of_another_training_is_refused(folders, tmp_path):
    path = tmp_path / "state"
    train(folders, epochs=1, crop=(16,), checkpoint=path, checkpoint_seconds=0)
    with pytest.raises(InputError, match=r"begun with learning_rate = 0\.001, not 0\.1"):
        train(folders, epochs=1, crop=(16,), checkpoint=path, resume=True, learning_rate=0.1)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="no checkpoint of a training, or it is damaged"):
            train(folders, epochs=1, crop=(16,), checkpoint=path, resume=True)


def test_a_checkpoint_cannot_run_code(folders, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save({"format": Evil()}, tmp_path / "state")
    with pytest.raises(InputError):
        train(folders, epochs=1, crop=(16,), checkpoint=tmp_path / "state", resume=True)
    assert not (tmp_path / "evil").exists()


SHARED = TrainOptions(
    architecture_options={"widths": (4, 8), "norm": "group"},
    epochs=2,
    batch=4,
    crop=(16,),
    resize=(1, 1),
    loss="cross_entropy",
    device="cpu",
    precision="float32",
)
WORKER = """
import sys, torch
from napari_segzoo.training import Scored, find_dataset
from napari_segzoo.training.processes import process_rank
from napari_segzoo.training.recipe import TrainOptions
from napari_segzoo.training.train import train_model

folder, out = sys.argv[1:]
events = list(train_model(find_dataset(folder, validation_share=0.4), {options}))
model = events[-1].model
found = {{
    "scores": [e.mean_iou for e in events if isinstance(e, Scored)],
    "state": model.network.state_dict(),
    "processes": model.info.provenance["processes"],
}}
torch.save(found, f"{{out}}/{{process_rank()}}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_one_network(folders, tmp_path):
    """Their weights and scores are the same, and those of one process to rounding."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(options=SHARED))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = ["--nproc-per-node", "2", str(script), str(folders), str(tmp_path)]
    subprocess.run([*launcher, *words], check=True, stderr=subprocess.DEVNULL)
    first, second = torch.load(tmp_path / "0.pt"), torch.load(tmp_path / "1.pt")
    assert first["processes"] == 2
    events = list(train_model(find_dataset(folders, validation_share=0.4), SHARED))
    scores = [e.mean_iou for e in events if isinstance(e, Scored)]
    assert first["scores"] == second["scores"]
    assert_equal_weights(first["state"], second["state"])
    for name, value in weights(events[-1].model).items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-3, atol=1e-4)
    assert first["scores"] == pytest.approx(scores, abs=0.01)


def test_voc_with_a_backbone_network(tmp_path, capsys):
    write_voc(tmp_path / "voc")
    out = tmp_path / "model.safetensors"
    arguments = ["train", str(out), "--data", str(tmp_path / "voc"), "--epochs", "2", "--json"]
    small = ["--architecture", "deeplabv3plus_resnet50", "--option", "width=4", "--crop", "32"]
    assert main([*arguments, *small, "--device", "cpu", "--loss", "weighted_cross_entropy"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["classes"][15] == "person" and len(record["classes"]) == 21
    # Only background and person occur, and a class in neither image has no score.
    assert {k for k, v in record["validation_iou"].items() if v is not None} <= {
        str(n) for n in range(21)
    }
    info = load_model(out).info
    assert info.provenance["optimizer"] == "sgd" and info.in_channels == 3


def test_decathlon_in_3d(tmp_path, capsys):
    write_decathlon(tmp_path / "task")
    out = tmp_path / "model.safetensors"
    assert (
        main(["train", str(out), "--data", str(tmp_path / "task"), *COMMAND, "--epochs", "1"]) == 0
    )
    info = load_model(out).info
    assert (info.ndim, info.in_channels) == (3, 2)
    assert [c.name for c in info.classes] == ["background", "oedema", "tumour"]
    assert info.unit == "millimeter"
    assert "oedema" in capsys.readouterr().err


def test_a_budget_ends_in_time_with_a_validated_model(folders):
    events = train(folders, budget=1.0, crop=(16,))
    steps = [e for e in events if isinstance(e, StepDone)]
    assert steps[-1].progress == 1 and steps[-2].seconds < 1
    assert events[-1].validation is not None


def test_mixed_precision_keeps_weights_in_full(folders):
    finished = train(folders, epochs=1, crop=(16,), precision="bfloat16")[-1]
    exact = train(folders, epochs=1, crop=(16,))[-1]
    assert all(v.dtype != torch.bfloat16 for v in weights(finished.model).values())
    assert finished.loss != exact.loss
    assert finished.loss == pytest.approx(exact.loss, rel=0.05)


def test_training_stops_when_asked(folders):
    answers = iter([False, False, True])
    options = TrainOptions(**SMALL, epochs=100, crop=(16,))
    events = list(train_model(find_dataset(folders), options, stop=lambda: next(answers)))
    assert events[-1].steps == 3


def test_stopping_leaves_a_checkpoint(folders, tmp_path):
    options = TrainOptions(**SMALL, epochs=100, crop=(16,))
    path = tmp_path / "state"
    answers = iter([False, True])
    events = list(
        train_model(find_dataset(folders), options, checkpoint=path, stop=lambda: next(answers))
    )
    assert [e for e in events if isinstance(e, Saved)] == [Saved(2, path, last=True)]
    assert path.exists() and events[-1].steps == 2


def test_a_score_that_is_no_number_is_never_the_best(folders, monkeypatch):
    """The first validation, of images where nothing counts, does not keep the first weights."""
    scores = iter([math.nan, 0.25, math.nan, 0.5, 0.1])

    def scored(confusion, step):
        return Scored(step, {}, math.nan, {}, next(scores, 0.0))

    monkeypatch.setattr("napari_segzoo.training.train.score", scored)
    assert train(folders, epochs=1, crop=(16,))[-1].validation == 0.5
    monkeypatch.setattr(
        "napari_segzoo.training.train.score", lambda c, s: Scored(s, {}, math.nan, {}, math.nan)
    )
    assert train(folders, epochs=1, crop=(16,))[-1].validation is None


def test_options_without_the_command_line_are_checked_too():
    for wrong in ({"seed": -1}, {"ndim": 4}, {"learning_rate": math.inf}, {"budget": math.nan}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            TrainOptions(**wrong)


def test_pretrained_weights_bring_their_normalisation(folders, tmp_path):
    first = train(folders, epochs=1, crop=(16,))[-1].model
    own, foreign = first.save(tmp_path / "own.safetensors"), tmp_path / "foreign.pt"
    torch.save(weights(first), foreign)
    start = train(folders, epochs=1, crop=(16,), weights=own, learning_rate=1e-12)[-1].model
    torch.testing.assert_close(weights(start)["head.weight"], weights(first)["head.weight"])
    assert start.info.normalization == first.info.normalization
    start = train(folders, epochs=1, crop=(16,), weights=foreign)[-1].model
    assert start.info.normalization.kind == "fixed"
    assert start.info.normalization.mean == (pytest.approx((0.485 + 0.456 + 0.406) / 3),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "dise"], "did you mean 'dice'"),
        (["--architecture", "unets"], "did you mean 'unet'"),
        (["--option", "width=3"], "has no option 'width'"),
        (["--option", "widths"], "takes key=value"),
        (["--epochs", "3", "--budget", "4"], "not both"),
        (["--epochs", "0"], "epochs must be above 0"),
        (["--crop", "16,16,16"], "crop takes one number or 2"),
        (["--scale", "2"], "--scale takes"),
        (["--scale", "2,1"], "resize must be"),
        (["--class-weights", "1,2"], "for the loss weighted_cross_entropy, not for dice_cross"),
        (["--loss", "weighted_cross_entropy", "--class-weights", "1"], "1 class weights were"),
        (["--optimizer", "adam"], "optimizer must be one of"),
        (["--precision", "float16"], "float16 does not run on the CPU"),
        (["--weights", "imagenet"], "no weights 'imagenet'"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
        (["--layout", "coco"], "layout must be"),
        (["--val-share", "1"], "share of validation images"),
        (["--ndim", "3"], "3D"),
        (["--data", "nowhere"], "no folder nowhere"),
        (["--seed", "-1"], "'--seed'"),
        (["--learning-rate", "nan"], "learning_rate must be above 0, not nan"),
        (["--ndim", "4"], "ndim must be 2 or 3, not 4"),
        (["--axes", "ZYX"], "axes needs 2 letters of TCZYX"),
        (["--option", "widths=abc"], "U-Net cannot be built with widths='abc'"),
    ],
)
def test_wrong_use_is_told_in_one_sentence(folders, tmp_path, capsys, arguments, message):
    out = tmp_path / "model.safetensors"
    common = ["train", str(out), "--data", str(folders), "--device", "cpu"]
    assert main([*common, *arguments]) == 2
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("Error: ") and message in last
    assert not list(tmp_path.iterdir())


def test_existing_models_are_kept(folders, tmp_path):
    out = tmp_path / "model.safetensors"
    out.write_text("precious")
    common = ["train", str(out), "--data", str(folders), *COMMAND, "--epochs", "1"]
    assert main(common) == 2
    assert out.read_text() == "precious"
    assert main([*common, "--overwrite"]) == 0
    assert load_model(out).info.architecture == "unet"


def test_one_crop_cannot_be_normalised_over_the_batch(folders):
    with pytest.raises(InputError, match="at least two patches"):
        train(
            folders,
            architecture="fastfcn_psp_resnet50",
            architecture_options={"width": 4},
            batch=1,
            epochs=1,
            crop=(16,),
        )


def test_a_loss_that_explodes_is_told(folders):
    with pytest.raises(RunError, match="no longer a finite number"):
        train(folders, epochs=50, crop=(16,), optimizer="sgd", learning_rate=1e30)
