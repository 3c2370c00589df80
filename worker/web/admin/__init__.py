"""The pages: server-rendered, without scripts, for the people of a tenant and for the vendor's operators."""

from fastapi import APIRouter

from worker.web.admin import lead, leads, sign_in, tenants

MOST_BYTES = 16 * 1024
"""Our forms are small."""

router = APIRouter(prefix="/admin", include_in_schema=False, max_body_size=MOST_BYTES)
for _page in (sign_in, tenants, leads, lead):
    router.include_router(_page.router)
