"""Attribution scores as they arrive from a caller: any array, tensor or file, checked once.

Legend: n training examples, N targets.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats import open_scores
from ldsboard.headers import ScoreArray, check_dimensions
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_scores(scores: Any) -> ScoreArray:
    """Return scores as ``scores_nN``, a real floating-point array (n, N), memory-mapped where it is a file.

    Parameters
    ----------
    scores
        An array, anything with ``__array__`` or DLPack on the CPU (a torch tensor, without importing torch), or the
        path of a ``.npy``, ``.safetensors`` or ``.npz`` file.

    Raises
    ------
    ProblemError
        A ValueError: not a two-dimensional real array.
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
                hint="float64 cannot distinguish such integers: subtract a common offset, or round the scores yourself.",
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
    """Tell whether any of these integers is too large for float64 to tell it from its neighbours."""
    return whole.dtype.itemsize == 8 and bool(((whole > 2**53) | (whole < -(2**53))).any())  # noqa: PLR2004


def _as_array(scores: Any) -> NDArray[Any]:
    if np.ma.is_masked(scores):
        raise ProblemError(
            "scores.nonfinite",
            "The scores are a masked array with masked values.",
            "Fill them, for instance with scores.filled(0), if a score of 0 is intended.",
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
            hint="Convert the scores to a numpy array; for a torch tensor: scores.detach().cpu().float().numpy().",
        ) from error


def check_shape(shape: tuple[int, ...], n: int, N: int) -> None:
    """Raise the error for scores that do not have the shape (n, N), saying so where they are transposed."""
    if shape == (n, N):
        return
    transposed = shape == (N, n)
    raise ProblemError.mismatch(
        "scores.transposed" if transposed else "scores.shape",
        expected=f"shape ({n}, {N}): one row per training example, one column per target",
        got=f"shape {tuple(shape)}" + (", which is transposed" if transposed else ""),
        hint="Save scores.T instead."
        if transposed
        else "Score every training example for every target, in their order.",
    )


def check_finite(scores_nN: ScoreArray) -> None:
    """Raise the error for scores of which any is NaN or infinite, with their number and the first position."""
    count, first = 0, None
    for i, row in enumerate(scores_nN):  # row by row, so that a mapped file is not copied
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
