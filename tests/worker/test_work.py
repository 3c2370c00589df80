"""One transaction and what follows from it: jobs are stored with the rest or not at all, and published after the commit."""

import pytest
from sqlalchemy import func, select

from models.connection import Connection
from models.job import Job, NewJob
from models.tenancy import SYSTEM, CrossTenantWrite, system_session
from tests.conftest import Company
from worker.jobs import INTERACTIVE
from worker.services import Services
from worker.work import Work

pytestmark = pytest.mark.every_database

KIND = "test.kind"


def a_job(company: Company) -> NewJob:
    return NewJob(company.id, KIND, INTERACTIVE)


def stored_and_published(services: Services) -> tuple[int, int]:
    with system_session(services.database, reads_only=True) as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0, services.redis.llen(INTERACTIVE)


@pytest.mark.parametrize("number", [1, 2])
def test_jobs_of_work_that_fails_are_neither_stored_nor_published(
    services: Services, acme: Company, number: int
) -> None:
    def fail() -> None:
        with Work(services, acme.id) as work:
            work.put(*[a_job(acme) for _ in range(number)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stored_and_published(services) == (0, 0)


def test_a_job_put_before_the_first_use_of_the_session_goes_with_its_transaction(
    services: Services, acme: Company
) -> None:
    def fail() -> None:
        with Work(services, acme.id) as work:
            work.put(a_job(acme))
            assert work.session.scalar(select(func.count()).select_from(Job)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stored_and_published(services) == (0, 0)


def test_jobs_put_before_and_after_the_session_are_all_stored_and_published_once(
    services: Services, acme: Company
) -> None:
    with Work(services, acme.id) as work:
        work.put(a_job(acme))
        work.session.get_one(Connection, acme.connection_id).name = "changed"
        work.put(a_job(acme), a_job(acme))
        assert services.redis.llen(INTERACTIVE) == 0
    assert stored_and_published(services) == (3, 3)


@pytest.mark.parametrize("number", [1, 2])
def test_nobody_puts_jobs_of_another_tenant(services: Services, acme: Company, globex: Company, number: int) -> None:
    with pytest.raises(CrossTenantWrite), Work(services, acme.id) as work:
        work.put(*[a_job(globex) for _ in range(number)])
    assert stored_and_published(services) == (0, 0)


@pytest.mark.parametrize("whose", [None, SYSTEM])
def test_the_system_puts_a_job_for_anyone(services: Services, acme: Company, whose: str | None) -> None:
    with Work(services, whose) as work:
        work.put(a_job(acme))
    assert stored_and_published(services) == (1, 1)
