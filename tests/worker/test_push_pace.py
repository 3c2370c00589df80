"""Bulletins at once: together they keep to the quota of the Firebase project and to their tenant's pace, and nobody is lost."""

import socket
from datetime import datetime, timedelta

from models import bulletin as bulletins
from models.bulletin import CANCELLED, COMPLETED
from models.tenancy import tenant_session
from models.tenant import Tenant
from tests.conftest import Company
from tests.worker.pushing import Pushing, names
from worker import jobs
from worker.push_pace import LOOK_EVERY
from worker.services import connect_redis
from worker.work import Work

STEP = timedelta(seconds=5)


def ask(pushing: Pushing, company: Company, per_minute: int | None) -> None:
    with tenant_session(pushing.services.database, company.id) as session:
        session.get_one(Tenant, company.id).pushes_per_minute = per_minute


def played(pushing: Pushing, number: int, *told: str, minutes: int = 15) -> list[tuple[datetime, int]]:
    """When so many pushes of these bulletins were taken, and how many at each instant."""
    seen: list[tuple[datetime, int]] = []
    before = 0
    for _ in range(minutes * 60 // int(STEP.total_seconds())):
        pushing.play(0)
        taken = sum(len(pushing.times(one)) for one in told)
        seen.append((pushing.clock(), taken - before))
        before = taken
        if taken == number:
            return seen
        pushing.clock.tick(STEP.total_seconds())
    raise AssertionError(f"{before} of {number} were sent in {minutes} minutes")


def most_in_a_minute(seen: list[tuple[datetime, int]]) -> int:
    return max(sum(n for at, n in seen if begin <= at < begin + timedelta(minutes=1)) for begin, _ in seen)


def test_two_tenants_at_once_never_pass_the_quota_of_their_project(
    pushing: Pushing, acme: Company, globex: Company
) -> None:
    pushing.limit(100)
    pushing.phones(acme, names("p", 180))
    pushing.phones(globex, names("g", 60))
    told = [pushing.announce(acme), pushing.announce(globex)]

    seen = played(pushing, 240, *told)

    assert most_in_a_minute(seen) <= 100
    assert len(seen) * STEP <= timedelta(minutes=4), "four fifths of the quota are used"
    for one in told:
        pushing.play(0)
        assert pushing.row(one).status == COMPLETED and set(pushing.times(one).values()) == {1}
        assert {push.attempts for push in pushing.pushes(one)} == {1}, "to wait is no attempt"


def test_what_goes_to_browsers_uses_up_nothing_of_the_projects_quota(
    pushing: Pushing, acme: Company, globex: Company
) -> None:
    pushing.limit(100)
    pushing.browsers(acme, names("b", 15))
    pushing.phones(globex, names("g", 20))
    told = [pushing.announce(acme), pushing.announce(globex)]
    assert len(played(pushing, 35, *told)) == 1


def test_a_tenants_bulletins_together_keep_to_its_pace_and_hold_up_nobody_else(
    pushing: Pushing, acme: Company, globex: Company
) -> None:
    ask(pushing, acme, 60)
    ask(pushing, globex, 600)
    pushing.phones(acme, names("p", 50))
    pushing.browsers(acme, names("b", 20))
    pushing.phones(globex, names("g", 100))
    mine = [pushing.announce(acme), pushing.announce(acme)]
    theirs = pushing.announce(globex)

    seen = played(pushing, 140, *mine)

    assert most_in_a_minute(seen) <= 60
    assert len(seen) * STEP <= timedelta(minutes=4)
    due = [push.due_at for push in pushing.pushes(mine[0])]
    assert due[-1] - due[0] == timedelta(minutes=1), "they do not all come to ask at once"
    assert pushing.states(theirs) == {"sent": 100} and pushing.pushes(theirs)[-1].ended_at == seen[0][0]


def test_a_pace_that_is_taken_back_or_a_bulletin_that_is_cancelled_waits_no_longer(
    pushing: Pushing, acme: Company
) -> None:
    ask(pushing, acme, 10)
    pushing.phones(acme, names("p", 8))
    kept, dropped = pushing.announce(acme), pushing.announce(acme)
    pushing.play(0)
    assert len(pushing.times(kept)) + len(pushing.times(dropped)) == 2, "a fifth of a minute's at once"
    with Work(pushing.services, acme.id) as work:
        row = bulletins.locked(work.session, dropped)
        assert row is not None
        bulletins.end(row, CANCELLED, pushing.clock())
        work.put(jobs.bulletins_settle(acme.id, dropped))
    ask(pushing, acme, None)
    pushing.play(3 * LOOK_EVERY.total_seconds())
    assert pushing.states(kept) == {"sent": 8}
    states = pushing.states(dropped)
    assert states.get("sent", 0) <= 2 and sum(states.values()) == 8 and set(states) <= {"sent", "cancelled"}
    assert pushing.row(dropped).counts is not None


def test_while_redis_is_away_everything_is_sent(pushing: Pushing, acme: Company) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        pushing.limit(10, connect_redis(f"redis://127.0.0.1:{deaf.getsockname()[1]}"))
        pushing.phones(acme, names("p", 9))
        bulletin = pushing.announce(acme)
        pushing.play(0)
    assert pushing.states(bulletin) == {"sent": 9}
