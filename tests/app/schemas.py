"""The schema of a database, and what in a later schema code written for the earlier one cannot live with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Integer, SmallInteger, String, inspect, text

from app.db.migration import VERSION_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Inspector
    from sqlalchemy.types import TypeEngine

CODE = {
    "sqlite": "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT relname, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger "
    "JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal",
}
"""Queries for the tables of triggers and the statements that create the triggers."""

FUNCTIONS = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"

WIDTHS: dict[type[TypeEngine[Any]], int] = {SmallInteger: 16, BigInteger: 64, Integer: 32}
"""Numbers of bits of types of integers; a type stands before the types from which it is derived."""


class Table(NamedTuple):
    """The columns of a table by their names, and texts that describe its constraints, unique indexes and triggers.

    Each constraint has the names of its columns; a trigger may refer to any.
    """

    columns: dict[str, Any]
    constraints: dict[str, frozenset[str]]


class Schema(NamedTuple):
    """The tables by their names, and the signatures of the functions."""

    tables: dict[str, Table]
    functions: frozenset[str]


def read_schema(connection: Connection) -> Schema:
    """Return the present schema of a database."""
    found, kind = inspect(connection), connection.dialect.name
    tables = {name: _table(found, name) for name in found.get_table_names() if name != VERSION_TABLE}
    for name, statement in connection.execute(text(CODE[kind])):
        tables[name].constraints[f"trigger {statement}"] = frozenset(tables[name].columns)
    functions = connection.scalars(text(FUNCTIONS)).all() if kind == "postgresql" else []
    return Schema(tables, frozenset(functions))


def _table(found: Inspector, name: str) -> Table:
    columns = {column["name"]: column for column in found.get_columns(name)}
    constraints: dict[str, frozenset[str]] = {}
    key = found.get_pk_constraint(name)["constrained_columns"]
    constraints[f"primary key {key}"] = frozenset(key)
    for reference in found.get_foreign_keys(name):
        own, other = reference["constrained_columns"], reference["referred_table"]
        deleting = str(reference["options"].get("ondelete", "NO ACTION")).upper()
        constraints[f"foreign key {own} to {other}, ON DELETE {deleting}"] = frozenset(own)
    for check in found.get_check_constraints(name):
        words = set(re.findall(r"\w+", check["sqltext"]))
        constraints[f"check {check['sqltext']}"] = frozenset(words & columns.keys())
    for index in found.get_indexes(name):
        if index["unique"]:
            parts = [part or "" for part in index["column_names"]] + index.get("expressions", [])
            condition = {key: str(value) for key, value in index.get("dialect_options", {}).items()}
            constraints[f"unique {parts} {condition}"] = frozenset(filter(None, parts))
    for unique in found.get_unique_constraints(name):
        constraints[f"unique {unique['column_names']}"] = frozenset(unique["column_names"])
    return Table(columns, constraints)


def contractions(before: Schema, after: Schema) -> list[str]:
    """Return what in the schema `after` breaks servers whose code was written for the schema `before`."""
    found = [f"function {name} is dropped" for name in sorted(before.functions - after.functions)]
    for name in sorted(before.tables.keys() | after.tables.keys()):
        if name not in after.tables:
            found.append(f"table {name} is dropped")
        elif name not in before.tables:
            found += _faults_of_references(name, after.tables[name].constraints, before)
        else:
            found += _faults_of_columns(name, before.tables[name].columns, after.tables[name].columns)
            found += _faults_of_constraints(name, before, after)
    return found


def _faults_of_columns(table: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name, column in before.items():
        place, new = f"column {table}.{name}", after.get(name)
        if new is None:
            yield f"{place} is dropped"
            continue
        if not _holds(new["type"], column["type"]):
            yield f"{place} changes from {column['type']!r} to {new['type']!r}"
        if new["nullable"] != column["nullable"]:
            yield f"{place} {'takes' if new['nullable'] else 'refuses'} NULL"
        if column["default"] is not None and new["default"] is None:
            yield f"{place} loses its server default"
    for name in after.keys() - before.keys():
        if not after[name]["nullable"] and after[name]["default"] is None:
            yield f"column {table}.{name} is NOT NULL and has no server default"


def _holds(new: TypeEngine[Any], old: TypeEngine[Any]) -> bool:
    """Return whether a column of a new type takes and returns all values of a column of the old type."""
    if isinstance(new, String) and isinstance(old, String):
        return new.length is None or (old.length is not None and new.length >= old.length)
    before, after = (next((WIDTHS[width] for width in WIDTHS if isinstance(kind, width)), None) for kind in (old, new))
    return repr(new) == repr(old) if before is None or after is None else before <= after


def _faults_of_constraints(table: str, before: Schema, after: Schema) -> Iterator[str]:
    old, new = before.tables[table], after.tables[table]
    for name in old.constraints.keys() - new.constraints.keys():
        yield f"table {table} loses: {name}"
    added = new.columns.keys() - old.columns.keys()
    empty = {name for name in added if new.columns[name]["nullable"] and new.columns[name]["default"] is None}
    own = {name: columns for name, columns in new.constraints.items() if name not in old.constraints}
    for name, columns in own.items():
        # The earlier code leaves new columns alone: NULL is never equal to anything, and a default fits its check.
        if not (columns & empty if name.startswith("unique") else columns and columns <= added):
            yield f"table {table} gets: {name}"
    yield from _faults_of_references(table, own, before)


def _faults_of_references(table: str, constraints: dict[str, frozenset[str]], before: Schema) -> Iterator[str]:
    """Yield the references to rows that the earlier code deletes without knowing the rows that refer to them."""
    for name in constraints:
        target = re.fullmatch(r"foreign key .* to (\w+), ON DELETE (.*)", name)
        if target and target[1] in before.tables and target[2] not in {"CASCADE", "SET NULL"}:
            yield f"table {table} gets: {name}, so that the rows of {target[1]} cannot be deleted"
