"""Convert and check the margins that a caller passes.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.counts import count
from ldsboard.formats.integers import beyond_float64, has_rounded
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _invalid(expected: str, got: str, hint: str) -> ProblemError:
    return ProblemError.mismatch("margins.invalid", expected=expected, got=got, hint=hint)


def margins_array(margins: Any) -> NDArray[Any]:
    """Return margins as a numpy array, without checking shape, type or values.

    Raises
    ------
    ProblemError
        ``margins.invalid``: the margins are a numpy masked array with masked values.
        ``margins.invalid``: numpy cannot convert the margins to an array, or would round integers above 2**53 in it.
    """
    if np.ma.is_masked(margins):
        raise _invalid(
            "a margin for every subset and target", "masked values", "Train the models whose margins are masked."
        )
    try:
        array = np.asarray(margins)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _invalid(
            "margins that numpy can read",
            str(error),
            "Give one array. Convert a torch tensor with margins.detach().cpu().numpy().",
        ) from error
    if has_rounded(array, margins):
        raise _invalid(
            "integers of magnitude up to 2**53",
            "larger integers beside other numbers",
            "Subtract a common offset, or round the margins yourself.",
        )
    return array


def read_margins(margins: Any, M: int, n: int) -> NDArray[np.floating]:
    """Return margins as a floating-point array (M, R, N), after checking that they are real and finite.

    Parameters
    ----------
    margins
        Real numbers, (M, N) or (M, R, N).
    M
        Number of subsets.
    n
        Number of training examples. Margins of the wrong shape with n rows get the hint that the masks seem to be transposed.

    Returns
    -------
    numpy.ndarray
        float32 or float64, (M, R, N), where R is 1 for margins of shape (M, N).

    Raises
    ------
    ProblemError
        ``margins.invalid``: the margins have the wrong shape or an unsupported type, are not finite, or are integers that float64
        cannot represent exactly.
    """
    array = margins_array(margins)
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or len(array) != M or 0 in array.shape:
        raise _invalid(
            f"real margins of shape ({M}, N) or ({M}, R, N) for {M} subsets",
            f"{array.dtype} of shape {array.shape}",
            _order_of_axes(array.shape, M, n) if array.dtype.kind in "fiu" else "Convert the margins to real numbers.",
        )
    if array.dtype.itemsize > 8 or (array.dtype.kind in "iu" and beyond_float64(array)):  # noqa: PLR2004
        raise _invalid(
            "margins that float64 represents exactly: float16, float32, float64, or integers of magnitude up to 2**53",
            f"{array.dtype} of magnitude up to {np.abs(array.astype(np.float64)).max():.3g}",
            "Subtract a common offset, or round the margins yourself.",
        )
    finite = np.isfinite(array)
    if not finite.all():
        rows = np.flatnonzero(~finite.reshape(M, -1).all(axis=1))
        got = f"NaN or infinite values for {rows.size} of {M} subsets: {', '.join(map(str, rows[:10]))}"
        raise _invalid("finite margins", got, "Train the diverged models again, or leave out their subsets.")
    array = array.astype(np.result_type(array, np.float32), copy=False)
    return array if array.ndim == 3 else array[:, None, :]  # noqa: PLR2004


def _order_of_axes(shape: tuple[int, ...], M: int, n: int) -> str:
    """Return the hint for margins of the wrong shape: move an axis, transpose the masks, or give one row per subset."""
    if M in shape[1:]:
        axis = shape.index(M, 1)
        return f"The subsets seem to be axis {axis}: give numpy.moveaxis(margins, {axis}, 0)."
    if shape and shape[0] == n:
        return "The masks seem to be transposed: give masks.T, one row per subset."
    return "Give one row per subset, in the order of the masks."


def mean_over_runs(margins_MRN: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean of the margins over runs, float64 (M, N). Runs are added one by one, from the first to the last.

    Raises
    ------
    ProblemError
        ``margins.invalid``: the sum over runs overflows float64.
    """
    M, R, N = margins_MRN.shape
    margins_MN = np.zeros((M, N))
    with np.errstate(over="ignore"):
        for run in range(R):  # numpy.mean sums in an order that depends on the memory layout
            margins_MN += margins_MRN[:, run]
    margins_MN /= R
    if not np.isfinite(margins_MN).all():
        raise _invalid(
            "margins whose sum over runs does not overflow float64",
            f"margins of magnitude up to {np.abs(margins_MRN).max():.3g}",
            "Scale the margins down: only the order of the margins counts.",
        )
    return margins_MN


def check_margins_differ(margins_MN: NDArray[np.float64], which: str = "subsets") -> None:
    """Raise ``margins.invalid`` if any target has equal margins for all subsets; the message lists up to 10 such targets.

    `which` says in the message which subsets the rows of `margins_MN` are.
    """
    constant = np.flatnonzero((margins_MN == margins_MN[0]).all(axis=0))
    if constant.size:
        raise _invalid(
            f"margins that differ between {which}",
            f"{count(constant.size, 'constant target')}: {', '.join(map(str, constant[:10]))}",
            f"Leave out these targets: margins that are equal for all {which} cannot be ranked.",
        )
