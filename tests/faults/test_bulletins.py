"""A bulletin under kills of its workers. `python -m tests.faults.bulletins` plays the full plan."""

from pathlib import Path

from tests import databases
from tests.faults.bulletins import Plan, play


def test_workers_that_are_killed_lose_no_device_and_double_only_what_was_in_flight(postgresql_url: str) -> None:
    with databases.folder() as folder:
        outcome = play(folder, postgresql_url, Plan(devices=4_000, kills=3, pause=0.5))
        assert outcome.good, f"{outcome}\n{(Path(folder) / 'bulletin.log').read_text()[-5000:]}"
