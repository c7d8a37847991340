"""The hidden numbers of a board, and a search that finds them in the contents of responses.

A number in a text is a find if it has more decimals than are published, and equals a hidden number in all its digits. In bytes,
the search finds float64 numbers, hidden subsets as they are stored and as bytes of 0 and 1, and hidden margins. In arrays, it
also finds hidden numbers as float32.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from tests.app.disclosure.contents import Content

NUMBER = re.compile(r"(?<![\d.])\d+\.\d+(?:[eE][+-]?\d+)?")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.:+Z]*")
SHORTEST = 4
"""Least number of significant digits of a find; a shorter number equals one of the many hidden numbers by chance."""

KEY_BYTES = 8
"""Number of bytes by which patterns are looked up."""


class HiddenNumbers:
    """Hidden numbers, and bytes that hold hidden data."""

    def __init__(self) -> None:
        self._decimals: dict[float, int] = {}
        """The number of decimals above which a number in a text is a find, by the absolute value of the hidden number."""
        self._sorted: list[float] = []
        self._patterns: dict[int, set[bytes]] = {}
        self._float32: NDArray[np.float32] = np.zeros(0, np.float32)
        self._known: dict[str, bool] = {}

    def add_decimals(self, values: Iterable[float], published: int) -> None:
        """Add numbers that are published with a number of decimals; as percentages, the numbers have two decimals less."""
        for value in values:
            self._add(value, published)
            self._add(100 * value, published - 2)

    def add_digits(self, values: Iterable[float], significant: int) -> None:
        """Add numbers of which up to `significant` digits may appear: published digits, and digits that agree by chance."""
        for value in values:
            if value and math.isfinite(value):
                self._add(value, max(0, significant - 1 - math.floor(math.log10(abs(value)))))

    def _add(self, value: float, decimals: int) -> None:
        # A number with few digits, such as 0, equals its published value.
        if math.isfinite(value) and round(value, decimals + 1) != round(value, decimals):
            size = abs(float(value))
            self._decimals[size] = min(decimals, self._decimals.get(size, decimals))

    def add_bytes(self, patterns: Iterable[bytes]) -> None:
        """Add bytes that must not appear, at least `KEY_BYTES` long."""
        for pattern in patterns:
            self._patterns.setdefault(int.from_bytes(pattern[:KEY_BYTES], "little"), set()).add(pattern)

    def finish(self) -> None:
        """Prepare the search, after all numbers were added."""
        self._sorted = sorted(self._decimals)
        self._float32 = np.unique(np.array(self._sorted, dtype=np.float32))
        for order in ("<f8", ">f8"):
            self.add_bytes(np.array(value, order).tobytes() for size in self._sorted for value in (size, -size))
        self._keys = np.array(sorted(self._patterns), dtype=np.uint64)

    def find(self, content: Content) -> Iterator[str]:
        """Yield a description of each hidden number in a content."""
        if content.array is not None and content.array.dtype.kind == "f":
            yield from self._find_in_array(content.array)
        else:
            yield from self._find_in_text(content.text)
        yield from self._find_in_bytes(content.data)

    def _find_in_text(self, text: str) -> Iterator[str]:
        for token in dict.fromkeys(NUMBER.findall(TIME.sub("", text))):
            if token not in self._known:
                self._known[token] = self._is_hidden(token)
            if self._known[token]:
                yield token

    def _is_hidden(self, token: str) -> bool:
        number = Decimal(token)
        decimals = -int(number.as_tuple().exponent)
        if len(number.as_tuple().digits) < SHORTEST or decimals < 1:
            return False
        shown, tolerance = float(number), 1.0001 * 10.0**-decimals  # rounded or cut off
        start = bisect_left(self._sorted, shown - tolerance)
        for hidden in self._sorted[start:]:
            if hidden > shown + tolerance:
                return False
            if decimals > self._decimals[hidden]:
                return True
        return False

    def _find_in_array(self, array: NDArray[np.generic]) -> Iterator[str]:
        found = np.isin(np.abs(array.astype(np.float32)), self._float32)
        yield from (f"{value!r} in an array" for value in array[found])

    def _find_in_bytes(self, data: bytes) -> Iterator[str]:
        for offset in range(min(KEY_BYTES, len(data) - KEY_BYTES + 1)):
            count = (len(data) - offset) // KEY_BYTES
            windows = np.frombuffer(data, dtype="<u8", count=count, offset=offset)
            places = np.searchsorted(self._keys, windows).clip(max=len(self._keys) - 1)
            for index in np.flatnonzero(self._keys[places] == windows):
                start = offset + KEY_BYTES * int(index)
                for pattern in self._patterns[int(windows[index])]:
                    if data.startswith(pattern, start):
                        yield f"the bytes {pattern[:16].hex()}"
