"""Convert and check the attribution scores that a caller passes: an array, a tensor or a file.

Legend: n training examples, N targets.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats.headers import ScoreArray, check_dimensions
from ldsboard.formats.score_files import open_scores
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_scores(scores: Any) -> ScoreArray:
    """Return scores as an array (n, N) of float16, float32 or float64; a file is memory-mapped unless it is compressed.

    Parameters
    ----------
    scores
        An array; an object with ``__array__`` or DLPack on the CPU, such as a torch tensor (torch is not imported); or the path
        of a ``.npy``, ``.safetensors`` or ``.npz`` file. Integers and bools become float64.

    Raises
    ------
    ProblemError
        A code that begins with ``scores.``, for instance ``scores.shape``: the scores are not a non-empty two-dimensional array
        of real numbers, or the score file is not valid.
    """
    if isinstance(scores, str | PathLike):
        return open_scores(scores)
    array = _as_array(scores)
    if array.dtype.kind in "biu":
        whole, array = array, array.astype(np.float64)
        if beyond_float64(whole):
            raise ProblemError.mismatch(
                "scores.dtype",
                expected="integers of magnitude up to 2**53",
                got=f"{whole.dtype} of magnitude up to {np.abs(array).max():.3g}",
                hint="float64 cannot distinguish all larger integers. Subtract a common offset, or round the scores yourself.",
            )
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:  # noqa: PLR2004
        raise ProblemError.mismatch(
            "scores.dtype",
            expected="float16, float32 or float64",
            got=str(array.dtype),
            hint="Convert the scores, for instance with scores.astype('float32').",
        )
    check_dimensions(array.shape)
    return array


def beyond_float64(whole: NDArray[Any]) -> bool:
    """Return whether any integer has a magnitude above 2**53, the limit up to which float64 represents every integer exactly."""
    return whole.dtype.itemsize == 8 and bool(((whole > 2**53) | (whole < -(2**53))).any())  # noqa: PLR2004


def _as_array(scores: Any) -> NDArray[Any]:
    if np.ma.is_masked(scores):
        raise ProblemError(
            "scores.nonfinite",
            "The scores are a masked array with masked values.",
            "Replace the masked values, for instance with scores.filled(0) if a score of 0 is intended.",
        )
    try:
        if hasattr(scores, "__array__") or not hasattr(scores, "__dlpack__"):
            return np.asarray(scores)
        return np.from_dlpack(scores)
    except (TypeError, RuntimeError, BufferError, ValueError) as error:
        raise ProblemError.mismatch(
            "scores.dtype",
            expected="an array of real numbers on the CPU",
            got=f"{type(scores).__name__}, which numpy cannot read ({error})",
            hint="Convert the scores to a numpy array. Convert a torch tensor with scores.detach().cpu().float().numpy().",
        ) from error


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
