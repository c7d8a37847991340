"""Read lines of numbers, whose cells are separated by commas, semicolons, tabs or blanks."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

Rows = list[NDArray[Any]]

SEPARATORS = ",;\t"
"""Characters that can separate the cells of a line, in order of precedence. In a text without them, white space separates."""

INTEGER = re.compile(r"[+-]?\d+")
EXACT_DIGITS = 15
"""Number of digits up to which float64 represents every integer exactly."""

DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
FRACTION = re.compile(r"[+-]?0\d+|-0")
"""Cells that no program writes as an integer, such as the two parts of -0,05."""

INEXACT = (
    "integers of a magnitude above 2**53 that would become float64, which cannot distinguish all of them. Subtract a common "
    "offset, or round the numbers yourself."
)
POINTS = 'old.read_text(encoding="utf-8").replace(",", ".")'
NUMBERS = '"\\n".join({line} for line in old.read_text(encoding="utf-8").splitlines()[{header}:] if line.strip())'
"""Expressions for the text of a new file, where ``old`` is the path of a file with decimal commas, or with a header."""

LONGEST_COMMAND = 480
"""Messages of score files shorten a longer hint in the middle."""

TRUTH = {"True": 1, "False": 0}
"""Words that numpy and pandas write for bools."""


class RemedyError(ValueError):
    """The error for numbers that can be read only after a change, which the message states.

    Attributes
    ----------
    text
        Python expression for the text after the change, where ``old`` stands for the path of the file, or ``""``.
    suffix
        Suffix of the changed file.
    """

    def __init__(self, message: str, text: str = "", suffix: str = "") -> None:
        super().__init__(message)
        self.text, self.suffix = text, suffix

    def command(self, path: Path) -> str:
        """Return a sentence with the command that makes the change for the file `path`, or ``""`` if there is none.

        A command longer than `LONGEST_COMMAND`, as for a very long path, is replaced by words.
        """
        if not self.text:
            return ""
        code = (
            f"from pathlib import Path; old = Path({json.dumps(path.as_posix(), ensure_ascii=False)}); "
            f'old.with_suffix("{self.suffix}").write_text({self.text}, encoding="utf-8")'
        )
        target = shlex.quote(path.with_suffix(self.suffix).as_posix())
        sentence = f"Convert the file: python -c {shlex.quote(code)}  and give {target} instead."
        return sentence if len(sentence) <= LONGEST_COMMAND else "Write the numbers alone to another file."


def read_lines(text: str, *, margins: bool = False) -> Rows:
    """Return the numbers of each line: int64 if all numbers of the line are integers or bools, otherwise float64.

    Lines that begin with ``#`` and blank lines at the end are skipped. Every other blank line is an empty array. In a text whose
    cells are separated by tabs, a line of tabs is not blank, but has empty cells.

    Parameters
    ----------
    text
        The lines.
    margins
        Whether the numbers are margins, which are hardly ever pairs of integers, but can be decimals with a comma.

    Raises
    ------
    RemedyError
        A ValueError: the first line is a header, or the first column has the numbers of the rows, as pandas writes them. Or the
        numbers seem to have decimal commas. Or the numbers of a line become float64, and one is an integer above 2**53.
    ValueError
        A cell between two separators is empty, or a word is no number; the message names the line.
    """
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if not line.startswith("#")]
    separator = next((sign for sign in SEPARATORS if any(sign in line for _, line in numbered if line.strip())), None)
    is_tabbed = separator == "\t"
    while numbered and not numbered[-1][1].strip(" \r\f\v" if is_tabbed else None):
        numbered.pop()
    cells = [(number, _cells(line, separator)) for number, line in numbered]
    _check_header(cells, separator)
    try:
        rows = [_row(number, words) for number, words in cells]
    except RemedyError:
        raise
    except ValueError:
        if separator == "," and not any("" in words for _, words in cells) and _has_decimal_commas(text):
            raise _decimal_commas("the numbers are decimals with a comma.") from None
        raise
    if margins and separator == "," and all(row.dtype.kind == "i" for row in rows):
        _check_commas(numbered, cells)
    return rows


def _cells(line: str, separator: str | None) -> list[str]:
    if separator == "\t":
        return [cell.strip() for cell in line.split(separator)] if line.strip(" \r\f\v") else []
    return [cell.strip() for cell in line.split(separator)] if line.strip() else []


def _row(number: int, cells: list[str]) -> NDArray[Any]:
    if "" in cells:
        raise ValueError(f"line {number}, column {cells.index('') + 1} is empty: a number is missing")
    try:
        return np.array(list(map(int, cells)), dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    if TRUTH.keys() >= set(cells):
        return np.array([TRUTH[cell] for cell in cells], dtype=np.int64)
    try:
        values = np.array(list(map(float, cells)))
    except ValueError as error:
        raise ValueError(f"line {number}: {str(error)[:200]}") from None
    if (np.abs(values) >= 10.0**EXACT_DIGITS).any() and any(map(_is_inexact, cells)):
        raise RemedyError(f"line {number} has {INEXACT}")
    return values


def _is_inexact(cell: str) -> bool:
    """Return whether a cell is written as an integer of a magnitude above 2**53."""
    digits = cell.lstrip("+-").lstrip("0")
    return bool(INTEGER.fullmatch(cell)) and (len(digits) > EXACT_DIGITS + 1 or int(digits or "0") > 2**53)


def _check_header(cells: list[tuple[int, list[str]]], separator: str | None) -> None:
    """Raise a RemedyError if the first line is a header of words or of column numbers, as pandas writes it."""
    if len(cells) < 2:  # noqa: PLR2004 -- a header stands above numbers
        return
    (number, first), (_, second), *_ = cells
    if len(first) != len(second) or not any(first):
        return
    has_index = first[0] == "" and len(first) > 1
    names = first[1:] if has_index else first
    if "" in names:
        return
    is_counted = len(names) > 1 and names == list(map(str, range(len(names))))
    if has_index:
        rows = [words[0] for _, words in cells[1:] if words]
        is_header = is_counted or not _are_numbers(names) or rows == list(map(str, range(len(rows))))
    elif _are_numbers(names):
        others = {word for _, words in cells[1:] for word in words}
        is_mask = others <= {"0", "1"} and len(names) > 2  # noqa: PLR2004 -- 0,1 can be a row of a mask
        is_header = is_counted and (is_mask or not all(map(INTEGER.fullmatch, others)))
    else:
        is_header = _are_numbers(second)
    if is_header:
        after_index = f"line.split({json.dumps(separator)}, 1)[1]"
        text = NUMBERS.replace("{header}", str(number)).replace("{line}", after_index if has_index else "line")
        index = ", and its first column numbers or names the rows" if has_index else ""
        raise RemedyError(f"line {number} is a header, as pandas writes it{index}.", text, ".numbers.csv")


def _are_numbers(words: list[str]) -> bool:
    try:
        return bool(words) and bool([float(TRUTH.get(word, word)) for word in words])
    except ValueError:
        return False


def _check_commas(numbered: list[tuple[int, str]], cells: list[tuple[int, list[str]]]) -> None:
    """Raise a RemedyError if margins that were read as integers seem to be decimals with a comma."""
    written = next(((number, word) for number, words in cells for word in words if FRACTION.fullmatch(word)), None)
    if written is not None:
        raise _decimal_commas(f"line {written[0]} has {written[1]!r} between commas, as in decimals with a comma.")
    if all(DECIMAL_COMMA.fullmatch(line) for _, line in numbered):
        raise _decimal_commas(
            "every line is a pair of integers or one decimal with a comma. If there are two targets, separate them by a "
            "semicolon. If the comma is a decimal comma, write a point."
        )


def _has_decimal_commas(text: str) -> bool:
    """Return whether a text becomes lines of numbers if points take the place of commas."""
    try:
        read_lines(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _decimal_commas(words: str) -> RemedyError:
    return RemedyError(words, POINTS, ".points.csv")
