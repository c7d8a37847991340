"""Read tables of numbers in text: lists in JSON, and lines of numbers that commas, semicolons, tabs or blanks separate."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats.containers import choose_table
from ldsboard.formats.headers import SAVE_HINT, unreadable
from ldsboard.formats.integers import LIMIT, rounded_scores, text_has_rounded
from ldsboard.formats.lines import RemedyError, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def is_text(start: bytes) -> bool:
    """Return whether a file that begins with these bytes can be a text of numbers: printable ASCII and white space."""
    return start.isascii() and start.translate(None, b"\t\r\n").decode().isprintable()


def read_text(path: Path, key: str | None = None) -> NDArray[Any]:
    """Return a table of numbers in a text: float64, or an integer type if all numbers of a table in JSON are integers.

    Parameters
    ----------
    path
        A file for which `is_text` is True.
    key
        Name of the table in JSON: the keys and list positions that lead to the table, joined by dots. In a text that is one
        table, the table has no name, and every key raises an error.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: the text is neither JSON nor lines of numbers.
        ``scores.dtype``: a number is an integer above 2**53, which float64 would round.
        ``scores.several``, ``scores.shape``: the errors of `choose_table`.
    """
    text = path.read_text(errors="replace")
    if text.lstrip().startswith(("[", "{")):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise unreadable(f"a text that begins like JSON and is not ({str(error)[:80]})", SAVE_HINT) from None
        return choose_table(content, key)
    first = text.lstrip().partition("\n")[0]
    delimiter = next((sign for sign in ",;\t" if sign in first), None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a file without lines
            lines = np.loadtxt(text.splitlines(), dtype=np.float64, delimiter=delimiter, ndmin=2)
    except ValueError as error:
        _check_lines(path, text)
        got = f"a text that begins with {first[:20]!r} and is no table of numbers ({str(error)[:80]})"
        raise unreadable(got, SAVE_HINT) from None
    if (np.abs(lines) >= LIMIT).any() and text_has_rounded(text):
        raise rounded_scores("larger integers in a text")
    return choose_table(lines, key)


def _check_lines(path: Path, text: str) -> None:
    """Raise ``scores.unreadable`` with a command if a text has a header or decimal commas, and is otherwise lines of numbers."""
    try:
        read_lines(text)
    except RemedyError as error:
        raise unreadable(f"a text in which {str(error).removesuffix('.')}", error.command(path)) from None
    except ValueError:
        return
