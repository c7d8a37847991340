"""Round scores to a fixed-point grid, so that their sums over a subset are exact.

Each column is scaled and rounded to integers of at most ``53 - n.bit_length()`` bits, called grid integers. Any sum of n such
integers is below 2**53, and float64 represents the sum exactly. Predictions therefore do not depend on the order of summation,
which varies with the BLAS, the number of threads and the block size. Equal sums are exact ties.

Legend: n training examples, b targets of one block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldsboard.arrays.scores import check_finite
from ldsboard.core import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.formats.headers import ScoreArray

CHUNK_NUMBERS = 2**16
"""Number of scores that are rounded at a time: small enough that the intermediate results stay in the processor's cache."""

FLOAT32_EXPONENTS = (0, 120)
"""Range of exponents for which scaling a float32 column by ``2**exponent`` neither rounds nor overflows."""


def grid_bits(n: int) -> int:
    """Return the number of bits of a grid integer. With this number, the sum of n grid integers is below 2**53."""
    return 53 - n.bit_length()


class GridBlock(NamedTuple):
    """A block of b columns of scores, each rounded to the grid of the column.

    Attributes
    ----------
    whole_nb
        Grid integers, ``rint(score * 2**(B - e))``, stored as float64 (n, b). B is `grid_bits`, and ``2**e`` is the smallest
        power of two above the largest magnitude in the column.
    rounded_b
        Whether rounding changed any score of the column, bool (b,).
    typical_b
        Typical magnitude of the scores of the column in grid steps, float64 (b,): the median magnitude of the scores other
        than 0, but at least half a step. The value is infinite unless more than half of these scores were coarsely rounded
        (changed by rounding, and below `coarse_limit`).
    exponent_b
        The grid step of the column is ``2**-exponent``; integers (b,).
    """

    whole_nb: NDArray[np.float64]
    rounded_b: NDArray[np.bool_]
    typical_b: NDArray[np.float64]
    exponent_b: NDArray[np.integer]


def to_grid(
    scores_nN: ScoreArray, columns: slice | NDArray[np.integer], route: kernel.Route | None = None
) -> GridBlock:
    """Return chosen columns of the scores, rounded to grid integers.

    Parameters
    ----------
    scores_nN
        float16, float32 or float64, (n, N).
    columns
        Slice or indices of the columns.
    route
        The kernel or BLAS; with None or BLAS, numpy rounds, with the same bits.

    Raises
    ------
    ProblemError
        ``scores.nonfinite``: a score is NaN or infinite.
    """
    scores_nb = scores_nN[:, columns]
    if scores_nb.dtype.itemsize == 2:  # noqa: PLR2004
        scores_nb = scores_nb.astype(np.float32)  # changes no value, and makes the following steps four times as fast
    n, b = scores_nb.shape
    variant = route.name if route is not None and route.name != "blas" and _has_rows(scores_nb) else None
    if variant is not None:
        largest_b = _largest_compiled(scores_nb, variant=variant).astype(np.float64)
    else:
        largest_b = np.maximum(scores_nb.max(axis=0), -scores_nb.min(axis=0)).astype(np.float64)
    if not np.isfinite(largest_b).all():
        check_finite(scores_nN)
    exponent_b = np.where(largest_b > 0, grid_bits(n) - np.frexp(largest_b)[1], 0)
    factors = _factors(exponent_b, scores_nb.dtype)
    if variant is not None and factors[0].dtype == np.float32:
        whole_nb, rounded_b, coarse_b = _rounded_compiled(scores_nb, factors[0], variant=variant)
    else:
        whole_nb, rounded_b, coarse_b = _rounded(scores_nb, factors)
    # In a column that is scaled down, the smallest scores can become 0 before they are rounded.
    for j in np.flatnonzero(exponent_b < 0):
        vanished = np.count_nonzero((whole_nb[:, j] == 0) & (scores_nb[:, j] != 0))
        rounded_b[j] |= vanished > 0
        coarse_b[j] = max(coarse_b[j], vanished)
    typical_b = np.full(b, np.inf)
    for j in np.flatnonzero(coarse_b):
        steps = np.abs(whole_nb[scores_nb[:, j] != 0, j])
        if 2 * coarse_b[j] > steps.size:
            typical_b[j] = max(0.5, np.median(steps))
    return GridBlock(whole_nb, rounded_b, typical_b, exponent_b)


def _rounded(
    scores_nb: ScoreArray, factors: list[NDArray[np.floating]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.integer]]:
    """Return the scores scaled and rounded, whether rounding changed any score of a column, and how many coarsely."""
    n, b = scores_nb.shape
    whole_nb, rounded_b, coarse_b = np.empty((n, b)), np.zeros(b, dtype=np.bool_), np.zeros(b, dtype=np.intp)
    rows, limit = max(1, CHUNK_NUMBERS // b), coarse_limit(n, factors[0].dtype)
    for start in range(0, n, rows):
        chunk = slice(start, start + rows)
        scaled = scores_nb[chunk] * factors[0]
        for factor_b in factors[1:]:
            scaled *= factor_b
        whole = np.rint(scaled)
        whole_nb[chunk] = whole
        changed = whole != scaled
        rounded_b |= changed.any(axis=0)
        changed &= np.abs(scaled, out=scaled) < limit
        if changed.any():
            coarse_b += np.count_nonzero(changed, axis=0)
    return whole_nb, rounded_b, coarse_b


def _rounded_compiled(
    scores_nb: NDArray[Any], factor_b: NDArray[np.floating], *, variant: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.integer]]:
    """Return what `_rounded` returns, computed by the kernel; `_has_rows` must hold, and factors be float32."""
    n, b = scores_nb.shape
    whole_nb, rounded_b, coarse_b = np.empty((n, b)), np.empty(b, dtype=np.int32), np.empty(b, dtype=np.int32)
    results: list[NDArray[Any]] = [whole_nb, rounded_b, coarse_b]
    rows, pointers = (scores_nb.ctypes.data, scores_nb.strides[0] // 4, n, b), [array.ctypes.data for array in results]
    number, limit = kernel.VARIANTS.index(variant), coarse_limit(n, factor_b.dtype)
    kernel.loaded().ldsboard_round(*rows, factor_b.ctypes.data, limit, *pointers, number)
    return whole_nb, rounded_b != 0, coarse_b


def _largest_compiled(scores_nb: NDArray[Any], *, variant: str) -> NDArray[np.float32]:
    """Return the largest magnitude of each column, float32 (b,), NaN or infinite if a score is; `_has_rows` must hold."""
    largest_b = np.empty(scores_nb.shape[1], dtype=np.int32)
    rows = scores_nb.ctypes.data, scores_nb.strides[0] // 4, *scores_nb.shape
    kernel.loaded().ldsboard_largest(*rows, largest_b.ctypes.data, kernel.VARIANTS.index(variant))
    return largest_b.view(np.float32)


def _has_rows(scores_nb: NDArray[Any]) -> bool:
    """Return whether the kernel can round an array: float32 of this machine, with neighbouring columns side by side in memory."""
    stride, step = scores_nb.strides
    return scores_nb.dtype == np.float32 and scores_nb.flags.aligned and step == 4 and stride % 4 == 0  # noqa: PLR2004


def coarse_limit(n: int, dtype: np.dtype[np.floating]) -> np.floating:
    """Return the magnitude, in grid steps, below which a rounded score counts as coarsely rounded, as a number of a float type.

    It is rounded up to a number of this type, so that the scores of this type that are below it are the same as without rounding.

    Sums over random halves of n scores of magnitude s have a standard deviation of about ``s sqrt(n) / 2``. The rounding errors
    in such a sum add up to at most ``n / 4`` steps. At the returned magnitude, the sum of these errors is at most a
    thousandth of the standard deviation.
    """
    exact = 500 * math.sqrt(n)
    limit = dtype.type(exact)
    return limit if float(limit) >= exact else np.nextafter(limit, dtype.type(np.inf))


def _factors(exponent_b: NDArray[np.intp], dtype: np.dtype[np.floating]) -> list[NDArray[np.floating]]:
    """Return a list of one or two arrays, (b,), whose product is ``2**exponent_b``, by which the caller scales the scores.

    Two arrays are returned if float64 may be unable to represent the product.
    """
    low, high = FLOAT32_EXPONENTS
    if dtype.itemsize <= 4 and low <= exponent_b.min() and exponent_b.max() <= high:  # noqa: PLR2004
        # Scaled and rounded float32 values are still float32, which halves the memory traffic.
        return [np.ldexp(np.float32(1), exponent_b)]
    if np.abs(exponent_b).max() < 1000:  # noqa: PLR2004
        return [np.ldexp(1.0, exponent_b)]
    # Columns of subnormal numbers need 2**1100, which float64 cannot represent; two factors can. When scaling down, the first
    # factor can round a score to a subnormal number, but such a small score becomes 0 on the grid in any case.
    half_b = exponent_b // 2
    return [np.ldexp(1.0, half_b), np.ldexp(1.0, exponent_b - half_b)]
