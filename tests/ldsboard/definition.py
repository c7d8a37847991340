"""The LDS computed from its definition, in integers and fractions with SciPy's ranks: the reference for every kind of input.

This module does not use the library's computation, and it is slow.

Legend: M subsets, R runs, n training examples, N targets; f and g centred ranks of two lists.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard import Result


class Expected(NamedTuple):
    """Result of the definition: correlations, mean influences, p-values, number of constant targets, grid loss."""

    rho_N: list[float]
    psi_M: list[float]
    p_values_N: list[float]
    constant: int
    grid_loss: float


def round_to_grid(scores_n: list[float]) -> tuple[list[int], list[Fraction]]:
    """Round a column to its grid; return the rounded column, and the exact column in steps of the grid."""
    exponent = max((math.frexp(score)[1] for score in scores_n if score), default=0)
    scale = Fraction(2) ** (53 - len(scores_n).bit_length() - exponent)
    exact_n = [Fraction(score) * scale for score in scores_n]
    return [round(score) for score in exact_n], exact_n


def typical_grid_loss(whole_n: list[int], exact_n: list[Fraction], largest_subset: int) -> float:
    """Return the grid loss relative to the spread of typical scores; 0 unless most nonzero scores were coarsely rounded."""
    n = len(whole_n)
    coarse = sum(
        whole != exact and abs(exact) < 500 * math.sqrt(n) for whole, exact in zip(whole_n, exact_n, strict=True)
    )
    steps = sorted(abs(whole) for whole, exact in zip(whole_n, exact_n, strict=True) if exact)
    if 2 * coarse <= len(steps):
        return 0.0
    return largest_subset / math.sqrt(n) / max(0.5, float(np.median(steps)))


def centred_ranks(values: list[int] | list[float]) -> list[int]:
    """Return ``2 * rank - (M + 1)`` with SciPy's average ranks; values are first replaced by their order, for huge integers."""
    number = {value: i for i, value in enumerate(sorted(set(values)))}
    return [round(2 * rank) - len(values) - 1 for rank in stats.rankdata([number[value] for value in values])]


def dot(f: list[int], g: list[int]) -> int:
    return sum(a * b for a, b in zip(f, g, strict=True))


def upper_sum(f: list[int], g: list[int], i: int) -> int:
    """Return the sum of g where f equals f[i], plus twice the sum of g where f is larger than f[i]."""
    return sum(b * (2 if a > f[i] else 1) for a, b in zip(f, g, strict=True) if a >= f[i])


def influences(f: list[int], g: list[int]) -> list[int]:
    """Return the influence of each subset in units of 2**-30, by comparing all pairs."""
    M, scale = len(f), math.sqrt(dot(f, f) * dot(g, g))
    rho, units = dot(f, g) / scale, []
    for i in range(M):
        c = M * (f[i] * g[i] + upper_sum(f, g, i) + upper_sum(g, f, i)) - 3 * dot(f, g)
        variances = [
            (M * (h[i] ** 2 + 2 * upper_sum(h, h, i)) - 3 * dot(h, h)) / dot(h, h) if len(set(h)) < M else 0.0
            for h in (f, g)
        ]
        units.append(round((c / scale - rho / 2 * sum(variances)) * 2**30))
    return units


def score_by_definition(scores_nN: NDArray[Any], masks_Mn: NDArray[np.bool_], margins_MRN: NDArray[Any]) -> Expected:
    """Score a file from the definition alone; slow."""
    M, R, N = margins_MRN.shape
    units_M, rhos, p_values, losses, constant = [0] * M, [], [], [0.0], 0
    largest = int(masks_Mn.sum(axis=1).max())
    for j in range(N):
        whole_n, exact_n = round_to_grid([float(score) for score in scores_nN[:, j]])
        losses.append(typical_grid_loss(whole_n, exact_n, largest))
        predictions_M = [sum(whole_n[i] for i in np.flatnonzero(row)) for row in masks_Mn]
        # The mean over runs in float64, added in the order of the runs.
        means_M = [sum(float(margin) for margin in runs) / R for runs in margins_MRN[:, :, j]]
        f, g = centred_ranks(predictions_M), centred_ranks(means_M)
        if len(set(f)) == 1:
            rhos.append(0.0)
            p_values.append(1.0)
            constant += 1
            continue
        rhos.append(dot(f, g) / math.sqrt(dot(f, f) * dot(g, g)))
        # SciPy returns nan for two subsets; the library does the same.
        p_values.append(float(stats.spearmanr(f, g).pvalue))
        units_M = [a + b for a, b in zip(units_M, influences(f, g), strict=True)]
        if whole_n != exact_n:
            mean = Fraction(sum(predictions_M), M)
            variance = sum((prediction - mean) ** 2 for prediction in predictions_M) / M
            losses.append(largest / 2 / math.sqrt(variance))
    return Expected(rhos, [units / 2**30 / N for units in units_M], p_values, constant, max(losses))


def result_bits(result: Result) -> tuple[Any, ...]:
    """Return every value of a result that the library guarantees bit for bit."""
    return (
        result.lds.hex(),
        result.per_target.tobytes(),
        result.influence.tobytes(),
        result.std_error.hex(),
        result.fingerprint,
        result.constant_predictions,
    )


def assert_matches_definition(result: Result, expected: Expected) -> None:
    """Compare guaranteed values bit for bit, and the other values to eleven digits."""
    M = len(expected.psi_M)
    assert result.per_target.tolist() == expected.rho_N
    assert result.influence.tolist() == expected.psi_M
    assert result.lds.hex() == (math.fsum(expected.rho_N) / len(expected.rho_N)).hex()
    if M >= 4:
        assert result.std_error.hex() == math.sqrt(math.fsum(x * x for x in expected.psi_M) / (M * (M - 1))).hex()
    else:
        assert math.isnan(result.std_error)
    # SciPy's rho may differ from 1 by 1e-16; its p-value is then 1e-8 instead of 0.
    np.testing.assert_allclose(result.p_values, expected.p_values_N, rtol=1e-11, atol=1e-7)
    inner = np.abs(expected.rho_N) < 1 - 1e-12
    np.testing.assert_allclose(result.p_values[inner], np.array(expected.p_values_N)[inner], rtol=1e-11, atol=1e-12)
    assert result.constant_predictions == expected.constant
    assert result.grid_loss == pytest.approx(expected.grid_loss, rel=1e-11, abs=0)
