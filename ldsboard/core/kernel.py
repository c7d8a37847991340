"""The compiled kernel, which rounds scores, adds them over subsets and scores the sums; and the choice between it and BLAS.

The kernel, the C files of this folder, is optional. Every route gives the same bits: sums of grid integers are exact, and ranks
are integers.

Legend: M subsets, n training examples, b targets of one block, t targets of a tile, W words of 64 bits, ceil(n / 64).
"""

from __future__ import annotations

import ctypes
import os
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.arrays.packed import PackedMasks
    from ldsboard.core.ranking import CompactRanking

ROUTE_VARIABLE = "LDSBOARD_PRODUCT"
"""Environment variable that forces a route."""

VARIANTS = ("portable", "avx2", "avx512")
"""The variants of the kernel: for every processor of the platform, with AVX2, and with AVX-512; numbered as in ``kernel.h``."""

ROUTES = (*reversed(VARIANTS), "blas")
"""The routes: the variants of the kernel, and BLAS."""

NAMES = {
    "avx512": "the compiled kernel with AVX-512",
    "avx2": "the compiled kernel with AVX2",
    "portable": "the compiled kernel",
    "blas": "BLAS",
}
"""The routes in words."""

FOLDER = Path(__file__).parent

LIBRARY = FOLDER / ("_sums.dll" if os.name == "nt" else "_sums.so")

SOURCES = ("kernel.h", "grid.c", "ranks.c", "sums.c")
"""The kernel's source files, which are installed too."""

KERNEL_COLUMNS = 8
"""Number of columns that the kernel adds at a time; a last incomplete tile costs as much as a complete one."""

ALIGNMENT = 64
"""Bytes to which the kernel's scratch memory is aligned."""


class RouteError(ValueError):
    """`ROUTE_VARIABLE` has an unknown value, or names a route that is not available here."""


class Route(NamedTuple):
    """How predictions are computed.

    Attributes
    ----------
    name
        One of `ROUTES`.
    reason
        Why this route was chosen.
    forced
        Whether `ROUTE_VARIABLE` forces the route.
    """

    name: str
    reason: str
    forced: bool

    def __str__(self) -> str:
        return f"{NAMES[self.name]}, because {self.reason}"


def choose_route() -> Route:
    """Return the route that `ROUTE_VARIABLE` forces, otherwise the fastest route that is available here.

    Raises
    ------
    RouteError
        `ROUTE_VARIABLE` has an unknown value, or names a route that is not available here.
    """
    wanted, (library, problem) = os.environ.get(ROUTE_VARIABLE) or "auto", load(LIBRARY)
    available = () if library is None else VARIANTS[library.ldsboard_last_variant() :: -1]
    if wanted == "auto":
        return Route(available[0], "it is available", False) if available else Route("blas", problem, False)
    if wanted not in ROUTES:
        known = f"auto, {', '.join(ROUTES[:-1])} or {ROUTES[-1]}"
        raise RouteError(f"{ROUTE_VARIABLE}: expected {known}, got {wanted!r}. Unset {ROUTE_VARIABLE}.")
    if wanted not in (*available, "blas"):
        lack = problem or f"this processor or the library lacks {NAMES[wanted]}"
        raise RouteError(f"{ROUTE_VARIABLE}: {wanted!r} is not available, because {lack}. Unset {ROUTE_VARIABLE}.")
    return Route(wanted, f"{ROUTE_VARIABLE}={wanted} is set", True)


def show_config() -> None:
    """Print how `lds` and `GroundTruth` compute the sums of scores over subsets, and why.

    A compiled kernel computes the sums; where ldsboard was installed without a C compiler, BLAS does, with the same bits. The
    environment variable ``LDSBOARD_PRODUCT`` forces a route: ``avx512``, ``avx2``, ``portable`` (the kernel without either),
    ``blas``, or ``auto``, the default.

    Raises
    ------
    ValueError
        ``LDSBOARD_PRODUCT`` has an unknown value, or names a route that is not available here.
    """
    sys.stdout.write(f"ldsboard adds scores with {choose_route()}.\n")


@cache
def load(path: Path) -> tuple[ctypes.CDLL | None, str]:
    """Return the library at `path` and an empty text; or None, and why there is no usable library."""
    if not path.exists():
        return None, "ldsboard was installed without a working C compiler"
    try:
        library = ctypes.CDLL(str(path))
        library.ldsboard_source.restype = ctypes.c_uint32
        if library.ldsboard_source() != zlib.crc32(b"".join((FOLDER / name).read_bytes() for name in SOURCES)):
            return None, "the compiled kernel is that of another version (install ldsboard again)"
        pointer, number, short = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
        for function, returned, arguments in (
            ("ldsboard_scratch", number, [number]),
            ("ldsboard_ranks_scratch", number, [number]),
            ("ldsboard_largest", None, [pointer, number, number, number, pointer, short]),
            (
                "ldsboard_round",
                None,
                [pointer, number, number, number, pointer, ctypes.c_float, *[pointer] * 3, short],
            ),
            ("ldsboard_sums", None, [pointer, number, number, pointer, number, pointer, pointer, short]),
            ("ldsboard_keys", short, [pointer, number, number, number, number, short, pointer]),
            (
                "ldsboard_ranks",
                None,
                [pointer, short, *[pointer] * 3, number, number, ctypes.c_double, *[pointer] * 6, short],
            ),
        ):
            entry = getattr(library, function)
            entry.restype, entry.argtypes = returned, arguments
    except (OSError, AttributeError) as error:
        return None, f"the compiled kernel cannot be loaded ({error})"
    return library, ""


def loaded() -> ctypes.CDLL:
    """Return the compiled kernel; raise a ValueError that says why if there is none."""
    library, problem = load(LIBRARY)
    if library is None:
        raise ValueError(problem)
    return library


def sums(words_WM: NDArray[np.uint64], grid_nb: NDArray[np.float64], *, variant: str) -> NDArray[np.float64]:
    """Return the sums of the grid integers of each column over each subset, float64 (b, M), computed by the kernel.

    Parameters
    ----------
    words_WM
        Packed masks, as `mask_words` returns them.
    grid_nb
        Grid integers, float64 (n, b), in C order.
    variant
        One of `VARIANTS`, which must be available.
    """
    (n, b), (W, M) = grid_nb.shape, words_WM.shape
    if -(-n // 64) != W or not (words_WM.flags.c_contiguous and grid_nb.flags.c_contiguous):
        raise ValueError(f"expected arrays in C order and {-(-n // 64)} words, got {W}")
    if words_WM.dtype != np.uint64 or grid_nb.dtype != np.float64:
        raise TypeError(f"expected uint64 and float64, got {words_WM.dtype} and {grid_nb.dtype}")
    library = loaded()
    sums_bM = np.empty((b, M))
    scratch = np.empty(8 * library.ldsboard_scratch(M) + ALIGNMENT, dtype=np.uint8)
    aligned = scratch.ctypes.data + -scratch.ctypes.data % ALIGNMENT
    pointers = grid_nb.ctypes.data, n, b, words_WM.ctypes.data, M, sums_bM.ctypes.data, aligned
    library.ldsboard_sums(*pointers, VARIANTS.index(variant))
    return sums_bM


class RankedTile(NamedTuple):
    """What follows from the ranks of t lists of predictions, as `ranks` computes it.

    Attributes
    ----------
    rho_t
        Spearman's rho with the margins, float64 (t,).
    squares_t
        Sum of the squared ranks of each list of predictions, integers as float64 (t,).
    unit_tM
        Ranks of the predictions, each row scaled to unit length, float32 (t, M).
    influence_tM
        Influence of each subset on each rho, in the given units, integers as float64 (t, M).
    influences_M
        Sums of these influences over the t lists, integers as float64 (M,).
    """

    rho_t: NDArray[np.float64]
    squares_t: NDArray[np.float64]
    unit_tM: NDArray[np.float32]
    influence_tM: NDArray[np.float64]
    influences_M: NDArray[np.float64]


def ranks(
    predictions_tM: NDArray[np.float64], margins: CompactRanking, units: float, *, variant: str
) -> RankedTile | None:
    """Rank t lists of M predictions, and compare them with the margins of the same targets.

    Parameters
    ----------
    predictions_tM
        Integers of magnitude below 2**53, float64 (t, M), with any strides.
    margins
        The ranks of the margins of these t targets.
    units
        Influences are rounded to multiples of ``1 / units``. Their sums are exact for t M up to 2**17 and units up to 2**30.
    variant
        One of `VARIANTS`, which must be available.

    Returns
    -------
    RankedTile or None
        None if the range of the predictions is too large for the sorting keys.
    """
    library = loaded()
    is_aligned = predictions_tM.flags.aligned and not any(size % 8 for size in predictions_tM.strides)
    if predictions_tM.dtype != np.float64 or not is_aligned:
        raise TypeError(f"expected aligned float64, got {predictions_tM.dtype}, strides {predictions_tM.strides}")
    (t, M), (stride, step) = predictions_tM.shape, (size // 8 for size in predictions_tM.strides)
    bits = (M - 1).bit_length()
    keys_tM = np.empty((t, M), dtype=np.int64)
    if not library.ldsboard_keys(predictions_tM.ctypes.data, stride, step, t, M, bits, keys_tM.ctypes.data):
        return None
    keys_tM.sort(axis=1)
    unit_tM, influence_tM = np.empty((t, M), dtype=np.float32), np.empty((t, M))
    done = RankedTile(np.empty(t), np.empty(t), unit_tM, influence_tM, np.zeros(M))
    listed: list[NDArray[Any]] = [margins.order_bM, margins.ranks_bM, margins.squares_b]
    if listed[0].shape != (t, M) or not all(array.flags.c_contiguous for array in listed):
        raise ValueError(f"expected ranks of shape {(t, M)} in C order")
    if [array.dtype for array in listed] != [np.int32, np.int32, np.float64]:
        raise TypeError(f"expected int32, int32 and float64, got {[str(array.dtype) for array in listed]}")
    scratch = np.empty(library.ldsboard_ranks_scratch(M), dtype=np.int64)
    pointers: list[int] = [array.ctypes.data for array in (*listed, *done, scratch)]
    number = VARIANTS.index(variant)
    library.ldsboard_ranks(keys_tM.ctypes.data, bits, *pointers[:3], t, M, units, *pointers[3:], number)
    return done


def mask_words(masks: PackedMasks) -> NDArray[np.uint64]:
    """Convert packed masks to words for `sums`, uint64 (W, M): M n / 8 bytes."""
    (M, n), start = masks.shape, 0
    words_WM = np.empty((-(-n // 64), M), dtype=np.uint64)
    for block in masks.blocks():
        rows, G = block.bits_MG.shape
        padded_MG = np.zeros((rows, 8 * len(words_WM)), dtype=np.uint8)
        padded_MG[:, :G] = block.bits_MG
        words_WM[:, start : start + rows] = padded_MG.view("<u8").T
        start += rows
    return words_WM
