"""The pages: server-rendered, without scripts, for the people of a tenant and for the vendor's operators."""

from fastapi import APIRouter

from worker.web.admin import (
    connection_forms,
    connections,
    facebook,
    facebook_forms,
    lead,
    leads,
    promises,
    sign_in,
    tenants,
)

router = APIRouter(include_in_schema=False)
for _page in (sign_in, tenants, leads, lead, facebook, facebook_forms, connections, connection_forms, promises):
    router.include_router(_page.router)
