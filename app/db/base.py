"""Base class, column types and functions that all tables share."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, DateTime, Integer, MetaData, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler


class UtcDateTime(TypeDecorator[datetime]):
    """Column type of timezone-aware datetimes in UTC; SQLite itself stores no time zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert a datetime to UTC and drop the time zone; a datetime without a time zone counts as local time."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Add the time zone UTC to a datetime from the database."""
        return None if value is None else value.replace(tzinfo=UTC)


Int64 = Annotated[int, mapped_column(Integer().with_variant(BigInteger(), "postgresql"))]
"""Type of a column of integers of 64 bits, such as numbers of bytes."""


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def random_id() -> str:
    """Return a random id of 16 hexadecimal digits (64 bits)."""
    return secrets.token_hex(8)


class Base(DeclarativeBase):
    """Base class of all tables; constraints have names, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        dict[str, str]: JSON,
        list[str]: JSON,
    }


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Return a CHECK constraint, named like the column, that lets the column hold only the values of an enumeration."""
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


class CodePointOrder(FunctionElement[str]):
    """A text as a key for ORDER BY: sorted by code points, as Python sorts, and not by the locale of a PostgreSQL database."""

    type = String()
    inherit_cache = True


@compiles(CodePointOrder)
def _as_it_is(order: CodePointOrder, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(order.clauses, **options)


@compiles(CodePointOrder, "postgresql")
def _in_collation_c(order: CodePointOrder, compiler: SQLCompiler, **options: Any) -> str:
    return f'{compiler.process(order.clauses, **options)} COLLATE "C"'
