"""Wishes become events at Google: each in one call, once, and whatever Google answers, none is lost."""

from datetime import timedelta

import pytest

from integrations.simulator.seed import ACME_ACCOUNT
from models.feed import CALENDAR_EVENT_CONFLICT, CALENDAR_EVENT_FAILED, CALENDAR_EVENT_SYNCED
from models.job import WAITING
from models.tenancy import tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.calendars.diary import Diary, look, settle_and_look
from tests.worker.outside import Outside, last_job, settle
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.work import Work

KIND = jobs.CALENDARS_CONVERGE


@pytest.mark.every_database
def test_wishes_become_events_of_a_calendar_of_our_own_and_nothing_of_them_stays(diary: Diary, worker: Runner) -> None:
    for number in range(3):
        diary.put(f"appointment-{number}", f"Visit {number}", description="Behind the yard")
    settle(worker, diary.troth)

    assert sorted(diary.there()) == ["Visit 0", "Visit 1", "Visit 2"]
    assert diary.there()["Visit 0"]["start"] == {"dateTime": "2026-03-10T10:00:00+02:00", "timeZone": "Europe/Kyiv"}
    assert diary.calendar.resource["summary"] == "Acme"
    rows = diary.rows().values()
    assert {row.state for row in rows} == {"synced"}
    assert {(row.wish, row.found) for row in rows} == {(None, None)}
    assert {row.etag for row in rows} == {one["etag"] for one in diary.there().values()}
    assert sorted(told["host_id"] for told in diary.told(CALENDAR_EVENT_SYNCED)) == sorted(diary.rows())


def test_the_same_wish_once_more_calls_nobody(diary: Diary, worker: Runner, outside: Outside) -> None:
    diary.put("a", "Visit", attendees=[{"email": "Amy@example.com"}])
    settle(worker, diary.troth)
    calls = outside.google.calendars.calls

    assert not diary.put("a", "Visit", attendees=[{"email": "amy@example.com"}])
    settle(worker, diary.troth)

    assert outside.google.calendars.calls == calls


@pytest.mark.every_database
def test_a_change_is_one_call_and_a_deletion_is_one(diary: Diary, worker: Runner, outside: Outside) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    calls = outside.google.calendars.calls

    diary.put("a", "Later visit")
    settle(worker, diary.troth)
    assert (list(diary.there()), outside.google.calendars.calls) == (["Later visit"], calls + 1)

    diary.remove("a")
    settle(worker, diary.troth)
    assert (diary.there(), outside.google.calendars.calls) == ({}, calls + 2)
    assert diary.row("a").state == "removed"


def test_what_was_deleted_and_is_wished_again_gets_a_new_id(diary: Diary, worker: Runner) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    before = diary.there()["Visit"]["id"]
    diary.remove("a")
    settle(worker, diary.troth)

    diary.put("a")
    settle(worker, diary.troth)

    assert diary.there()["Visit"]["id"] != before
    assert diary.row("a").generation == 2


def test_an_insert_whose_answer_was_lost_is_adopted(diary: Diary, worker: Runner, outside: Outside) -> None:
    diary.put("a")
    outside.panel.press("cut", kind="calendar_batch", times=1)  # before it is carried out
    settle(worker, diary.troth)
    diary.troth.clock.tick(60)  # type: ignore[attr-defined]
    settle(worker, diary.troth)
    with tenant_session(diary.troth.database, diary.company.id) as session:
        row = session.merge(diary.row("a"))
        row.etag, row.content_hash, row.state, row.due_at = None, None, "pending", diary.troth.clock()
        row.wish = diary.keys(session).seal({"content": {"title": "Visit 2", "start": {"date": "2026-03-10"},
                                                         "end": {"date": "2026-03-11"}}, "notify": "none"},
                                            row=row.id, column="wish")  # fmt: skip

    look(diary, worker)

    assert list(diary.there()) == ["Visit 2"]
    assert (diary.row("a").state, diary.row("a").generation) == ("synced", 1)
    assert not diary.told(CALENDAR_EVENT_CONFLICT)


def test_a_wish_that_comes_while_google_answers_is_not_lost(diary: Diary, worker: Runner, outside: Outside) -> None:
    diary.put("a", "First")

    def meanwhile(_notice: object) -> None:
        outside.google.calendars.notify = None
        diary.put("a", "Second")

    settle_and_look(diary, worker)
    outside.google.calendars.notify = meanwhile
    diary.put("a", "First, changed")
    settle(worker, diary.troth)

    assert list(diary.there()) == ["Second"]
    assert diary.row("a").state == "synced"


@pytest.mark.every_database
def test_one_bad_event_is_marked_and_the_rest_goes_on(diary: Diary, worker: Runner, outside: Outside) -> None:
    diary.put("good", "Good")
    diary.put("bad", "Bad", attendees=[{"email": f"g{number}@example.com"} for number in range(201)])

    settle(worker, diary.troth)

    assert list(diary.there()) == ["Good"]
    bad = diary.row("bad")
    assert (bad.state, bad.error_code, bad.wish) == ("failed", "calendarTooManyAttendees", None)
    assert [told["host_id"] for told in diary.told(CALENDAR_EVENT_FAILED)] == ["bad"]
    diary.put("bad", "Mended")
    settle(worker, diary.troth)
    assert sorted(diary.there()) == ["Good", "Mended"]


@pytest.mark.parametrize(
    ("status", "reason", "wait"),
    [(403, "quotaExceeded", timedelta(hours=3)), (403, "userRateLimitExceeded", timedelta(minutes=1)),
     (429, "rateLimitExceeded", timedelta(seconds=30))],
)  # fmt: skip
def test_a_throttle_parks_the_calendar_as_long_as_google_wants(
    diary: Diary, worker: Runner, outside: Outside, clock: FrozenClock, status: int, reason: str, wait: timedelta
) -> None:
    diary.put("a")
    outside.panel.press("throttle", kind="calendar.events.insert", status=status, reason=reason, times=1,
                        seconds=30 if status == 429 else 0)  # fmt: skip
    settle(worker, diary.troth)

    job = last_job(diary.troth, KIND, diary.connection_id)
    assert (job.state, job.due_at - clock()) == (WAITING, wait)
    clock.now += wait
    settle(worker, diary.troth)
    assert list(diary.there()) == ["Visit"]


def test_a_server_error_delays_its_event_alone(
    diary: Diary, worker: Runner, outside: Outside, clock: FrozenClock
) -> None:
    diary.put("a", "First")
    diary.put("b", "Second")
    outside.panel.press("error", kind="calendar.events.insert", status=503, times=1)
    settle(worker, diary.troth)
    assert len(diary.there()) == 1

    clock.tick(10)
    settle(worker, diary.troth)

    assert len(diary.there()) == 2


def test_an_access_token_that_ended_is_refreshed_in_the_middle(diary: Diary, worker: Runner, outside: Outside) -> None:
    diary.put("a", "First")
    settle(worker, diary.troth)
    outside.google.expire_access(ACME_ACCOUNT)
    diary.put("b", "Second")

    settle(worker, diary.troth)

    assert sorted(diary.there()) == ["First", "Second"]


def test_a_grant_that_ended_needs_a_person_and_nothing_is_lost(
    diary: Diary, worker: Runner, outside: Outside, acme: Company
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    outside.google.revoke(ACME_ACCOUNT)
    diary.put("b", "Waits")
    settle(worker, diary.troth)
    assert diary.row("b").state == "pending"

    outside.bring(acme, ACME_ACCOUNT)
    settle(worker, diary.troth)

    assert sorted(diary.there()) == ["Visit", "Waits"]


def test_two_tenants_with_one_google_account_do_not_meet(
    diary: Diary, worker: Runner, outside: Outside, globex: Company
) -> None:
    other = Diary(diary.troth, diary.google, globex, outside.bring(globex, ACME_ACCOUNT))
    diary.put("same", "Acme's")
    other.put("same", "Globex's")
    settle(worker, diary.troth)

    calendars = list(diary.google.calendars.calendars.values())
    titles = [[one.resource["summary"] for one in calendar.events.values()] for calendar in calendars]
    assert sorted(titles) == [["Acme's"], ["Globex's"]]
    assert list(other.rows()) == ["same"]
    assert diary.row("same").external_id != other.row("same").external_id


def test_a_job_of_another_kind_of_connection_ends_well(troth: Services, worker: Runner, acme: Company) -> None:
    with Work(troth, acme.id) as work:
        work.put(jobs.calendars_converge(acme.id, acme.connection_id))
    settle(worker, troth)

    assert last_job(troth, KIND, acme.connection_id).state == "done"


def test_an_event_that_google_does_not_let_us_delete_is_there_still(
    diary: Diary, worker: Runner, outside: Outside
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    outside.panel.press("error", kind="calendar.events.delete", status=403, reason="forbidden", times=1)
    diary.remove("a")
    settle(worker, diary.troth)
    assert (diary.row("a").state, list(diary.there())) == ("failed", ["Visit"])

    diary.remove("a")
    settle(worker, diary.troth)

    assert (diary.row("a").state, diary.there()) == ("removed", {})


def test_who_is_limited_is_called_for_by_no_connection_of_theirs(
    diary: Diary, worker: Runner, outside: Outside, globex: Company, clock: FrozenClock
) -> None:
    other = Diary(diary.troth, diary.google, globex, outside.bring(globex, ACME_ACCOUNT))
    diary.put("a")
    settle(worker, diary.troth)
    outside.panel.press("throttle", kind="calendar.events.update", reason="quotaExceeded", times=1)
    diary.put("a", "Later")
    settle(worker, diary.troth)
    calls = outside.google.calendars.calls

    other.put("a")
    clock.tick(3 * 3600 - 1)
    settle(worker, diary.troth)
    assert outside.google.calendars.calls == calls

    clock.tick(60)
    settle(worker, diary.troth)
    assert {row.state for row in (diary.row("a"), other.row("a"))} == {"synced"}
