"""How numbers are written, and counted for charts."""

from __future__ import annotations

import numpy as np
import pytest

from app.pages import words
from app.pages.figures import BINS, histogram

MINUS = "\N{MINUS SIGN}"


def test_histogram_counts_everything_from_the_first_to_the_last_bin() -> None:
    bins = histogram(np.array([-0.01, 0.0, 0.31, 1.0]))
    assert [bins[0].low, bins[-1].high] == [-0.05, 1.0]
    assert sum(found.count for found in bins) == 4
    assert len(bins) == BINS // 2 + 1
    assert len(histogram(np.zeros(5))) == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.number(-0.25), f"{MINUS}0.2500"),
        (words.span((-0.1, 0.25)), f"[{MINUS}0.1000, 0.2500]"),
        (words.significant(170.0), "170"),
        (words.significant(-0.46), f"{MINUS}0.46"),
        (words.significant(4.8e-8), f"4.8e{MINUS}08"),
        (words.rank((1, 1)), "1"),
        (words.rank((2, 5)), "2\N{EN DASH}5"),
        (words.share(0.668), "66.8\u202f%"),
        (words.chance(2.99), "not distinguishable from random"),
        (words.chance(-3.0), "sign flipped?"),
        (words.chance(3.0), None),
        (words.count(1, "entry", "entries"), "1 entry"),
        (words.count(1200, "target"), "1,200 targets"),
        (words.cost(None), "not reported"),
        (words.cost({"seconds": 90.0}), "90 s"),
        (words.cost({"seconds": 600, "models": 1}), "10 min, 1 model"),
    ],
)
def test_words(written: str | None, expected: str | None) -> None:
    assert written == expected
