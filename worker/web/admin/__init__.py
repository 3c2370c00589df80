"""The pages: server-rendered, without scripts, for the people of a tenant and for the vendor's operators."""

from fastapi import APIRouter

from worker.web.admin import (
    bulletins,
    calendars,
    connection_forms,
    connections,
    deletion_forms,
    deletions,
    facebook,
    facebook_forms,
    lead,
    leads,
    promises,
    retention,
    rights,
    sign_in,
    tenants,
)

router = APIRouter(include_in_schema=False)
_PAGES = (
    sign_in, tenants, leads, lead, facebook, facebook_forms, calendars, connections, bulletins, connection_forms, deletions,
    deletion_forms, retention, rights, promises,
)  # fmt: skip
for _page in _PAGES:
    router.include_router(_page.router)
