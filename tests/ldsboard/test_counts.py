"""Numbers agree with their nouns."""

from __future__ import annotations

import pytest

from ldsboard.counts import count


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (count(0, "run"), "0 runs"),
        (count(1, "run"), "1 run"),
        (count(1200, "target"), "1,200 targets"),
        (count(1, "entry", "entries"), "1 entry"),
        (count(2, "entry", "entries"), "2 entries"),
    ],
)
def test_noun_is_singular_only_for_1(written: str, expected: str) -> None:
    assert written == expected
