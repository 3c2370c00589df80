"""Nothing is lost and nothing is done twice, whatever is killed. `python -m tests.faults.loss` plays the full plan."""

from pathlib import Path

from tests import databases
from tests.faults.loss import Plan, play


def test_kills_of_workers_redis_and_web_lose_nothing_and_double_nothing(postgresql_url: str) -> None:
    with databases.folder() as folder:
        outcome = play(folder, postgresql_url, Plan(jobs=300, leads=100, worker_kills=4, redis_kills=1, web_kills=1))
        assert outcome.good, f"{outcome}\n{(Path(folder) / 'loss.log').read_text()[-5000:]}"
        assert (outcome.jobs, outcome.leads) == (300, 100)
