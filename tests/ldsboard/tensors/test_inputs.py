"""Scores, masks and margins given as tensors: accepted like arrays, or rejected with a hint about conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard import ProblemError, lds
from ldsboard.arrays.masks import read_masks
from ldsboard.arrays.scores import read_scores

if TYPE_CHECKING:
    from tests.ldsboard.conftest import MakeProblem

VALUES = [[0.5, -1.0], [2.0, 3.25], [0.0, 4.0]]
MASKS = torch.tensor([[1, 0, 1, 0, 0], [0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], dtype=torch.bool)
LISTS = [[2, 0], [4, 1, 2], [3]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_read_scores_accepts_tensor(dtype: torch.dtype) -> None:
    read = read_scores(torch.tensor(VALUES, dtype=dtype))
    assert read.dtype.kind == "f"
    assert read.tolist() == VALUES


@pytest.mark.parametrize(
    ("options", "words"),
    [({"device": "meta"}, r"float32 on meta.*scores\.cpu\(\)"), ({"dtype": torch.complex64}, "a complex tensor")],
    ids=str,
)
def test_read_scores_rejects_tensor_that_is_no_array_of_real_numbers(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words) as caught:
        read_scores(torch.ones(2, 2, **options))
    assert caught.value.problem.code == "scores.dtype"


def test_read_scores_rejects_tensor_of_integers_beyond_float64() -> None:
    assert read_scores(torch.tensor([[2**53, -(2**53)]])).tolist() == [[2.0**53, -(2.0**53)]]
    with pytest.raises(ProblemError, match=r"magnitude up to 2\*\*53"):
        read_scores(torch.tensor([[2**53 + 1, 0]]))


@pytest.mark.parametrize(
    "masks", [MASKS, MASKS.float(), [torch.tensor(row) for row in LISTS]], ids=["bool", "float", "index lists"]
)
def test_read_masks_accepts_tensors(masks: Any) -> None:
    read = read_masks(masks, 5)
    assert read.dtype == np.bool_
    assert np.array_equal(read, MASKS.numpy())


def test_read_masks_rejects_tensor_that_numpy_cannot_read() -> None:
    with pytest.raises(ProblemError, match=r"numpy can read.*BFloat16.*masks\.bool\(\)") as caught:
        read_masks(MASKS.bfloat16(), 5)
    assert caught.value.problem.code == "masks.invalid"


def test_lds_accepts_margins_tensor(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    whole = np.rint(margins * 8)
    assert lds(scores, masks, torch.tensor(whole)).per_target.tolist() == lds(scores, masks, whole).per_target.tolist()


def test_lds_rejects_margins_tensor_that_numpy_cannot_read(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(ProblemError, match=r"numpy can read.*margins\.detach\(\)") as caught:
        lds(scores, masks, torch.tensor(margins, requires_grad=True))
    assert caught.value.problem.code == "margins.invalid"
