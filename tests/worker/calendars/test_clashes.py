"""An event that both sides changed at once: it is looked at, and goes as the tenant decided."""

import pytest

from models.feed import CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT
from tests.conftest import FrozenClock
from tests.worker.calendars.diary import Diary, decide, look
from tests.worker.outside import Outside, settle
from tests.worker.runner import Runner


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


@pytest.mark.parametrize(("clash", "there"), [("crm", []), ("google", ["Person's"])])
def test_an_event_that_a_person_changed_while_the_host_wished_it_away(
    diary: Diary, worker: Runner, clash: str, there: list[str]
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, clash=clash)
    diary.edit("Visit", summary="Person's")
    diary.remove("a")

    settle(worker, diary.troth)

    assert list(diary.there()) == there
    assert [(told["winner"], told["deleted"]) for told in diary.told(CALENDAR_EVENT_CONFLICT)] == [(clash, False)]
    assert diary.found("a")["event"]["title"] == "Person's"  # type: ignore[index]
    assert diary.row("a").state == ("conflict" if there else "removed")
    # Whoever has seen it, and still does not want it, says so once more.
    diary.see("a")
    diary.remove("a")
    settle(worker, diary.troth)
    assert (diary.row("a").state, diary.there()) == ("removed", {})


def test_a_colour_keeps_no_event_that_the_host_wished_away(diary: Diary, worker: Runner) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, clash="google")
    diary.edit("Visit", colorId="7")
    diary.remove("a")

    settle(worker, diary.troth)

    assert diary.there() == {}
    assert not diary.told(CALENDAR_EVENT_CONFLICT)


@pytest.mark.parametrize("ends", [["Third"], []])
def test_a_change_of_ours_whose_answer_was_lost_is_nobody_elses(
    diary: Diary, worker: Runner, outside: Outside, clock: FrozenClock, ends: list[str]
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, clash="google")
    diary.put("a", "Second")
    outside.panel.press("lost_answer", kind="calendar_batch", times=1)
    settle(worker, diary.troth)
    assert list(diary.there()) == ["Second"]

    if ends:
        diary.put("a", "Third")
    else:
        diary.remove("a")
    clock.tick(60)
    settle(worker, diary.troth)

    assert list(diary.there()) == ends
    assert not diary.told(CALENDAR_EVENT_CONFLICT)


@pytest.mark.parametrize("wishes", [["Second"], ["Second", "Third"]])
def test_a_deletion_of_ours_whose_answer_was_lost_is_nobody_elses(
    diary: Diary, worker: Runner, outside: Outside, clock: FrozenClock, wishes: list[str]
) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    decide(diary, clash="google")
    diary.remove("a")
    outside.panel.press("lost_answer", kind="calendar_batch", times=1)
    settle(worker, diary.troth)
    assert diary.there() == {}

    for title in wishes:
        diary.put("a", title)
    clock.tick(60)
    settle(worker, diary.troth)

    assert list(diary.there()) == wishes[-1:]
    assert not diary.told(CALENDAR_EVENT_CONFLICT)
    assert not diary.told(CALENDAR_EVENT_CHANGED)


def test_a_persons_change_after_it_is_told(diary: Diary, worker: Runner, outside: Outside, clock: FrozenClock) -> None:
    diary.put("a")
    settle(worker, diary.troth)
    diary.put("a", "Second")
    outside.panel.press("lost_answer", kind="calendar_batch", times=1)
    settle(worker, diary.troth)
    diary.edit("Second", summary="Person's")

    diary.put("a", "Third")
    clock.tick(60)
    settle(worker, diary.troth)

    assert list(diary.there()) == ["Third"]
    assert diary.found("a")["event"]["title"] == "Person's"  # type: ignore[index]
    assert len(diary.told(CALENDAR_EVENT_CONFLICT)) == 1
