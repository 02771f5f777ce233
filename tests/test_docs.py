"""The READMEs name what exists and nothing else: commands, options, endpoints, files."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup, TyperOption

ROOT = Path(__file__).parent.parent
READMES = ["README.md", "README.zh-CN.md"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", READMES)
def test_make_targets_and_variables_exist(name: str) -> None:
    calls = re.findall(r"make ((?:[A-Za-z-]+)(?: [A-Z]+=[^\s`]+)*)", text_of(name))
    assert calls
    for call in calls:
        target, *variables = call.split(" ")
        assert target in TARGETS, call
        for variable in variables:
            assert f"$({variable.split('=')[0]})" in MAKEFILE, call


def test_every_make_target_is_in_the_readme() -> None:
    for name in READMES:
        missing = {t for t in TARGETS if f"make {t}" not in text_of(name)} - {
            "setup",
            "page",
            "clean",
        }
        assert not missing, name


def test_every_phony_target_is_in_make_help() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == TARGETS


@pytest.mark.parametrize("name", READMES)
def test_every_make_variable_is_in_the_readme_or_make_help(name: str) -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    variables = re.findall(r"^(\w+) +\?=", MAKEFILE, re.MULTILINE)
    assert len(variables) > 10
    readable = text_of(name) + told.stdout
    assert [v for v in variables if not re.search(rf"\b{v}=", readable)] == []


@pytest.mark.parametrize("package", ["trainer", "exporter", "runtime", "server"])
def test_every_option_is_told_by_the_help_that_the_readmes_name(package: str) -> None:
    for name in READMES:
        assert re.search(rf"--help`.*`{package}`|python -m {package} --help`", text_of(name)), name
    command = typer.main.get_command(importlib.import_module(f"{package}.__main__").app)
    commands = command.commands.values() if isinstance(command, TyperGroup) else [command]
    options = [p for one in commands for p in one.params if isinstance(p, TyperOption)]
    assert options
    assert [option.opts for option in options if option.hidden or not option.help] == []


@pytest.mark.parametrize("name", READMES)
def test_python_commands_and_options_exist(name: str) -> None:
    commands = re.findall(r"`python -m (\w+)(?: (\w+))?([^`]*)`", text_of(name))
    assert commands
    for package, command, rest in commands:
        call = [sys.executable, "-m", package, *([command] if command else []), "--help"]
        shown = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown, (package, command, option)


@pytest.mark.parametrize("name", READMES)
def test_endpoints_exist_and_all_are_named(name: str) -> None:
    from server.app import create_app
    from server.settings import Settings

    paths = set(create_app(Settings()).openapi()["paths"])
    named = set(re.findall(r"`(?:POST |GET )?(/(?:v1/[a-z0-9-]+|livez|readyz))`", text_of(name)))
    assert named == paths


@pytest.mark.parametrize(
    "name", [*READMES, "ARCHITECTURE.md", "docs/decisions.md", "docs/engine.md", "models/README.md"]
)
def test_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text_of(name)):
        assert ((ROOT / name).parent / link).exists(), link


def test_both_readmes_show_the_same_commands() -> None:
    def blocks(name: str) -> list[str]:
        code = "\n".join(re.findall(r"```sh\n(.*?)```", text_of(name), re.DOTALL))
        return [line.split("#")[0].strip() for line in code.splitlines()]

    assert blocks(READMES[0]) == blocks(READMES[1])
