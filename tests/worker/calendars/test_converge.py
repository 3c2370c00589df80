"""Converging with Google Calendar: wishes become events, people's changes are told, and a crash at any line is mended."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from integrations.simulator import calendar_lists
from integrations.simulator.seed import ACME_ACCOUNT
from models.calendar import Calendar, Channel
from models.feed import CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT, CALENDAR_EVENT_FAILED, CALENDAR_EVENT_SYNCED
from models.job import WAITING
from models.tenancy import tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.calendars.diary import Diary
from tests.worker.outside import Outside, end, last_job, settle, steps
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.work import Work

KIND = jobs.CALENDARS_CONVERGE


@pytest.fixture
def notices(outside: Outside) -> list[Any]:
    """What Google would post, kept instead."""
    kept: list[Any] = []
    outside.google.calendars.notify = kept.append
    return kept


@pytest.fixture
def diary(outside: Outside, troth: Services, acme: Company, notices: list[Any]) -> Diary:
    return Diary(troth, outside.google, acme, outside.bring(acme, ACME_ACCOUNT))


def calendar_of(diary: Diary) -> Calendar:
    with tenant_session(diary.troth.database, diary.company.id, reads_only=True) as session:
        return session.scalars(select(Calendar)).one()


def decide(diary: Diary, **values: Any) -> None:
    with tenant_session(diary.troth.database, diary.company.id) as session:
        row = session.scalars(select(Calendar)).one()
        for name, value in values.items():
            setattr(row, name, value)


def look(diary: Diary, worker: Runner) -> None:
    """The notice of a change has come, and its job runs."""
    decide(diary, dirty_at=diary.troth.clock())
    with Work(diary.troth, diary.company.id) as work:
        work.put(jobs.calendars_converge(diary.company.id, diary.connection_id))
    settle(worker, diary.troth)


def settle_and_look(diary: Diary, worker: Runner) -> None:
    """What was wished is at Google, and our own changes have come back."""
    settle(worker, diary.troth)
    look(diary, worker)


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


@pytest.mark.every_database
def test_a_persons_change_is_told_and_shown_until_the_host_has_seen_it(diary: Diary, worker: Runner) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    look(diary, worker)
    diary.edit("Visit", summary="Visit, but later", start={"date": "2026-03-12"}, end={"date": "2026-03-13"})

    look(diary, worker)

    (told,) = diary.told(CALENDAR_EVENT_CHANGED)
    assert (told["host_id"], told["deleted"]) == ("a", False)
    found = diary.found("a")
    assert found is not None
    assert (found["event"]["title"], found["event"]["start"]) == ("Visit, but later", {"date": "2026-03-12"})
    diary.see("a")
    assert diary.found("a") is None
    # The host disagrees: what it wished before is a wish again.
    assert diary.put("a")
    settle(worker, diary.troth)
    assert list(diary.there()) == ["Visit"]
    assert not diary.told(CALENDAR_EVENT_CONFLICT)


def test_a_persons_deletion_is_told_and_nothing_is_made_anew(diary: Diary, worker: Runner) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    look(diary, worker)
    diary.delete("Visit")

    look(diary, worker)
    look(diary, worker)

    assert [told["deleted"] for told in diary.told(CALENDAR_EVENT_CHANGED)] == [True]
    assert (diary.row("a").state, diary.there()) == ("removed", {})


def test_our_own_changes_come_back_and_are_known(diary: Diary, worker: Runner) -> None:
    for number in range(5):
        diary.put(f"{number}", f"Visit {number}")
    settle(worker, diary.troth)
    look(diary, worker)
    diary.put("0", "Changed")
    settle(worker, diary.troth)

    look(diary, worker)

    assert not diary.told(CALENDAR_EVENT_CHANGED)


def test_a_colour_and_an_answer_survive_the_hosts_next_change(diary: Diary, worker: Runner) -> None:
    diary.put("a", attendees=[{"email": "amy@example.com"}])
    settle(worker, diary.troth)
    diary.edit("Visit", colorId="7", conferenceData={"conferenceId": "abc"},
               attendees=[{"email": "amy@example.com", "responseStatus": "accepted"}])  # fmt: skip
    look(diary, worker)

    diary.put("a", "Later visit", attendees=[{"email": "amy@example.com"}])
    settle(worker, diary.troth)

    there = diary.there()["Later visit"]
    assert (there["colorId"], there["conferenceData"]) == ("7", {"conferenceId": "abc"})
    assert there["attendees"][0]["responseStatus"] == "accepted"
    assert not diary.told(CALENDAR_EVENT_CHANGED) and not diary.told(CALENDAR_EVENT_CONFLICT)


@pytest.mark.parametrize(("clash", "ends", "state"), [("crm", "Host's", "synced"), ("google", "Person's", "conflict")])
def test_a_clash_goes_as_the_tenant_decided(diary: Diary, worker: Runner, clash: str, ends: str, state: str) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, clash=clash)
    diary.edit("Visit", summary="Person's")
    diary.put("a", "Host's")

    settle(worker, diary.troth)

    assert list(diary.there()) == [ends]
    (told,) = diary.told(CALENDAR_EVENT_CONFLICT)
    assert (told["winner"], diary.row("a").state) == (clash, state)
    assert diary.found("a")["event"]["title"] == "Person's"  # type: ignore[index]
    diary.see("a")
    row = diary.row("a")
    assert (row.state, row.wish, row.found) == ("synced", None, None)


def test_a_wish_under_way_is_left_alone_by_a_pass(diary: Diary, worker: Runner) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    diary.edit("Visit", summary="Person's")
    diary.put("a", "Host's")

    look(diary, worker)

    assert list(diary.there()) == ["Host's"]
    assert len(diary.told(CALENDAR_EVENT_CONFLICT)) == 1
    assert not diary.told(CALENDAR_EVENT_CHANGED)


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


def test_a_change_that_comes_during_a_pass_has_one_more(
    diary: Diary, worker: Runner, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary.put("a", "First")
    diary.put("b", "Second")
    settle_and_look(diary, worker)
    listed = calendar_lists.listed

    def meanwhile(*about: Any) -> dict[str, Any]:
        monkeypatch.setattr(calendar_lists, "listed", listed)
        found = listed(*about)
        diary.edit("Second", summary="Changed during the pass")
        decide(diary, dirty_at=clock() + timedelta(microseconds=1))
        clock.tick(1)
        return found

    monkeypatch.setattr(calendar_lists, "listed", meanwhile)
    diary.edit("First", summary="Changed before the pass")
    look(diary, worker)

    assert sorted(told["host_id"] for told in diary.told(CALENDAR_EVENT_CHANGED)) == ["a", "b"]


@pytest.mark.parametrize(("seconds", "ends"), [(-60, "Host's"), (60, "Person's")])
def test_the_newest_wins_where_that_is_what_the_tenant_wants(
    diary: Diary, worker: Runner, clock: FrozenClock, seconds: float, ends: str
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, clash="newest")
    if seconds < 0:
        diary.edit("Visit", summary="Person's")
        clock.tick(60)
        diary.put("a", "Host's")
    else:
        diary.put("a", "Host's")
        clock.tick(60)
        diary.edit("Visit", summary="Person's")

    settle(worker, diary.troth)

    assert list(diary.there()) == [ends]


@pytest.mark.parametrize(("clash", "there"), [("crm", ["Host's"]), ("google", [])])
def test_an_event_that_a_person_deleted_while_the_host_changed_it(
    diary: Diary, worker: Runner, clash: str, there: list[str]
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, clash=clash)
    diary.delete("Visit")
    diary.put("a", "Host's")

    settle(worker, diary.troth)

    assert list(diary.there()) == there
    assert [(told["winner"], told["deleted"]) for told in diary.told(CALENDAR_EVENT_CONFLICT)] == [(clash, True)]


@pytest.mark.every_database
def test_a_forgotten_place_is_read_whole_and_what_is_missing_is_told(diary: Diary, worker: Runner) -> None:
    for number in range(3):
        diary.put(f"{number}", f"Visit {number}")
    settle(worker, diary.troth)
    look(diary, worker)
    diary.delete("Visit 1")
    diary.google.calendars.expire_sync_tokens(diary.calendar)
    diary.google.calendars.empty_pages = True

    look(diary, worker)

    assert [(told["host_id"], told["deleted"]) for told in diary.told(CALENDAR_EVENT_CHANGED)] == [("1", True)]
    assert calendar_of(diary).sync_token is not None


@pytest.mark.every_database
def test_a_calendar_that_was_deleted_is_made_anew_and_the_host_is_asked_for_its_events(
    diary: Diary, worker: Runner
) -> None:
    diary.put("a")
    diary.put("b", "Other")
    settle(worker, diary.troth)
    diary.google.calendars.remove_calendar(diary.calendar)
    diary.put("b", "Another")

    settle(worker, diary.troth)

    assert list(diary.there()) == ["Another"]
    (told,) = diary.told(CALENDAR_EVENT_CHANGED)
    assert (told["host_id"], told["reason"]) == ("a", "calendar_deleted")
    diary.put("a")
    settle(worker, diary.troth)
    assert sorted(diary.there()) == ["Another", "Visit"]


def test_a_calendar_that_was_deleted_stays_so_where_the_tenant_wants_it(diary: Diary, worker: Runner) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, on_gone="explain")
    diary.google.calendars.remove_calendar(diary.calendar)

    look(diary, worker)
    diary.put("a", "Waits")
    settle(worker, diary.troth)

    assert diary.google.calendars.calendars == {}
    assert calendar_of(diary).gone_at is not None
    assert diary.row("a").state == "pending"


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


@pytest.mark.every_database
def test_only_single_events_of_a_series_that_changed_are_told(diary: Diary, worker: Runner) -> None:
    diary.put("a", recurrence=["RRULE:FREQ=DAILY;COUNT=5"])
    settle(worker, diary.troth)
    look(diary, worker)
    master = diary.there()["Visit"]
    original = {"dateTime": "2026-03-11T10:00:00+02:00", "timeZone": "Europe/Kyiv"}
    exception = {**master, "id": f"{master['id']}_20260311T080000Z", "recurringEventId": master["id"],
                 "originalStartTime": original, "summary": "Moved"}  # fmt: skip
    exception.pop("recurrence")
    diary.google.calendars.store(diary.calendar, exception)

    look(diary, worker)
    diary.google.calendars.expire_sync_tokens(diary.calendar)
    look(diary, worker)

    (told,) = diary.told(CALENDAR_EVENT_CHANGED)
    assert (told["host_id"], told["instances"]) == ("a", [original["dateTime"]])
    assert diary.found("a")["instances"][original["dateTime"]]["title"] == "Moved"  # type: ignore[index]
    assert diary.row("a").state == "synced"


def test_one_day_of_a_series_that_changed_while_a_wish_is_under_way_is_told(
    diary: Diary, worker: Runner, outside: Outside, clock: FrozenClock
) -> None:
    diary.put("a", recurrence=["RRULE:FREQ=DAILY;COUNT=5"])
    settle(worker, diary.troth)
    look(diary, worker)
    master = diary.there()["Visit"]
    original = {"dateTime": "2026-03-11T10:00:00+02:00", "timeZone": "Europe/Kyiv"}
    exception = {**master, "id": f"{master['id']}_20260311T080000Z", "recurringEventId": master["id"],
                 "originalStartTime": original, "summary": "Moved"}  # fmt: skip
    exception.pop("recurrence")
    diary.put("a", "Later", recurrence=["RRULE:FREQ=DAILY;COUNT=5"])
    outside.panel.press("error", kind="calendar.events.update", status=503, times=1)
    diary.google.calendars.store(diary.calendar, exception)

    look(diary, worker)
    clock.tick(60)
    settle(worker, diary.troth)

    (told,) = diary.told(CALENDAR_EVENT_CHANGED)
    assert told["instances"] == [original["dateTime"]]
    assert diary.row("a").state == "synced"


def test_events_of_others_in_our_calendar_are_not_looked_at(diary: Diary, worker: Runner) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    theirs = {**diary.there()["Visit"], "id": "theirs0000", "summary": "Private"}
    diary.google.calendars.store(diary.calendar, theirs)

    look(diary, worker)

    assert list(diary.rows()) == ["a"]
    assert not diary.told(CALENDAR_EVENT_CHANGED)


def channels(diary: Diary) -> list[Channel]:
    with tenant_session(diary.troth.database, diary.company.id, reads_only=True) as session:
        return list(session.scalars(select(Channel)))


@pytest.mark.every_database
def test_a_channel_is_made_and_followed_by_another_before_it_ends(
    diary: Diary, worker: Runner, clock: FrozenClock, outside: Outside, runner: Callable[..., Runner]
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    (first,) = channels(diary)
    assert first.expires_at is not None
    assert first.expires_at - clock() == timedelta(days=7)

    clock.now += timedelta(days=6, hours=1)
    with Work(diary.troth, None) as work:
        work.put(jobs.tick(jobs.CALENDARS_SWEEP, jobs.BULK, clock()))
    settle(worker, diary.troth)

    (second,) = channels(diary)
    assert second.id != first.id
    assert list(outside.google.calendars.channels) == [second.id]


def test_a_calendar_is_read_by_the_clock_when_no_notice_comes(diary: Diary, worker: Runner, clock: FrozenClock) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    look(diary, worker)
    diary.edit("Visit", summary="Changed")

    clock.now += timedelta(hours=6, minutes=1)
    with Work(diary.troth, None) as work:
        work.put(jobs.tick(jobs.CALENDARS_SWEEP, jobs.BULK, clock()))
    settle(worker, diary.troth)

    assert len(diary.told(CALENDAR_EVENT_CHANGED)) == 1


@pytest.mark.every_database
def test_what_the_host_does_not_look_at_is_erased_after_a_week(
    diary: Diary, worker: Runner, clock: FrozenClock
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    diary.edit("Visit", summary="Changed")
    look(diary, worker)
    assert diary.found("a") is not None

    clock.now += timedelta(days=7, minutes=1)
    with Work(diary.troth, None) as work:
        work.put(jobs.tick(jobs.CALENDARS_SWEEP, jobs.BULK, clock()))
    settle(worker, diary.troth)

    assert diary.found("a") is None


@pytest.mark.every_database
def test_a_revocation_keeps_our_events_or_removes_them_first(
    diary: Diary, worker: Runner, outside: Outside, acme: Company
) -> None:
    for number in range(3):
        diary.put(f"{number}", f"Visit {number}")
    settle(worker, diary.troth)
    decide(diary, on_revoke="remove")

    end(diary.troth, acme, diary.connection_id)
    settle(worker, diary.troth)

    assert outside.google.calendars.calendars == {}
    assert outside.google.calendars.channels == {}
    assert steps(diary.troth, acme, diary.connection_id)["revoke_grant"][0] == "done"


def test_a_calendar_with_somebody_elses_event_in_it_stays(diary: Diary, worker: Runner, acme: Company) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, on_revoke="remove")
    diary.google.calendars.store(diary.calendar, {**diary.there()["Visit"], "id": "theirs0000", "summary": "Private"})

    end(diary.troth, acme, diary.connection_id)
    settle(worker, diary.troth)

    assert list(diary.there()) == ["Private"]


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
