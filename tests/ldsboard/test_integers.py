"""Integers above 2**53 beside decimals become float64, which cannot distinguish all of them: they are refused everywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError, lds
from ldsboard.formats.integers import text_has_rounded
from ldsboard.formats.saved_scores import read_saved

if TYPE_CHECKING:
    from pathlib import Path

EXACT, LARGE = 2**53, 2**53 + 1


@pytest.mark.parametrize(
    "text",
    [
        f"{LARGE},0.5\n1,2\n",
        f"1,2\n3,-{LARGE}\n",
        f"{10**30} 1\n2 3\n",
        f"1;+00{LARGE}\n2;3",
        json.dumps([[LARGE, 0.5], [1, 2]]),
        json.dumps([[LARGE, 5], [1, 0.5]]),
        json.dumps({"scores": [[1, 2], [0.5, -LARGE]]}),
        json.dumps([[2**63, -1], [1, 2]]),
        json.dumps([[LARGE, 1], [2, 3]]),
    ],
)
def test_text_with_integers_that_float64_rounds_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "scores").write_text(text)
    with pytest.raises(
        ProblemError, match=r"expected integers of magnitude up to 2\*\*53.*Subtract a common offset"
    ) as refused:
        lds(tmp_path / "scores", np.eye(2, dtype=bool), [[0.0, 1.0], [1.0, 0.0]])
    assert refused.value.problem.code == "scores.dtype"


@pytest.mark.parametrize("text", [f"{EXACT},0.5\n-{EXACT},1e300\n", f"[[{EXACT}, 0.5], [-{EXACT}, 1e300]]"])
def test_text_with_integers_that_float64_holds_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "scores").write_text(text)
    assert read_saved(tmp_path / "scores").array.tolist() == [[2.0**53, 0.5], [-(2.0**53), 1e300]]


def test_long_decimals_are_no_integers() -> None:
    for word in (
        "9007199254740993.0",
        "0.9007199254740993",
        "1e9007199254740993",
        "9007199254740993e-20",
        "-0.50000000000000001",
    ):
        assert not text_has_rounded(f"1,{word}\n{word},2")
    assert text_has_rounded(f"1,{LARGE}")


def test_batches_whose_integers_would_be_rounded_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.full((2, 3), LARGE))
    np.save(tmp_path / "1.npy", np.full((2, 3), 0.5))
    with pytest.raises(ProblemError, match="larger integers beside other numbers"):
        read_saved(tmp_path)
    np.save(tmp_path / "0.npy", np.full((2, 3), EXACT))
    assert read_saved(tmp_path).array[0, 0] == EXACT


@pytest.mark.parametrize("numbers", [[[LARGE, 0.5], [1, 2]], [np.array([LARGE, 1]), np.array([0.5, 2])]])
def test_lists_in_python_whose_integers_numpy_rounds_are_refused(numbers: Any) -> None:
    masks, other = np.eye(2, dtype=bool), np.array([[1.0, 2.0], [3.0, 5.0]])
    with pytest.raises(ProblemError, match=r"scores.*integers of magnitude up to 2\*\*53"):
        lds(numbers, masks, other)
    with pytest.raises(ProblemError, match=r"margins.*integers of magnitude up to 2\*\*53"):
        lds(other, masks, numbers)
