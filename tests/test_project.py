"""A fine-tuning in one file: it comes back whole, or is refused in one sentence."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import noise, squares, tiny_model

import napari_segzoo as segzoo
from napari_segzoo.cli import main
from napari_segzoo.errors import InputError
from napari_segzoo.io import Image, keep_image, open_image
from napari_segzoo.model import read_info
from napari_segzoo.project import Project, open_project, save_project
from napari_segzoo.training.job import LOSS_NAMES, FinetuneOptions
from napari_segzoo.training.losses import LOSSES


@pytest.fixture
def folder(tmp_path):
    """An image, labels drawn on it, and a model."""
    image, truth = squares()
    drawn = np.where(truth, 2, 1).astype(np.uint8)
    drawn[20:] = 0
    (tmp_path / "images").mkdir()
    segzoo.save_image(tmp_path / "images" / "cells.tif", image, "YX")
    segzoo.save_image(tmp_path / "images" / "cells.tif.strokes.tif", drawn, "YX")
    tiny_model(classes=2).save(tmp_path / "cells.safetensors")
    return tmp_path


@pytest.fixture
def project(folder):
    return Project(
        (str(folder / "images" / "cells.tif"),),
        (str(folder / "images" / "cells.tif.strokes.tif"),),
        "YX",
        model=str(folder / "cells.safetensors"),
        class_names=("ground", "cell"),
        options=FinetuneOptions(steps=2, seed=7, device="cpu"),
    )


def test_every_loss_can_be_named_in_a_project():
    assert set(LOSS_NAMES) == set(LOSSES)


def test_a_project_comes_back(folder, project):
    path = save_project(folder / "project.json", project)
    assert open_project(path) == project
    read = json.loads(path.read_text("utf-8"))
    assert read["images"] == ["images/cells.tif"]
    assert read["model"] == "cells.safetensors"


def test_it_can_be_opened_from_anywhere_and_after_its_folder_moved(folder, project, monkeypatch):
    monkeypatch.chdir(folder)
    save_project("project.json", project)
    moved = folder.with_name("moved")
    shutil.move(folder, moved)
    monkeypatch.chdir(moved.parent)
    opened = open_project("moved/project.json")
    assert opened.images == (str(moved / "images" / "cells.tif"),)
    assert opened.model == str(moved / "cells.safetensors")


def test_a_bundled_model_is_kept_by_its_name(folder, project):
    path = save_project(folder / "project.json", project.changed({"model": "nuclei"}))
    assert open_project(path).model == "nuclei"


EVERYTHING = FinetuneOptions(
    architecture_options={"widths": (4, 8)},
    ndim=2,
    steps=2,
    seed=3,
    device="cpu",
    loss="focal",
    tune="norm",
)


def test_everything_that_can_be_chosen_comes_back(folder, project):
    validation = {
        "validation_images": project.images,
        "validation_labels": project.labels,
    }
    chosen = replace(project, options=EVERYTHING, **validation)
    path = save_project(folder / "project.json", chosen)
    assert open_project(path) == chosen
    assert json.loads(path.read_text())["validation_images"] == ["images/cells.tif"]
    held_out = replace(project, options=replace(EVERYTHING, hold_out=0.25))
    save_project(path, held_out, overwrite=True)
    assert open_project(path) == held_out
    *_, finished = open_project(save_project(folder / "p.json", chosen)).train()
    assert finished.validation is not None
    assert finished.model.info.provenance["loss"] == "focal"
    assert finished.model.info.provenance["tune"] == "norm"


VERSION_1 = """{
  "format": "napari-segzoo-project",
  "version": 1,
  "images": ["images/cells.tif"],
  "labels": ["images/cells.tif.strokes.tif"],
  "axes": "YX",
  "model": "nuclei",
  "class_names": ["ground", "cell"],
  "architecture": "unet",
  "task": "semantic",
  "unlabeled": "background",
  "budget": null,
  "steps": 7,
  "ndim": 2,
  "seed": 5,
  "device": "cpu"
}
"""


def test_a_file_of_the_first_version_is_read(folder, project):
    (folder / "old.json").write_text(VERSION_1)
    assert open_project(folder / "old.json") == replace(
        project,
        model="nuclei",
        options=FinetuneOptions(unlabeled="background", steps=7, ndim=2, seed=5, device="cpu"),
    )
    without = json.loads(VERSION_1)
    del without["seed"]
    (folder / "old.json").write_text(json.dumps(without))
    with pytest.raises(InputError, match="lacks 'seed'"):
        open_project(folder / "old.json")


def test_what_exists_is_not_replaced_unasked(folder, project):
    path = save_project(folder / "project.json", project)
    with pytest.raises(InputError, match="exists already"):
        save_project(path, project)
    save_project(path, project.changed({"seed": 8}), overwrite=True)
    assert open_project(path).options.seed == 8


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"steps": 5}, {"steps": 5, "budget": None}),
        ({"budget": 9.0}, {"steps": None, "budget": 9.0}),
        (
            {"architecture": "segnet"},
            {"architecture": "segnet", "model": None, "tune": "all", "architecture_options": {}},
        ),
        ({"architecture": "segnet", "model": "m"}, {"architecture": "segnet", "model": "m"}),
        ({"device": "cpu"}, {"model": "m", "budget": 3.0, "tune": "norm", "loss": "focal"}),
        ({"hold_out": 0.2}, {"hold_out": 0.2, "validation_images": ()}),
        (
            {"validation_images": ("c",), "validation_labels": ("d",)},
            {"hold_out": 0.0, "validation_images": ("c",)},
        ),
    ],
)
def test_options_that_replace_others(given, expected):
    before = Project(
        ("a",),
        ("b",),
        "YX",
        model="m",
        validation_images=("x",),
        validation_labels=("y",),
        options=FinetuneOptions(
            architecture_options={"width": 8}, budget=3.0, loss="focal", tune="norm"
        ),
    )
    changed = before.changed(given)
    values = {**vars(changed.options), **vars(changed)}
    assert {name: values[name] for name in expected} == expected


WRONG = [
    ({"images": "cells.tif"}, "'images' must be a list of files"),
    ({"images": []}, "'images' must be a list of files"),
    ({"images": ["images/cells.tif", 3]}, "'images' must be a list of files"),
    ({"images": ["images/none.tif"]}, "There is no file or folder .*none.tif"),
    ({"images": ["images/cells.tif", "images/cells.tif"]}, r"not 2 image\(s\) and 1 labels"),
    ({"labels": ["small.tif"]}, r"small.tif has the shape \(5, 7\), but .* \(96, 96\)"),
    ({"labels": ["project.json"]}, "ending that is not supported"),
    ({"axes": "YQ"}, "own letter of TCZYX, not 'YQ'"),
    ({"axes": 3}, "'axes' must be letters such as ZYX, not 3"),
    ({"model": "none.safetensors"}, "There is no model .*none.safetensors"),
    ({"model": "images/cells.tif"}, "not a model file"),
    ({"model": ["nuclei"]}, "'model' must be a model or null"),
    ({"class_names": [1, 2]}, "'class_names' must be a list of names"),
    ({"architecture": "unett"}, "did you mean 'unet'"),
    ({"task": "everything"}, "task must be semantic or instances"),
    ({"unlabeled": "x"}, "unlabeled must be ignore or background"),
    ({"budget": "60"}, "'budget' must be a number of seconds or null"),
    ({"budget": -1, "steps": None}, "budget must be above 0"),
    ({"budget": float("inf")}, "'budget' must be a number"),
    ({"steps": 2.5}, "'steps' must be a whole number"),
    ({"steps": True}, "'steps' must be a whole number"),
    ({"steps": 2, "budget": 3}, "not both"),
    ({"ndim": 4}, "'ndim' must be 2, 3 or null, not 4"),
    ({"seed": -1}, "'seed' must be a whole number from 0 up, not -1"),
    ({"loss": "focul"}, "'loss' must be one of dice_cross_entropy, .*, not \"focul\""),
    ({"tune": None}, "'tune' must be one of all, decoder, norm, low-rank, not null"),
    ({"hold_out": 0.7}, "'hold_out' must be a share up to 0.5, not 0.7"),
    ({"hold_out": 10**400}, "'hold_out' must be a share up to 0.5"),
    ({"hold_out": 0.2, "task": "instances"}, "hold_out is for strokes"),
    ({"architecture_options": [4]}, "'architecture_options' must be options of a network"),
    ({"validation_images": ["images/cells.tif"]}, r"not 1 image\(s\) and 0 labels"),
    ({"validation_labels": "a.tif"}, "'validation_labels' must be a list of files"),
    ({"format": "another"}, "is not a project file of napari-segzoo"),
    ({"version": 3}, "newer napari-segzoo"),
    ({"version": "1"}, "does not tell its version"),
    ({"version": 0}, "does not tell its version"),
    ({"__import__": "os"}, "holds '__import__', which no project has"),
]


@pytest.mark.parametrize(("changes", "match"), WRONG)
def test_what_is_wrong_is_told_in_one_sentence(folder, project, changes, match):
    path = save_project(folder / "project.json", project)
    segzoo.save_image(folder / "small.tif", np.ones((5, 7), np.uint8), "YX")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=match) as caught:
        open_project(path)
    assert "\n" not in str(caught.value)


def test_each_field_is_needed(folder, project):
    path = save_project(folder / "project.json", project)
    whole = json.loads(path.read_text())
    for name in whole:
        path.write_text(json.dumps({k: v for k, v in whole.items() if k != name}))
        with pytest.raises(InputError, match=r"lacks|not a project|version"):
            open_project(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_files_that_are_no_project(tmp_path, content):
    path = tmp_path / "project.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"project\.json is not a project file"):
        open_project(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.json could not be read: No such file"):
        open_project(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(max_examples=50)
@given(
    st.sampled_from(
        [
            n
            for n in (*Project.__dataclass_fields__, *FinetuneOptions.__dataclass_fields__)
            if n != "options"
        ]
    ),
    JSON,
)
def test_any_value_of_any_field_is_taken_or_refused_by_name(tmp_path_factory, name, value):
    folder = tmp_path_factory.mktemp("project")
    segzoo.save_image(folder / "a.npy", np.zeros((4, 5), np.uint8), "YX")
    whole = json.loads(
        save_project(
            folder / "p.json", Project((str(folder / "a.npy"),), (str(folder / "a.npy"),), "YX")
        ).read_text()
    )
    (folder / "p.json").write_text(json.dumps({**whole, name: value}))
    try:
        assert isinstance(open_project(folder / "p.json"), Project)
    except InputError as error:
        assert str(error).endswith((".", ";", "?")) or "lists them" in str(error)


def run(capsys, *words):
    status = main([str(w) for w in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_line_trains_from_it_and_notes_the_model(folder, project, capsys):
    path = save_project(folder / "project.json", project)
    out = folder / "new.safetensors"
    status, printed, err = run(capsys, "finetune", out, "--project", path, "--json")
    assert status == 0, err
    assert json.loads(printed.splitlines()[-1])["steps"] == 2
    info = read_info(out)
    assert [c.name for c in info.classes] == ["ground", "cell"]
    assert info.provenance["seed"] == 7
    assert info.provenance["base"] == "unet"
    assert open_project(path) == project.changed({"model": str(out)})
    assert "goes on from it" in err


def test_explicit_options_win_and_are_not_written_back(folder, project, capsys):
    path = save_project(folder / "project.json", project)
    out = folder / "new.safetensors"
    words = ("--steps", "1", "--seed", "0", "--architecture", "unet", "--option", "widths=[4,8]")
    status, _, err = run(capsys, "finetune", out, "--project", path, *words)
    assert status == 0, err
    provenance = read_info(out).provenance
    assert (provenance["steps"], provenance["seed"]) == (1, 0)
    assert "base" not in provenance
    assert open_project(path) == project.changed({"model": str(out)})


def test_losses_options_and_validation_images_of_the_project_are_used(folder, project, capsys):
    options = FinetuneOptions(
        architecture_options={"widths": (4, 8)}, steps=2, loss="focal", device="cpu"
    )
    new = replace(
        project,
        model=None,
        options=options,
        validation_images=project.images,
        validation_labels=project.labels,
    )
    path = save_project(folder / "project.json", new)
    out = folder / "new.safetensors"
    status, printed, err = run(capsys, "finetune", out, "--project", path, "--json")
    assert status == 0, err
    assert json.loads(printed.splitlines()[-1])["validation"] is not None
    assert "Dice on the validation images" in err
    info = read_info(out)
    assert info.provenance["loss"] == "focal"
    assert tuple(info.options["widths"]) == (4, 8)
    assert open_project(path) == replace(new, model=str(out))
    words = ("--tune", "norm", "--hold-out", "0.2", "--overwrite")
    status, _, err = run(capsys, "finetune", out, "--project", path, *words)
    assert status == 0, err
    assert "Nothing is held out" in err
    assert read_info(out).provenance["tune"] == "norm"


def test_other_images_than_those_of_the_project(folder, project, capsys):
    path = save_project(folder / "project.json", project)
    segzoo.save_image(folder / "other.tif", np.ones((5, 7), np.uint8), "YX")
    words = ("--image", folder / "other.tif", "--labels", folder / "other.tif")
    status, _, err = run(capsys, "finetune", folder / "o.safetensors", "--project", path, *words)
    assert (status, "Only label 1 is drawn" in err) == (2, True)
    assert not (folder / "o.safetensors").exists()
    assert open_project(path) == project


def test_images_of_their_own_are_needed_without_a_project(tmp_path, capsys):
    status, _, err = run(capsys, "finetune", tmp_path / "o.safetensors")
    assert status == 2
    assert "--image" in err
    assert "--project" in err


KEPT = [
    ((20, 30), "YX", np.uint8),
    ((5, 20, 30), "ZYX", np.int16),
    ((20, 30, 3), "YXC", np.uint8),
    ((20, 30, 2), "YXC", np.uint8),
    ((1, 20, 30), "TYX", np.float32),
    ((3, 20, 30, 3), "ZYXC", np.float32),
]


@pytest.mark.parametrize(("shape", "axes", "dtype"), KEPT)
def test_an_image_without_a_file_is_kept_once(tmp_path, shape, axes, dtype):
    image = Image((noise(shape) * 99).astype(dtype), axes, source="my cells: 1")
    path = keep_image(image, tmp_path)
    assert np.array_equal(open_image(path, axes=axes).data[...], image.data)
    assert keep_image(image, tmp_path) == path
    other = Image(image.data + 1, axes, source="my cells: 1")
    second = keep_image(other, tmp_path)
    assert second != path
    assert len(list(tmp_path.iterdir())) == 2
