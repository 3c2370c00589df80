"""Where the project's own files are, as the tests of the project read them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("models", "integrations", "worker")
TOP = (
    ".ci/run", ".dockerignore", ".gitattributes", ".gitignore", "CHANGELOG.md", "Dockerfile", "LICENSE", "Makefile",
    "README.md", "docker-compose.yml", "pyproject.toml", "requirements-dev.lock", "requirements.lock",
)  # fmt: skip


def python_files(*folders: str) -> list[Path]:
    """Every module below these folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def pages() -> list[Path]:
    """Every page of prose."""
    return sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def text_files() -> list[Path]:
    """Everything a reader of the repository may read."""
    folders = (*ROOMS, "tests", "docs", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    wanted = [path for path in found if "__pycache__" not in path.parts and path.suffix not in {".png", ".pyc"}]
    return sorted({*wanted, *(ROOT / name for name in TOP)})
