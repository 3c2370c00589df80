"""The clerk gathers what is over, but keeps nobody waiting: neither the gate, nor a tenant at its cap, nor an exit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from models.job import Message
from tests.conftest import Company
from worker.desk import Desk, Leaving
from worker.jobs import INTERACTIVE
from worker.lease import Keeper
from worker.services import Services

AN_AGE = 60.0
JOBS = [f"job {number}" for number in range(4)]


@contextmanager
def open_desk(services: Services, acme: Company, *, concurrency: int, cap: int = 0) -> Iterator[Desk]:
    """A desk whose clerk has an age to gather, and jobs in flight that it may hear the end of."""
    settings = replace(services.settings, tenant_jobs_in_flight=cap)
    desk = Desk(replace(services, settings=settings), Keeper(services, concurrency), gather=AN_AGE)
    gate = services.gates[INTERACTIVE]
    gate.publish([Message(job, acme.id, "test.kind", INTERACTIVE, 1) for job in JOBS])
    assert gate.backlog().in_flight == len(JOBS)
    desk.open()
    yield desk
    desk.close()


def leave(desk: Desk, acme: Company, *jobs: str) -> None:
    for job in jobs:
        desk.leave(Leaving(INTERACTIVE, job, acme.id))


def told(services: Services, in_flight: int) -> bool:
    """Whether the gate hears, well before the clerk's time is over, that no more than so many are in flight."""
    deadline = time.monotonic() + 5
    while services.gates[INTERACTIVE].backlog().in_flight > in_flight:
        if time.monotonic() > deadline:
            return False
    return True


@pytest.mark.parametrize(("concurrency", "cap", "held_back"), [(4, 0, 2), (16, 2, 1), (16, 1, 0)])
def test_no_more_is_held_back_than_half_of_what_runs_or_of_a_tenants_cap(
    services: Services, acme: Company, concurrency: int, cap: int, held_back: int
) -> None:
    with open_desk(services, acme, concurrency=concurrency, cap=cap) as desk:
        leave(desk, acme, *JOBS)
        assert told(services, held_back)


def test_who_closes_the_desk_waits_only_until_it_is_written(services: Services, acme: Company) -> None:
    with open_desk(services, acme, concurrency=16) as desk:
        leave(desk, acme, JOBS[0])
        began = time.monotonic()
        desk.close()
        assert time.monotonic() - began < 5
    assert services.gates[INTERACTIVE].backlog().in_flight == len(JOBS) - 1
