"""docker-compose.yml against the schema of the Compose Specification, and against what Troth needs to keep its promises."""

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.project.places import ROOT
from worker.cli import troth
from worker.settings import _READ, PREFIX

FILE = ROOT / "docker-compose.yml"
OURS = ("migrate", "web", "worker", "beat")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return found


def test_the_file_obeys_the_compose_specification() -> None:
    # The schema comes inside the package: nothing is fetched.
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_redis_writes_down_what_it_holds_and_evicts_nothing(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "everysec"
    assert options["--maxmemory-policy"] == "noeviction"


def test_every_process_starts_after_the_migration(services: dict[str, Any]) -> None:
    for name in ("web", "worker", "beat"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_only_the_migration_logs_in_as_the_owner(services: dict[str, Any]) -> None:
    logins = {name: services[name]["environment"]["TROTH_DATABASE_URL"].split("//")[1].split(":")[0] for name in OURS}
    assert logins == {"migrate": "troth_owner", "web": "troth_login", "worker": "troth_login", "beat": "troth_login"}


def test_a_worker_has_time_to_finish_what_it_holds(services: dict[str, Any]) -> None:
    assert services["worker"]["stop_grace_period"] == "50s"


def test_every_lasting_process_is_watched(services: dict[str, Any]) -> None:
    assert [name for name in services if name != "migrate" and "healthcheck" not in services[name]] == []


def test_the_probes_in_python_are_python(services: dict[str, Any]) -> None:
    for name in ("web", "worker", "beat"):
        compile(services[name]["healthcheck"]["test"][3], name, "exec")


def test_every_command_is_one_of_ours(services: dict[str, Any]) -> None:
    assert {services[name]["command"][0] for name in OURS} <= troth.commands.keys()


def test_every_setting_is_one_that_is_read(services: dict[str, Any]) -> None:
    given = {variable for name in OURS for variable in services[name]["environment"]}
    assert given <= {PREFIX + name for name in _READ}


def test_no_secret_has_a_value_and_none_that_is_needed_may_be_empty(services: dict[str, Any]) -> None:
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|_KEYS?$|AUTH$")
    values = [value for one in services.values() for name, value in one["environment"].items() if secret.search(name)]
    assert values
    assert [value for value in values if not value.startswith("${")] == []
    needed = re.findall(r"\$\{(?:\w*PASSWORD|TROTH_MASTER_KEYS|TROTH_BASE_URL)(..)", FILE.read_text())
    assert set(needed) == {":?"}


def test_nothing_but_the_web_is_published_and_only_to_this_machine(services: dict[str, Any]) -> None:
    assert {name: one["ports"] for name, one in services.items() if "ports" in one} == {
        "web": ["127.0.0.1:${TROTH_PORT:-8000}:8000"]
    }
