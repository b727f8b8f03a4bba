"""What the plugin tells napari."""

from importlib import import_module
from pathlib import Path

import yaml
from npe2 import PluginManifest

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "src" / "napari_segzoo" / "napari.yaml"


def test_manifest_is_valid_and_the_top_level_one_is_the_same():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.display_name == "napari-segzoo"
    assert (ROOT / "napari.yaml").read_text() == MANIFEST.read_text()


def test_every_command_is_there_and_used():
    contributions = yaml.safe_load(MANIFEST.read_text())["contributions"]
    commands = {c["id"]: c["python_name"] for c in contributions["commands"]}
    for name in commands.values():
        module, attribute = name.split(":")
        assert callable(getattr(import_module(module), attribute))
    kinds = ("widgets", "readers", "sample_data")
    used = {c["command"] for kind in kinds for c in contributions[kind]}
    assert used == set(commands)


def test_samples_open_from_the_viewer(make_napari_viewer):
    viewer = make_napari_viewer()
    for key, layers in (("coins", 3), ("nuclei_3d", 2)):
        viewer.open_sample("napari-segzoo", key)
        assert len(viewer.layers) == layers
        viewer.layers.clear()
