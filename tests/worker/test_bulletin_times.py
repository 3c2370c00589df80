"""When each device gets a bulletin: by its own clock, not at night, spread as asked, and never after its end."""

from datetime import UTC, datetime, timedelta

from models.bulletin import COMPLETED
from tests.conftest import Company, FrozenClock
from tests.worker.pushing import Pushing, names
from worker import jobs
from worker.bulletin_times import Times, is_over_everywhere, pace, starts_at
from worker.push_pace import alone
from worker.schedule import tick


def test_what_has_expired_is_not_sent(pushing: Pushing, acme: Company, clock: FrozenClock) -> None:
    pushing.phones(acme, names("p", 20))
    pushing.panel.press("error", kind="fcm", reason="UNAVAILABLE", message="later")
    bulletin = pushing.announce(acme, expires_at=clock() + timedelta(minutes=10))
    pushing.play(601)
    pushing.panel.release()
    tick(pushing.services, jobs.BULLETINS_SWEEP)
    pushing.play()
    assert pushing.states(bulletin) == {"expired": 20} and pushing.times(bulletin) == {}
    assert pushing.row(bulletin).status == COMPLETED


def test_each_device_gets_it_by_its_own_wall_and_not_at_night(
    pushing: Pushing, acme: Company, clock: FrozenClock
) -> None:
    pushing.phones(acme, ["tokyo"], timezone="Asia/Tokyo")
    pushing.phones(acme, ["dublin"], timezone="Europe/Dublin")
    pushing.phones(acme, ["home"])  # the tenant's own: America/New_York, where it is 04:00
    bulletin = pushing.announce(acme, respect_quiet_hours=True)
    pushing.play()
    assert set(pushing.times(bulletin)) == {"tokyo", "dublin"}
    clock.tick(4 * 3600)
    pushing.play()
    assert set(pushing.times(bulletin)) == {"tokyo", "dublin", "home"}

    local = "2026-03-03T10:00:00"
    second = pushing.announce(acme, local_at=local, starts_at=starts_at(clock(), None, local),
                              expires_at=clock() + timedelta(days=3))  # fmt: skip
    seen: dict[str, datetime] = {}
    for _ in range(40):
        pushing.play(3600)
        for name in pushing.times(second):
            seen.setdefault(name, clock())
    assert [name for name, _ in sorted(seen.items(), key=lambda pair: pair[1])] == ["tokyo", "dublin", "home"]


def test_it_is_spread_as_the_tenant_asks(pushing: Pushing, acme: Company) -> None:
    pushing.phones(acme, names("p", 50))
    bulletin = pushing.announce(acme, per_minute=20)
    seen = []
    for _ in range(3):
        pushing.play(30)
        seen.append(len(pushing.times(bulletin)))
        pushing.clock.tick(30)
    assert seen == [20, 40, 50] and pushing.states(bulletin) == {"sent": 50}


def test_times_are_pure() -> None:
    now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    quiet = Times(now, "UTC", send_at=datetime(2026, 3, 2, 22, tzinfo=UTC), respect_quiet_hours=True)
    assert quiet.due(None) == datetime(2026, 3, 3, 8, tzinfo=UTC)
    assert quiet.due(None, datetime(2026, 3, 4, 21, 30, tzinfo=UTC)) == datetime(2026, 3, 5, 8, tzinfo=UTC), "its turn"
    assert quiet.due("Asia/Tokyo") == datetime(2026, 3, 2, 23, tzinfo=UTC), "seven there: until eight"
    assert Times(now, "UTC", local_at="2026-03-02T08:00").due(None) == now, "it has passed: at once"
    assert is_over_everywhere("2026-03-01T20:00", now) and not is_over_everywhere("2026-03-01T22:00", now)
    assert (pace(1_200_000, None), pace(500, 1_000)) == (timedelta(), timedelta(seconds=30))
    slower = [alone(None, None), alone(100, None), alone(None, 100), alone(100, 60), alone(10, 60)]
    assert slower == [None, 100, 80, 48, 10], "of its own pace, and four fifths of its tenant's"
