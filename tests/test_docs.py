"""The documentation names the commands and options that there are, and no others."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from napari_segzoo.cli.commands import app

ROOT = Path(__file__).parents[1]
COMMANDS = typer.main.get_command(app).commands
OPTIONS = {
    name: {option for parameter in command.params for option in parameter.opts if "--" in option}
    for name, command in COMMANDS.items()
}
REFERENCE = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_lists_exactly_the_options_of_each_command(command):
    (section,) = re.findall(rf"^## {command}\n(.*?)(?=^## |\Z)", REFERENCE, re.S | re.M)
    listed = set(re.findall(r"^\| `(--[a-z-]+)", section, re.M))
    assert listed == OPTIONS[command]


def command_lines(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^napari-segzoo .*$", text, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_line_shown_can_be_typed(page):
    for line in command_lines(page):
        name, *words = shlex.split(line, comments=True)[1:]
        assert name in {*COMMANDS, "COMMAND"}, line
        given = {word for word in words if word.startswith("--")}
        assert given <= OPTIONS.get(name, {"--help"}), line


def test_command_lines_are_found():
    assert len(command_lines(ROOT / "README.md")) >= len(COMMANDS)
