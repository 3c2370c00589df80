"""A file of grants that a host holds, one a line: read as it streams, checked, and stored; it knows no terminal.

A line is a JSON object: `tenant`, the tenant's external id, and beside it the body of `POST /v1/connections`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final

import orjson
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError

from integrations.contract import Account
from models.connection import NEEDS_RECONNECT
from models.database import past_deadlocks
from models.grant import NewGrant, Stored
from models.tenancy import system_session
from models.tenant import tenant_by_external_id
from worker.grants import BY_NAME, keep, new_grants
from worker.long_file import TOO_LONG, lines
from worker.progress import Step
from worker.services import Services
from worker.web.api.grants import NewConnection, account_in
from worker.web.validation import in_words
from worker.work import Work

STORED_AT_ONCE: Final = 100
"""Grants of one tenant in one transaction."""
HELD_AT_MOST: Final = 2000
"""Lines that are kept in memory while their tenants' groups fill."""
_TRIES = 3

_ELSEWHERE = "The account is connected to another tenant; it must be disconnected there first."
_BEING_REVOKED = "The account is being disconnected just now; import it again in a few minutes."
_RIVAL = "Another process stored this account at the same moment; import it again."
_BODY: TypeAdapter[Any] = TypeAdapter(NewConnection)


@dataclass(frozen=True, slots=True)
class Line:
    """A good line; `account` is what a provider would have given."""

    number: int
    integration: str
    account: Account = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """A line that was stored; `in_need`: a person must mend something before it can be used."""

    created: bool
    in_need: bool


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that was left out, and why; never what it holds."""

    number: int
    problem: str


@dataclass(slots=True)
class Outcome:
    """What became of a file; `in_need` counts among those that were stored."""

    created: int = 0
    renewed: int = 0
    in_need: int = 0
    bad: list[Bad] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """Lines that are in the database."""
        return self.created + self.renewed


class Import:
    """One run over one file. With `dry_run` everything happens but the commits."""

    def __init__(self, services: Services, *, dry_run: bool = False, step: Step = lambda _: None) -> None:
        self.outcome = Outcome()
        self._services, self._dry_run, self._step = services, dry_run, step
        self._tenants: dict[str, str | None] = {}
        self._groups: dict[str, list[Line]] = {}
        self._would_claim: dict[tuple[str, str], str] = {}

    def run(self, file: BinaryIO) -> Outcome:
        """Store what is good. Raises DBAPIError when the database is away; what was committed stays, and a second run of
        the same file only renews it."""
        held = 0
        for number, text in lines(file):
            found = self._read(number, text)
            if isinstance(found, Bad):
                self._leave_out(found)
                continue
            tenant_id, line = found
            group = self._groups.setdefault(tenant_id, [])
            group.append(line)
            held += 1
            if len(group) == STORED_AT_ONCE:
                held -= len(group)
                self._store(tenant_id)
            elif held >= HELD_AT_MOST:
                held = 0
                self._store(*self._groups)
        self._store(*self._groups)
        self.outcome.bad.sort(key=lambda bad: bad.number)
        return self.outcome

    def _read(self, number: int, text: bytes | None) -> tuple[str, Line] | Bad:
        if text is None:
            return Bad(number, TOO_LONG)
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError:
            return Bad(number, "This is not JSON.")
        name = body.pop("tenant", None) if isinstance(body, dict) else None
        if not isinstance(name, str):
            return Bad(number, "tenant: Write an object with the tenant's external id as `tenant`.")
        try:
            wish = _BODY.validate_python(body)
        except ValidationError as error:
            problems = in_words(error.errors(include_url=False, include_input=False))
            return Bad(number, "; ".join(f"{one['field'] or 'line'}: {one['problem']}" for one in problems))
        tenant_id = self._tenant(name)
        if tenant_id is None:
            return Bad(number, "tenant: No tenant has this external id.")
        return tenant_id, Line(number, wish.integration, account_in(wish))

    def _tenant(self, name: str) -> str | None:
        if name not in self._tenants:
            with system_session(self._services.database, reads_only=True) as session:
                found = tenant_by_external_id(session, name)
                self._tenants[name] = None if found is None else found.id
        return self._tenants[name]

    def _store(self, *tenants: str) -> None:
        for tenant_id in tenants:
            lines = self._groups.pop(tenant_id)
            try:
                self._note(past_deadlocks(partial(self._together, tenant_id, lines)))
            except DBAPIError:  # a rival's row, or a turn lost to another transaction: only one line need suffer for it
                for line in lines:
                    self._note([self._alone(tenant_id, line)])

    def _alone(self, tenant_id: str, line: Line) -> Kept | Bad:
        for _ in range(_TRIES - 1):
            try:
                return self._together(tenant_id, [line])[0]
            except DBAPIError:
                continue
        try:
            return self._together(tenant_id, [line])[0]
        except IntegrityError:
            return Bad(line.number, _RIVAL)

    def _together(self, tenant_id: str, lines: Sequence[Line]) -> list[Kept | Bad]:
        grants = dict(self._grants(tenant_id, lines))
        outcomes: list[Kept | Bad] = []
        try:
            with Work(self._services, tenant_id) as work:
                outcomes.extend(self._keep(work, tenant_id, lines, grants))
                if self._dry_run:
                    raise _NotMeant
        except _NotMeant:
            pass
        return outcomes

    def _grants(self, tenant_id: str, lines: Sequence[Line]) -> Iterator[tuple[int, NewGrant]]:
        for name, integration in BY_NAME.items():
            mine = [line for line in lines if line.integration == name]
            if mine:
                made = new_grants(self._services, tenant_id, integration, [line.account for line in mine])
                yield from zip((line.number for line in mine), made, strict=True)

    def _keep(
        self, work: Work, tenant_id: str, lines: Sequence[Line], grants: dict[int, NewGrant]
    ) -> Iterator[Kept | Bad]:
        good = {n: grant for n, grant in grants.items() if not self._is_claimed(tenant_id, grant)}
        stored = dict(zip(good, keep(self._services, work, tenant_id, list(good.values())), strict=True))
        for line in lines:
            one = stored.get(line.number)
            if isinstance(one, Stored):
                yield Kept(one.created, one.connection.status == NEEDS_RECONNECT)
            else:
                yield Bad(line.number, _ELSEWHERE if one is None else _BEING_REVOKED)

    def _is_claimed(self, tenant_id: str, grant: NewGrant) -> bool:
        return grant.claimed_elsewhere or (self._dry_run and self._is_claimed_above(tenant_id, grant))

    def _is_claimed_above(self, tenant_id: str, grant: NewGrant) -> bool:
        """Whether a line above would have given the account to another tenant, had it been stored."""
        owner = self._would_claim.setdefault((grant.integration, grant.key), tenant_id)
        return owner != tenant_id and not grant.may_be_shared

    def _note(self, outcomes: Sequence[Kept | Bad]) -> None:
        for one in outcomes:
            if isinstance(one, Bad):
                self._leave_out(one)
                continue
            self.outcome.created += one.created
            self.outcome.renewed += not one.created
            self.outcome.in_need += one.in_need
            self._step(1)

    def _leave_out(self, bad: Bad) -> None:
        self.outcome.bad.append(bad)
        self._step(1)


class _NotMeant(Exception):
    """Ends a transaction of a dry run without its commit."""


def count_lines(file: BinaryIO) -> int:
    """How many lines `Import` will settle; reads the file to its end and goes back to its start."""
    number = sum(1 for _ in lines(file))
    file.seek(0)
    return number
