"""A run that was away for so long that another was given its job: what it still writes is void."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from integrations.google_calendar.calendars import Calendars
from integrations.simulator.seed import ACME_ACCOUNT
from models.feed import CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT
from tests.conftest import Company, FrozenClock
from tests.worker.calendars.diary import Diary, calendar_of, decide, look
from tests.worker.crossing import Crossing
from tests.worker.outside import Outside, end, last_job, settle
from tests.worker.runner import Runner
from worker import jobs
from worker.tasks import HANDLERS

Away = Callable[..., None]


@pytest.fixture
def crossing(outside: Outside) -> Crossing:
    return Crossing(outside.services.http)


@pytest.fixture
def worker(outside: Outside, crossing: Crossing) -> Runner:
    api = Calendars(crossing, api_url=outside.server.url)  # type: ignore[arg-type]
    return Runner(replace(outside.services, calendar_api=api), HANDLERS)


@pytest.fixture
def away(diary: Diary, worker: Runner, crossing: Crossing, clock: FrozenClock) -> Away:
    """The next answer comes when another run has done the job, and these titles were wished and written after it."""

    def prepare(*titles: str) -> None:
        def meanwhile() -> None:
            clock.tick(60)
            settle(worker, diary.troth)
            for title in titles:
                diary.put("a", title)
                settle(worker, diary.troth)

        crossing.do(meanwhile)

    return prepare


@pytest.mark.every_database
def test_an_old_answer_does_not_replace_what_is_known_now(diary: Diary, worker: Runner, away: Away) -> None:
    diary.put("a", "First")
    settle(worker, diary.troth)
    diary.put("a", "Second")
    away("Third")

    settle(worker, diary.troth)

    assert diary.row("a").etag == diary.there()["Third"]["etag"]
    look(diary, worker)
    assert not diary.told(CALENDAR_EVENT_CHANGED) and not diary.told(CALENDAR_EVENT_CONFLICT)


@pytest.mark.every_database
def test_an_old_page_tells_of_no_change_once_more(diary: Diary, worker: Runner, away: Away) -> None:
    diary.put("a", "First")
    settle(worker, diary.troth)
    look(diary, worker)
    diary.edit("First", summary="Person's")
    away("Second")

    look(diary, worker)

    assert diary.row("a").etag == diary.there()["Second"]["etag"]
    assert len(diary.told(CALENDAR_EVENT_CHANGED)) == 1


def test_a_calendar_that_was_made_meanwhile_stays_the_one(diary: Diary, worker: Runner, away: Away) -> None:
    diary.put("a", "First")
    away("Second")

    settle(worker, diary.troth)

    place = calendar_of(diary).external_id
    (event,) = diary.google.calendars.calendars[str(place)].events.values()
    assert (event.resource["summary"], diary.row("a").etag) == ("Second", event.resource["etag"])
    assert not diary.told(CALENDAR_EVENT_CHANGED)


def test_a_run_whose_connection_ends_meanwhile_ends_too(
    diary: Diary, worker: Runner, crossing: Crossing, acme: Company, clock: FrozenClock
) -> None:
    diary.put("a", "First")
    settle(worker, diary.troth)
    decide(diary, on_revoke="remove")
    diary.put("a", "Second")

    def too_many() -> None:
        raise RuntimeError("the run goes on and on")

    def meanwhile() -> None:
        end(diary.troth, acme, diary.connection_id)
        crossing.do(too_many, 5)

    crossing.do(meanwhile)
    worker.run_all("bulk")
    crossing.do(None)

    assert last_job(diary.troth, jobs.CALENDARS_CONVERGE, diary.connection_id).state == "done"
    settle(worker, diary.troth)
    clock.tick(60)
    settle(worker, diary.troth)
    assert diary.google.calendars.calendars == {}


def test_a_run_that_is_refused_while_its_connection_ends_waits_for_nobody(
    diary: Diary, worker: Runner, outside: Outside, crossing: Crossing, acme: Company, clock: FrozenClock
) -> None:
    diary.put("a", "First")
    settle(worker, diary.troth)
    diary.put("a", "Second")
    outside.google.revoke(ACME_ACCOUNT)
    crossing.do(lambda: end(diary.troth, acme, diary.connection_id))
    worker.run_all("bulk")
    crossing.do(None)

    clock.tick(60)
    settle(worker, diary.troth)

    assert last_job(diary.troth, jobs.CALENDARS_CONVERGE, diary.connection_id).state == "done"
