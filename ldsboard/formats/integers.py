"""Notice integers that would be rounded: float64 represents every integer up to the magnitude 2**53, but not all beyond."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LIMIT = 2**53
LONG_INTEGER = re.compile(r"(?<![\w.+-])[+-]?0*(\d{16,})(?![\w.])")
"""An integer in a text whose magnitude can be above LIMIT."""


def beyond_float64(whole: NDArray[Any]) -> bool:
    """Return whether any integer of an array has a magnitude above 2**53."""
    return whole.dtype.itemsize == 8 and bool(((whole > LIMIT) | (whole < -LIMIT)).any())  # noqa: PLR2004 -- bytes of int64


def has_rounded(array: NDArray[Any], numbers: Any) -> bool:
    """Return whether numpy may have rounded integers when it made `array` of `numbers`: numbers and arrays in nested lists.

    That is so if the array is float64, and `numbers` has an integer of a magnitude above 2**53.
    """
    if not isinstance(numbers, list | tuple) or array.dtype != np.float64 or not (np.abs(array) >= LIMIT).any():
        return False
    return any(map(_is_beyond, _members(numbers)))


def text_has_rounded(text: str) -> bool:
    """Return whether a text of numbers, which are read as float64, has an integer of a magnitude above 2**53."""
    return any(len(found[1]) > len(str(LIMIT)) or int(found[1]) > LIMIT for found in LONG_INTEGER.finditer(text))


def rounded_scores(got: str) -> ProblemError:
    """Return the error for scores that are integers of a magnitude above 2**53."""
    hint = "float64 cannot distinguish all larger integers. Subtract a common offset, or round the scores yourself."
    return ProblemError.mismatch("scores.dtype", expected="integers of magnitude up to 2**53", got=got, hint=hint)


def _members(numbers: Any) -> Iterator[Any]:
    if isinstance(numbers, list | tuple):
        for member in numbers:
            yield from _members(member)
    else:
        yield numbers


def _is_beyond(number: Any) -> bool:
    if isinstance(number, int):
        return abs(number) > LIMIT
    array = np.asarray(number)
    return array.dtype.kind in "iu" and beyond_float64(array)
