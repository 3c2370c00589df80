"""Who asks, and for which tenant: Bearer keys of the platform and of tenants. It keeps and logs no key.

A tenant comes from the credential; only a platform key may name one, by the header `Troth-Tenant`.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Annotated

import structlog
from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from models.host import EVERY_SCOPE, Caller, caller_of
from models.tenancy import SYSTEM, system_session
from models.tenant import tenant_by_external_id
from worker.services import Services
from worker.web.problems import Problem

log = structlog.get_logger(__name__)

SAY_EVERY = timedelta(minutes=1)
_CHALLENGE = {"www-authenticate": 'Bearer realm="troth"'}
_bearer = HTTPBearer(auto_error=False, description="A platform key or a tenant key.")


@dataclass(frozen=True, slots=True)
class Access:
    """A caller with the scope it needed, at work for one tenant (SYSTEM: for none)."""

    tenant_id: str
    caller: Caller

    @property
    def is_platform(self) -> bool:
        """Whether the vendor asks, not the tenant."""
        return self.caller.tenant_id is None


class RefusedKeys:
    """Counts refused keys for the log: the first at once, then at most one line a minute, with the number since."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0
        self._said_at: datetime | None = None

    def note(self, now: datetime) -> None:
        """One more."""
        with self._lock:
            self._count += 1
            if self._said_at is not None and now - self._said_at < SAY_EVERY:
                return
            count, self._count, self._said_at = self._count, 0, now
        log.warning("keys_refused", count=count)


def services_of(request: Request) -> Services:
    """The process's services."""
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
NamedTenant = Annotated[str | None, Header(alias="Troth-Tenant", description="Platform keys only: `external_id`.")]


def caller_by_key(services: Services, key: str) -> Caller | None:
    """Whose key this is; None for an unknown, expired or revoked one."""
    platform_key = services.settings.platform_key
    if platform_key and hmac.compare_digest(key.encode(), platform_key.encode()):
        return Caller(None, EVERY_SCOPE, "platform-key")
    with system_session(services.database, reads_only=True) as session:
        return caller_of(session, key, services.clock())


def platform_access(scope: str) -> Callable[..., Access]:
    """A dependency: the platform, holding `scope`, at work for no tenant."""

    def dependency(request: Request, services: Parts, credentials: Credentials) -> Access:
        caller = _caller(request, services, credentials)
        _check(caller, scope, platform_only=True)
        return Access(SYSTEM, caller)

    return dependency


def tenant_access(scope: str | None, *, platform_only: bool = False) -> Callable[..., Access]:
    """A dependency: a tenant's key, or a platform key that names the tenant; holding `scope` (None: any)."""

    def dependency(
        request: Request, services: Parts, credentials: Credentials, troth_tenant: NamedTenant = None
    ) -> Access:
        caller = _caller(request, services, credentials)
        _check(caller, scope, platform_only=platform_only)
        return Access(_tenant(services, caller, troth_tenant), caller)

    return dependency


def wide_access(scope: str) -> Callable[..., Access]:
    """A dependency: as `tenant_access`; a platform key that names no tenant speaks to all (SYSTEM)."""

    def dependency(
        request: Request, services: Parts, credentials: Credentials, troth_tenant: NamedTenant = None
    ) -> Access:
        caller = _caller(request, services, credentials)
        _check(caller, scope, platform_only=False)
        is_for_all = caller.tenant_id is None and not troth_tenant
        return Access(SYSTEM if is_for_all else _tenant(services, caller, troth_tenant), caller)

    return dependency


def _caller(request: Request, services: Services, credentials: HTTPAuthorizationCredentials | None) -> Caller:
    if credentials is None:
        raise Problem("missing-key", "Send the header Authorization: Bearer <key>.", headers=_CHALLENGE)
    caller = caller_by_key(services, credentials.credentials)
    if caller is None:
        request.app.state.metrics.keys_refused.inc()
        request.app.state.refused_keys.note(services.clock())
        detail = "The key is unknown, expired or revoked: use another, or ask the platform for a new one."
        raise Problem("unknown-key", detail, headers=_CHALLENGE)
    return caller


def _check(caller: Caller, scope: str | None, *, platform_only: bool) -> None:
    if platform_only and caller.tenant_id is not None:
        raise Problem("platform-only", "Use a platform key; tenant keys cannot do this.")
    if scope is not None and not caller.may(scope):
        raise Problem("missing-scope", f"This needs the scope {scope}: use a key that was given it.")


def _tenant(services: Services, caller: Caller, named: str | None) -> str:
    if caller.tenant_id is not None:
        if named is not None:
            raise Problem("tenant-not-needed", "Leave out the header Troth-Tenant: the key says which tenant it is.")
        return caller.tenant_id
    if not named:
        raise Problem("tenant-missing", "A platform key names the tenant by the header Troth-Tenant: <external_id>.")
    with system_session(services.database, reads_only=True) as session:
        tenant = tenant_by_external_id(session, named)
    if tenant is None:
        raise Problem("unknown-tenant", "No tenant has that external_id: add it by POST /v1/tenants, or mend the name.")
    return tenant.id
