"""What people change at Google is read, told once and shown until it is seen; our own changes are known."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from integrations.simulator import calendar_lists
from models.feed import CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT
from tests.conftest import FrozenClock
from tests.worker.calendars.diary import Diary, calendar_of, channels_of, decide, look, settle_and_look
from tests.worker.outside import Outside, settle
from tests.worker.runner import Runner
from worker import jobs
from worker.tasks import calendar_pull
from worker.work import Work


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


def test_a_pass_whose_worker_dies_is_made_again_from_the_same_place(
    diary: Diary, worker: Runner, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    diary.edit("Visit", summary="Person's")

    class Killed(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(calendar_pull, "_take", dies)
        with pytest.raises(Killed):
            look(diary, worker)
    clock.tick(60)
    look(diary, worker)

    assert len(diary.told(CALENDAR_EVENT_CHANGED)) == 1


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
def test_a_channel_is_made_and_followed_by_another_before_it_ends(
    diary: Diary, worker: Runner, clock: FrozenClock, outside: Outside, runner: Callable[..., Runner]
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    (first,) = channels_of(diary)
    assert first.expires_at is not None
    assert first.expires_at - clock() == timedelta(days=7)

    clock.now += timedelta(days=6, hours=1)
    with Work(diary.troth, None) as work:
        work.put(jobs.tick(jobs.CALENDARS_SWEEP, jobs.BULK, clock()))
    settle(worker, diary.troth)

    (second,) = channels_of(diary)
    assert second.id != first.id
    assert list(outside.google.calendars.channels) == [second.id]


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
