"""From the host's wishes to Google, a portion at a time, in batches. `calendar_verdict` says what each answer means.

An event may take several rounds: an insert that meets its own id is looked at and adopted, a change that meets another one
is looked at and decided. What is left when the rounds are over stays pending, and nothing is lost.
"""

from collections.abc import Sequence

import structlog

from integrations.errors import NeedsUser, OurBug, Throttled
from models import calendar_event as rows
from models.connection import still
from models.feed import emit
from worker.tasks.calendar_run import CalendarRun
from worker.tasks.calendar_verdict import CalendarGone, Rules, Step, Verdict, again, judge

log = structlog.get_logger(__name__)

READ_AT_ONCE = 200
MOST_ROUNDS = 6
"""Look, decide, write, and once more for somebody who changes it at the same moment; then it waits."""


def push(run: CalendarRun) -> bool:
    """One portion of what is due, as far as it goes; False: nothing is due.

    Raises what hinders all events: Throttled, NeedsUser, OurBug, CalendarGone. What was decided until then is written.
    """
    with run.ticket.work(reads_only=True) as work:
        due = rows.pending(work.session, run.keys, tenant_id=run.tenant_id, connection_id=run.connection_id,
                           now=run.ticket.now(), limit=READ_AT_ONCE)  # fmt: skip
    steps = [Step.of(wish, run.keys) for wish in due]
    for _ in range(MOST_ROUNDS):
        if not steps:
            return bool(due)
        steps = _round(run, steps[: run.allow(len(steps))])
    rules = _rules(run)
    _write(run, [again(rules, step) for step in steps])
    return True


def _rules(run: CalendarRun) -> Rules:
    return Rules(run.connection_id, run.calendar.clash, run.ticket.now(), run.keys)


def _round(run: CalendarRun, steps: Sequence[Step]) -> list[Step]:
    """Send the next call of each and write what follows; those that need another round."""
    answers = run.send([step.call(run.place) for step in steps])
    rules, verdicts, more = _rules(run), list[Verdict](), list[Step]()
    trouble: Exception | None = None
    for step, answer in zip(steps, answers, strict=True):
        try:
            verdict = judge(rules, step, answer)
        except (Throttled, NeedsUser, OurBug, CalendarGone) as error:
            # A throttle passes by itself: of several troubles the other one is told.
            trouble = error if trouble is None or isinstance(trouble, Throttled) else trouble
            continue
        verdicts.append(verdict)
        if not verdict.is_over:
            more.append(step)
    _write(run, verdicts)
    if trouble is not None:
        run.heed(trouble)
        raise trouble
    return more


def _write(run: CalendarRun, verdicts: Sequence[Verdict]) -> None:
    """What was decided and what the host is told of it, unless the connection was closed while we were at Google."""
    changes = [verdict.change for verdict in verdicts if verdict.change is not None]
    if not changes:
        return
    with run.ticket.work() as work:
        if not still(work.session, run.connection_id):
            return
        rows.settle(work.session, run.tenant_id, changes)
        told = [verdict.told for verdict in verdicts if verdict.told is not None]
        emit(work.session, run.tenant_id, told, run.ticket.now())
        run.ticket.progressed(work)
