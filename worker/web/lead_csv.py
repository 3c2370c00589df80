"""Leads as CSV in the clear, a piece at a time: a row a lead, a column an answer; no cell is a formula to a spreadsheet."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import select

from models.database import Database
from models.lead import Lead
from models.tenancy import tenant_session
from models.vault import Vault
from worker.spreadsheet import MARK, lines
from worker.web.lead_reader import Filters, LeadReader

AT_ONCE: Final = 200
_COLUMNS: Final = (
    "id", "external_id", "created_at", "received_at", "acknowledged_at", "duplicate_of", "page_id", "form_id",
    "form_name", "platform", "source", "is_test", "full_name", "email", "phone", "phone_raw",
)  # fmt: skip


class LeadFile:
    """The leads of one tenant that fit some filters; which they are, and what they answer, is settled here.

    Each piece is read in a transaction of its own, so that none is open while somebody downloads slowly. A lead that is
    erased or restricted meanwhile is left out. Raises Unsearchable.
    """

    def __init__(
        self, database: Database, vault: Vault, tenant_id: str, filters: Filters, q: str | None = None
    ) -> None:
        self._database, self._vault, self._tenant_id = database, vault, tenant_id
        self._ids: list[str] = []
        answers: dict[str, None] = {}
        consents: dict[str, None] = {}
        before = filters.before
        while True:
            with tenant_session(database, tenant_id, reads_only=True) as session:
                reader = LeadReader(session, vault, tenant_id)
                leads = reader.found(replace(filters, before=before), limit=AT_ONCE, q=q)
                for lead in leads:
                    answers.update((str(one["key"]), None) for one in reader.opened(lead, "answers"))
                    consents.update((str(one["key"]), None) for one in reader.opened(lead, "consents"))
            self._ids += [lead.id for lead in leads]
            if len(leads) < AT_ONCE:
                break
            before = leads[-1].id
        self._answers, self._consents = sorted(answers), sorted(consents)

    def pieces(self) -> Iterator[bytes]:
        """UTF-8 with its mark."""
        heads = [*_COLUMNS, *(f"answer {key}" for key in self._answers), *(f"consent {key}" for key in self._consents)]
        yield MARK + lines([heads])
        for start in range(0, len(self._ids), AT_ONCE):
            yield lines(self._rows(self._ids[start : start + AT_ONCE]))

    def _rows(self, ids: Sequence[str]) -> list[list[str]]:
        with tenant_session(self._database, self._tenant_id, reads_only=True) as session:
            reader = LeadReader(session, self._vault, self._tenant_id)
            leads = session.scalars(
                select(Lead).where(Lead.id.in_(ids), Lead.restricted.is_(None)).order_by(Lead.id.desc())
            )
            return [self._row(reader, lead) for lead in leads]

    def _row(self, reader: LeadReader, lead: Lead) -> list[str]:
        contact = reader.opened(lead, "contact")
        answers: dict[str, list[str]] = {}
        for one in reader.opened(lead, "answers"):
            answers.setdefault(str(one["key"]), []).extend(one["values"])
        consents = {str(one["key"]): one["is_checked"] for one in reader.opened(lead, "consents")}
        said = [
            lead.id, lead.external_id, lead.created_at, lead.received_at, lead.acknowledged_at, lead.duplicate_of,
            lead.page_external_id, lead.form_external_id, lead.form_name, lead.platform, lead.source, lead.is_test,
            *(contact[name] for name in ("full_name", "email", "phone", "phone_raw")),
        ]  # fmt: skip
        said += ["; ".join(answers.get(key, ())) for key in self._answers]
        said += [consents.get(key) for key in self._consents]
        return [_text(one) for one in said]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:%Y-%m-%dT%H:%M:%SZ}"
