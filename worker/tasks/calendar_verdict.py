"""What Google's answer means for one event: it is agreed, another call is needed, or it is decided and told. It calls nobody.

Every decision can be made again after a crash: what is written between two calls is what Google has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.google_calendar import calendars, event
from integrations.google_calendar.batch import Answer, Call
from models.calendar import CRM, NEWEST
from models.calendar_event import AGREED, CONFLICT, FAILED, PRESENT, REMOVED, SYNCED, Change, Keys, Pending
from models.feed import CALENDAR_EVENT_CONFLICT, CALENDAR_EVENT_FAILED, CALENDAR_EVENT_SYNCED
from worker.retries import backoff

_FORGOTTEN: Mapping[str, Any] = {"etag": None, "content_hash": None, "is_dressed": False}
"""What is known of an event that Google does not have."""
Told = tuple[str, dict[str, Any]]


class CalendarGone(Exception):
    """The calendar itself is not there: none of its events can be written."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a decision needs besides the event: the tenant's keys, its policy for clashes, the clock."""

    connection_id: str
    clash: str
    now: datetime
    keys: Keys = field(repr=False)


@dataclass(slots=True)
class Step:
    """One event on its way to Google. `current` is the version there that a look has shown; `base` the hash of the last one
    that we know of, `hash` that of what is wished."""

    wish: Pending
    looks: bool
    etag: str | None
    base: bytes | None
    external_id: str
    generation: int
    hash: bytes | None
    current: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, wish: Pending, keys: Keys) -> "Step":
        """The beginning: what somebody has added at Google is looked at before it is written over."""
        looks = wish.content is not None and wish.etag is not None and wish.is_dressed
        wished = None if wish.content is None else keys.hash(event.what_counts(wish.content))
        return cls(wish, looks, wish.etag, wish.content_hash, wish.external_id, wish.generation, wished)

    def call(self, place: str) -> Call:
        """The next call for it."""
        content, notify = self.wish.content, self.wish.notify
        if self.looks:
            return calendars.get(place, self.external_id)
        if content is None or self.hash is None:
            return calendars.delete(place, self.external_id, etag=self.etag, notify=notify)
        resource = event.to_google(content) if self.current is None else event.merged(self.current, content)
        resource = event.marked(resource, self.hash.hex())
        if self.etag is None:
            return calendars.insert(place, {**resource, "id": self.external_id}, notify=notify)
        return calendars.put(place, self.external_id, resource, etag=self.etag, notify=notify)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be written and told of an event; `is_over` False: another call follows."""

    is_over: bool
    change: Change | None = None
    told: Told | None = None


_NEXT = Verdict(False)


def judge(rules: Rules, step: Step, answer: Answer) -> Verdict:
    """Raises NeedsUser and Throttled, which are not one event's own trouble, and CalendarGone."""
    error = calendars.error_of(answer)
    if isinstance(error, NeedsUser | Throttled) or (isinstance(error, OurBug) and answer.status == 403):
        raise error
    if step.looks:
        return _looked(rules, step, answer, error)
    is_absent = calendars.is_absent(answer)
    if step.wish.content is None and (error is None or is_absent):
        return _removed(step)
    if error is None:
        return _agreed(rules, step, answer.body)
    if is_absent and step.etag is None:
        raise CalendarGone
    # To some a deleted event is one that may not be changed: they are told so once, and look.
    is_closed = isinstance(error, Missing) and step.current is None and step.wish.content is not None
    if is_absent or is_closed or answer.status in (409, 412):
        step.looks = True
        return _NEXT
    return _refused(rules, step, error)


def _agreed(rules: Rules, step: Step, body: object) -> Verdict:
    """Google has it as it is wished."""
    if not isinstance(body, dict) or not isinstance(body.get("etag"), str):
        return _refused(rules, step, Transient("Google's answer does not show the event.", code="answer"))
    facts = {**_known(rules, body), "external_id": step.external_id, "generation": step.generation}
    verdict = {**AGREED, "state": SYNCED, "synced_at": rules.now}
    return _over(step, facts, verdict, (CALENDAR_EVENT_SYNCED, _named(rules, step)))


def _known(rules: Rules, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"etag": body["etag"], "content_hash": content_hash(rules.keys, body), "is_dressed": event.is_dressed(body)}


def content_hash(keys: Keys, resource: Mapping[str, Any]) -> bytes:
    """The hash of what an event says at Google, as far as our wishes speak of it."""
    return keys.hash(event.what_counts(event.from_google(resource)))


def _removed(step: Step) -> Verdict:
    return _over(step, _FORGOTTEN, {**AGREED, "state": REMOVED}, None)


def _looked(rules: Rules, step: Step, answer: Answer, error: IntegrationError | None) -> Verdict:
    """Google has shown what it has, or that it has nothing."""
    step.looks = False
    if calendars.is_absent(answer):
        return _gone(rules, step, {})
    if error is not None:
        return _refused(rules, step, error)
    body = answer.body
    if not isinstance(body, dict) or not isinstance(body.get("etag"), str):
        return _refused(rules, step, Transient("Google's answer does not show the event.", code="answer"))
    return _gone(rules, step, body) if event.is_cancelled(body) else _compared(rules, step, body)


def _gone(rules: Rules, step: Step, body: Mapping[str, Any]) -> Verdict:
    """It is deleted there. Its id has been used up: whoever wants it makes it anew under the next one."""
    if step.wish.content is None:
        return _removed(step)
    was_there = step.etag is not None and not step.wish.undoes  # else it is we who deleted it, as far as anybody knows
    told = (CALENDAR_EVENT_CONFLICT, {**_named(rules, step), "deleted": True, "winner": _winner(rules, step, body)})
    if was_there and told[1]["winner"] != CRM:
        return _over(step, _FORGOTTEN, {**AGREED, "state": REMOVED, "wished_hash": None}, told)
    step.generation += 1
    step.external_id = rules.keys.external_id(rules.connection_id, step.wish.host_id, step.generation)
    step.etag = step.base = step.current = None
    facts = {**_FORGOTTEN, "external_id": step.external_id, "generation": step.generation}
    return Verdict(False, Change(step.wish.id, step.wish.version, facts), told if was_there else None)


def _compared(rules: Rules, step: Step, body: Mapping[str, Any]) -> Verdict:
    """It is there: as it is wished, as we left it, or as somebody else made it."""
    known = _known(rules, body)
    if known["content_hash"] == step.hash:
        return _agreed(rules, step, body)
    # What lies at our own id and was never known to be there is an insert of ours whose answer was lost; what says of itself
    # what we wrote is a change of ours whose answer was lost, and the host has wished anew since.
    is_ours = step.etag is None or event.mark_of(body) == known["content_hash"].hex()
    is_clash = step.etag != body["etag"] and known["content_hash"] != step.base and not is_ours
    step.current, step.etag, step.base = body, body["etag"], known["content_hash"]
    if not is_clash:
        return _NEXT
    winner = _winner(rules, step, body)
    found = {"event": event.from_google(body), "instances": {}}
    facts = {**known, "found": rules.keys.seal(found, row=step.wish.id, column="found"), "told_at": rules.now}
    told = (CALENDAR_EVENT_CONFLICT, {**_named(rules, step), "deleted": False, "winner": winner})
    if winner == CRM:
        return Verdict(False, Change(step.wish.id, step.wish.version, facts), told)
    # The wish stays sealed beside Google's side until the host has seen both.
    verdict = {**AGREED, "state": CONFLICT, "wanted": PRESENT}
    del verdict["wish"]
    return _over(step, facts, verdict, told)


def _winner(rules: Rules, step: Step, body: Mapping[str, Any]) -> str:
    """Whose side is taken. Where Google does not say when it was changed there, the CRM's."""
    if rules.clash != NEWEST:
        return rules.clash
    try:
        changed_at = datetime.fromisoformat(str(body.get("updated")))
        return "google" if changed_at > step.wish.wished_at else CRM
    except (ValueError, TypeError):
        return CRM


def _refused(rules: Rules, step: Step, error: IntegrationError) -> Verdict:
    """This one event could not be written: it waits, or is given up with its reason; its neighbours go on."""
    why = {"error_code": (error.code or error.kind)[:32], "error_sentence": error.sentence}
    if isinstance(error, Transient):
        attempts = step.wish.attempts + 1
        wait = max(backoff(attempts), error.retry_after) if error.retry_after else backoff(attempts)
        return _over(step, {}, {**why, "attempts": attempts, "due_at": rules.now + wait}, None)
    verdict = {**AGREED, **why, "state": FAILED, "wished_hash": None}
    return _over(step, {}, verdict, (CALENDAR_EVENT_FAILED, {**_named(rules, step), "code": why["error_code"]}))


def again(rules: Rules, step: Step) -> Verdict:
    """It was changed at Google in each of our rounds: it waits a little."""
    return _refused(rules, step, Transient("Somebody changes this event at the same moment.", code="busy"))


def _over(step: Step, facts: Mapping[str, Any], verdict: Mapping[str, Any], told: Told | None) -> Verdict:
    return Verdict(True, Change(step.wish.id, step.wish.version, facts, verdict), told)


def _named(rules: Rules, step: Step) -> dict[str, Any]:
    return {"host_id": step.wish.host_id, "connection_id": rules.connection_id, "version": step.wish.version}
