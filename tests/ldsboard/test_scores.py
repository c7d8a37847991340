"""Reading and checking scores given by a caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.arrays.scores import check_finite, check_shape, read_scores

if TYPE_CHECKING:
    from pathlib import Path

VALUES = [[0.5, -1.0], [2.0, 3.25], [0.0, 4.0]]


class OnlyDlpack:
    """An array that supports only the DLPack protocol."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize(
    "scores",
    [
        np.array(VALUES),
        np.array(VALUES, dtype=np.float16),
        np.array(VALUES, dtype=">f4"),
        np.asfortranarray(VALUES),
        VALUES,
        OnlyDlpack(np.array(VALUES)),
    ],
    ids=lambda scores: type(scores).__name__,
)
def test_read_scores_accepts_array_protocol_and_dlpack(scores: Any) -> None:
    read = read_scores(scores)
    assert read.dtype.kind == "f"
    assert read.tolist() == VALUES


def test_read_scores_maps_path(tmp_path: Path) -> None:
    path = tmp_path / "scores.npy"
    np.save(path, np.array(VALUES, dtype=np.float32))
    for name in (path, str(path)):
        read = read_scores(name)
        assert isinstance(read, np.memmap)
        assert read.tolist() == VALUES


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64"])
def test_read_scores_accepts_bools_and_integers(dtype: str) -> None:
    read = read_scores(np.array([[0, 1], [1, 1]], dtype=dtype))
    assert read.dtype == np.float64
    assert read.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("scores", "code", "words"),
    [
        (np.zeros((2, 2), dtype=complex), "scores.dtype", "complex128"),
        pytest.param(
            *(np.zeros((2, 2), dtype=np.longdouble), "scores.dtype", "float128|longdouble"),
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here"),
        ),
        (np.array([["a"]]), "scores.dtype", "<U1"),
        (np.array([[object()]]), "scores.dtype", "object"),
        (None, "scores.dtype", "object"),
        ([[1.0, 2.0], [3.0]], "scores.dtype", "list, which numpy cannot read"),
        (np.zeros(4), "scores.shape", r"got shape \(4,\)"),
        (1.0, "scores.shape", r"got shape \(\)"),
        (np.zeros((2, 2, 2)), "scores.shape", r"expected two dimensions .*, got shape \(2, 2, 2\)"),
        (
            np.zeros((0, 3)),
            "scores.empty",
            r"expected at least one .* \(row\) and one target \(column\), got shape \(0, 3\)",
        ),
        (np.zeros((3, 0)), "scores.empty", r"got shape \(3, 0\)"),
        ([], "scores.empty", r"got shape \(0,\)"),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0],
)
def test_read_scores_rejects_other_than_two_dimensional_real_numbers(scores: Any, code: str, words: str) -> None:
    with pytest.raises(ProblemError, match=words) as caught:
        read_scores(scores)
    assert caught.value.problem.code == code


def test_check_shape_rejects_wrong_shape_and_reports_transposition() -> None:
    check_shape((3, 2), 3, 2)
    with pytest.raises(
        ProblemError, match=r"expected shape \(3, 2\).*got shape \(2, 3\).*transposed.*scores\.T"
    ) as caught:
        check_shape((2, 3), 3, 2)
    assert caught.value.problem.code == "scores.transposed"
    with pytest.raises(ProblemError, match=r"expected shape \(3, 2\).*got shape \(3, 4\)") as caught:
        check_shape((3, 4), 3, 2)
    assert caught.value.problem.code == "scores.shape"


def test_check_finite_counts_nonfinite_scores_and_names_first() -> None:
    scores_nN = np.zeros((4, 3), dtype=np.float32)
    check_finite(scores_nN)
    scores_nN[2, 1], scores_nN[1, 2], scores_nN[3, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(ProblemError, match=r"got 3 NaN or infinite, the first at \(row, column\) \(1, 2\)") as caught:
        check_finite(scores_nN)
    assert caught.value.problem.code == "scores.nonfinite"
