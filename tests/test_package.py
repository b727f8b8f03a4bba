"""The package as a whole: what it imports, what it exports, what a wheel of it holds."""

import ast
import email
import importlib.metadata
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import napari_segzoo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_segzoo"
SOURCES = sorted(PACKAGE.rglob("*.py"))

GUI = {"PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "napari", "pyqtgraph", "qtpy", "superqt"}
LAYERS = [
    {"errors"},
    {"zoo"},
    {"axes", "io", "model", "preprocess", "synthetic"},
    {"export", "imported", "inference", "metrics", "postprocess", "recipes", "training"},
    {"benchmark", "demo", "imported", "project", "reader", "sample_data"},
    {"cli", "widgets"},
    {"__main__"},
]
LIST_CONTRIBUTIONS = """
from npe2 import PluginManager

plugins = PluginManager.instance()
plugins.discover()
ours = [w.display_name for w in plugins.iter_widgets() if w.plugin_name == "napari-segzoo"]
menus = [
    menu
    for menu in ("segment", "annotate", "measure")
    if any("napari-segzoo" in item.command for item in plugins.iter_menu(f"napari/layers/{menu}"))
]
print(*ours, *menus)
"""
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}


def run_python(code, **environment):
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def imported_modules(path):
    """Absolute names of all modules that a source file imports, inside functions too."""
    package = ("napari_segzoo", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def canonical(distribution):
    return re.sub(r"[._]", "-", distribution.lower())


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_import_loads_neither_torch_nor_napari():
    loaded = run_python(
        "import sys, napari_segzoo; print(*{name.split('.')[0] for name in sys.modules})"
    ).split()
    assert "napari_segzoo" in loaded
    assert not {"torch", "torchvision", "napari", "numpy", "qtpy"} & set(loaded)


def test_listing_models_loads_no_torch():
    listed = run_python(
        "import sys, napari_segzoo as s; print(len(s.list_models()), 'torch' in sys.modules)"
    )
    count, torch_loaded = listed.split()
    assert int(count) >= 1
    assert torch_loaded == "False"


@pytest.mark.parametrize("name", napari_segzoo.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    public = getattr(napari_segzoo, name)
    if name != "__version__":
        assert public.__doc__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segment_everything'"):
        _ = napari_segzoo.segment_everything


def test_citation_and_changelog_speak_of_this_version():
    version = napari_segzoo.__version__
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_only_widgets_and_sample_data_know_napari_and_qt(path):
    if part_of(path) not in ("widgets", "sample_data"):
        assert not GUI & {module.split(".")[0] for module in imported_modules(path)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_from_the_upper_layers_to_the_lower(path):
    part = part_of(path)
    if part == "__init__":
        return
    for module in imported_modules(path):
        package, _, rest = module.partition(".")
        target = rest.split(".")[0]
        if package == "napari_segzoo" and target in RANK:
            assert RANK[target] <= RANK[part], f"{part} imports {module}"


def test_manifest_on_top_is_that_of_the_package():
    manifest = (PACKAGE / "napari.yaml").read_text(encoding="utf-8")
    top = ROOT / "napari.yaml"
    # A checkout without symbolic links (Windows) holds the link's target as text.
    assert top.read_text(encoding="utf-8") in (manifest, "src/napari_segzoo/napari.yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_all_files_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    expected = {
        f"napari_segzoo/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"napari_segzoo/napari.yaml", "napari_segzoo/py.typed"} <= expected
    assert expected <= held
    assert not {name.split("/")[0] for name in held if "dist-info" not in name} - {"napari_segzoo"}


@pytest.fixture(scope="module")
def requirements(wheel):
    """What the wheel asks for: lines such as ``numba; extra == 'fast'``."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    return metadata.get_all("Requires-Dist")


def test_base_install_brings_no_qt_binding_and_no_upper_limits(requirements):
    base = [line for line in requirements if "extra ==" not in line]
    assert "torch" in base
    for line in base:
        assert not any(limit in line for limit in ("<", "==", "~=", "PyQt", "PySide", "[")), line


def test_every_imported_library_is_a_dependency(requirements):
    asked = {
        canonical(re.match(r"[\w.-]+", line).group())
        for line in requirements
        if not any(
            f"extra == '{extra}'" in line for extra in ("test", "bench", "lint", "docs", "dev")
        )
    }
    imported = {name.split(".")[0] for path in SOURCES for name in imported_modules(path)}
    third_party = imported - sys.stdlib_module_names - {"napari_segzoo"}
    distributions = importlib.metadata.packages_distributions()
    for name in third_party:
        provided_by = {canonical(d) for d in distributions.get(name, [name])}
        assert asked & provided_by, f"{name} is imported, but no dependency provides it"


def test_installed_wheel_registers_with_napari(wheel, tmp_path):
    """In a new environment that sees only the dependencies of this one."""
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, timeout=120
    )
    (site,) = (tmp_path / "env").rglob("site-packages")
    dependencies = Path(pytest.__file__).parents[1]
    (site / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")

    where = subprocess.check_output(
        [python, "-c", "import napari_segzoo; print(napari_segzoo.__file__)"],
        text=True,
        cwd=tmp_path,
    )
    assert Path(where.strip()).is_relative_to(tmp_path)
    checked = subprocess.run(
        [python, "-m", "npe2", "validate", "napari-segzoo"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = subprocess.check_output([python, "-c", LIST_CONTRIBUTIONS], text=True, cwd=tmp_path)
    assert listed.split() == ["Model", "Run", "Train", "Metrics", "segment", "annotate", "measure"]
    helped = subprocess.run(
        [scripts / "napari-segzoo", "--help"], capture_output=True, text=True, timeout=120
    )
    assert helped.returncode == 0, helped.stderr
