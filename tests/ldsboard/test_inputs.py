"""Every kind of input gives the LDS of the definition, bit for bit.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ldsboard import GroundTruth, ProblemError, lds
from tests.ldsboard.definition import (
    Expected,
    assert_matches_definition,
    centred_ranks,
    dot,
    round_to_grid,
    score_by_definition,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.ldsboard.conftest import MakeProblem


n, N = 12, 3
KINDS = [
    *("plain", "scales", "offset", "huge entry", "subnormal", "largest", "zero column", "equal columns", "duplicates"),
    *("sparse", "binary", "tenths", "negative zero"),
]


def scores_of(kind: str, dtype: str) -> NDArray[np.floating]:
    """Return scores (n, N) of one kind, as far as `dtype` can represent them."""
    rng, limits = np.random.default_rng(3), np.finfo(dtype)
    plain_nN, signs_nN = rng.normal(size=(n, N)), rng.integers(-1, 2, size=(n, N))
    smallest, largest = float(limits.smallest_subnormal), float(limits.max)
    scores_nN = {
        "plain": plain_nN,
        "scales": plain_nN * {"f2": 1e2, "f4": 1e18, "f8": 1e150}[dtype] ** np.array([-1, 0, 1]),
        "offset": plain_nN + (1e6 if dtype != "f2" else 1e3),
        "huge entry": np.where(np.arange(n)[:, None] == 4, largest / 2, plain_nN),
        "subnormal": rng.integers(-40, 41, size=(n, N)) * smallest,
        "largest": largest * np.where(signs_nN == 0, 0.75, signs_nN),
        "zero column": plain_nN * [1, 0, 1],
        "equal columns": plain_nN[:, :1] * [1, 1, 1],
        "duplicates": plain_nN[np.arange(n) // 3],
        "sparse": np.where(rng.random((n, N)) < 0.2, plain_nN, 0),
        "binary": (signs_nN > 0) * 1.0,
        "tenths": signs_nN * 0.1,
        "negative zero": np.where(signs_nN == 0, -0.0, signs_nN),
    }
    return np.asarray(scores_nN[kind].astype(dtype))


def subsets(M: int, shape: str) -> NDArray[np.bool_]:
    """Return masks (M, n): each of half the examples, or of any number, including an empty and a full subset."""
    rng = np.random.default_rng(4)
    if shape == "equal sizes":
        return rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
    masks_Mn = rng.random((M, n)) < rng.random((M, 1))
    masks_Mn[0], masks_Mn[-1] = False, True
    return masks_Mn


def margins_of(M: int, R: int, count: int, dtype: str = "f4") -> NDArray[Any]:
    """Return margins (M, R, count), with some equal values."""
    margins_MRN = np.random.default_rng(5).normal(size=(M, R, count)).round(1)
    margins_MRN[0] += 4
    return margins_MRN.astype(dtype)


@pytest.mark.parametrize("shape", ["equal sizes", "any sizes"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("kind", KINDS)
def test_lds_of_every_kind_of_scores_matches_definition(kind: str, dtype: str, shape: str) -> None:
    scores, masks, margins = scores_of(kind, dtype), subsets(14, shape), margins_of(14, 2, N)
    assert np.isfinite(scores).all()
    assert scores.dtype == dtype
    expected = score_by_definition(scores, masks, margins)
    for stored in (scores, np.asfortranarray(scores)):
        assert_matches_definition(lds(stored, masks, margins), expected)
    assert expected.constant == (kind == "zero column")


@pytest.mark.parametrize("shape", ["equal sizes", "any sizes"])
@pytest.mark.parametrize("R", [1, 2, 5])
@pytest.mark.parametrize("M", [2, 3, 4, 5, 9])
def test_lds_of_any_number_of_subsets_runs_and_targets_matches_definition(M: int, R: int, shape: str) -> None:
    masks = subsets(M, shape)
    for count in (1, 2):
        scores, margins = scores_of("plain", "f4")[:, :count], margins_of(M, R, count)
        expected = score_by_definition(scores, masks, margins)
        assert_matches_definition(lds(scores, masks, margins), expected)
        assert_matches_definition(lds(scores, [np.flatnonzero(row) for row in masks], margins), expected)


def test_lds_of_one_training_example_matches_definition() -> None:
    scores, masks, margins = np.array([[2.5, 0.0]]), np.arange(6)[:, None] % 2 == 0, margins_of(6, 1, 2)
    assert_matches_definition(lds(scores, masks, margins), score_by_definition(scores, masks, margins))


@pytest.mark.parametrize("fill", [False, True], ids=["empty", "full"])
def test_lds_of_identical_subsets_is_zero(fill: bool) -> None:
    margins = margins_of(6, 1, N)
    result = lds(scores_of("plain", "f8"), np.full((6, n), fill), margins)
    assert_matches_definition(result, Expected([0.0] * N, [0.0] * 6, [1.0] * N, N, 0.0))
    assert (result.duplicate_subsets, result.z_random, result.confidence_interval) == (5, 0.0, (0.0, 0.0))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i8", ">f4", ">i2"])
def test_lds_of_margins_of_every_dtype_matches_definition(dtype: str) -> None:
    whole = np.random.default_rng(6).integers(0, 100, size=(10, 3, N))
    scores, masks = scores_of("plain", "f8"), subsets(10, "equal sizes")
    assert_matches_definition(lds(scores, masks, whole.astype(dtype)), score_by_definition(scores, masks, whole))


@pytest.mark.parametrize("R", [2, 8, 17])
def test_mean_over_runs_does_not_depend_on_memory_layout(R: int) -> None:
    # numpy's own mean adds eight or more runs pairwise if they are contiguous in memory.
    masks, margins = subsets(20, "equal sizes"), np.random.default_rng(9).normal(size=(20, R, 2))
    in_order = [[sum(runs) / R for runs in zip(*row, strict=True)] for row in margins.tolist()]
    runs_last = np.ascontiguousarray(margins.transpose(0, 2, 1)).transpose(0, 2, 1)
    for stored in (margins, np.asfortranarray(margins), runs_last):
        truth = GroundTruth(masks, stored)
        assert truth.margins_MN.tolist() == in_order
        assert truth.fingerprint() == GroundTruth(masks, margins).fingerprint()
    assert GroundTruth(masks, margins[:, :, :1]).margins_MN.tolist() == [row[:1] for row in in_order]


@pytest.mark.parametrize("unit", [5e-324, 2.0**-149, 1e300])
def test_lds_of_margins_of_any_magnitude_matches_definition(unit: float) -> None:
    whole = np.random.default_rng(6).integers(0, 100, size=(10, 3, N))
    scores, masks = scores_of("plain", "f8"), subsets(10, "equal sizes")
    assert_matches_definition(lds(scores, masks, whole * unit), score_by_definition(scores, masks, whole * unit))


def test_lds_does_not_change_with_offset_of_a_million() -> None:
    masks, margins = subsets(14, "equal sizes"), margins_of(14, 1, N)
    scores = scores_of("plain", "f4").astype(np.float64)
    # All subsets have the same size, so that an offset shifts all predictions equally.
    shifted, plain = lds(scores + 1e6, masks, margins), lds(scores, masks, margins)
    assert shifted.per_target.tolist() == plain.per_target.tolist()
    assert shifted.influence.tolist() == plain.influence.tolist()
    assert shifted.warnings == plain.warnings


def test_lds_warns_of_huge_entry_in_every_subset() -> None:
    scores, masks, margins = scores_of("plain", "f8"), subsets(14, "equal sizes"), margins_of(14, 1, N)
    masks[:, 4] = True
    assert "scores.dynamic_range" not in lds(scores, masks, margins).warnings
    # The grid has 49 bits at 12 examples: its step is 1 / 8 here.
    scores[4, 1] = 2.0**45 * 1.5
    result = lds(scores, masks, margins)
    assert_matches_definition(result, score_by_definition(scores, masks, margins[:, None, 0]))
    assert result.grid_loss > 0.01
    assert result.grid_loss_target == 1
    assert "scores.dynamic_range" in result.warnings


def test_lds_ranks_53_bit_sums_over_many_subsets() -> None:
    # Differences of 53 bits and 11 bits for the subset number together do not fit into a 64-bit integer.
    M, rng = 1100, np.random.default_rng(8)
    scores = rng.uniform(0.9, 1, size=(n, 1)) * np.where(np.arange(n) % 2, 1, -1)[:, None]
    masks, margins = rng.random((M, n)) < 0.5, rng.normal(size=(M, 1))
    masks[0], masks[1] = scores[:, 0] > 0, scores[:, 0] < 0
    whole_n, _ = round_to_grid(scores[:, 0].tolist())
    predictions = [sum(whole_n[i] for i in np.flatnonzero(row)) for row in masks]
    assert (max(predictions) - min(predictions)).bit_length() == 53
    f, g = centred_ranks(predictions), centred_ranks(margins[:, 0].tolist())
    assert lds(scores, masks, margins).per_target.tolist() == [dot(f, g) / math.sqrt(dot(f, f) * dot(g, g))]


@st.composite
def tables(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[Any]]:
    """Draw scores of any dtype and any finite values, with subsets and margins of any shape."""
    M, R, rows, columns = (draw(st.integers(low, high)) for low, high in ((2, 9), (1, 3), (1, 9), (1, 3)))
    dtype = draw(st.sampled_from(["f2", "f4", "f8"]))
    largest = float(np.finfo(dtype).max)
    values = st.floats(-largest, largest) | st.floats(-1, 1) | st.sampled_from([0.0, 0.5, -1.0])
    scores = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    margins_MRN = rng.integers(draw(st.sampled_from([2, 1000])), size=(M, R, columns)).astype(np.float32)
    margins_MRN[0] = margins_MRN.max() + 1
    return np.array(scores, dtype).reshape(rows, columns), rng.random((M, rows)) < 0.5, margins_MRN


@given(tables())
def test_lds_of_any_finite_scores_matches_definition(
    drawn: tuple[NDArray[Any], NDArray[np.bool_], NDArray[Any]],
) -> None:
    assert_matches_definition(lds(*drawn), score_by_definition(*drawn))


@given(tables(), st.sampled_from([np.exp, np.arctan, lambda x: x**3 - 50, lambda x: 3 * x]))
def test_monotone_map_of_margins_changes_no_bit(
    drawn: tuple[NDArray[Any], NDArray[np.bool_], NDArray[Any]], increasing: Any
) -> None:
    scores, masks, margins = drawn
    # Map ranks instead of margins: the maps keep small integers distinct.
    ranks_MN = stats.rankdata(margins.mean(axis=1, dtype=np.float64), axis=0)
    mapped, plain = lds(scores, masks, increasing(ranks_MN)), lds(scores, masks, ranks_MN)
    assert mapped.per_target.tobytes() == plain.per_target.tobytes()
    assert mapped.influence.tobytes() == plain.influence.tobytes()


def test_score_memory_does_not_grow_with_file(tmp_path: Path) -> None:
    M, examples = 400, 1000
    rng = np.random.default_rng(7)
    masks, peaks, sizes = rng.random((M, examples)) < 0.5, [], []
    for targets in (2000, 8000):
        path = tmp_path / f"{targets}.npy"
        np.save(path, rng.normal(size=(examples, targets)).astype(np.float32))
        truth = GroundTruth(masks, rng.normal(size=(M, targets)))
        truth.score(path, threads=2)
        tracemalloc.start()
        try:
            truth.score(path, threads=2)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        sizes.append(path.stat().st_size)
    # Memory may grow by a few numbers per target, but not with the file (24 MB larger) or all predictions (9.6 MB larger).
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 4


@pytest.mark.parametrize("where", ["half of the subsets", "all subsets", "no subset"])
def test_lds_warns_of_huge_entry_in_any_subsets(where: str, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    if where != "half of the subsets":
        masks[:, 4] = where == "all subsets"
    scores[4, 1] = 1e30
    exact = [sum((Fraction(float(s)) for s in scores[row, 1]), Fraction(0)) for row in masks]
    number = {value: i for i, value in enumerate(sorted(set(exact)))}
    rho = stats.spearmanr([number[value] for value in exact], margins[:, 1]).statistic
    result = lds(scores, masks, margins)
    assert abs(result.per_target[1] - rho) > 0.1
    assert "scores.dynamic_range" in result.warnings
    assert result.grid_loss_target == 1


@pytest.mark.parametrize("huge", [1e3, 1e6, 1e8])
def test_lds_does_not_warn_of_entry_that_costs_no_precision(huge: float, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    scores[4, 1] = huge
    assert "scores.dynamic_range" not in lds(scores, masks, margins).warnings
    scores[scores < 0.8] = 0  # sparse: most entries are exactly 0 and lose no precision
    scores[4, 2] = 1e30
    scores[5, 2] = scores[6, 2] = 1e29
    scores[7:, 2] = 0
    assert "scores.dynamic_range" not in lds(scores, masks, margins).warnings


def test_lds_rejects_integer_scores_beyond_float64(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    whole = np.rint(scores * 8).astype(np.int64)
    assert lds(whole + 2**40, masks, margins).lds == lds(whole, masks, margins).lds
    with pytest.raises(
        ProblemError, match=r"integers of magnitude up to 2\*\*53, got int64 of magnitude up to 1.15e\+18"
    ):
        lds(whole + 2**60, masks, margins)
    whole[3, 2] = 2**53 + 1  # float64 rounds this to 2**53
    with pytest.raises(ProblemError, match=r"up to 2\*\*53, got int64"):
        lds(whole, masks, margins)
