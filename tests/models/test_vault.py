"""The vault opens for the right row with the right key, and for nothing else."""

import base64
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from models.base import new_id
from models.database import Database, past_deadlocks
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from models.vault import DataKey, Keyring, Vault, VaultError, parse_master_keys, wrapped_by
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock

KEY = b"k" * 32
PLACE = {"table": "leads", "row": "r1", "column": "contact"}


def ring(tenant: str = "t1", key: bytes = KEY) -> Keyring:
    return Keyring(tenant, "s1", key)


@given(st.binary(max_size=5000))
def test_what_was_sealed_can_be_read_and_never_looks_the_same_twice(plaintext: bytes) -> None:
    first, second = ring().seal(plaintext, **PLACE), ring().seal(plaintext, **PLACE)
    assert ring().unseal(first, **PLACE) == plaintext
    assert first != second
    assert len(plaintext) < 4 or plaintext not in first


@pytest.mark.parametrize("moved", [{"table": "other"}, {"row": "r2"}, {"column": "answers"}])
def test_a_ciphertext_cannot_be_moved(moved: dict[str, str]) -> None:
    sealed = ring().seal(b"Ada", **PLACE)
    with pytest.raises(VaultError):
        ring().unseal(sealed, **{**PLACE, **moved})


def test_a_ciphertext_of_one_tenant_does_not_open_for_another_even_with_the_same_key() -> None:
    sealed = ring("t1").seal(b"Ada", **PLACE)
    with pytest.raises(VaultError):
        ring("t2").unseal(sealed, **PLACE)


@given(st.binary(max_size=64), st.data())
def test_a_changed_byte_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    sealed = bytearray(ring().seal(plaintext, **PLACE))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VaultError):
        ring().unseal(bytes(sealed), **PLACE)


@given(st.integers(0, 31))
def test_a_truncated_ciphertext_is_refused(length: int) -> None:
    with pytest.raises(VaultError):
        ring().unseal(ring().seal(b"Ada", **PLACE)[:length], **PLACE)


def test_a_refusal_says_nothing_of_what_was_sealed() -> None:
    with pytest.raises(VaultError) as refused:
        ring(key=b"x" * 32).unseal(ring().seal(b"Ada Lovelace", **PLACE), **PLACE)
    assert "Ada" not in str(refused.value)
    assert refused.value.__cause__ is None


@given(st.text(max_size=80))
def test_a_fingerprint_tells_tenants_apart_and_repeats_itself(value: str) -> None:
    assert ring().fingerprint(value) == ring().fingerprint(value)
    assert ring().fingerprint(value) != ring(key=b"x" * 32).fingerprint(value)
    assert len(ring().fingerprint(value)) == 16


def test_without_a_master_key_there_is_no_vault() -> None:
    with pytest.raises(VaultError, match="TROTH_MASTER_KEYS"):
        Vault({})


def test_a_destroyed_key_is_dead_at_once_and_the_neighbours_lives(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    gone, kept = new_id(), new_id()
    with tenant_session(database, acme.id) as session:
        first = vault.keyring(session, acme.id, gone, clock())
        sealed = first.seal(b"Ada", **PLACE)
        vault.keyring(session, acme.id, kept, clock())
    with tenant_session(database, acme.id) as session:
        opened = vault.existing(session, acme.id, gone)
        assert opened is not None
        assert opened.unseal(sealed, **PLACE) == b"Ada"
        vault.destroy(session, acme.id, gone)
    with tenant_session(database, acme.id) as session:
        assert vault.existing(session, acme.id, gone) is None
        assert vault.existing(session, acme.id, kept) is not None
        with pytest.raises(VaultError):
            vault.keyring(session, acme.id, gone, clock()).unseal(sealed, **PLACE)


def test_globex_gets_no_key_of_acme_and_cannot_destroy_it(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    with tenant_session(database, globex.id) as session:
        assert vault.existing(session, acme.id, acme.connection_id) is None
        vault.destroy(session, acme.id, acme.connection_id)
    with tenant_session(database, acme.id) as session:
        assert vault.existing(session, acme.id, acme.connection_id) is not None
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        vault.keyring(session, acme.id, new_id(), clock())


def test_a_data_key_is_made_once_however_many_ask_first(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    scope = new_id()

    def fingerprint() -> bytes:
        with tenant_session(database, acme.id) as session:
            return vault.keyring(session, acme.id, scope, clock()).fingerprint("Ada")

    assert len(set(at_once(*[partial(fingerprint)] * 8))) == 1
    with system_session(database, reads_only=True) as session:
        assert session.scalar(select(func.count()).select_from(DataKey).where(DataKey.scope == scope)) == 1


def test_a_new_master_key_opens_what_the_old_one_wrapped_while_both_are_there(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    old, new, scope = {"old": b"1" * 32}, {"new": b"2" * 32}, new_id()
    with tenant_session(database, acme.id) as session:
        sealed = Vault(old).keyring(session, acme.id, scope, clock()).seal(b"Ada", **PLACE)
    with tenant_session(database, acme.id) as session:
        assert Vault({**new, **old}).keyring(session, acme.id, scope, clock()).unseal(sealed, **PLACE) == b"Ada"
        with pytest.raises(VaultError, match="'old' is not in TROTH_MASTER_KEYS"):
            Vault(new).keyring(session, acme.id, scope, clock())
        with pytest.raises(VaultError, match="not the one that wrapped"):
            Vault({"old": b"2" * 32}).keyring(session, acme.id, scope, clock())


def test_a_wrapped_key_moved_to_another_scope_does_not_open(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    scope = new_id()
    with tenant_session(database, acme.id) as session:
        vault.keyring(session, acme.id, scope, clock())
        session.flush()
        row = session.get_one(DataKey, (acme.id, scope))
        row.wrapped = session.get_one(DataKey, (acme.id, acme.connection_id)).wrapped
    with tenant_session(database, acme.id) as session, pytest.raises(VaultError):
        vault.existing(session, acme.id, scope)


OLD, NEW = {"k1": b"1" * 32}, {"k2": b"2" * 32}  # k1 is that of the fixture `vault`
Sealed = dict[str, bytes]


def sealed_by_old_keys(database: Database, vault: Vault, clock: FrozenClock, company: Company, number: int) -> Sealed:
    """scope -> a ciphertext, each under a data key of its own."""
    scopes = [new_id() for _ in range(number)]
    with tenant_session(database, company.id) as session:
        return {scope: vault.keyring(session, company.id, scope, clock()).seal(b"Ada", **PLACE) for scope in scopes}


def rewrap(database: Database, vault: Vault, limit: int = 100) -> int:
    with system_session(database) as session:
        return vault.rewrap(session, limit=limit)


def masters(database: Database) -> dict[str, int]:
    with system_session(database, reads_only=True) as session:
        return wrapped_by(session)


def opened(database: Database, vault: Vault, company: Company, sealed: Sealed) -> set[bytes]:
    with tenant_session(database, company.id, reads_only=True) as session:
        keyrings = vault.keyrings(session, company.id, list(sealed))
    return {keyrings[scope].unseal(ciphertext, **PLACE) for scope, ciphertext in sealed.items()}


def test_after_a_rotation_the_new_master_key_alone_opens_everything_and_the_old_one_nothing(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    sealed = {one.id: sealed_by_old_keys(database, vault, clock, one, 6) for one in (acme, globex)}
    both, number = Vault({**NEW, **OLD}), masters(database)["k1"]

    assert rewrap(database, both, limit=5) == 5
    assert masters(database) == {"k1": number - 5, "k2": 5}
    assert (
        {b"Ada"} == opened(database, both, acme, sealed[acme.id]) == opened(database, both, globex, sealed[globex.id])
    )
    assert rewrap(database, both) == number - 5
    assert rewrap(database, both) == 0

    assert masters(database) == {"k2": number}
    for company in (acme, globex):
        assert opened(database, Vault(NEW), company, sealed[company.id]) == {b"Ada"}
        with pytest.raises(VaultError, match="'k2' is not in TROTH_MASTER_KEYS"):
            opened(database, vault, company, sealed[company.id])


def test_a_data_key_that_cannot_be_opened_stops_the_rotation_and_changes_nothing(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    before = masters(database)
    with pytest.raises(VaultError, match="'k1' is not in TROTH_MASTER_KEYS"):
        rewrap(database, Vault(NEW))
    with pytest.raises(VaultError, match="not the one that wrapped"):
        rewrap(database, Vault({**NEW, "k1": b"3" * 32}))
    assert masters(database) == before


def test_keyrings_open_and_are_made_while_several_rotations_run(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    sealed, both = sealed_by_old_keys(database, vault, clock, acme, 60), Vault({**NEW, **OLD})
    before = masters(database)["k1"]

    def rotate() -> int:
        return sum(iter(lambda: past_deadlocks(partial(rewrap, database, both, 7)), 0))

    def use() -> int:
        for _ in range(15):
            assert opened(database, both, acme, sealed) == {b"Ada"}
            with tenant_session(database, acme.id) as session:
                both.keyring(session, acme.id, new_id(), clock())
        return 0

    rotated = at_once(rotate, rotate, use, use)

    assert sum(rotated) == before
    assert masters(database) == {"k2": before + 30}
    assert opened(database, Vault(NEW), acme, sealed) == {b"Ada"}


def test_master_keys_are_read_in_their_order() -> None:
    value = f" b:{base64.b64encode(b'1' * 32).decode()} ,a:{base64.b64encode(b'2' * 32).decode()},"
    assert list(parse_master_keys(value).items()) == [("b", b"1" * 32), ("a", b"2" * 32)]


@pytest.mark.parametrize(
    "entry", ["secretsecret", "a:c2VjcmV0", ":" + "A" * 44, "a:!!!!", "a" * 33 + ":" + "A" * 43 + "="]
)
def test_a_wrong_master_key_is_named_by_its_place_and_never_shown(entry: str) -> None:
    good = f"z:{base64.b64encode(KEY).decode()}"
    with pytest.raises(ValueError, match="entry 2") as refused:
        parse_master_keys(f"{good},{entry}")
    assert entry not in str(refused.value)
    with pytest.raises(ValueError, match="entry 2"):
        parse_master_keys(f"{good},{good}")
