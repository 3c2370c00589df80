"""What is left of a person after an erasure: nothing in any table, in Redis or in the logs, and in the files of the database
nothing that can be read."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, text

from integrations.simulator.records import Lead as MetaLead
from models.deletion import AWAITING_HOST
from models.export import Asked, Export, ExportChunk, ask_export
from models.lead import Lead
from models.tenancy import tenant_session
from tests.conftest import Company, FrozenClock
from tests.journeys.canary import Canary
from tests.worker.erasing import agree, ask, bring, by_connection, one, pass_time
from tests.worker.outside import Outside, settle, user_of
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.work import Work


def words_of(leads: list[MetaLead]) -> list[bytes]:
    """What was said by the people who filled in the forms, as far as it names them."""
    people = [lead.person for lead in leads if lead.person is not None]
    said = {
        word for person in people for word in (person.email, person.phone, person.full_name) if word and len(word) > 6
    }
    return sorted(word.encode() for word in said)


def files_of(troth: Services, url: str) -> list[Path]:
    """The files of the database, after it was told to write everything."""
    place = make_url(url)
    with troth.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if troth.database.kind == "sqlite":
            folder = Path(str(place.database)).parent
            return [path for path in folder.rglob("*") if path.is_file()]
        if troth.database.kind == "mysql":
            connection.execute(text("FLUSH TABLES"))
    socket = str(place.query.get("host") or Path(str(place.query["unix_socket"])).parent)
    return [path for path in (Path(socket) / "data").rglob("*") if path.is_file()]


def found_in(paths: list[Path], words: list[bytes]) -> set[str]:
    return {path.name for path in paths for raw in [path.read_bytes()] if any(word in raw for word in words)}


def test_nothing_of_a_person_can_be_found_after_an_erasure(
    outside: Outside,
    troth: Services,
    worker: Runner,
    clock: FrozenClock,
    acme: Company,
    canary: Canary,
    database_url: str,
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    leads = bring(outside, worker, acme, 4)
    with Work(troth, acme.id) as work:
        copy = ask_export(work.session, acme.id, Asked("tenant"), clock()).id
        work.put(jobs.exports_run(acme.id, copy))
    settle(worker, troth)
    words = words_of(leads)
    ids = [word.encode() for word in (*(lead.id for lead in leads), acme.page_id, f"6{acme.page_id}")]
    assert len(words) >= 8
    assert any(ids[0] in raw for _, raw in canary.everything()), "the search sees what is there"

    asked = ask(troth, acme, by_connection(acme))
    settle(worker, troth)
    agree(troth, acme, asked)
    pass_time(troth, worker, clock, timedelta(hours=26), each=timedelta(hours=13))
    assert one(troth, acme, asked).status == AWAITING_HOST
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert session.scalars(select(Lead)).all() == []
        assert session.get_one(Export, copy).counts["leads"] == 4, "there was a copy"
        assert session.scalars(select(ExportChunk.number)).all() == []

    for place, raw in canary.everything():
        assert not any(word in raw for word in words), f"a person is to be seen in {place}"
        if not place.startswith("logs"):
            assert not any(word in raw for word in ids), f"an id of the provider is to be seen in {place}"
    paths = files_of(troth, database_url)
    assert len(paths) > 0 and found_in(paths, words) == set()


def test_a_person_who_was_written_in_the_clear_would_be_found(
    outside: Outside, troth: Services, worker: Runner, acme: Company, canary: Canary, database_url: str
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    (lead,) = bring(outside, worker, acme, 1)
    with tenant_session(troth.database, acme.id) as session:
        session.scalars(select(Lead)).one().form_name = "canary@residue.example"
    with pytest.raises(AssertionError):
        assert not any(b"canary@residue.example" in raw for _, raw in canary.everything())
    if troth.database.kind == "sqlite":
        assert found_in(files_of(troth, database_url), [b"canary@residue.example"])
    assert lead.id
