"""The wheel holds all that a process needs, and nothing of the tests."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.project.places import ROOMS, ROOT


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return set(zipfile.ZipFile(wheel).namelist())


def _of(room: str) -> set[str]:
    files = [path for path in (ROOT / room).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_every_file_of_the_rooms_is_in_the_wheel(inside: set[str]) -> None:
    assert {file for room in ROOMS for file in _of(room)} - inside == set()


def test_pages_scripts_and_migrations_are_among_them(inside: set[str]) -> None:
    kinds = {Path(name).suffix for name in inside}
    assert {".html", ".css", ".lua"} <= kinds
    assert any(name.startswith("models/migrations/versions/") for name in inside)


def test_nothing_else_is_in_the_wheel(inside: set[str]) -> None:
    assert {name.split("/")[0] for name in inside if ".dist-info/" not in name} == set(ROOMS)
