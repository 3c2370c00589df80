"""What is not pushed is found in the feed all the same, and goes in time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from models import bulletin as bulletins
from models.bulletin import CANCELLED, FeedRead
from models.feed_read import feed, mark_read, openings
from models.opt_out import opt_out, user_mark
from models.push import Push
from models.restricting import Freeze, lift, restrict
from models.restriction import Restriction
from models.tenancy import system_session, tenant_session
from tests.conftest import Company
from tests.worker.outside import settle
from tests.worker.pushing import Pushing, names
from tests.worker.runner import Runner
from worker import jobs
from worker.schedule import tick
from worker.tasks import HANDLERS, bulletin_age
from worker.work import Work


def in_feed(pushing: Pushing, company: Company, user: str, *, unread: bool = False) -> list[str]:
    with tenant_session(pushing.services.database, company.id, reads_only=True) as session:
        hashes = pushing.services.vault.existing(session, company.id, company.id)
        assert hashes is not None
        found = feed(session, company.id, user_mark(hashes, user), pushing.clock(), before=None, limit=9, unread=unread)
        return [entry.bulletin.id for entry in found]


@pytest.mark.every_database
def test_who_opts_out_or_is_restricted_meanwhile_is_not_pushed_to_and_finds_it_in_the_feed(
    pushing: Pushing, acme: Company, globex: Company
) -> None:
    for company in (acme, globex):
        for user in ("u-1", "u-2", "u-3"):
            pushing.phones(company, [f"{company.external_id}-{user}"], user=user)
    bulletin, theirs = pushing.announce(acme), pushing.announce(globex)
    assert pushing.worker.run_one("bulk") and pushing.worker.run_one("bulk")  # recipients are fixed
    now = pushing.clock()
    with tenant_session(pushing.services.database, acme.id) as session:
        hashes = pushing.services.vault.keyring(session, acme.id, acme.id, now)
        opt_out(session, hashes, acme.id, "u-1", now)
        restrict(session, acme.id, Freeze("subject", user=user_mark(hashes, "u-3")), now)
    pushing.play()
    assert pushing.states(bulletin) == {"sent": 1, "opted_out": 1, "restricted": 1}
    assert set(pushing.times(bulletin)) == {f"{acme.external_id}-u-2"} and len(pushing.times(theirs)) == 3
    assert in_feed(pushing, acme, "u-1") == in_feed(pushing, acme, "u-3") == [bulletin]
    assert pushing.row(bulletin).recipients == 3
    with tenant_session(pushing.services.database, acme.id) as session:
        lift(session, session.query(Restriction).one(), now)
    second = pushing.announce(acme)
    pushing.play()
    assert pushing.states(second) == {"sent": 2, "opted_out": 1}


@pytest.mark.every_database
def test_what_became_of_each_device_goes_after_a_month_and_the_bulletin_leaves_the_feed_after_a_year(
    pushing: Pushing, acme: Company, globex: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulletin_age, "PRUNED_AT_ONCE", 3)
    pushing.phones(acme, [*names("p", 4), "dead-1"])
    pushing.phones(acme, ["second"], user="user-p0001")
    bulletin, tried = pushing.announce(acme), pushing.announce(acme, is_test=True)
    cancelled = pushing.announce(acme, starts_at=pushing.clock() + timedelta(days=1))
    with Work(pushing.services, acme.id) as work:
        row = bulletins.locked(work.session, cancelled)
        assert row is not None
        bulletins.end(row, CANCELLED, pushing.clock())
        work.put(jobs.bulletins_settle(acme.id, cancelled))
    pushing.play()
    with tenant_session(pushing.services.database, acme.id) as session:
        hashes = pushing.services.vault.keyring(session, acme.id, acme.id, pushing.clock())
        mark_read(session, acme.id, bulletin, user_mark(hashes, "user-p0001"), pushing.clock())
    counts = pushing.row(bulletin).counts

    def after(days: int, *, is_on: bool = True) -> list[int]:
        """Pushes, entries of feeds, and bulletins that are left, after so many days more."""
        pushing.clock.tick(days * 86_400)
        settings = replace(pushing.services.settings, retention=is_on)
        here = replace(pushing.services, settings=settings)
        tick(here, jobs.LEDGER_PRUNE)
        settle(Runner(here, HANDLERS), here)
        with system_session(pushing.services.database, reads_only=True) as session:
            return [len(session.query(one).all()) for one in (Push, FeedRead, bulletins.Bulletin)]

    assert after(29) == [12, 1, 3]
    assert after(2, is_on=False) == [12, 1, 3]
    assert after(1) == [0, 5, 2], "a test is in no feed"
    assert pushing.row(bulletin).counts == counts and pushing.row(bulletin).devices == 6
    assert (
        in_feed(pushing, acme, "user-p0001") == [bulletin] and in_feed(pushing, acme, "user-p0001", unread=True) == []
    )
    assert (
        in_feed(pushing, acme, "user-dead-1", unread=True) == [bulletin]
        and in_feed(pushing, globex, "user-p0001") == []
    )
    with tenant_session(pushing.services.database, acme.id) as session:
        assert openings(session, bulletin) == 1
        mark_read(session, acme.id, bulletin, user_mark(hashes, "user-p0002"), pushing.clock())
        assert openings(session, bulletin) == 2
    assert after(300) == [0, 5, 2]
    assert after(35) == [0, 0, 0] and tried not in in_feed(pushing, acme, "user-p0001")
