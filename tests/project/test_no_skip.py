"""Where nothing may be skipped, a skip is a failure that repeats its reason; elsewhere it stays a skip."""

import os
import subprocess
import sys
from pathlib import Path

from tests.no_skip import VARIABLE
from tests.project.places import ROOT

SKIPS = {
    "in_a_test": "import pytest\ndef test_one(): pytest.skip('reason one')\n",
    "by_a_mark": "import pytest\n@pytest.mark.skip(reason='reason two')\ndef test_one(): pass\n",
    "in_a_fixture": (
        "import pytest\n@pytest.fixture\ndef server(): pytest.skip('reason three')\ndef test_one(server): pass\n"
    ),
    "while_it_is_read": "import pytest\npytest.skip('reason four', allow_module_level=True)\n",
}
FAILS_AS_EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test_one(): assert False\n"


def _pytest(folder: Path, sources: dict[str, str], no_skip: str) -> "subprocess.CompletedProcess[str]":
    for name, source in sources.items():
        (folder / f"test_{name}.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.no_skip", "-p", "no:cacheprovider", "-c", os.devnull,
         "--continue-on-collection-errors", str(folder)],
        env={**os.environ, VARIABLE: no_skip}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_skip_of_any_kind_is_a_failure_with_its_reason_and_an_expected_failure_is_not(tmp_path: Path) -> None:
    done = _pytest(tmp_path, {**SKIPS, "expected": FAILS_AS_EXPECTED}, "1")
    assert done.returncode != 0
    assert "skipped" not in done.stdout.splitlines()[-1]
    assert "1 xfailed" in done.stdout.splitlines()[-1]
    for reason in ("reason one", "reason two", "reason three", "reason four"):
        assert f"skipped, which {VARIABLE}=1 forbids: Skipped: {reason}" in done.stdout


def test_elsewhere_a_skip_stays_a_skip(tmp_path: Path) -> None:
    done = _pytest(tmp_path, SKIPS, "")
    assert "4 skipped" in done.stdout.splitlines()[-1]
    assert "failed" not in done.stdout.splitlines()[-1]
