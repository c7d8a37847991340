"""Copy the rows of all tables to another database, and compare what arrived.

JSON is copied as its text, so that JSON ``null`` stays apart from NULL and numbers keep their digits. SQLite stores no NaN and
no sign of zero. PostgreSQL refuses texts and integers that are too long for their column. No `Database` takes NUL in text, but
earlier releases stored it in SQLite.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    bindparam,
    cast,
    func,
    insert,
    inspect,
    literal,
    select,
    table,
    type_coerce,
)
from sqlalchemy.types import NullType

from app.db import counterfactuals, review_links, uploads, webhooks  # noqa: F401 -- these modules define tables
from app.db.base import Base
from app.db.migration import VERSION_TABLE, is_own_table
from app.db.sessions import NUL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Table
    from sqlalchemy.engine import Dialect

BATCH = 100
"""Number of rows that are in memory at a time. A row of `Measurement` or `Attribution` can hold some 100 KB."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

NUL_REASON = "a NUL character, which text may not have"


class CopyError(RuntimeError):
    """The target does not hold the rows that were read from the source."""


@dataclass
class Digest:
    """The number of rows of a table, and the sum of their SHA-256, which does not depend on the order of the rows."""

    rows: int = 0
    total: int = 0

    def add(self, row: Sequence[object]) -> None:
        """Add a row. The `repr` of a float is exact; that of bytes would take most of the time of a move."""
        values = [sha256(value).hexdigest() if isinstance(value, bytes) else value for value in row]
        self.rows += 1
        self.total = (self.total + int.from_bytes(sha256(repr(values).encode()).digest())) % 2**256


def tables() -> list[Table]:
    """Return all tables; a table stands behind the tables to which its foreign keys refer."""
    known = known_tables()
    return [each for each in Base.metadata.sorted_tables if each.name in known]


def known_tables() -> Mapping[str, Table]:
    """Return the tables of all models by their names."""
    return Base.metadata.tables


def filled_tables(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table that holds rows, whichever software made the table."""
    # A migration fills the table with the revision.
    names = [name for name in inspect(connection).get_table_names() if name != VERSION_TABLE]
    counts = {name: connection.scalar(select(func.count()).select_from(table(name))) or 0 for name in names}
    return {name: rows for name, rows in counts.items() if rows}


def unknown_columns(connection: Connection) -> list[str]:
    """Return the tables, as ``table``, and columns, as ``table.column``, that the models of this release do not have."""
    found, unknown = MetaData(), []
    found.reflect(connection)
    for name, each in found.tables.items():
        known = known_tables().get(name)
        if known is not None:
            unknown += [f"{name}.{column}" for column in set(each.columns.keys()) - set(known.columns.keys())]
        elif name != VERSION_TABLE and is_own_table(name):
            unknown.append(name)
    return sorted(unknown)


def unfit_values(source: Connection, target: Dialect) -> Iterator[tuple[str, bool]]:
    """Yield where the source holds a value that the target refuses or would change, and whether NUL is the only reason."""
    for each in tables():
        checks = [_check_of(column, target) for column in each.columns]
        keys = [index for index, column in enumerate(each.columns) if column.primary_key]
        for batch in _batches(source, each, lambda column: type_coerce(column, NullType())):
            for row in batch:
                for column, check, value in zip(each.columns, checks, row, strict=True):
                    if value is not None and (reason := check(value)):
                        key = ", ".join(f"{each.columns[index].name} = {row[index]!r}" for index in keys)
                        yield f"table {each.name}, row {key}, column {column.name}: {reason}", reason == NUL_REASON


def _check_of(column: Column[Any], target: Dialect) -> Callable[[Any], str]:
    """Return a function that says why the target cannot store a value of a column as it is, or an empty string.

    An SQLite file in which a time is no time is damaged, see `app.db.integrity`, and not moved at all.
    """
    kind, is_sqlite = column.type, target.name == "sqlite"

    def check_text(value: object) -> str:
        if not isinstance(value, str):
            return f"{_shown(value)} is no text"
        if NUL in value:
            return NUL_REASON
        longest = getattr(kind, "length", None)
        return (
            f"a text of {len(value)} characters, and {longest} are allowed" if longest and len(value) > longest else ""
        )

    def check_json(value: object) -> str:
        try:
            json.loads(str(value), parse_constant=_refuse)
        except ValueError:
            return f"{_shown(value)} is no JSON"
        return ""

    def check_integer(value: object) -> str:
        bits = 64 if is_sqlite or isinstance(kind.dialect_impl(target), BigInteger) else 32
        fits = isinstance(value, int) and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
        return "" if fits else f"{_shown(value)} is no integer of {bits} bits"

    def check_float(value: object) -> str:
        if not isinstance(value, float | int):
            return f"{_shown(value)} is no number"
        return "NaN, which SQLite cannot store" if is_sqlite and math.isnan(value) else ""

    checks: list[tuple[type, Callable[[object], str]]] = [
        (JSON, check_json),
        (String, check_text),
        (Boolean, lambda value: "" if value in (0, 1) else f"{_shown(value)} is neither true nor false"),
        (Integer, check_integer),
        (Float, check_float),
        (LargeBinary, lambda value: "" if isinstance(value, bytes) else f"{_shown(value)} is no binary value"),
    ]
    return next((check for type_, check in checks if isinstance(kind, type_)), lambda _: "")


def _refuse(text: str) -> None:
    raise ValueError(text)


def _shown(value: object) -> str:
    """Return a value as text, shortened for a message."""
    return f"{value!r:.60}"


def copy_rows(source: Connection, target: Connection, *, replace_nul: bool = False) -> dict[str, int]:
    """Copy all rows into empty tables within the target's transaction; return the number of rows of each table.

    Parameters
    ----------
    replace_nul
        Replace NUL in text by U+FFFD; otherwise the target refuses such a text.

    Raises
    ------
    CopyError
        A table of the target holds other rows than the source. The caller must roll back.
    """
    counts = {}
    for each in tables():
        sent = _copy_table(source, target, each, replace_nul=replace_nul)
        arrived = digest(target, each, signed_zeros=target.dialect.name != "sqlite")
        if arrived != sent:
            raise CopyError(
                f"Table {each.name}: {sent.rows} rows were read and {arrived.rows} rows arrived, with "
                f"{'equal' if arrived.total == sent.total else 'other'} values. Nothing was saved."
            )
        counts[each.name] = sent.rows
    if target.dialect.name == "postgresql":
        _set_sequences(target)
    return counts


def digest(connection: Connection, each: Table, *, signed_zeros: bool = True) -> Digest:
    """Return the digest of a table. Without `signed_zeros`, -0.0 counts as 0.0."""
    found = Digest()
    for batch in _batches(connection, each):
        for row in batch:
            found.add(_storable(row, replace_nul=False, signed_zeros=signed_zeros))
    return found


def _copy_table(source: Connection, target: Connection, each: Table, *, replace_nul: bool) -> Digest:
    """Copy the rows of a table; return the digest of what the target should hold."""
    is_sqlite = target.dialect.name == "sqlite"
    statement = insert(each).values({column.name: _new_value(column, target.dialect) for column in each.columns})
    names, sent = [f"new_{column.name}" for column in each.columns], Digest()
    for batch in _batches(source, each):
        rows = [_storable(row, replace_nul=replace_nul, signed_zeros=not is_sqlite) for row in batch]
        target.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])
        for row in rows:
            sent.add(row)
    return sent


def _storable(row: Sequence[Any], *, replace_nul: bool, signed_zeros: bool) -> list[Any]:
    """Return the values of a row as the target will hold them."""
    values = list(row)
    for index, value in enumerate(values):
        if replace_nul and isinstance(value, str):
            values[index] = value.replace(NUL, REPLACEMENT)
        elif not signed_zeros and isinstance(value, float) and value == 0:
            values[index] = 0.0
    return values


def _new_value(column: Column[Any], target: Dialect) -> ColumnElement[Any]:
    """Return the parameter of an INSERT for a column."""
    if not isinstance(column.type, JSON):
        return bindparam(f"new_{column.name}", type_=column.type)
    text = bindparam(f"new_{column.name}", type_=Text())
    # PostgreSQL does not take text for JSON by itself; for SQLite, JSON is text, and a cast would make a number of it.
    return text if target.name == "sqlite" else cast(text, JSON())


def _as_read(column: Column[Any]) -> ColumnElement[Any]:
    return column


def _batches(
    connection: Connection, each: Table, as_read: Callable[[Column[Any]], ColumnElement[Any]] = _as_read
) -> Iterator[Sequence[Sequence[Any]]]:
    """Yield the rows of a table in batches; JSON as text, and the other columns as `as_read` converts them."""
    columns = [cast(column, Text()) if isinstance(column.type, JSON) else as_read(column) for column in each.columns]
    yield from connection.execute(select(*columns), execution_options={"yield_per": BATCH}).partitions()


def _set_sequences(target: Connection) -> None:
    """Set every sequence of PostgreSQL so that the next row gets the id after the largest one."""
    for each in tables():
        for column in each.columns:
            quoted = target.dialect.identifier_preparer.format_table(each)
            sequence = target.scalar(select(func.pg_get_serial_sequence(quoted, column.name)))
            if sequence is not None:
                newest = select(func.max(column)).scalar_subquery()
                target.execute(select(func.setval(literal(sequence), func.coalesce(newest, 1), newest.is_not(None))))
