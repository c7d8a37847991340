"""Choose the table of scores in nested dicts, lists and tuples of tensors, arrays or numbers, as libraries save them.

The only table of floating-point numbers is taken, or without such a table the only table of other numbers. A list of tables is
one table in batches, see `join`. A list of vectors of equal length is one table, with one row for each vector. Of several tables,
a key chooses one: the dict keys and list positions that lead to the table, joined by dots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats.integers import has_rounded, rounded_scores
from ldsboard.formats.tensors import is_real_valued, is_tensor, tensor_array
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_DEPTH = 8
"""Depth to which nested containers are searched. A limit is needed, because a pickle can hold a list that contains itself."""

SHOWN_NAMES = 8


def choose_table(content: object, key: str | None = None) -> NDArray[Any]:
    """Return the table of scores in `content`: the one that `key` names, or without a key the only table.

    Without a key, the only table of floating-point numbers is taken, or if there is none, the only table of other numbers. The
    result has two dimensions, except in two cases: an array that `key` names, and a `content` that is itself one array or tensor,
    are returned with any number of dimensions.

    Parameters
    ----------
    content
        A tensor or an array; or dicts, lists and tuples of tensors, arrays and numbers.
    key
        Name of the table: the keys and positions that lead to the table, joined by dots.

    Raises
    ------
    ProblemError
        ``scores.several``: the content has no table, or several; the message names them. Or the content has no `key`.
        ``scores.shape``: the batches of a list have different widths and heights.
        ``scores.dtype``: the table is a tensor that `tensor_array` refuses, such as a complex one. A complex array is returned.
        Or the table has decimals, and integers above 2**53, which would be rounded.
    """
    found = dict(_leaves(content, "", 0))
    if key is not None and set(found) != {""}:
        if key not in found:
            raise no_such_array(key, found)
        return _array(found[key])
    if key is not None:
        raise no_such_array(key, ())
    if set(found) == {""}:
        return _array(found[""])
    tables = {name: leaf for name, leaf in found.items() if _dimensions(leaf) == 2}  # noqa: PLR2004
    scores = [name for name, leaf in tables.items() if _is_real_valued(leaf)] or list(tables)
    if len(scores) == 1:
        return _array(tables[scores[0]])
    if scores:
        raise several_tables(scores)
    shown = {name: f"{name[:40]!r} {_shape(leaf)}" for name, leaf in found.items()}
    raise ProblemError.mismatch(
        "scores.several",
        expected="one table of numbers, with two dimensions",
        got=listed(shown.values()) if shown else f"an object of type {type(content).__name__} without numbers",
        hint="Check that this is the right file.",
    )


def join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return tables as one: one below the other if their widths are equal, otherwise side by side if their heights are equal.

    Raises
    ------
    ProblemError
        ``scores.shape``: neither the widths nor the heights are equal.
        ``scores.dtype``: some tables hold integers above 2**53, which the type of the result would round.
    """
    shapes = [part.shape for part in parts]
    for axis in (0, 1):
        if len({shape[1 - axis] for shape in shapes}) == 1:
            return _exact(np.concatenate(parts, axis), parts)
    raise ProblemError.mismatch(
        "scores.shape",
        expected="batches of equal width or of equal height",
        got=listed(map(str, dict.fromkeys(shapes))),
        hint="Check that the batches belong to one table of scores.",
    )


def several_tables(names: Iterable[str]) -> ProblemError:
    """Return the error for a file with several tables of which any can be the scores."""
    return ProblemError.mismatch(
        "scores.several",
        expected="one table of floating-point numbers",
        got=listed(repr(name[:40]) for name in names),
        hint="Choose one with --key NAME.",
    )


def no_such_array(key: str, names: Iterable[str]) -> ProblemError:
    """Return the error for a file that has arrays with the names `names`, but none with the name `key`."""
    found = sorted(names)
    return ProblemError.mismatch(
        "scores.several",
        expected=f"an array with the name {key[:60]!r}",
        got=listed(repr(name[:60]) for name in found) or "no arrays with names",
        hint="Give one of these names as --key." if found else "Leave out --key, or check that this is the right file.",
    )


def listed(words: Iterable[str]) -> str:
    """Return a text with the first 8 words, separated by commas, and the number of the other words."""
    every = list(words)
    more = f" and {len(every) - SHOWN_NAMES} more" if len(every) > SHOWN_NAMES else ""
    return ", ".join(every[:SHOWN_NAMES]) + more


def _leaves(content: object, name: str, depth: int) -> Iterable[tuple[str, Any]]:
    """Yield the name and the value of each table in `content`, down to `MAX_DEPTH` levels.

    A table is a tensor, an array, or a list that `_as_table` takes as a whole. Of other lists and of mappings, the members are
    searched.
    """
    if is_tensor(content) or isinstance(content, np.ndarray):
        yield name, content
    elif isinstance(content, Mapping) and depth < MAX_DEPTH:
        for key, value in content.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(content, list | tuple) and depth < MAX_DEPTH:
        whole = _as_table(content)
        if whole is not None:
            yield name, whole
        else:
            for position, value in enumerate(content):
                yield from _leaves(value, f"{name}.{position}" if name else str(position), depth + 1)


def _as_table(content: list[Any] | tuple[Any, ...]) -> Any:
    """Return an array for rows of numbers, a list for tables or for vectors of equal length, and None for every other list."""
    first = content[0] if content else None
    if isinstance(first, list | tuple) and all(_is_row(row, len(first)) for row in content):
        return _exact(np.array(content), content)
    if all(is_tensor(part) or isinstance(part, np.ndarray) for part in content):
        dimensions = {_dimensions(part) for part in content}
        if len(content) > 1 and (dimensions == {2} or (dimensions == {1} and len({_shape(p) for p in content}) == 1)):
            return list(content)
    return None


def _is_row(row: object, length: int) -> bool:
    return isinstance(row, list | tuple) and len(row) == length > 0 and all(type(x) in (int, float) for x in row)


def _array(leaf: Any) -> NDArray[Any]:
    if isinstance(leaf, list):
        parts = [_array(part) for part in leaf]
        return _exact(np.stack(parts), parts) if parts[0].ndim == 1 else join(parts)
    return tensor_array(leaf) if is_tensor(leaf) else leaf


def _exact(array: NDArray[Any], numbers: object) -> NDArray[Any]:
    """Return `array`, which numpy made of `numbers`; raise ``scores.dtype`` if numpy rounded an integer."""
    if has_rounded(array, numbers):
        raise rounded_scores("larger integers beside other numbers")
    return array


def _dimensions(leaf: Any) -> int:
    return 2 if isinstance(leaf, list) else len(leaf.shape)


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(leaf[0].shape) if isinstance(leaf, list) else tuple(leaf.shape)


def _is_real_valued(leaf: Any) -> bool:
    if isinstance(leaf, list):
        return all(map(_is_real_valued, leaf))
    return is_real_valued(leaf) if is_tensor(leaf) else leaf.dtype.kind in "fc"
