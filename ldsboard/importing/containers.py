"""Choose the subsets, the margins, the labels or the flags among everything that a file holds.

Legend: M subsets, N targets.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats.integers import has_rounded
from ldsboard.formats.lines import INEXACT, RemedyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Table = NDArray[Any] | list[NDArray[Any]]

SHOWN_NAMES = 8
PAIR = 2


class Part(Enum):
    """A table to look for in a file: its usual names, the possible kinds of its dtype, and its smallest number of dimensions."""

    MASKS = (("masks", "mask", "subsets", "indices", "train_subset", "train_subsets"), "biu", 2)
    MARGINS = (("margins", "val_margins", "values", "losses", "per_subset", "test_loss", "test_losses"), "f", 2)
    LABELS = (("labels", "targets", "y"), "iu", 1)
    FLAGS = (("completed", "_completed"), "biuf", 1)

    def __init__(self, names: tuple[str, ...], kinds: str, dimensions: int) -> None:
        self.names, self.kinds, self.dimensions = names, kinds, dimensions


def choose(content: Any, part: Part, key: str | None = None) -> Table:
    """Return the table of `part` in the content of a file.

    Parameters
    ----------
    content
        An array; a list or tuple of rows; or dicts, lists and tuples that hold several tables, such as the pair of a float array
        and an array of indices, in either order.
    part
        Which table to look for. If `content` is one table, that table is returned without a check. Otherwise the only table with
        one of the names of `part` as its last key is taken; if no table has such a name, the only table with a dtype and a number
        of dimensions that `part` allows; if there is no such table, the only table with an allowed number of dimensions.
    key
        Name of the table: the keys and positions that lead to the table, joined by dots.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        One array if all rows have the same shape, otherwise a list with an array for each row.

    Raises
    ------
    RemedyError
        A ValueError: a list of numbers, which numpy makes float64, has an integer of a magnitude above 2**53.
    ValueError
        The content has no table, several tables, or none with the name `key`; the message lists their names.
    """
    tables = dict(_tables(content, ""))
    if key is not None:
        if key not in tables:
            raise ValueError(f"there is no {key[:60]!r}, but {_listed(tables)}")
        return tables[key]
    if list(tables) == [""]:
        return tables[""]
    large = {name: table for name, table in tables.items() if _dimensions(table) >= part.dimensions}
    for found in (
        {name: table for name, table in tables.items() if name.rpartition(".")[2].lower() in part.names},
        {name: table for name, table in large.items() if _kinds(table) <= set(part.kinds)},
        large,
    ):
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            break
    option = f" Choose with --{part.name.lower()}-key NAME." if large and part in {Part.MASKS, Part.MARGINS} else ""
    raise ValueError(f"it is unclear which are the {part.name.lower()}: there is {_listed(tables)}.{option}")


def stack_equal_rows(rows: list[NDArray[Any]]) -> Table:
    """Return one array if all rows have the same shape, otherwise the rows.

    Raises
    ------
    RemedyError
        A ValueError: the array is float64, and an integer has a magnitude above 2**53.
    """
    if not rows or len({row.shape for row in rows}) > 1:
        return rows
    return exact_array(np.stack(rows), rows)


def exact_array(array: NDArray[Any], numbers: Any) -> NDArray[Any]:
    """Return `array`, which numpy made of nested lists; raise a RemedyError if numpy rounded an integer of the lists."""
    if has_rounded(array, numbers):
        raise RemedyError(f"there are {INEXACT}")
    return array


def _tables(content: Any, name: str) -> Iterator[tuple[str, Table]]:
    """Yield name and numbers of each table in `content`; whatever else a dict holds, such as text, is left out."""
    members: Any = content.items() if isinstance(content, dict) else ()
    if isinstance(content, list | tuple):
        rows = _rows(content)
        if rows:
            table = stack_equal_rows(rows)
        else:
            members = enumerate(content)
    elif not isinstance(content, dict):
        table = exact_array(np.asarray(content), content)
        rows = [table] if table.ndim or not name else []
    else:
        rows = []
    for key, value in members:
        yield from _tables(value, f"{name}.{key}" if name else str(key))
    if rows and (not name or all(row.dtype.kind in "biuf" for row in rows)):
        yield name, table


def _rows(content: list[Any] | tuple[Any, ...]) -> list[NDArray[Any]]:
    """Return the rows of a list that is one table, or ``[]`` if its members are tables."""
    if any(isinstance(value, dict) for value in content):
        return []
    try:
        rows = [np.asarray(row) for row in content]
    except ValueError:  # a member has rows of different lengths
        return []
    rows = [exact_array(row, numbers) for row, numbers in zip(rows, content, strict=True)]
    return [] if len(rows) == PAIR and _are_two_tables(*rows) else rows


def _are_two_tables(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return whether two members of a list are margins and subsets, in either order: tables of which one is floating point."""
    return min(first.ndim, second.ndim) >= PAIR and (first.dtype.kind == "f") != (second.dtype.kind == "f")


def _dimensions(table: Table) -> int:
    return table.ndim if isinstance(table, np.ndarray) else 2


def _kinds(table: Table) -> set[str]:
    return {table.dtype.kind} if isinstance(table, np.ndarray) else {row.dtype.kind for row in table if row.size}


def _listed(tables: dict[str, Table]) -> str:
    """Return a text with the names, types and shapes of the first 8 tables, and the number of the other tables."""
    shown = [
        f"{name[:40]!r} ({table.dtype} {table.shape})" if isinstance(table, np.ndarray) else f"{name[:40]!r} (lists)"
        for name, table in list(tables.items())[:SHOWN_NAMES]
    ]
    more = f" and {len(tables) - SHOWN_NAMES} more" if len(tables) > SHOWN_NAMES else ""
    return (", ".join(shown) or "no table of numbers") + more
