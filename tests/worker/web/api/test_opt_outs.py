"""Who wants no bulletins: asked for by the user's id at the host, kept as a hash, known to nobody else."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from models.opt_out import OptOut
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services


@pytest.mark.every_database
def test_a_user_opts_out_and_in_again_and_only_the_own_tenant_knows(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services, clock: Any
) -> None:
    api, stranger = as_tenant(acme), as_tenant(globex)
    assert good(api("GET", "/v1/opt-outs/user-7")) == {"opted_out": False, "since": None}
    first = good(api("PUT", "/v1/opt-outs/user-7"))
    clock.tick(60)
    assert good(api("PUT", "/v1/opt-outs/user-7")) == first == good(api("GET", "/v1/opt-outs/user-7"))
    assert first["opted_out"] is True
    assert good(stranger("GET", "/v1/opt-outs/user-7"))["opted_out"] is False
    good(stranger("DELETE", "/v1/opt-outs/user-7"))
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        assert b"user-7" not in session.scalars(select(OptOut.mark)).one()
    assert good(api("DELETE", "/v1/opt-outs/user-7")) == {"opted_out": False, "since": None}


def test_a_key_without_the_scope_and_an_id_that_is_none_are_refused(as_tenant: Callable[..., Api], acme: Any) -> None:
    problem(as_tenant(acme, "rights:read")("PUT", "/v1/opt-outs/user-7"), 403, "missing-scope")
    for user in ("%00", "x" * 191, "%0A"):
        problem(as_tenant(acme)("PUT", f"/v1/opt-outs/{user}"), 422, "invalid")
