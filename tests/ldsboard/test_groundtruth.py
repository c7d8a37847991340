"""`GroundTruth`: accepted and rejected arrays, splits, predictions, and the fingerprint.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import doctest
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from ldsboard import GroundTruth, ProblemError, lds, scoring
from ldsboard.arrays.masks import pack_masks
from ldsboard.core import predictions
from ldsboard.core.ranking import MAX_SUBSETS
from ldsboard.groundtruth import MAX_RANKED_PARTS

if TYPE_CHECKING:
    from tests.ldsboard.conftest import MakeProblem

# On some processors and compilers long double is the same type as float64.
LONG_DOUBLE = pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here")


def test_docstring_example_of_lds_gives_its_result() -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    (example,) = (test for test in doctest.DocTestFinder().find(lds, "lds", module=scoring) if test.examples)
    assert runner.run(example) == doctest.TestResults(failed=0, attempted=len(example.examples))


def test_lds_equals_ground_truth_score(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    truth = GroundTruth(masks, margins)
    assert (truth.n_train, truth.n_targets) == (30, 5)
    assert truth.score(scores) == lds(scores, masks, margins)
    assert truth.score(scores).fingerprint == truth.fingerprint()


def test_ground_truth_averages_margins_over_runs_in_float64(
    make_problem: MakeProblem, rng: np.random.Generator
) -> None:
    scores, masks, margins = make_problem()
    runs = (margins[:, None] + rng.normal(size=(40, 3, 5))).astype(np.float32)
    mean = (runs[:, 0].astype(np.float64) + runs[:, 1] + runs[:, 2]) / 3
    truth = GroundTruth(masks, runs)
    assert truth.margins_MRN.shape == (40, 3, 5)
    assert np.array_equal(truth.margins_MN, mean)
    assert truth.score(scores) == lds(scores, masks, mean)


def test_ground_truth_rejects_margins_whose_sum_overflows(make_problem: MakeProblem) -> None:
    _, masks, margins = make_problem()
    huge = np.repeat((margins / np.abs(margins).max())[:, None] * 1.7e308, 2, axis=1)
    with pytest.raises(
        ProblemError, match=r"whose sum over runs does not overflow float64, got margins of magnitude up to 1\.7e"
    ):
        GroundTruth(masks, huge)


@pytest.mark.parametrize("dtype", ["i8", "u8", pytest.param("longdouble", marks=LONG_DOUBLE)])
def test_lds_rejects_margins_that_float64_cannot_represent(dtype: str, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    order = np.argsort(np.argsort(margins, axis=0), axis=0)
    with pytest.raises(ProblemError, match="expected margins that float64 represents exactly"):
        lds(scores, masks, (order + (2**53 if dtype != "longdouble" else 0)).astype(dtype))
    assert lds(scores, masks, order.astype("i8")).lds == lds(scores, masks, margins).lds


def test_lds_rejects_masked_values(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(ProblemError, match="masked array with masked values"):
        lds(np.ma.masked_array(scores, scores > 1), masks, margins)
    with pytest.raises(ProblemError, match="masked values"):
        lds(scores, masks, np.ma.masked_array(margins, margins > 1))
    assert lds(np.ma.masked_array(scores), masks, margins).lds == lds(scores, masks, margins).lds


def test_ground_truth_rejects_device_without_torch(make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    _, masks, margins = make_problem()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"device: expected a torch device with float64, got 'cpu' .*Omit 'device'"):
        GroundTruth(masks, margins, device="cpu")


def test_ground_truth_limits_cached_splits(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(M=60)
    truth = GroundTruth(masks, margins)
    first = truth.score(scores, splits={"first": slice(0, 20)})["first"]
    for start in range(30):
        truth.score(scores, splits={"part": slice(start, start + 20)})
    assert len(truth._ranked) == MAX_RANKED_PARTS
    assert truth.score(scores, splits={"first": slice(0, 20)})["first"] == first


@pytest.mark.parametrize("threads", [0, -1])
def test_score_rejects_thread_count_below_one(threads: int, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(ValueError, match=f"expected at least 1, got {threads}"):
        GroundTruth(masks, margins).score(scores, threads=threads)


@pytest.mark.parametrize(
    "convert",
    [np.float32, np.float16, np.int32, np.ndarray.tolist],
    ids=lambda value: str(value).partition(" at 0x")[0],
)
def test_lds_accepts_any_real_margins(convert: Any, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    whole = np.rint(margins * 8)
    assert lds(scores, masks, convert(whole)).per_target.tolist() == lds(scores, masks, whole).per_target.tolist()


def test_score_gives_each_split_the_result_of_its_rows_alone(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(M=60)
    masks[50] = masks[45]
    truth = GroundTruth(masks, margins)
    splits = {"public": slice(0, 20), "hidden": slice(20, None), "odd": slice(1, None, 2), "even": slice(0, None, 2)}
    results = truth.score(scores, splits=splits)
    assert list(results) == list(splits)
    for name, rows in splits.items():
        alone = lds(scores, masks[rows], margins[rows])
        assert results[name] == alone
        for attribute in ("per_target", "p_values", "influence"):
            assert np.array_equal(getattr(results[name], attribute), getattr(alone, attribute))
        assert results[name].fingerprint == truth.fingerprint(rows)
    assert [results[name].duplicate_subsets for name in splits] == [0, 1, 0, 0]
    assert len({result.fingerprint for result in results.values()} | {truth.fingerprint()}) == 5


def test_score_of_no_splits_is_empty(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    assert GroundTruth(masks, margins).score(scores, splits={}) == {}


def test_fingerprint_depends_on_masks_and_margins(make_problem: MakeProblem) -> None:
    _, masks, margins = make_problem()
    same = GroundTruth(pack_masks(masks), np.asfortranarray(margins), n_train=30, packed=True)
    assert same.fingerprint() == GroundTruth(masks, margins).fingerprint()
    other_masks, other_margins = masks.copy(), margins.copy()
    other_masks[3, 4] ^= True
    other_margins[3, 4] += 1e-9
    fingerprints = {GroundTruth(masks, other_margins).fingerprint(), GroundTruth(other_masks, margins).fingerprint()}
    assert len(fingerprints | {same.fingerprint()}) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda margins: margins[:-1], r"real margins of shape \(40, N\).*float64 of shape \(39, 5\)"),
        (lambda margins: margins.T, r"of shape \(5, 40\).*give numpy\.moveaxis\(margins, 1, 0\)"),
        (lambda margins: margins[None], r"of shape \(1, 40, 5\).*give numpy\.moveaxis\(margins, 1, 0\)"),
        (lambda margins: margins[:, 0], r"of shape \(40,\)"),
        (lambda margins: margins[:, None, None], r"of shape \(40, 1, 1, 5\)"),
        (lambda margins: margins[:, :0], r"of shape \(40, 0\)"),
        (lambda margins: margins + 0j, "complex128"),
        (lambda margins: margins > 0, r"bool of shape \(40, 5\).*Convert the margins to real numbers"),
        (lambda margins: [row[: 1 + i % 2] for i, row in enumerate(margins.tolist())], "margins that numpy can read"),
        (lambda _: None, "ndarray without margins"),
        (lambda margins: margins.astype(str), "<U"),
        (lambda margins: np.where(margins == margins.max(), np.nan, margins), "finite margins"),
        (lambda margins: np.where(margins == margins.max(), -np.inf, margins), "finite margins"),
        (lambda margins: margins * [1, 0, 1, 1, 0], "2 constant targets: 1, 4"),
    ],
)
def test_lds_rejects_margins_that_cannot_be_ranked(change: Any, words: str, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(ProblemError, match=words) as caught:
        lds(scores, masks, change(margins))
    assert caught.value.problem.code == "margins.invalid"


def test_score_rejects_margins_that_are_constant_in_a_split(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    margins[:5, 2] = 7.0
    truth = GroundTruth(masks, margins)
    with pytest.raises(ProblemError, match="1 constant target: 2"):
        truth.score(scores, splits={"public": slice(0, 5)})


@pytest.mark.parametrize("M", [0, 1, MAX_SUBSETS + 1])
def test_ground_truth_rejects_too_few_and_too_many_subsets(M: int) -> None:
    masks = np.ones((M, 2), dtype=np.bool_)
    with pytest.raises(ProblemError, match=rf"2 to {MAX_SUBSETS} subsets, got {M}|0 subsets") as caught:
        GroundTruth(masks, np.arange(M)[:, None])
    assert caught.value.problem.code in {"masks.invalid", "margins.invalid"}


@pytest.mark.parametrize("kind", ["bool", "0/1 integers", "index lists", "packed"])
def test_score_reports_transposed_scores(kind: str, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    forms: dict[str, Any] = {
        "bool": masks,
        "0/1 integers": masks.astype(int),
        "index lists": [np.flatnonzero(row) for row in masks],
        "packed": pack_masks(masks),
    }
    with pytest.raises(
        ProblemError, match=r"expected shape \(30, 5\).*got shape \(5, 30\), which is transposed"
    ) as caught:
        lds(scores.T, forms[kind], margins, packed=kind == "packed")
    assert caught.value.problem.code == "scores.transposed"
    with pytest.raises(ProblemError, match="transposed"):
        GroundTruth(masks, margins).score(scores.T)


def test_ground_truth_reports_transposed_masks(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(ProblemError, match=r"got shape \(30, 40\), which is transposed"):
        lds(scores, masks.T, margins)
    with pytest.raises(ProblemError, match=r"The masks seem to be transposed: give masks\.T"):
        GroundTruth(masks.T, margins)


@pytest.mark.parametrize("splits", [slice(0, 20), [slice(0, 20)], {"public": [0, 1, 2, 3]}, "public"])
def test_score_rejects_splits_that_are_no_named_slices(splits: Any, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(
        ValueError, match=r"splits: expected slices by name, such as \{'public': slice\(0, 200\)\}, got"
    ):
        GroundTruth(masks, margins).score(scores, splits=splits)


def test_score_rejects_scores_of_wrong_shape(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    truth = GroundTruth(masks, margins)
    for wrong in (scores[:-1], scores[:, :-1], scores[:5]):
        with pytest.raises(ProblemError, match=r"expected shape \(30, 5\)") as caught:
            truth.score(wrong)
        assert caught.value.problem.code == "scores.shape"


def test_lds_cannot_detect_transposed_square_scores(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(n=8, N=8)
    assert lds(scores.T, masks, margins).lds < lds(scores, masks, margins).lds


def test_lds_rejects_nonfinite_score_in_any_block(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=300)
    scores[4, 290] = np.nan
    with pytest.raises(ProblemError, match=r"1 NaN or infinite, the first at \(row, column\) \(4, 290\)") as caught:
        lds(scores, masks, margins)
    assert caught.value.problem.code == "scores.nonfinite"


def test_predict_returns_the_sums_that_score_ranks(make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, masks, margins = make_problem(N=9)
    scores = np.round(scores, 3).astype(np.float32)
    scores[:, 7] *= 2.0**-140  # subnormal
    truth = GroundTruth(masks, margins)
    expected_tM = [[math.fsum(scores[mask, target]) for mask in masks] for target in (7, 2, 2, 8)]
    whole = truth.predict(scores, [7, 2, 2, 8])
    assert whole.tolist() == expected_tM
    assert truth.predict(scores, [7, 2, 2, 8], slice(3, 20)).tolist() == [row[3:20] for row in expected_tM]
    monkeypatch.setattr(predictions, "ROUNDED_NUMBERS", 1)
    monkeypatch.setattr(predictions, "KERNEL_COLUMNS", 1)
    assert truth.predict(scores, np.array([7, 2, 2, 8])).tolist() == expected_tM
    assert truth.predict(scores, []).shape == (0, 40)
    rho = truth.score(scores).per_target[[7, 2]]
    assert [stats.spearmanr(whole[i], margins[:, target])[0] for i, target in enumerate((7, 2))] == pytest.approx(rho)


def test_predict_returns_infinity_beyond_float64(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    assert np.isinf(GroundTruth(masks, margins).predict(np.full_like(scores, -1.7e308), [0])).all()


def test_predict_rejects_scores_of_wrong_shape(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(ProblemError, match="transposed"):
        GroundTruth(masks, margins).predict(scores.T, [0])


def test_repr_of_ground_truth_and_result(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    truth = GroundTruth(masks, margins)
    assert repr(truth) == "GroundTruth(M=40 subsets, R=1 runs, n=30 training examples, N=5 targets)"
    flipped = truth.score(-scores)
    assert repr(flipped).startswith(f"Result(lds={flipped.lds:.4f} [")
    assert repr(flipped).endswith("M=40, N=5, scores.sign_flipped)")
