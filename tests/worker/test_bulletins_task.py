"""A bulletin from its start to its end: every living device once, the dead removed, counts that add up, whatever goes wrong."""

from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from models import bulletin as bulletins
from models import device as devices
from models import push as pushes
from models import push_chunk
from models.bulletin import COMPLETED, STOPPED, Audience
from models.deletion import SUBJECT, Wish
from models.erasure import erase, target_of
from models.opt_out import user_mark
from models.personal import stores_of
from models.push import Push
from models.push_chunk import Chunk
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.conftest import MASTER_KEY
from tests.worker.outside import settle
from tests.worker.pushing import Pushing, names
from worker import jobs
from worker.cli import troth
from worker.schedule import tick
from worker.tasks import bulletin_sending as task


def test_every_living_device_gets_it_once_and_the_dead_are_removed(
    pushing: Pushing, acme: Company, globex: Company
) -> None:
    pushing.phones(acme, [*names("p", 40), "dead-1", "foreign-1", "bad-1"])
    pushing.browsers(acme, [*names("b", 30), "dead-b"])
    pushing.phones(globex, names("g", 5))
    bulletin = pushing.announce(acme)
    pushing.play()

    row = pushing.row(bulletin)
    assert (row.status, row.devices, row.recipients) == (COMPLETED, 74, 74)
    assert pushing.states(bulletin) == {"sent": 70, "removed": 4}
    assert set(pushing.times(bulletin)) == {*names("p", 40), *names("b", 30)}
    assert set(pushing.times(bulletin).values()) == {1}
    assert pushing.devices(acme) == sorted([*names("p", 40), *names("b", 30)])
    gone = {it["host_id"]: it["reason"] for it in pushing.events(acme, "device.removed")}
    assert gone == {"dead-1": "gone", "dead-b": "gone", "bad-1": "gone", "foreign-1": "foreign"}
    (told,) = pushing.events(acme, "bulletin.completed")
    assert told == {"bulletin_id": bulletin, "status": "completed", "counts": {"sent": 70, "removed": 4}}

    assert pushing.devices(globex) == names("g", 5)
    assert pushing.events(globex, "bulletin.completed") == []
    with tenant_session(pushing.services.database, globex.id) as session:
        assert bulletins.bulletins_page(session) == []
        assert session.query(Push).all() == []


def test_it_says_to_each_what_their_locale_says(pushing: Pushing, acme: Company) -> None:
    pushing.phones(acme, ["vienna"], locale="de_AT")
    pushing.phones(acme, ["cork"], locale="ga-IE")
    pushing.browsers(acme, ["berlin"], locale="de")
    pushing.announce(acme)
    pushing.play()
    shown = pushing.world.shown
    assert (shown["vienna"]["notification"]["title"], shown["berlin"]["title"]) == ("Feueralarm", "Feueralarm")
    assert (shown["cork"]["notification"]["title"], shown["cork"]["notification"]["body"]) == ("Fire drill", "At ten.")


@pytest.mark.parametrize(
    "audience, wanted",
    [(Audience("tags", tags=("a", "b")), {"pa", "pb"}), (Audience("users", users=("u-1", "nobody")), {"pa", "pc"})],
)
def test_it_goes_to_its_audience_alone(pushing: Pushing, acme: Company, audience: Audience, wanted: set[str]) -> None:
    pushing.phones(acme, ["pa"], tags=("a", "x"), user="u-1")
    pushing.phones(acme, ["pb"], tags=("b",), user="u-2")
    pushing.phones(acme, ["pc"], user="u-1")
    bulletin = pushing.announce(acme, audience)
    pushing.play()
    assert set(pushing.times(bulletin)) == wanted
    feed_only = 1 if audience.users else 0
    assert pushing.states(bulletin).get("feed_only", 0) == feed_only
    assert pushing.row(bulletin).recipients == 2


def test_a_worker_that_dies_after_posting_sends_again_what_has_no_result_under_the_same_tag(
    pushing: Pushing, acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushing.phones(acme, names("p", 500))
    bulletin = pushing.announce(acme)

    class Killed(BaseException):
        pass

    sends, real = 0, pushing.services.pushes.send

    def dies_the_second_time(posts: Any) -> Any:
        nonlocal sends
        answers = real(posts)
        sends += 1
        if sends == 2:
            raise Killed
        return answers

    monkeypatch.setattr(type(pushing.services.pushes), "send", lambda _self, posts: dies_the_second_time(posts))
    with pytest.raises(Killed):
        pushing.play()
    monkeypatch.undo()
    for _ in range(6):
        pushing.play(16)

    times = pushing.times(bulletin)
    twice = [name for name, count in times.items() if count == 2]
    assert set(times) == set(names("p", 500)) and set(times.values()) <= {1, 2}
    assert 0 < len(twice) <= task.SLICE, "the window in flight, and no more"
    assert pushing.states(bulletin) == {"sent": 500}
    assert sum(row.doubts for row in pushing.pushes(bulletin)) == len(twice)
    assert pushing.row(bulletin).status == COMPLETED
    assert len(pushing.events(acme, "bulletin.completed")) == 1


@pytest.mark.every_database
def test_what_is_claimed_is_nobody_elses_until_the_lease_is_over(
    pushing: Pushing, acme: Company, clock: FrozenClock
) -> None:
    pushing.phones(acme, names("p", 3))
    bulletin = pushing.announce(acme)
    assert pushing.worker.run_one("bulk")
    last = pushing.pushes(bulletin)[-1].device_id
    assert last is not None
    chunk = Chunk(acme.id, bulletin, None, last)

    def claim(limit: int) -> int:
        with tenant_session(pushing.services.database, acme.id) as session:
            return len(push_chunk.claim(session, chunk, clock(), limit=limit))

    assert [claim(2), claim(9), claim(9)] == [2, 1, 0]
    clock.tick(pushes.LEASE.total_seconds())
    assert claim(9) == 3


def test_a_throttle_waits_as_long_as_the_provider_says_and_holds_that_way_alone(
    pushing: Pushing, acme: Company, clock: FrozenClock
) -> None:
    pushing.phones(acme, names("p", 30))
    pushing.browsers(acme, names("b", 30))
    pushing.panel.press("throttle", kind="fcm", seconds=90, times=3)
    bulletin = pushing.announce(acme)
    pushing.play(60)
    assert pushing.states(bulletin)["retry"] > 0
    assert {name[0] for name in names("b", 30)} <= {name[0] for name in pushing.times(bulletin)}
    asked = pushing.server.calls.requests["fcm"]
    pushing.play(20)
    assert pushing.server.calls.requests["fcm"] == asked, "nothing is asked before its time"
    pushing.play(30)
    pushing.play()
    assert pushing.states(bulletin) == {"sent": 60}
    assert set(pushing.times(bulletin).values()) == {1}


@pytest.mark.parametrize("press", [{"does": "error", "reason": "INTERNAL"}, {"does": "cut"}, {"does": "html_502"}])
def test_a_provider_that_stumbles_is_asked_again(pushing: Pushing, acme: Company, press: dict[str, Any]) -> None:
    pushing.phones(acme, names("p", 20))
    pushing.panel.press(**press, kind="fcm", times=25)
    bulletin = pushing.announce(acme)
    for _ in range(6):
        pushing.play(30)
    assert pushing.states(bulletin) == {"sent": 20}


def test_a_bulletin_that_the_provider_calls_invalid_stops_and_removes_nobody(
    pushing: Pushing, acme: Company, globex: Company
) -> None:
    pushing.phones(globex, names("g", task.FIRST_SLICE + 1))
    well = pushing.announce(globex)
    pushing.play()
    assert pushing.states(well) == {"sent": task.FIRST_SLICE + 1}, (
        "what is taken of one bulletin says nothing of another"
    )
    pushing.phones(acme, names("p", 700))
    pushing.panel.press("error", kind="fcm", reason="INVALID_ARGUMENT")
    bulletin = pushing.announce(acme)
    pushing.play()
    row = pushing.row(bulletin)
    assert row.status == STOPPED and row.sentence is not None and "invalid_argument" in row.sentence
    states = pushing.states(bulletin)
    assert (
        states["failed"] <= 2 * task.FIRST_SLICE
        and sum(states.values()) == 700
        and set(states) == {"failed", "cancelled"}
    )
    assert len(pushing.devices(acme)) == 700
    assert [it["status"] for it in pushing.events(acme, "bulletin.completed")] == ["stopped"]


def test_one_bad_device_never_fails_its_chunk(pushing: Pushing, acme: Company) -> None:
    pushing.phones(acme, ["p1", "p2"])
    pushing.browsers(acme, ["b1"])
    with system_session(pushing.services.database) as session:
        session.execute(update(devices.Device).where(devices.Device.host_id == "p1").values(address=b"\x01broken"))
    bulletin = pushing.announce(acme)
    pushing.play()
    assert pushing.states(bulletin) == {"sent": 2, "failed": 1}


def test_credentials_that_are_refused_cost_no_device(pushing: Pushing, acme: Company) -> None:
    pushing.phones(acme, names("p", 5))
    pushing.panel.press("error", kind="fcm", reason="THIRD_PARTY_AUTH_ERROR", times=5)
    bulletin = pushing.announce(acme)
    pushing.play(60)
    assert pushing.states(bulletin) == {"retry": 5}
    pushing.play(250)
    pushing.play()
    assert pushing.states(bulletin) == {"sent": 5} and len(pushing.devices(acme)) == 5


@pytest.mark.every_database
def test_it_is_cancelled_in_mid_flight(pushing: Pushing, acme: Company, clock: FrozenClock) -> None:
    pushing.phones(acme, names("p", 600))
    bulletin = pushing.announce(acme)
    assert pushing.worker.run_one("bulk") and pushing.worker.run_one("bulk")  # the start, and the first chunk
    pushing.cancel(acme, bulletin)
    pushing.play()
    assert pushing.states(bulletin) == {"sent": 500, "cancelled": 100}
    assert len(pushing.times(bulletin)) == 500
    assert pushing.row(bulletin).counts is not None


def test_a_device_that_moved_to_another_person_does_not_get_the_first_ones(pushing: Pushing, acme: Company) -> None:
    pushing.phones(acme, ["p1"], user="u-1")
    bulletin = pushing.announce(acme)
    assert pushing.worker.run_one("bulk")
    pushing.phones(acme, ["p1"], user="u-2")
    pushing.play()
    assert pushing.times(bulletin) == {} and pushing.states(bulletin) == {"removed": 1}
    assert pushing.devices(acme) == ["p1"]


def test_a_device_that_came_back_with_a_new_address_outlives_the_death_of_its_old_one(
    pushing: Pushing, acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushing.phones(acme, ["p1"], address={"token": "dead-old"})
    bulletin = pushing.announce(acme)
    real = pushing.services.pushes.send

    def meanwhile(_self: Any, posts: Any) -> Any:
        answers = real(posts)
        pushing.clock.tick(1)
        pushing.phones(acme, ["p1"], address={"token": "new"})
        return answers

    monkeypatch.setattr(type(pushing.services.pushes), "send", meanwhile)
    pushing.play()
    assert pushing.devices(acme) == ["p1"] and pushing.states(bulletin) == {"removed": 1}


def test_a_person_who_is_erased_gets_nothing_that_was_waiting(pushing: Pushing, acme: Company) -> None:
    pushing.phones(acme, ["p1"], user="u-1")
    pushing.phones(acme, ["p2"], user="u-2")
    bulletin = pushing.announce(acme)
    assert pushing.worker.run_one("bulk")
    with tenant_session(pushing.services.database, acme.id) as session:
        hashes = pushing.services.vault.keyring(session, acme.id, acme.id, pushing.clock())
        target = target_of(session, acme.id, Wish(SUBJECT, "api", user=user_mark(hashes, "u-1")), pushing.clock())
        vault = pushing.services.vault
        erased = [erase(session, vault, store, target, after=None, limit=100).erased for store in stores_of(SUBJECT)]
    found = {name: number for one in erased for name, number in one.items() if number}
    assert found == {"pushes": 1, "devices": 1}
    pushing.play()
    assert set(pushing.times(bulletin)) == {"p2"} and pushing.devices(acme) == ["p2"]


def test_devices_that_were_not_seen_for_270_days_are_forgotten(
    pushing: Pushing, acme: Company, clock: FrozenClock
) -> None:
    pushing.phones(acme, ["old"])
    clock.tick(200 * 86_400)
    pushing.phones(acme, ["young"])
    clock.tick(71 * 86_400)
    tick(pushing.services, jobs.DEVICES_PRUNE)
    settle(pushing.worker, pushing.services)
    assert pushing.devices(acme) == ["young"]
    assert [it["reason"] for it in pushing.events(acme, "device.removed")] == ["stale"]


def test_an_operator_sees_how_it_stands(pushing: Pushing, acme: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    pushing.phones(acme, ["p1", "p2", "dead-1"])
    bulletin = pushing.announce(acme)
    monkeypatch.setenv("TROTH_DATABASE_URL", pushing.services.settings.database_url)
    monkeypatch.setenv("TROTH_MASTER_KEYS", MASTER_KEY)
    told = CliRunner().invoke(troth, ["bulletins", "list"])
    assert told.exit_code == 0 and bulletin in told.output and "scheduled" in told.output
    pushing.play()
    assert bulletin not in CliRunner().invoke(troth, ["bulletins", "list"]).output
    watched = CliRunner().invoke(troth, ["bulletins", "watch", bulletin])
    assert watched.exit_code == 0 and "completed: 2 sent, 0 failed, 1 removed" in watched.output
    assert CliRunner().invoke(troth, ["bulletins", "watch", "nothing"]).exit_code == 1


@pytest.mark.parametrize("kind", ["fcm", "webpush"])
def test_a_pause_is_one_push_services_own_and_kept_by_every_process(
    pushing: Pushing, acme: Company, clock: FrozenClock, kind: str
) -> None:
    other, service = pushing.pauses(), {"fcm": "fcm", "webpush": pushing.server.url}
    assert other.until(service[kind]) is None
    pushing.phones(acme, names("p", 3))
    pushing.browsers(acme, names("b", 3))
    pushing.panel.press("throttle", kind=kind, seconds=90, times=1)
    first = pushing.announce(acme)
    settle(pushing.worker, pushing.services)
    assert pushing.states(first) == {"sent": 5, "retry": 1}
    ends = clock() + timedelta(seconds=90)
    clock.tick(1)
    assert [other.until(name) for name in ("fcm", pushing.server.url, "https://push.example")].count(ends) == 1
    other.pause(service[kind], ends - timedelta(seconds=30))
    assert pushing.pauses().until(service[kind]) == ends, "a shorter pause ends no longer one"

    second = pushing.announce(acme)
    settle(pushing.worker, pushing.services)
    assert pushing.states(second) == {"sent": 3, "retry": 3}
    assert {name[0] for name in pushing.times(second)} == {"b" if kind == "fcm" else "p"}
    pushing.play(89)
    assert other.until(service[kind]) is None and pushing.states(second) == {"sent": 6}


def test_a_service_that_only_hangs_is_left_alone_for_a_minute_and_costs_nobody_a_push(
    pushing: Pushing, acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.push.sender.WHOLE", timedelta(milliseconds=200))
    pushing.phones(acme, names("p", 3))
    pushing.browsers(acme, names("b", 3))
    pushing.panel.press("hang", kind="webpush", times=3)
    first = pushing.announce(acme)
    settle(pushing.worker, pushing.services)
    assert pushing.states(first) == {"sent": 3, "retry": 3}
    assert pushing.pauses().until(pushing.server.url) == pushing.clock() + timedelta(minutes=1)
    second = pushing.announce(acme)
    settle(pushing.worker, pushing.services)
    assert pushing.states(second) == {"sent": 3, "retry": 3}, "the browsers were not asked again"
    for _ in range(4):
        pushing.play(120)
    assert pushing.states(first) == pushing.states(second) == {"sent": 6}


def test_a_few_that_are_refused_alone_do_not_stop_what_others_were_sent(pushing: Pushing, acme: Company) -> None:
    odd = ["x1", "x2", "x3"]
    pushing.phones(acme, [*names("p", 20), *odd])
    for name in odd:  # they come back together, and without those that were taken
        pushing.panel.press("error", kind="fcm", token=name, reason="UNAVAILABLE", times=1)
        pushing.panel.press("error", kind="fcm", token=name, reason="INVALID_ARGUMENT")
    bulletin = pushing.announce(acme)
    for _ in range(3):
        pushing.play(60)
    assert pushing.row(bulletin).status == COMPLETED and pushing.states(bulletin) == {"sent": 20, "failed": 3}
    assert len(pushing.devices(acme)) == 23
