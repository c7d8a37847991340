"""Formatted numbers, and the counts behind charts, and the groups of targets."""

from __future__ import annotations

import numpy as np
import pytest

from app.leaderboard.schemas import Numbers
from app.pages.content import formatting
from app.pages.content.charts import BINS, histogram
from app.pages.content.target_groups import by_class, by_margin

MINUS = "\N{MINUS SIGN}"


def numbers(*, z_random: float, p_random: float) -> Numbers:
    return Numbers(
        lds=0.5,
        std_error=0.1,
        ci=(0.3, 0.7),
        mean_p=0.2,
        z_random=z_random,
        p_random=p_random,
        std_error_new_targets=None,
    )


def test_histogram_counts_all_values_between_first_and_last_bin() -> None:
    bins = histogram(np.array([-0.01, 0.0, 0.31, 1.0]))
    assert [bins[0].low, bins[-1].high] == [-0.05, 1.0]
    assert sum(found.count for found in bins) == 4
    assert len(bins) == BINS // 2 + 1
    assert len(histogram(np.zeros(5))) == 1


def test_targets_are_grouped_by_class_only_if_classes_group_targets() -> None:
    rho_N, p_values_N = np.array([0.1, 0.2, 0.6]), np.array([0.6, 0.05, 0.01])
    assert by_class(rho_N, p_values_N, ["a", "b", "b"]) == [("b", 0.4, 2, 0.5), ("a", 0.1, 1, 0.0)]
    for labels in (["a", "b", "c"], ["a"] * 3, [None] * 3):
        assert by_class(rho_N, p_values_N, labels) == []


def test_targets_are_grouped_by_the_sign_of_their_mean_margin() -> None:
    rho_N, p_values_N = np.array([0.1, 0.2, 0.6]), np.array([0.6, 0.05, 0.01])
    assert by_margin(rho_N, p_values_N, np.array([-0.1, 0.0, 2.0])) == [
        ("negative", 0.1, 1, 0.0),
        ("not negative", 0.4, 2, 0.5),
    ]
    assert [group.label for group in by_margin(rho_N, p_values_N, -np.ones(3))] == ["negative"]
    assert by_margin(rho_N, p_values_N, np.ones(3)) == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.number(-0.25), f"{MINUS}0.2500"),
        (formatting.span((-0.1, 0.25)), f"[{MINUS}0.1000, 0.2500]"),
        (formatting.significant(170.0), "170"),
        (formatting.significant(-0.46), f"{MINUS}0.46"),
        (formatting.significant(4.8e-8), f"4.8e{MINUS}08"),
        (formatting.rank((1, 1)), "1"),
        (formatting.rank((2, 5)), "2\N{EN DASH}5"),
        (formatting.share(0.668), "66.8\u202f%"),
        (formatting.chance_note(0.0028, -2.99, 300, 100), "not distinguishable from random"),
        (formatting.chance_note(0.0027, -5.99, 300, 100), None),
        (formatting.chance_note(0.0027, -6.0, 300, 100), "sign flipped?"),
        (formatting.chance_note(0.0027, 6.0, 300, 100), None),
        (formatting.chance_note(0.0027, -2.5, 8, 100), "sign flipped?"),
        (formatting.chance_note(0.0027, 2.5, 8, 100), None),
        (formatting.chance_note(0.0027, -2.5, 16, 15), None),
        (formatting.chance(numbers(z_random=-12.4, p_random=0.002), 64), f"{MINUS}12 sd"),
        (formatting.chance(numbers(z_random=-12.4, p_random=0.002), 63), "p-value 0.002"),
        (
            formatting.chance(numbers(z_random=4, p_random=1e-4), 63),
            "p-value ≤ 0.0001, the least that 9,999 permutations can show",
        ),
        (formatting.chance(numbers(z_random=4, p_random=2e-4), 9), "p-value 0.0002"),
        (
            formatting.chance(numbers(z_random=2, p_random=1 / 40320), 8),
            f"p-value 2.5e{MINUS}05 of all 40,320 permutations",
        ),
        (formatting.cost(None), "not reported"),
        (formatting.cost({"seconds": 90.0}), "90 s"),
        (formatting.cost({"seconds": 600, "models": 1}), "10 min, 1 model"),
    ],
)
def test_values_are_formatted(written: str | None, expected: str | None) -> None:
    assert written == expected


def test_scores_p_values_and_seconds_are_formatted() -> None:
    written = {
        0.0: "+0",
        1974.6: "+1,975",
        -0.012345: "-0.01235",
        3.1e-7: "+3.10e-07",
        -2.5e9: "-2.50e+09",
        42.0: "+42",
    }
    assert {value: formatting.signed(value).replace(MINUS, "-") for value in written} == written
    p_values = [
        formatting.p_value(value).replace("\u00a0", " ") for value in (0.0, 2.5e-58, 0.99e-4, 1e-4, 0.0312, 1.0)
    ]
    assert p_values == ["< 0.0001", "< 0.0001", "< 0.0001", "0.0001", "0.031", "1"]
    assert [formatting.seconds(value) for value in (0.4, 12.4, 600.0)] == ["less than a second", "12 s", "10 min"]
