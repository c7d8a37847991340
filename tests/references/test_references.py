"""Compare published implementations with this library: where they agree and where they differ.

These tests compute every number of the table of small inputs in docs/explanation/implementations.md.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError, lds
from tests.references.answers import Answer, Case, ask
from tests.references.page import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

pytestmark = pytest.mark.slow

LIBRARIES = ("dattri", "quanda", "torchmetrics")
VERSIONS = {"dattri": "0.3.0", "quanda": "0.5.0", "torchmetrics": "1.9.0"}
PROBLEMS = 20


def table_rows() -> dict[str, list[str]]:
    """Return the rows of the page's table of small inputs by their first two cells."""
    return {" / ".join(row[:2]): row for row in table("Small inputs")}


def case_of_row(scores: str, subsets: str) -> Case:
    """Return the case of a row, with margins 1, 2, 3, ... for two equal targets, since quanda fails on a single target."""
    numbers, _, dtype = scores.partition(" in ")
    scores_n = np.array(numbers.split(", "), dtype=np.float64).astype(dtype or np.float32)
    masks_Mn = np.array([[str(i) in subset for i in range(scores_n.size)] for subset in subsets.split()])
    margins_M = np.arange(1, len(masks_Mn) + 1, dtype=np.float32)
    return Case(np.stack([scores_n] * 2, axis=1), masks_Mn, np.stack([margins_M] * 2, axis=1))


def problem(seed: int, levels: int, unit: float = 1.0) -> Case:
    """Return integer scores in [-levels, levels] times `unit`; with many levels, no two sums are equal."""
    rng = np.random.default_rng(seed)
    M, n, N = (int(rng.integers(low, high)) for low, high in ((10, 60), (20, 40), (2, 6)))
    whole_nN = rng.integers(-levels, levels + 1, size=(n, N))
    masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
    margins_MN = masks_Mn @ whole_nN / levels + rng.normal(size=(M, N)) * 2
    return Case(whole_nN.astype(np.float32) * np.float32(unit), masks_Mn, margins_MN.astype(np.float32))


def all_cases() -> dict[str, Case]:
    """Return every case of this file, so that one subprocess imports the libraries once."""
    cases = {name: case_of_row(scores, subsets) for name, (scores, subsets, *_) in table_rows().items()}
    for seed in range(PROBLEMS):
        # Sums of at most 20 scores of 2**17 levels stay below 2**24, so that even float32 sums are exact.
        plain = problem(seed, 2**17)
        cases |= {f"free {seed}": plain, f"free in float64 {seed}": Case(plain.scores.astype("f8"), *plain[1:])}
        cases |= {f"few {seed}": problem(seed, 1), f"few tenths {seed}": problem(seed, 1, 0.1)}
    one = case_of_row("1, 2, 3, 5", "01 02 13 23")
    cases["one target"] = Case(one.scores[:, :1], one.masks, one.margins[:, :1])
    swapped = case_of_row("1, 2, 5, 3", "01 02 13 23")
    swapped.scores[:, 1] = 1
    cases["one constant of two"] = swapped
    cases["equal margins"] = Case(one.scores, one.masks, np.ones_like(one.margins))
    return cases


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return all_cases()


@pytest.fixture(scope="module")
def answers(cases: dict[str, Case]) -> dict[str, dict[str, Answer]]:
    return ask(cases)


def library_correlations(answers: dict[str, dict[str, Answer]], library: str, kind: str) -> list[NDArray[np.float64]]:
    """Return the correlations of one library on the random cases of one kind."""
    return [answers[f"{kind} {seed}"][library].per_target for seed in range(PROBLEMS)]


def our_correlations(cases: dict[str, Case], kind: str) -> list[NDArray[np.float64]]:
    """Return this library's correlations on the random cases of one kind."""
    return [lds(*cases[f"{kind} {seed}"]).per_target for seed in range(PROBLEMS)]


def largest_difference(a: Sequence[NDArray[np.float64]], b: Sequence[NDArray[np.float64]]) -> float:
    """Return the largest absolute difference between two lists of correlations."""
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


def test_installed_libraries_have_the_versions_of_the_table(answers: dict[str, dict[str, Answer]]) -> None:
    for given in answers.values():
        assert {library: answer.version for library, answer in given.items()} == VERSIONS


def test_libraries_agree_without_ties_up_to_rounding(
    cases: dict[str, Case], answers: dict[str, dict[str, Answer]]
) -> None:
    for kind in ("free", "free in float64"):
        expected = our_correlations(cases, kind)
        # dattri returns SciPy's float64 value in the dtype of the scores: half a unit in the last place of float32.
        assert largest_difference(library_correlations(answers, "dattri", kind), expected) < (
            1e-15 if "64" in kind else 2**-24
        )
        # quanda and torchmetrics rank in float32, and add 1e-6 to the product of the standard deviations.
        damped = [
            rho_N / (1 + 12e-6 / (len(cases[f"{kind} {seed}"].masks) ** 2 - 1)) for seed, rho_N in enumerate(expected)
        ]
        for library in ("quanda", "torchmetrics"):
            assert largest_difference(library_correlations(answers, library, kind), damped) < 5e-7


def test_libraries_agree_on_ties_of_exact_sums(cases: dict[str, Case], answers: dict[str, dict[str, Answer]]) -> None:
    expected = our_correlations(cases, "few")
    few = [cases[f"few {seed}"] for seed in range(PROBLEMS)]
    assert all(len(np.unique(masks @ scores[:, 0])) < len(masks) for scores, masks, _ in few)
    assert largest_difference(library_correlations(answers, "dattri", "few"), expected) < 2**-24
    for library in ("quanda", "torchmetrics"):
        assert largest_difference(library_correlations(answers, library, "few"), expected) < 1e-6


def test_only_ldsboard_is_independent_of_the_unit_of_scores(
    cases: dict[str, Case], answers: dict[str, dict[str, Answer]]
) -> None:
    assert largest_difference(our_correlations(cases, "few tenths"), our_correlations(cases, "few")) == 0
    for library in LIBRARIES:
        assert (
            largest_difference(
                library_correlations(answers, library, "few tenths"), library_correlations(answers, library, "few")
            )
            > 0.005
        )


def format_cell(value: float) -> str:
    """Return a number with up to six decimals."""
    return f"{value + 0.0:.6f}".rstrip("0").rstrip(".") if np.isfinite(value) else "nan"


def ldsboard_cell(arrays: Case) -> str:
    try:
        return format_cell(lds(*arrays).per_target[0])
    except ProblemError as error:
        return type(error).__name__


@pytest.mark.parametrize("name", table_rows())
def test_table_shows_results_of_every_library(
    name: str, cases: dict[str, Case], answers: dict[str, dict[str, Answer]]
) -> None:
    expected: dict[str, Any] = dict(zip(("ldsboard", *LIBRARIES), table_rows()[name][2:], strict=True))
    given = {"ldsboard": ldsboard_cell(cases[name])}
    for library, answer in answers[name].items():
        given[library] = answer.error.partition(":")[0] or format_cell(answer.per_target[0])
    # A dash means no claim: dattri requires subsets of equal size, and the matrix product is not part of torchmetrics.
    assert {key: cell if expected[key] != "-" else "-" for key, cell in given.items()} == expected


def test_libraries_differ_on_single_constant_and_equal_targets(
    cases: dict[str, Case], answers: dict[str, dict[str, Answer]]
) -> None:
    one = answers["one target"]
    assert one["quanda"].error.startswith("IndexError")
    assert lds(*cases["one target"]).lds == float(one["dattri"].per_target[0]) == 1
    equal = answers["equal margins"]
    assert np.isnan(equal["dattri"].per_target).all()
    assert not equal["quanda"].per_target.any()
    with pytest.raises(ProblemError, match="2 constant targets: 0, 1"):
        lds(*cases["equal margins"])
    # One target of two is constant: dattri's mean is nan; quanda's mean is half of .8, without a warning. ldsboard gives the same
    # mean with a warning.
    mixed = answers["one constant of two"]
    assert np.isnan(mixed["dattri"].per_target.mean())
    assert mixed["dattri"].warnings == ["ConstantInputWarning"]
    assert mixed["quanda"].per_target.mean() == pytest.approx(0.4, abs=1e-6)
    assert mixed["quanda"].warnings == []
    result = lds(*cases["one constant of two"])
    assert (result.lds, result.constant_predictions) == (0.4, 1)
    assert "scores.constant_predictions" in result.warnings


def test_answers_have_times_and_errors_have_none(answers: dict[str, dict[str, Answer]]) -> None:
    for answer in answers["free 0"].values():
        assert 0 < answer.wall < np.inf
        assert answer.cpu > 0
    assert np.isnan(answers["one target"]["quanda"].wall)
