"""Receipts: whatever is changed in one is found, chains have no gaps, and no person gets into one."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from models.database import Database
from models.ed25519 import fresh_key
from models.receipt import Receipt, ReceiptChain, document, issue, newest_of, receipts_after
from models.receipt_body import NONE_BEFORE, UnfitBody, canonical, check_body
from models.receipt_key import ReceiptKey, known_keys, rotate_signing_key, signing_key
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from models.vault import Vault, VaultError
from models.verdict import Verdict, judge, verify, verify_chain
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.ledger import whole
from tests.receipts import a_deletion, a_receipt, facts, the_key

only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
many = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Document = dict[str, Any]
Place = tuple[str | int, ...]

WRITERS, EACH = 4, 3


@pytest.fixture
def one(database: Database, vault: Vault, acme: Company, clock: FrozenClock) -> Document:
    """The first receipt of acme's chain, as it is given out."""
    return document(a_receipt(database, vault, acme, clock))


@pytest.fixture
def keys(database: Database) -> Callable[[], dict[str, str]]:
    def known() -> dict[str, str]:
        with system_session(database, reads_only=True) as session:
            return known_keys(session)

    return known


def chain_of(database: Database, company: Company) -> list[Receipt]:
    with tenant_session(database, company.id, reads_only=True) as session:
        return receipts_after(session, after=None, limit=100)


def test_a_receipt_is_true_in_its_own_words_and_for_the_keys_of_the_database_alone(
    database: Database, acme: Company, one: Document, keys: Callable[[], dict[str, str]]
) -> None:
    (row,) = chain_of(database, acme)
    assert (row.number, row.previous) == (1, NONE_BEFORE)
    assert one["body"]["receipt"] == {
        "id": row.id, "tenant": acme.id, "number": 1, "previous": NONE_BEFORE, "issued_at": "2026-03-02T09:00:00Z",
        "key": row.key_id,
    }  # fmt: skip
    assert verify(one, keys()) == Verdict(True, "The receipt is true: it is as it was signed.", [one["body"]])
    stranger = fresh_key()
    assert "not known" in verify(one, {stranger.id: stranger.public_key}).sentence
    assert "not the known one" in verify(one, {row.key_id: stranger.public_key}).sentence


def test_a_receipt_that_its_forger_signed_and_keyed_is_not_true(
    one: Document, keys: Callable[[], dict[str, str]]
) -> None:
    forger, text = fresh_key(), canonical(one["body"])
    own = {"key": forger.id, "public_key": forger.public_key, "algorithm": "ed25519",
           "digest": hashlib.sha256(text).hexdigest(), "value": forger.sign(text)}  # fmt: skip
    assert "not known" in verify({"body": one["body"], "signature": own}, keys()).sentence
    (known,) = keys().items()
    claims = {**own, "key": known[0], "public_key": known[1]}
    assert "signature is wrong" in verify({"body": one["body"], "signature": claims}, keys()).sentence


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where anything stands in a document."""
    if place:
        yield place
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*place, name))


def at(document: Any, place: Place) -> Any:
    for name in place:
        document = document[name]
    return document


def almost(value: Any) -> st.SearchStrategy[Any]:
    """Something else, preferably of the same kind and nearly the same."""
    if isinstance(value, str) and value:
        position = st.integers(0, len(value) - 1)
        letter = st.sampled_from("AQgw0189abcdef-_= Z")
        return st.builds(lambda at, new: value[:at] + new + value[at + 1 :], position, letter) | st.just(value + "=")
    if isinstance(value, int):
        return st.integers() | st.just(float(value)) | st.just(not value) | st.just(str(value))
    return st.none() | st.just([]) | st.just({}) | st.integers() | st.text(max_size=5)


def same(one: object, other: object) -> bool:
    """1, 1.0 and true are one number to Python, and three values to a reader of JSON."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@only_sqlite
@many
@given(data=st.data())
def test_whatever_is_changed_is_found(one: Document, keys: Callable[[], dict[str, str]], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(places(one))))
    changed = deepcopy(one)
    holder = at(changed, place[:-1])
    match data.draw(st.sampled_from(["change", "drop", "add"])):
        case "change":
            holder[place[-1]] = data.draw(almost(holder[place[-1]]))
        case "drop":
            del holder[place[-1]]
        case _ if isinstance(holder, dict):
            holder["note"] = "nothing"
        case _:
            holder.append(holder[-1])
    verdict = verify(changed, keys())
    assert verdict.holds == same(changed, one), (place, verdict)
    assert verdict.sentence.endswith(".")
    assert verdict.holds or not verdict.bodies


@only_sqlite
def test_each_way_to_be_false_has_its_own_words(one: Document, keys: Callable[[], dict[str, str]]) -> None:
    def told(**signature: str) -> str:
        return verify({**one, "signature": {**one["signature"], **signature}}, keys()).sentence

    changed = deepcopy(one)
    changed["body"]["stores"][0]["after"] = 1
    assert "body was changed" in verify(changed, keys()).sentence
    assert "signature is wrong" in told(value=one["signature"]["value"][::-1])
    value = one["signature"]["value"]
    spelt_otherwise = value[:-1] + chr(ord(value[-1]) + 1)  # the last letter ends in four bits that count for nothing
    assert base64.urlsafe_b64decode(spelt_otherwise + "==") == base64.urlsafe_b64decode(value + "==")
    assert "signature is wrong" in told(value=spelt_otherwise)
    assert "another algorithm" in told(algorithm="none")
    assert "not known" in told(key="0" * 16)
    first_twice = b'{"body": {"left": 0}, ' + json.dumps(one).encode()[1:]
    for nonsense in (b"", b"\xff", b"{", b"[" * 100_000, b"null", b"NaN", b'{"body": {}}', b'"\\ud800"', first_twice):
        assert "not a receipt" in judge(nonsense, keys()).sentence, nonsense[:20]
    assert not judge(b"[]", keys()).holds
    assert judge(json.dumps(one, indent=4).encode(), keys()).holds, "how it is laid out does not matter"


def test_a_chain_is_true_only_as_a_whole(
    database: Database,
    vault: Vault,
    acme: Company,
    globex: Company,
    clock: FrozenClock,
    keys: Callable[[], dict[str, str]],
) -> None:
    deletion = a_deletion(database, acme, clock)
    first, second, third = (
        document(a_receipt(database, vault, acme, clock, deletion)) for _ in range(3)
    )  # fmt: skip
    theirs = document(a_receipt(database, vault, globex, clock))
    assert verify_chain([first, second, third], keys()).sentence == (
        "The chain is whole from receipt 1 to 3, and each is as it was signed."
    )
    assert judge(json.dumps({"items": [second, third], "next": None}).encode(), keys()).holds
    assert verify(third, keys(), previous=second).sentence == "The receipt is true, and follows the one before it."
    for broken in ([first, third], [second, first], [first, first]):
        assert "chain is broken" in verify_chain(broken, keys()).sentence
    assert "another tenant's" in verify_chain([theirs, second], keys()).sentence
    assert "cannot follow receipt 1" in verify(third, keys(), previous=first).sentence
    forged = {**second, "body": {**second["body"], "rescan": None}}
    assert verify(third, keys(), previous=forged).sentence.startswith("The receipt before it does not hold. The body")
    assert verify_chain([first, forged], keys()).sentence.startswith("Receipt 2 of 2 does not hold. The body")


def test_a_receipt_put_in_the_place_of_another_does_not_continue_the_chain(
    database: Database, vault: Vault, acme: Company, clock: FrozenClock, keys: Callable[[], dict[str, str]]
) -> None:
    """Signed by us and with the right number, but made of something else: a database that was set back."""
    deletion = a_deletion(database, acme, clock)
    a_receipt(database, vault, acme, clock, deletion)
    with tenant_session(database, acme.id) as session:
        session.delete(session.scalars(select(Receipt)).one())
        chain = session.scalars(select(ReceiptChain)).one()
        chain.last, chain.digest = 0, NONE_BEFORE
    clock.tick(1)
    again, second = (a_receipt(database, vault, acme, clock, deletion) for _ in range(2))
    with tenant_session(database, acme.id) as session:
        session.delete(session.get_one(Receipt, again.id))
        session.delete(session.get_one(Receipt, second.id))
        session.scalars(select(ReceiptChain)).one().last = 1
    third = a_receipt(database, vault, acme, clock, deletion)
    before, after = document(again), document(third)
    assert (after["body"]["receipt"]["number"], before["body"]["receipt"]["number"]) == (2, 1)
    assert "another receipt than the one before it" in verify(after, keys(), previous=before).sentence


def test_whoever_issues_at_once_each_chain_has_every_number_once(
    database: Database,
    vault: Vault,
    acme: Company,
    globex: Company,
    clock: FrozenClock,
    keys: Callable[[], dict[str, str]],
) -> None:
    deletions = {company.id: a_deletion(database, company, clock) for company in (acme, globex)}

    def write(company: Company) -> None:
        for _ in range(EACH):
            whole(database, partial(a_receipt, database, vault, company, clock, deletions[company.id]))

    at_once(*(partial(write, company) for company in (acme, globex) for _ in range(WRITERS // 2)))
    assert len(keys()) == 1, "the first of all made the key"
    for company in (acme, globex):
        rows = chain_of(database, company)
        assert [row.number for row in rows] == list(range(1, 1 + EACH * WRITERS // 2))
        assert verify_chain([document(row) for row in rows], keys()).holds


def test_a_receipt_that_was_not_committed_leaves_no_gap(
    database: Database, vault: Vault, acme: Company, clock: FrozenClock
) -> None:
    key, deletion = the_key(database, vault, clock), a_deletion(database, acme, clock)
    body: Any = facts(deletion, clock)
    with tenant_session(database, acme.id) as session:
        issue(session, key, tenant_id=acme.id, deletion_id=deletion.id, body=body, now=clock())
        session.rollback()
    later = a_receipt(database, vault, acme, clock, deletion)
    assert [row.id for row in chain_of(database, acme)] == [later.id]
    with tenant_session(database, acme.id) as session:
        assert session.scalars(select(ReceiptChain.digest)).one() == later.digest
        again = issue(session, key, tenant_id=acme.id, deletion_id=deletion.id, body=body, now=clock())
        assert newest_of(session, deletion.id) is again


def test_globex_sees_nothing_of_acmes_receipts_and_issues_none_for_it(
    database: Database, vault: Vault, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    ours = a_receipt(database, vault, acme, clock)
    key, theirs = the_key(database, vault, clock), a_deletion(database, globex, clock)
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert receipts_after(session, after=None, limit=9) == receipts_after(session, after=ours.id, limit=9) == []
        assert newest_of(session, ours.deletion_id) is None
    body: Any = facts(theirs, clock)
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        issue(session, key, tenant_id=acme.id, deletion_id=theirs.id, body=body, now=clock())
    with pytest.raises(UnfitBody, match=r"deletion\.id"), tenant_session(database, globex.id) as session:
        issue(session, key, tenant_id=globex.id, deletion_id=ours.deletion_id, body=body, now=clock())
    body["deletion"]["id"] = ours.deletion_id
    with pytest.raises(IntegrityError), tenant_session(database, globex.id) as session:
        issue(session, key, tenant_id=globex.id, deletion_id=ours.deletion_id, body=body, now=clock())
    assert chain_of(database, globex) == []


def test_the_private_half_is_sealed_and_out_of_a_tenants_reach(
    database: Database, vault: Vault, acme: Company, clock: FrozenClock
) -> None:
    key = the_key(database, vault, clock)
    assert the_key(database, vault, clock).public_key == key.public_key
    with system_session(database, reads_only=True) as session:
        row = session.scalars(select(ReceiptKey)).one()
        private = key.private.private_bytes_raw()
        assert row.private is not None
        assert private not in row.private
        assert (row.id, row.public_key) == (key.id, key.public_key)
    assert repr(key) == f"SigningKey(id={key.id!r}, public_key={key.public_key!r})"
    with pytest.raises((CrossTenantWrite, VaultError)), tenant_session(database, acme.id) as session:
        signing_key(session, vault, clock())
    with pytest.raises(VaultError), system_session(database) as session:
        signing_key(session, Vault({"k1": b"2" * 32}), clock())


def test_a_new_key_signs_and_the_old_receipts_stay_true(
    database: Database, vault: Vault, acme: Company, clock: FrozenClock, keys: Callable[[], dict[str, str]]
) -> None:
    deletion = a_deletion(database, acme, clock)
    before = document(a_receipt(database, vault, acme, clock, deletion))
    with system_session(database) as session:
        new = rotate_signing_key(session, vault, clock())
    after = document(a_receipt(database, vault, acme, clock, deletion))
    assert after["signature"]["key"] == new.id != before["signature"]["key"]
    assert verify_chain([before, after], keys()).holds
    with system_session(database, reads_only=True) as session:
        assert [row.private is None for row in session.scalars(select(ReceiptKey).order_by(ReceiptKey.position))] == [
            True, False,
        ]  # fmt: skip


PERSONS = (
    "ada@example.com", "+12025550143", "202 555 0143", "(202) 555-0143.", "Ada Example", "Ада Приклад",
    "Write to ada@example.com.", "Called 020 7946 0958.", "Seen at 192.168.100.200.", "A\nB.", "ada lovelace", "Ærlig.",
    b"bytes", 1.5, -1, 2**53, datetime(2026, 3, 2, tzinfo=UTC), "2026-03-02", "x" * 600, ["x"], {"email": "a"}, None, "",
)  # fmt: skip


@only_sqlite
def test_no_person_fits_anywhere_into_a_body(one: Document) -> None:
    check_body(one["body"])
    for place in places(one["body"]):
        # A holiday has any name in any language, and a calendar a short one: there only what is surely of a person is refused.
        is_free = place[-1] == "why" or place in (("calendar", "name"), ("calendar", "version"))
        for person in PERSONS[:4] if is_free else PERSONS[:12]:
            changed = deepcopy(one["body"])
            at(changed, place[:-1])[place[-1]] = person
            with pytest.raises(UnfitBody) as refused:
                check_body(changed)
            assert str(person) not in str(refused.value)


@only_sqlite
def test_what_is_none_of_our_words_and_sentences_is_refused(one: Document) -> None:
    for place in (
        ("exceptions", 0),
        ("deletion", "requested_by"),
        ("stores", 0, "name"),
        ("deletion", "scope", "digest"),
    ):
        for person in PERSONS:
            changed = deepcopy(one["body"])
            at(changed, place[:-1])[place[-1]] = person
            with pytest.raises(UnfitBody, match=str(place[0])):
                check_body(changed)


@only_sqlite
def test_what_is_missing_or_new_is_refused_without_its_name(one: Document) -> None:
    for place in places(one["body"]):
        if isinstance(at(one["body"], place), dict):
            more = deepcopy(one["body"])
            at(more, place)["ada@example.com"] = 1
            with pytest.raises(UnfitBody) as refused:
                check_body(more)
            assert "@" not in str(refused.value)
        elif isinstance(place[-1], str) and place[0] != "host" and place[-1] != "integration":
            less = deepcopy(one["body"])
            del at(less, place[:-1])[place[-1]]
            with pytest.raises(UnfitBody, match=f"{place[-1]} is missing"):
                check_body(less)


@only_sqlite
def test_a_body_too_large_for_its_column_is_refused(one: Document) -> None:
    with pytest.raises(UnfitBody, match="60,000 bytes"):
        check_body({**one["body"], "exceptions": one["body"]["exceptions"] * 1000})


@only_sqlite
def test_ids_instants_and_days_in_our_sentences_are_no_phone_numbers(one: Document) -> None:
    told = (
        f"Deletion {one['body']['deletion']['id']} waited from 2026-03-02T09:00:00Z to 2026-03-04: 3 of 1,234,567 rows."
    )
    check_body({**one["body"], "exceptions": [told]})


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_anyone_can_write_the_signed_bytes_with_python_alone(body: dict[str, Any]) -> None:
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(body) == plain


def test_an_instant_is_written_in_utc_wherever_it_was() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    instants = [datetime(2026, 3, 2, 14, 30, tzinfo=kolkata), datetime(2026, 3, 2, 9, 0, 0, 5, tzinfo=UTC)]
    assert canonical({"at": instants}) == b'{"at":["2026-03-02T09:00:00Z","2026-03-02T09:00:00.000005Z"]}'
