"""The rules of the rooms that no linter knows: who reads the environment and the clock, and how modules are named."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.places import ROOMS, ROOT, python_files

ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "core", "misc"}


def _where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def _reads_of_the_environment(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and isinstance(node.value, ast.Name):
            yield _where(path, node)
        if isinstance(node, ast.ImportFrom) and node.module == "os" and {one.name for one in node.names} & ENVIRONMENT:
            yield _where(path, node)


def _looks_at_a_clock(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        function = node.func if isinstance(node, ast.Call) else None
        if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
            continue
        if (function.value.id, function.attr) in CLOCKS:
            yield _where(path, node)


def test_only_the_settings_read_the_environment() -> None:
    read = [place for path in python_files(*ROOMS) for place in _reads_of_the_environment(path)]
    assert {place.partition(":")[0] for place in read} == {"worker/settings.py"}


def test_models_and_integrations_are_told_the_time() -> None:
    looks = [place for path in python_files("models", "integrations") for place in _looks_at_a_clock(path)]
    # The simulator's own processes are given the real clock where they start.
    assert [place for place in looks if not place.startswith("integrations/simulator/server.py")] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_says_what_it_knows(room: str) -> None:
    silent = [path for path in python_files(room) if path.read_text().strip() and not _opening(path)]
    assert silent == []


def _opening(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))


def test_no_module_has_a_vague_name() -> None:
    assert [path for path in python_files(*ROOMS, "tests") if {path.stem, path.parent.name} & VAGUE] == []


def test_a_process_carries_no_library_before_it_needs_it() -> None:
    heavy = "{'alembic', 'celery', 'holidays'} & sys.modules.keys()"
    told = f"import sys, worker.cli, worker.web.server; print({heavy}); import worker.app, worker.tasks; print({heavy})"
    found = subprocess.run([sys.executable, "-c", told], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert found.splitlines() == ["set()", "{'celery'}"]


def test_the_top_has_the_folders_of_the_design_and_no_others() -> None:
    built = {"dist"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - built
    assert folders - {"__pycache__"} == {*ROOMS, "tests", "docs"}
