"""Lead forms of a page: what they ask, how far they are proven to be read, and the daily count beside the provider's."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Date, Index, String, Table, UniqueConstraint, bindparam, case, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, ExternalId, Id, Instant, Json, Key, Sentence, Word, new_id, table_args
from models.tenancy import TenantScoped, check_scope, same_tenant

GREEN, RED = "green", "red"
BACKFILL_RUNNING, BACKFILL_DONE = "running", "done"
ARCHIVED = "ARCHIVED"
READ_EVERY, SELDOM_EVERY = timedelta(hours=22), timedelta(days=7)
"""How often a form is read from its proven point, at the latest."""
KEPT = timedelta(days=90)
"""How long the provider keeps leads: there is nothing to be read from before."""


class Form(TenantScoped, Base):
    """One form of a connected page.

    `proven_until`: every lead made before it is here, or has a name for why it is not. `reading_*` are a catch-up that is
    under way: its lower bound, when it began, and the provider's cursor behind the last page that was stored; `read_due_at`
    is when the next one begins. `backfill_*` are the same for a backfill. `mapping` is {contact field: question key}; None:
    by the usual keys. `gone_at`: the provider does not list the form any more, or does not give its leads
    (`gone_sentence` says why). `silent_since`: it had leads, the last one then, and has fallen quiet against its own
    history.
    """

    __tablename__ = "forms"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "connection_id", "external_id"),
        same_tenant("connection_id", "connections"),
        Index("ix_forms_read_due_at", "read_due_at"),
    )

    id: Mapped[Key]
    connection_id: Mapped[Id]
    external_id: Mapped[ExternalId]
    name: Mapped[str] = mapped_column(String(190))
    status: Mapped[Word]
    locale: Mapped[Word | None]
    questions: Mapped[Json]
    legal: Mapped[Json | None]
    mapping: Mapped[Json | None]
    leads_count: Mapped[int | None]
    expired_count: Mapped[int | None]
    made_at: Mapped[Instant | None]
    seen_at: Mapped[Instant]
    gone_at: Mapped[Instant | None]
    gone_sentence: Mapped[Sentence | None]
    last_lead_at: Mapped[Instant | None]
    silent_since: Mapped[Instant | None]
    proven_until: Mapped[Instant | None]
    read_due_at: Mapped[Instant | None]
    reading_since: Mapped[Instant | None]
    reading_began_at: Mapped[Instant | None]
    reading_after: Mapped[str | None] = mapped_column(String(500))
    check_due_at: Mapped[Instant | None]
    backfill_since: Mapped[Instant | None]
    backfill_after: Mapped[str | None] = mapped_column(String(500))
    backfill_read: Mapped[int] = mapped_column(default=0)
    backfill_state: Mapped[Word | None]
    backfill_sentence: Mapped[Sentence | None]


class LeadCheck(TenantScoped, Base):
    """One form, one day (UTC) of leads: how many the provider has, how many are here, how many the host acknowledged.

    `missing` are ids that are at the provider and not here, a hundred at most; red while there are any.
    """

    __tablename__ = "lead_checks"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "form_id", "day"),
        same_tenant("form_id", "forms"),
        Index("ix_lead_checks_day", "tenant_id", "day"),
    )

    id: Mapped[Key]
    form_id: Mapped[Id]
    day: Mapped[date] = mapped_column(Date)
    provider: Mapped[int]
    received: Mapped[int]
    acknowledged: Mapped[int]
    missing: Mapped[Json]
    status: Mapped[Word]
    checked_at: Mapped[Instant]


@dataclass(frozen=True, slots=True)
class SeenForm:
    """A form as the provider lists it."""

    external_id: str
    name: str
    status: str
    locale: str | None
    questions: list[dict[str, Any]]
    legal: dict[str, Any] | None
    leads_count: int | None
    expired_count: int | None
    made_at: datetime | None


_FORMS: Table = Form.__table__  # type: ignore[assignment]
NOT_LISTED = "The provider does not list this form any more: it was deleted."


def see_forms(
    session: Session, *, tenant_id: str, connection_id: str, seen: Sequence[SeenForm], now: datetime
) -> list[Form]:
    """Store what the provider lists, all of it; the new ones are returned.

    New forms and those that are back are due to be read at once, missing ones are marked gone. One that is read seldom
    is due when the provider counts more leads than it did.
    """
    known = {form.external_id: form for form in session.scalars(_of(connection_id).with_for_update())}
    new = []
    for one in seen:
        row = known.get(one.external_id)
        if row is None:
            row = Form(id=new_id(), tenant_id=tenant_id, connection_id=connection_id, external_id=one.external_id,
                       backfill_read=0, read_due_at=now, check_due_at=now)  # fmt: skip
            session.add(row)
            new.append(row)
        elif row.gone_at is not None or (
            _has_grown(row, one) and row.read_due_at and row.read_due_at > now + READ_EVERY
        ):
            row.read_due_at = now
        row.name, row.status, row.locale = one.name[:190], one.status[:32], one.locale and one.locale[:32]
        row.questions, row.legal, row.made_at = one.questions, one.legal, one.made_at
        row.leads_count, row.expired_count, row.seen_at = one.leads_count, one.expired_count, now
        row.gone_at = row.gone_sentence = None
    listed = {one.external_id for one in seen}
    for form in known.values():
        if form.external_id not in listed and form.gone_at is None:
            form.gone_at, form.gone_sentence = now, NOT_LISTED
    session.flush()
    return new


def _has_grown(row: Form, one: SeenForm) -> bool:
    return one.leads_count is not None and one.leads_count > (row.leads_count or 0)


def forms_of(session: Session, connection_id: str) -> list[Form]:
    """A connection's forms, those that are gone too, in the order they were seen."""
    return list(session.scalars(_of(connection_id)))


def known_forms(session: Session, connection_id: str, external_ids: Collection[str]) -> list[Form]:
    """Those of a connection's forms that have these ids at the provider."""
    return list(session.scalars(_of(connection_id).where(Form.external_id.in_(external_ids)))) if external_ids else []


def due_to_read(session: Session, connection_id: str, now: datetime) -> list[Form]:
    """The forms of a connection whose catch-up is under way or due, those under way first."""
    due = or_(Form.read_due_at <= now, Form.reading_began_at.is_not(None))
    found = session.scalars(_of(connection_id).where(Form.gone_at.is_(None), due))
    return sorted(found, key=lambda form: form.reading_began_at is None)


def due_to_check(session: Session, connection_id: str, now: datetime) -> list[Form]:
    """The forms of a connection whose leads are to be counted beside the provider's."""
    return list(session.scalars(_of(connection_id).where(Form.gone_at.is_(None), Form.check_due_at <= now)))


def read_all_soon(session: Session, connection_ids: Sequence[str], now: datetime) -> None:
    """There was a gap (an outage, a dead token, a lost subscription): every form is read from its proven point now."""
    query = select(Form).where(Form.connection_id.in_(connection_ids)).order_by(Form.id).with_for_update()
    for form in session.scalars(query):
        form.read_due_at = now
    session.flush()


class TooFarBack(ValueError):
    """A backfill was asked for from before the time for which the provider keeps leads."""


def begin_backfill(session: Session, form: Form, since: datetime, now: datetime) -> None:
    """The leads from an instant on are to be read; what is under way begins anew. TooFarBack beyond `KEPT`."""
    if since < now - KEPT:
        raise TooFarBack(f"The provider keeps leads for {KEPT.days} days.")
    form.backfill_since, form.backfill_after, form.backfill_read = since, None, 0
    form.backfill_state, form.backfill_sentence = BACKFILL_RUNNING, None
    session.flush()


_SAW_LEAD = (
    update(_FORMS)
    .where(
        _FORMS.c.tenant_id == bindparam("tenant"),
        _FORMS.c.connection_id == bindparam("connection"),
        _FORMS.c.external_id == bindparam("form"),
        or_(_FORMS.c.last_lead_at.is_(None), _FORMS.c.last_lead_at < bindparam("newest")),
    )
    .values(
        last_lead_at=bindparam("newest"),
        silent_since=None,
        read_due_at=case((_FORMS.c.read_due_at > bindparam("soon"), bindparam("soon")), else_=_FORMS.c.read_due_at),
    )
)


def saw_leads(
    session: Session, *, tenant_id: str, connection_id: str, newest: Mapping[str, datetime], now: datetime
) -> None:
    """Forms (external id -> when its newest lead was made) have leads: they are not silent, nor read seldom any more."""
    check_scope(session, (tenant_id,))
    for form, instant in sorted(newest.items()):
        values = {"tenant": tenant_id, "connection": connection_id, "form": form, "newest": instant}
        session.connection().execute(_SAW_LEAD, {**values, "soon": now + READ_EVERY})


def is_read_seldom(form: Form, now: datetime) -> bool:
    """Whether it has no lead that the provider still keeps, as far as is known, or takes no new ones.

    A page's budget comes from its leads of the last 90 days. Such a form is read once a week; that the provider counts
    more leads of it is seen daily, with all the page's forms in one call, and then it is read at once.
    """
    if form.status == ARCHIVED:
        return True
    return form.proven_until is not None and (form.last_lead_at is None or form.last_lead_at < now - KEPT)


def names_and_labels(forms: Sequence[Form]) -> dict[str, tuple[str, Mapping[str, str]]]:
    """external id -> (the form's name, question key -> label)."""
    return {
        form.external_id: (form.name, {str(q.get("key")): str(q.get("label") or "") for q in form.questions})
        for form in forms
    }


def _of(connection_id: str) -> Any:
    return select(Form).where(Form.connection_id == connection_id).order_by(Form.id)
