"""The REST API `/v1`: one module per noun."""

from fastapi import APIRouter

from worker.web.api import connections, history, jobs, keys, leads, tenants

router = APIRouter()
for _noun in (tenants, keys, connections, leads, history, jobs):
    router.include_router(_noun.router)
