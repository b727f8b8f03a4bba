"""Triton is kept out of a process in which it would crash, and only there."""

import sys

import pytest

from napari_segzoo.widgets import torch_import


@pytest.mark.parametrize(("library", "kept_out"), [("libLLVM-15.so.1", True), ("libc.so.6", False)])
def test_triton_and_the_graphics_driver(tmp_path, monkeypatch, library, kept_out):
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f01 r--p 00000000 fe:00 1 /usr/lib/{library}\n")
    monkeypatch.setattr(torch_import, "LOADED_LIBRARIES", maps)
    modules = {k: v for k, v in sys.modules.items() if not k.startswith("triton")}
    monkeypatch.setattr(sys, "modules", modules)
    torch_import.make_torch_safe()
    assert ("triton" in modules) == kept_out
    assert modules.get("triton") is None


def test_systems_without_a_list_of_libraries(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_import, "LOADED_LIBRARIES", tmp_path / "absent")
    modules = {}
    monkeypatch.setattr(sys, "modules", modules)
    torch_import.make_torch_safe()
    assert modules == {}
