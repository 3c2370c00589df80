"""Where nothing may be skipped, a skip is a failure that repeats its reason; elsewhere it stays a skip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.no_skip import VARIABLE
from tests.project.places import ROOT

SKIPS = {
    "in a test": "import pytest\ndef test_one(): pytest.skip('get it')\n",
    "by a mark": "import pytest\n@pytest.mark.skip(reason='get it')\ndef test_one(): pass\n",
    "in a fixture": (
        "import pytest\n@pytest.fixture\ndef server(): pytest.skip('get it')\ndef test_one(server): pass\n"
    ),
    "while it is read": "import pytest\npytest.skip('get it', allow_module_level=True)\n",
}
FAILS_AS_EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test_one(): assert False\n"


def _pytest(folder: Path, source: str, no_skip: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_it.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.no_skip", "-p", "no:cacheprovider", "-c", os.devnull, str(folder)],
        env={**os.environ, VARIABLE: no_skip}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS.keys())
def test_a_skip_is_a_failure_with_its_reason(tmp_path: Path, source: str) -> None:
    done = _pytest(tmp_path, source, "1")
    assert done.returncode in {1, 2}, done.stdout
    assert "get it" in done.stdout
    assert "skipped, which" in done.stdout


def test_elsewhere_a_skip_stays_a_skip(tmp_path: Path) -> None:
    done = _pytest(tmp_path, SKIPS["in a fixture"], "")
    assert done.returncode == 0
    assert "1 skipped" in done.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    done = _pytest(tmp_path, FAILS_AS_EXPECTED, "1")
    assert done.returncode == 0
    assert "1 xfailed" in done.stdout
