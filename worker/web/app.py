"""The web process as one application: webhooks, API, pages and health, under one shelter; it opens no socket itself."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles

from worker.services import Services
from worker.web import (
    admin,
    api,
    connect,
    deletion_page,
    export_page,
    google_notices,
    health,
    meta_callbacks,
    oauth,
    receipt_page,
    webhooks,
)
from worker.web.admin.rendering import STATIC, problem_page
from worker.web.admin.visitors import GoTo
from worker.web.body_cap import BodyCap
from worker.web.callers import RefusedKeys
from worker.web.front_door import FrontDoor
from worker.web.metrics import WebMetrics
from worker.web.problems import Problem, problem_of
from worker.web.public import PATHS, problem_message
from worker.web.shelter import Shelter
from worker.web.validation import problem_of_input

# FastAPI can record requests with their addresses and validation errors with their values: never here.
_TELL_NOBODY = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False}
_Handler = Callable[[Request, Exception], Response]
# FastAPI works out a router's routes where it is included, when they are first asked for: once in a process.
_PARTS = APIRouter()
for _part in (health, api, admin, connect, oauth, deletion_page, export_page, receipt_page, meta_callbacks):
    _PARTS.include_router(_part.router)


def create_app(services: Services, extra_routes: Sequence[BaseRoute] = ()) -> FastAPI:
    """The application of one process. Its lifespan ends with everything stored that was taken in."""
    door = FrontDoor(services)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await door.close()

    app = FastAPI(
        title="Troth",
        description="The integration worker behind a multi-tenant CRM. Errors are problem+json (RFC 9457).",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=cast(Any, _TELL_NOBODY),
    )
    app.state.services = services
    app.state.door = door
    app.state.metrics = WebMetrics(services)
    app.state.refused_keys = RefusedKeys()
    app.router.routes[:0] = [*webhooks.routes(services), *google_notices.routes(services), *extra_routes]
    app.router.routes.extend(_PARTS.routes)
    app.mount("/admin/static", StaticFiles(directory=STATIC))
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(BodyCap, answer=_answer)
    app.add_middleware(Shelter, metrics=app.state.metrics, answer=_answer)
    return app


def _answer(request: Request, problem: Problem) -> Response:
    """A page for who looks at pages, problem+json for everyone else."""
    if request.scope["path"].startswith("/admin"):
        return problem_page(problem)
    if request.scope["path"].startswith(PATHS):
        return problem_message(problem)
    return problem.response()


def _refused(request: Request, error: Exception) -> Response:
    return _answer(request, problem_of(error))


def _invalid(request: Request, error: Exception) -> Response:
    return _answer(request, problem_of_input(request, cast(RequestValidationError, error)))


def _elsewhere(_request: Request, error: Exception) -> Response:
    return RedirectResponse(cast(GoTo, error).address, 303)


_HANDLERS: dict[type[Exception], _Handler] = {
    HTTPException: _refused,
    RequestValidationError: _invalid,
    GoTo: _elsewhere,
}
