"""The prose is true: what it tells one to type exists, what it links to is there, and every setting is in its table."""

import re
from pathlib import Path

import click
import pytest

from tests.project.places import ROOT, pages
from worker.cli import troth
from worker.settings import _READ, PREFIX

CODE = re.compile(r"```(?:sh|console)\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(r"(?:^|[\s&|;(])(make|troth) +([^|;&)\n]*)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _typed(page: Path, program: str) -> list[list[str]]:
    """The arguments of every `program ...` that a page shows as code, up to a comment."""
    text = "\n".join(block or inline for block, inline in CODE.findall(page.read_text()))
    return [
        arguments.split("#")[0].split() for named, arguments in COMMAND.findall(text) if named == program and arguments
    ]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert [typed for typed in _typed(page, "make") if typed and typed[0] not in targets and "=" not in typed[0]] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_troth_command_that_is_named_exists(page: Path) -> None:
    for typed in _typed(page, "troth"):
        command: click.Command = troth
        for word in typed:
            if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z]+", word):
                break
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"{page.name}: troth {' '.join(typed)}"
            command = found
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        asked = {word.split("=")[0].strip("[]") for word in typed if word.strip("[").startswith("--")}
        assert asked <= known | {"--help", "--version"}, f"{page.name}: troth {' '.join(typed)}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_table_of_settings_is_the_settings() -> None:
    section = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == {PREFIX + name for name in _READ}


def test_a_newcomer_learns_the_two_commands_and_every_target_is_explained() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
