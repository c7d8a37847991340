"""Convert and check the attribution scores that a caller passes: an array, a tensor or a file.

Legend: n training examples, N targets.
"""

from __future__ import annotations

import warnings
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats.headers import ScoreArray, check_dimensions
from ldsboard.formats.integers import beyond_float64, has_rounded, rounded_scores
from ldsboard.formats.saved_scores import read_saved
from ldsboard.formats.tensors import is_tensor, tensor_array
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TURNED = "The rows of the file are targets and its columns training examples, so the file was transposed."


def read_scores(scores: Any) -> ScoreArray:
    """Return scores as an array (n, N) of float16, float32 or float64; a file is memory-mapped unless it is compressed.

    Notes on how a file was read are issued as warnings.

    Parameters
    ----------
    scores
        An array; an object with ``__array__`` or DLPack on the CPU; a torch tensor on the CPU of any layout and real type (torch
        is not imported); or the path of a file or folder that `read_saved` reads. Integers and bools become float64.

    Raises
    ------
    ProblemError
        A code that begins with ``scores.``, for instance ``scores.shape``: the scores are not a non-empty two-dimensional array
        of real numbers, or the score file is not valid.
    """
    if isinstance(scores, str | PathLike):
        saved = read_saved(scores)
        for note in saved.notes:
            warnings.warn(note, stacklevel=3)
        if saved.file is not None:
            return saved.array
        scores = saved.array
    array = _as_array(scores)
    if array.dtype.kind in "biu":
        whole, array = array, array.astype(np.float64)
        if beyond_float64(whole):
            raise rounded_scores(f"{whole.dtype} of magnitude up to {np.abs(array).max():.3g}")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:  # noqa: PLR2004
        raise ProblemError.mismatch(
            "scores.dtype",
            expected="float16, float32 or float64",
            got=str(array.dtype),
            hint="Decide what the score is, for instance the real part."
            if array.dtype.kind == "c"
            else "Convert the scores to numbers, for instance with numpy.asarray(scores, 'float64').",
        )
    check_dimensions(array.shape)
    return array


def _as_array(scores: Any) -> NDArray[Any]:
    if np.ma.is_masked(scores):
        raise ProblemError(
            "scores.nonfinite",
            "The scores are a masked array with masked values.",
            "Replace the masked values, for instance with scores.filled(0) if a score of 0 is intended.",
        )
    if is_tensor(scores):
        return tensor_array(scores)
    try:
        if hasattr(scores, "__array__") or not hasattr(scores, "__dlpack__"):
            array = np.asarray(scores)
            if has_rounded(array, scores):
                raise rounded_scores("larger integers beside other numbers")
            return array
        return np.from_dlpack(scores)
    except ProblemError:
        raise
    except (TypeError, RuntimeError, BufferError, ValueError) as error:
        raise ProblemError.mismatch(
            "scores.dtype",
            expected="an array of real numbers on the CPU",
            got=f"{type(scores).__name__}, which numpy cannot read ({error})",
            hint="Convert the scores to a numpy array. Convert a torch tensor with scores.detach().cpu().float().numpy().",
        ) from error


def scores_of_shape(scores: Any, n: int, N: int) -> ScoreArray:
    """Return scores as an array (n, N) of float16, float32 or float64, after a check of their shape.

    `scores` has a form that `read_scores` reads. If only the transpose of a file has the shape (n, N), the file is transposed,
    with a warning; an array of the same shape is refused.

    Raises
    ------
    ProblemError
        The errors of `read_scores` and `check_shape`.
    """
    scores_nN = read_scores(scores)
    if isinstance(scores, str | PathLike) and is_turned(scores_nN.shape, n, N):
        warnings.warn(TURNED, stacklevel=3)
        scores_nN = scores_nN.T
    check_shape(scores_nN.shape, n, N)
    return scores_nN


def is_turned(shape: tuple[int, ...], n: int, N: int) -> bool:
    """Return whether only the transpose of an array of this shape has one row per training example and one column per target."""
    return shape == (N, n) != (n, N)


def check_shape(shape: tuple[int, ...], n: int, N: int) -> None:
    """Raise ``scores.transposed`` for the shape (N, n), and ``scores.shape`` for any other shape that is not (n, N)."""
    if shape == (n, N):
        return
    transposed = shape == (N, n)
    raise ProblemError.mismatch(
        "scores.transposed" if transposed else "scores.shape",
        expected=f"shape ({n}, {N}): one row per training example, one column per target",
        got=f"shape {tuple(shape)}" + (", which is transposed" if transposed else ""),
        hint="Save scores.T instead."
        if transposed
        else "Give a score for every training example and target; keep the order of the examples and of the targets.",
    )


def check_finite(scores_nN: ScoreArray) -> None:
    """Raise ``scores.nonfinite`` if any score is NaN or infinite; the message counts such scores and locates the first."""
    count, first = 0, None
    for i, row in enumerate(scores_nN):  # one row at a time needs little memory, even for a memory-mapped file
        bad = np.flatnonzero(~np.isfinite(row))
        if bad.size and first is None:
            first = (i, int(bad[0]))
        count += bad.size
    if first is not None:
        raise ProblemError.mismatch(
            "scores.nonfinite",
            expected="finite scores",
            got=f"{count} NaN or infinite, the first at (row, column) {first}",
            hint="Find the cause; replace such scores by 0 only if a score of 0 is intended.",
        )


def zero_lines(scores_nN: ScoreArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of the rows and of the columns that hold only zeros, as in files whose scores were not all computed."""
    has_score_N = np.zeros(scores_nN.shape[1], np.bool_)
    has_score_n = np.zeros(len(scores_nN), np.bool_)
    for i, row in enumerate(scores_nN):  # one row at a time needs little memory, even for a memory-mapped file
        nonzero = row != 0
        has_score_n[i] = nonzero.any()
        has_score_N |= nonzero
    return np.flatnonzero(~has_score_n), np.flatnonzero(~has_score_N)
