"""The register of personal data against the schema: nothing that can hold a person has no rule."""

import pytest
from sqlalchemy import Column, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.types import TypeEngine

from models.base import JsonText
from models.deletion import SCOPES, SUBJECT, TENANT
from models.personal import BY_NAME, KINDS, PERSON, PROVIDER, STORES, Store, children_of, stores_of
from models.schema import metadata


def holds_words(kind: TypeEngine[object]) -> bool:
    """Ids, instants, numbers and flags say nothing by themselves; text, bytes and JSON may say anything."""
    return isinstance(kind, String | Text | LargeBinary | JsonText)


def without_rule(tables: list[Table], stores: tuple[Store, ...]) -> set[str]:
    ruled = {f"{store.table.name}.{name}" for store in stores for name in store.columns}
    return {f"{table.name}.{column.name}" for table in tables for column in table.c if holds_words(column.type)} - ruled


def test_every_table_and_every_column_that_can_hold_words_has_a_rule() -> None:
    assert sorted(BY_NAME) == sorted(metadata.tables) and len(STORES) == len(BY_NAME)
    assert without_rule(metadata.sorted_tables, STORES) == set()
    for store in STORES:
        assert set(store.columns) <= {column.name for column in store.table.c if holds_words(column.type)}, store.name
        assert set(store.columns.values()) <= set(KINDS), store.name


def test_a_new_column_or_table_without_a_rule_is_found() -> None:
    fresh = Table("bulletins", MetaData(), Column("title", Text()))
    assert without_rule([*metadata.sorted_tables, fresh], STORES) == {"bulletins.title"}


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_store_is_erased_or_says_why_not(store: Store) -> None:
    if store.kept:
        assert store.kept.endswith(".") and not {PERSON, PROVIDER} & set(store.columns.values())
        assert not any(store.is_in(kind) for kind in SCOPES)
    elif store.parent is not None:
        assert store in children_of(BY_NAME[store.parent])
        indexed = [[column.name for column in index.columns][:2] for index in store.table.indexes]
        indexed += [
            [column.name for column in one.columns][:2] for one in store.table.constraints if hasattr(one, "columns")
        ]
        assert ["tenant_id", store.by] in indexed, "deleting by a parent without an index takes hours"
    else:
        assert store in stores_of(TENANT)


def test_what_speaks_of_persons_is_reached_when_one_is_erased() -> None:
    reached = {one.name for store in stores_of(SUBJECT) for one in (store, *children_of(store))}
    speaking = {store.name for store in STORES if PERSON in store.columns.values()}
    assert speaking - reached == {"calendar_events"}, "which says for how short a time"
    for store in STORES:
        if store.names is not None:
            assert store.columns[store.names.column] == PERSON and store.parent is None
            seal = store.sealed[store.names.column]
            assert seal.by == "tenant_id" and (
                seal.is_text if store.names.part is None else store.names.part in seal.parts
            )


def test_data_keys_go_last_so_that_an_erasure_that_was_cut_short_can_still_be_told_from_a_done_one() -> None:
    for kind in ("connection", "integration", "tenant"):
        assert stores_of(kind)[-1].name == "data_keys"
    assert "data_keys" not in [store.name for store in stores_of("subject")], "others share the key"
