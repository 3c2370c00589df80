"""A calendar that people deleted, and connections that are revoked: what becomes of the events."""

import pytest

from models.feed import CALENDAR_EVENT_CHANGED
from tests.conftest import Company
from tests.worker.calendars.diary import Diary, calendar_of, decide, look
from tests.worker.outside import Outside, end, settle, steps
from tests.worker.runner import Runner


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
