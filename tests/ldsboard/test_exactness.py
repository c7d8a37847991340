"""The LDS is correct, and has the same bits for every storage order, block size, thread count and form of masks.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import ConstantInputWarning, spearmanr
from threadpoolctl import threadpool_limits

from ldsboard import GroundTruth, lds
from ldsboard.arrays.masks import pack_masks
from ldsboard.core import blocks, grid, predictions, ranked_subsets
from tests.ldsboard.definition import result_bits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.ldsboard.conftest import Large, MakeProblem

PROBLEMS = 200


def exact_predictions(scores_n: list[float], masks_Mn: list[list[bool]]) -> list[int]:
    """Sum the scores of each subset on their fixed-point grid in rational numbers, from the definition alone."""
    exponent = max((math.frexp(score)[1] for score in scores_n if score), default=0)
    step = Fraction(2) ** (exponent - (53 - len(scores_n).bit_length()))
    whole_n = [round(Fraction(score) / step) for score in scores_n]
    return [sum(whole for whole, chosen in zip(whole_n, mask, strict=True) if chosen) for mask in masks_Mn]


def random_problem(seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Return scores, masks and margins of random size; some have ties, constant columns, or subsets of variable size."""
    rng = np.random.default_rng(seed)
    M, n, N = (int(rng.integers(low, high)) for low, high in ((3, 40), (2, 33), (1, 6)))
    scores_nN = rng.normal(size=(n, N)) * 10.0 ** rng.integers(-12, 12, size=N)
    if seed % 4 == 1:
        scores_nN = rng.integers(-1, 2, size=(n, N)) * 0.1  # exact ties, which floating-point sums would break
    if seed % 4 == 2:
        scores_nN[:, 0] = 0.3
        scores_nN[:, -1] *= 10.0 ** rng.integers(-14, 1, size=n)
    masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1) if seed % 3 else rng.random((M, n)) < 0.5
    margins_MN = rng.normal(size=(M, N)) if seed % 5 else rng.integers(3, size=(M, N)).astype(np.float64)
    margins_MN[0], margins_MN[1] = -1.0, 1.5  # never constant
    return scores_nN, masks_Mn, margins_MN


def test_lds_equals_scipy_on_exact_predictions() -> None:
    constant = tied = tie_free = 0
    for seed in range(PROBLEMS):
        scores_nN, masks_Mn, margins_MN = random_problem(seed)
        result = lds(scores_nN, masks_Mn, margins_MN)
        rhos = []
        for j, scores_n in enumerate(scores_nN.T):
            predictions_M = exact_predictions(scores_n.tolist(), masks_Mn.tolist())
            if len(set(predictions_M)) == 1:
                with pytest.warns(ConstantInputWarning):
                    assert math.isnan(spearmanr(predictions_M, margins_MN[:, j]).statistic)
                expected: tuple[float, float] = (0.0, 1.0)
                constant += 1
            else:
                reference = spearmanr(predictions_M, margins_MN[:, j])
                expected = (float(reference.statistic), float(reference.pvalue))
            assert abs(result.per_target[j] - expected[0]) < 1e-12
            # SciPy's rho of equal lists may be 1 - 1e-16; its p-value is then 1e-8 instead of 0.
            p_tolerance = 1e-12 if abs(expected[0]) < 1 - 1e-12 else 1e-7
            assert abs(result.p_values[j] - expected[1]) < p_tolerance
            rhos.append(expected[0])
            if len(set(predictions_M)) == len(predictions_M):
                plain = spearmanr(masks_Mn.astype(np.float64) @ scores_n, margins_MN[:, j]).statistic
                assert abs(result.per_target[j] - plain) < 1e-9
                tie_free += 1
            elif len(set(predictions_M)) > 1:
                tied += 1
        assert abs(result.lds - np.mean(rhos)) < 1e-12
    assert constant > 20
    assert min(tied, tie_free) > 200


@pytest.mark.parametrize(
    "convert",
    [
        np.ascontiguousarray,
        np.asfortranarray,
        lambda scores: np.repeat(scores, 2, axis=1)[:, ::2],
        lambda scores: scores.astype(np.float64),
        lambda scores: scores.astype(">f4"),
    ],
    ids=["C order", "Fortran order", "strided", "float64", "big-endian"],
)
def test_storage_order_and_dtype_of_equal_values_change_no_bit(convert: Any, large: Large) -> None:
    scores, masks, margins = large
    assert result_bits(lds(convert(scores), masks, margins)) == result_bits(lds(scores, masks, margins))


@pytest.mark.parametrize("order", ["C", "F"])
def test_file_gives_same_bits_as_its_array(order: Any, large: Large, tmp_path: Path) -> None:
    scores, masks, margins = large
    np.save(tmp_path / "scores.npy", np.array(scores, order=order))
    assert result_bits(lds(tmp_path / "scores.npy", masks, margins)) == result_bits(lds(scores, masks, margins))


@pytest.mark.parametrize("block", [1, 7, 64, 300, 1000])
@pytest.mark.parametrize("tile", [1, 1000, 2**17])
def test_block_and_tile_sizes_change_no_bit(
    block: int, tile: int, large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = result_bits(lds(*large))
    monkeypatch.setattr(blocks, "MAX_BLOCK_TARGETS", block)
    monkeypatch.setattr(ranked_subsets, "TILE_NUMBERS", tile)
    assert result_bits(lds(*large)) == expected


@pytest.mark.parametrize("numbers", [1, 1000, 2**30])
def test_chunk_size_changes_no_bit(numbers: int, large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = result_bits(lds(*large))
    for module, name in ((grid, "CHUNK_NUMBERS"), (predictions, "ROUNDED_NUMBERS"), (predictions, "ROUNDED_FOR_BLAS")):
        monkeypatch.setattr(module, name, numbers)
        assert result_bits(lds(*large)) == expected


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_thread_count_changes_no_bit(threads: int, large: Large) -> None:
    scores, masks, margins = large
    assert masks.size * scores.shape[1] > blocks.MIN_THREADED_PRODUCTS
    assert result_bits(GroundTruth(masks, margins).score(scores, threads=threads)) == result_bits(lds(*large))


@pytest.mark.parametrize("blas_threads", [1, 2, 4])
def test_blas_thread_count_changes_no_bit(blas_threads: int, large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = result_bits(lds(*large))
    monkeypatch.setattr(
        blocks, "MIN_THREADED_PRODUCTS", math.inf
    )  # run blocks in this thread, with the current BLAS setting
    monkeypatch.setattr(blocks, "MAX_BLOCK_TARGETS", 300)
    with threadpool_limits(limits=blas_threads, user_api="blas"):
        assert result_bits(lds(*large)) == expected


def test_order_of_training_examples_changes_no_bit(large: Large, rng: np.random.Generator) -> None:
    scores, masks, margins = large
    order = rng.permutation(400)
    assert result_bits(lds(scores[order], masks[:, order], margins))[:4] == result_bits(lds(scores, masks, margins))[:4]


def test_form_of_masks_changes_no_bit(large: Large) -> None:
    scores, masks, margins = large
    expected = result_bits(lds(scores, masks, margins))
    assert result_bits(lds(scores, masks.astype(np.float32), margins)) == expected
    assert result_bits(lds(scores, [np.flatnonzero(row) for row in masks], margins)) == expected
    assert result_bits(lds(scores, pack_masks(masks), margins, packed=True)) == expected
    assert result_bits(GroundTruth(pack_masks(masks), margins, n_train=400, packed=True).score(scores)) == expected


def test_half_precision_scores_give_same_bits_as_their_float64_values(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    half = scores.astype(np.float16)
    assert result_bits(lds(half, masks, margins)) == result_bits(lds(half.astype(np.float64), masks, margins))
