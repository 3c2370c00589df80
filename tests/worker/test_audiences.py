"""Whoever is erased is named in no audience and no link any more, wherever their bulletins stand; the others whom these name
stay."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from models import bulletin as bulletins
from models import named
from models.bulletin import CANCELLED, COMPLETED, SENDING, STARTING, Audience, Bulletin
from models.connect_link import ConnectLink, add_link
from models.deletion import SUBJECT, Wish
from models.erasure import erase, target_of
from models.opt_out import user_mark
from models.personal import stores_of
from models.restore import lines
from models.tenancy import system_session, tenant_session
from models.vault import Keyring
from tests.conftest import Company, FrozenClock
from tests.worker.erasing import Killed, ask, backup, look_around, mortal, one, restore, steps
from tests.worker.outside import settle
from tests.worker.pushing import Pushing
from worker import jobs
from worker.deletions_command import bring_back_all, replay_all
from worker.schedule import tick
from worker.tasks import bulletins as task

DAY = timedelta(days=1)


def key_of(pushing: Pushing, company: Company) -> Keyring:
    with tenant_session(pushing.services.database, company.id) as session:
        return pushing.services.vault.keyring(session, company.id, company.id, pushing.clock())


def mark(pushing: Pushing, company: Company, user: str) -> bytes:
    return user_mark(key_of(pushing, company), user)


def wish(pushing: Pushing, company: Company, user: str) -> Wish:
    return Wish(SUBJECT, "api", user=mark(pushing, company, user), requester=b"x" * 16, urgent=True)


def take(pushing: Pushing, company: Company, user: str, *stores: str) -> None:
    """Erase a person from stores (all), without anything around it."""
    asked = wish(pushing, company, user)
    with tenant_session(pushing.services.database, company.id) as session:
        target = target_of(session, company.id, asked, pushing.clock())
        for store in stores_of(SUBJECT):
            if not stores or store.name in stores:
                erase(session, pushing.services.vault, store, target, after=None, limit=100)


def counted(pushing: Pushing, company: Company, deletion_id: str) -> dict[str, tuple[int | None, ...]]:
    """Store -> rows that named the person: before, rewritten, after."""
    done = steps(pushing.services, company, deletion_id)
    return {name: (done[name].before, done[name].deleted, done[name].after) for name in ("bulletins", "connect_links")}


def to(*users: str) -> Audience:
    return Audience("users", users=users)


def later(clock: FrozenClock) -> dict[str, Any]:
    """A bulletin's times, a week ahead."""
    return {"starts_at": clock() + 7 * DAY, "send_at": clock() + 7 * DAY, "expires_at": clock() + 9 * DAY}


def audience(pushing: Pushing, company: Company, bulletin: str) -> Audience:
    return bulletins.audience_of(key_of(pushing, company), pushing.row(bulletin))


def left_by_an_older_version(pushing: Pushing, company: Company, whom: Audience, **more: Any) -> str:
    """A bulletin that is over and still names whom it was for."""
    bulletin, now = pushing.announce(company, whom, **later(pushing.clock)), pushing.clock()
    over = {"status": COMPLETED, "ended_at": now, "fixed_at": now, "wake_at": None, **more}
    with system_session(pushing.services.database) as session:
        session.execute(update(Bulletin).where(Bulletin.id == bulletin).values(over))
    return bulletin


def link(pushing: Pushing, company: Company, user: str) -> str:
    with tenant_session(pushing.services.database, company.id) as session:
        row, _ = add_link(session, pushing.services.vault, tenant_id=company.id, integration="facebook_leads", user=user,
                          now=pushing.clock())  # fmt: skip
        return row.id


def links(pushing: Pushing) -> dict[str, bool]:
    """id -> whether somebody is named in it."""
    with system_session(pushing.services.database, reads_only=True) as session:
        return {row.id: row.user is not None for row in session.scalars(select(ConnectLink))}


@pytest.mark.every_database
def test_whoever_is_erased_is_in_no_audience_and_what_a_backup_brings_back_goes_again(
    pushing: Pushing, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    ada, bob = "ada@crm.example", "bob@crm.example"
    for company in (acme, globex):
        for user in (ada, bob):
            pushing.phones(company, [f"{company.external_id}-{user[:3]}"], user=user)
    over = pushing.announce(acme, to(ada, bob))
    pushing.play()
    under_way = pushing.announce(acme, to(ada, bob), per_minute=1)
    pushing.play()
    assert [pushing.row(it).status for it in (over, under_way)] == [COMPLETED, SENDING]
    assert audience(pushing, acme, over) == audience(pushing, acme, under_way) == to(), "they are fixed"
    old = left_by_an_older_version(pushing, acme, to(ada, bob))
    both, alone, without = (
        pushing.announce(acme, whom, **later(clock)) for whom in (to("x", ada, bob), to(ada), to(bob))
    )
    broken = left_by_an_older_version(pushing, acme, to(ada), audience=b"\x01what nobody can open")
    theirs = pushing.announce(globex, to(ada, bob), **later(clock))
    hers, his, globexs = link(pushing, acme, ada), link(pushing, acme, bob), link(pushing, globex, ada)
    untouched = {it: pushing.row(it).audience for it in (over, under_way, without, broken, theirs)}
    snapshot = backup(pushing.services)

    def check() -> None:
        left = {old: to(bob), both: to("x", bob), alone: to(), without: to(bob)}
        assert {it: audience(pushing, acme, it) for it in left} == left
        assert links(pushing) == {hers: False, his: True, globexs: True}
        assert {it: pushing.row(it).audience for it in untouched} == untouched
        assert {row.user_hash for it in (over, under_way) for row in pushing.pushes(it)} == {mark(pushing, acme, bob)}

    asked = ask(pushing.services, acme, wish(pushing, acme, ada))
    look_around(pushing.services, pushing.worker, clock)
    assert one(pushing.services, acme, asked).verified_at == clock()
    assert counted(pushing, acme, asked) == {"bulletins": (3, 3, 0), "connect_links": (1, 1, 0)}
    check()

    with system_session(pushing.services.database, reads_only=True) as session:
        ledger = list(lines(session))
    restore(pushing.services, snapshot)
    assert audience(pushing, acme, both) == to("x", ada, bob)
    assert bring_back_all(pushing.services, ledger) == 0 and replay_all(pushing.services) == 0
    check()

    clock.tick(7 * DAY.total_seconds())
    for _ in range(3):
        pushing.play(60)
    assert set(pushing.times(both)) == {f"{acme.external_id}-bob"}
    assert pushing.states(both) == {"sent": 1, "feed_only": 1} and pushing.row(both).sentence is None
    row = pushing.row(alone)
    assert (row.status, row.recipients, pushing.states(alone)) == (COMPLETED, 0, {})
    assert row.sentence is not None and "erased" in row.sentence
    assert len(pushing.times(theirs)) == 2


def test_a_worker_that_dies_between_two_chunks_is_followed_by_one_that_counts_each_audience_once(
    pushing: Pushing, clock: FrozenClock, acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row a chunk, and the process ends before each transaction once."""
    mine = [pushing.announce(acme, to("ada", f"u{number}"), **later(clock)) for number in range(4)]
    asked = ask(pushing.services, acme, wish(pushing, acme, "ada"))
    clock.tick(60)
    tick(pushing.services, jobs.DELETIONS_SWEEP)
    monkeypatch.setattr(named, "OPENED_AT_ONCE", 1)
    left, cut_short = mortal(monkeypatch), set()
    for number in range(2, 60):
        left[0] = number
        try:
            settle(pushing.worker, pushing.services)
        except Killed:
            left[0] = 1_000
            cut_short.add(sum("ada" in audience(pushing, acme, it).users for it in mine))
            clock.tick(660)  # the lease runs out; the sweep makes a new job where an old one was given up
            tick(pushing.services, jobs.DELETIONS_SWEEP)
            continue
        if one(pushing.services, acme, asked).verified_at is not None:
            break
    assert cut_short == {0, 1, 2, 3, 4}
    assert counted(pushing, acme, asked) == {"bulletins": (4, 4, 0), "connect_links": (0, 0, 0)}
    assert [audience(pushing, acme, it) for it in mine] == [to(f"u{number}") for number in range(4)]


def test_a_fixing_that_was_cut_short_still_knows_whom_it_is_for_and_an_erasure_may_come_between(
    pushing: Pushing, acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "FIXED_AT_ONCE", 2)
    for user in ("ada", "bob", "carl", "dan"):
        pushing.phones(acme, [f"p-{user}"], user=user)
    bulletin = pushing.announce(acme, to("ada", "bob", "carl", "dan", "eve"))
    fix, fixed = task._fix, 0

    def dies_the_second_time(ticket: task.Ticket) -> bool:
        nonlocal fixed
        fixed += 1
        if fixed == 2:
            raise Killed
        return fix(ticket)

    monkeypatch.setattr(task, "_fix", dies_the_second_time)
    with pytest.raises(Killed):
        pushing.worker.run_one("bulk")
    assert pushing.row(bulletin).status == STARTING and len(pushing.pushes(bulletin)) == 2
    assert audience(pushing, acme, bulletin) == to("ada", "bob", "carl", "dan", "eve")
    for user in ("ada", "eve"):
        take(pushing, acme, user)
    for _ in range(3):
        pushing.play(16)

    assert pushing.row(bulletin).status == COMPLETED and audience(pushing, acme, bulletin) == to()
    assert pushing.times(bulletin) == {"p-bob": 1, "p-carl": 1, "p-dan": 1} and pushing.row(bulletin).recipients == 3
    assert pushing.states(bulletin) == {"sent": 3}, "nobody who was erased is in the feed either"


def test_one_that_is_cancelled_before_its_time_names_nobody_when_it_is_over(
    pushing: Pushing, clock: FrozenClock, acme: Company
) -> None:
    bulletin = pushing.announce(acme, to("ada"), **later(clock))
    pushing.cancel(acme, bulletin)
    pushing.play()
    assert pushing.row(bulletin).status == CANCELLED and audience(pushing, acme, bulletin) == to()


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)  # SQLite has one writer
def test_names_that_are_dropped_while_an_erasure_looks_are_not_written_back(
    pushing: Pushing, acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulletin = pushing.announce(acme, to("ada", "bob"))
    naming, looks = named._naming, 0

    def after_which_recipients_are_fixed(*given: Any) -> Any:
        nonlocal looks
        found, looks = naming(*given), looks + 1
        if looks == 1:
            assert found and pushing.worker.run_one("bulk")
        return found

    monkeypatch.setattr(named, "_naming", after_which_recipients_are_fixed)
    take(pushing, acme, "ada", "bulletins")
    assert looks == 2 and pushing.row(bulletin).status == SENDING and audience(pushing, acme, bulletin) == to()
