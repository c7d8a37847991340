"""Scores, masks and margins that are tensors: read as arrays are, or refused with the way to convert them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard import ProblemError, lds
from ldsboard.masks import read_masks
from ldsboard.scores import read_scores

if TYPE_CHECKING:
    from tests.ldsboard.conftest import MakeProblem

VALUES = [[0.5, -1.0], [2.0, 3.25], [0.0, 4.0]]
MASKS = torch.tensor([[1, 0, 1, 0, 0], [0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], dtype=torch.bool)
LISTS = [[2, 0], [4, 1, 2], [3]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_scores_are_read(dtype: torch.dtype) -> None:
    read = read_scores(torch.tensor(VALUES, dtype=dtype))
    assert read.dtype.kind == "f"
    assert read.tolist() == VALUES


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"requires_grad": True}, r"detach\(\)\.cpu\(\)"),
        ({"dtype": torch.bfloat16}, "Tensor, which numpy cannot read"),
        ({"device": "meta"}, "Tensor, which numpy cannot read"),
    ],
    ids=str,
)
def test_scores_that_numpy_cannot_read_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words) as caught:
        read_scores(torch.ones(2, 2, **options))
    assert caught.value.problem.code == "scores.dtype"


@pytest.mark.parametrize(
    "masks", [MASKS, MASKS.float(), [torch.tensor(row) for row in LISTS]], ids=["bool", "float", "index lists"]
)
def test_masks_are_read(masks: Any) -> None:
    read = read_masks(masks, 5)
    assert read.dtype == np.bool_
    assert np.array_equal(read, MASKS.numpy())


def test_masks_that_numpy_cannot_read_are_refused() -> None:
    with pytest.raises(ProblemError, match=r"numpy can read.*BFloat16.*masks\.bool\(\)") as caught:
        read_masks(MASKS.bfloat16(), 5)
    assert caught.value.problem.code == "masks.invalid"


def test_margins_are_read(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    whole = np.rint(margins * 8)
    assert lds(scores, masks, torch.tensor(whole)).per_target.tolist() == lds(scores, masks, whole).per_target.tolist()


def test_margins_that_numpy_cannot_read_are_refused(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    with pytest.raises(ProblemError, match=r"numpy can read.*margins\.detach\(\)") as caught:
        lds(scores, masks, torch.tensor(margins, requires_grad=True))
    assert caught.value.problem.code == "margins.invalid"
