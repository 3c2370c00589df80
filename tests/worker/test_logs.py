"""What is written as a process writes it."""

import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from models.schema import metadata
from worker.logs import configure


@pytest.fixture
def configured() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("configured")
def test_what_was_counted_by_table_is_written_by_table(caplog: pytest.LogCaptureFixture) -> None:
    counts = dict.fromkeys((table.name for table in metadata.sorted_tables), 1)
    structlog.get_logger("worker.of_this_test").error("counted", **counts)
    assert orjson.loads(caplog.messages[0]).items() >= {**counts, "event": "counted"}.items()


@pytest.mark.usefixtures("configured")
def test_lines_can_be_looked_at_however_often_logs_were_set_up() -> None:
    log = structlog.get_logger("worker.of_another_test")
    log.info("before")
    configure()
    with structlog.testing.capture_logs() as lines:
        log.info("after")
    assert [line["event"] for line in lines] == ["after"]
