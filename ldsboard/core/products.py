"""Compute predictions with the compiled kernel, with BLAS or with torch. All give the same bits: sums of grid integers are exact.

Legend: M subsets, n training examples, b targets of one block.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.core import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from ldsboard.arrays.packed import PackedMasks

MIN_KERNEL_SUBSETS = 64
"""Number of subsets below which BLAS is about as fast as the compiled kernel, which spends its time on making tables."""

INFLATED_BYTES = 2**24
"""Largest number of bytes of masks that BLAS multiplies at a time, as float64, in each thread."""

KEPT_BYTES = 2**26
"""Largest number of bytes of masks that are inflated once and kept, instead of anew for each block of targets."""

INFLATED_COLUMNS = 2**11
"""Largest number of training examples that BLAS adds at a time; a multiple of 8."""

BYTES_AS_NUMBERS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.float64)
"""The eight bits of every byte as float64."""


class Product:
    """Computes predictions: the sums of grid integers over the examples of each subset.

    An object holds `masks`, and for the compiled kernel another M n / 8 bytes. BLAS keeps up to `KEPT_BYTES` of masks as float64,
    and a torch device all of them. A pickled object chooses its route anew when it is loaded: that machine may have another
    processor, or no kernel.

    Parameters
    ----------
    masks
        The subsets.
    device
        The torch device that computes the product; None for the kernel or BLAS.

    Attributes
    ----------
    route
        The kernel or BLAS. A torch device computes the sums in its place; then too the route says how predictions are ranked.
    by_tiles
        Whether the sums of a few targets at a time are as fast as those of many: with the compiled kernel they are.

    Raises
    ------
    RouteError
        The environment asks for a route that does not exist or is not available.
    ValueError
        torch is missing, or the device is unknown or lacks float64.
    """

    def __init__(self, masks: PackedMasks, device: str | None = None) -> None:
        self._masks, self._device, self.route = masks, device, kernel.choose_route()
        self.by_tiles = device is None and _has_kernel(masks, self.route)
        self._sums = _sums_with(masks, device, self.route)

    @property
    def n_subsets(self) -> int:
        """Number of subsets M."""
        return len(self._masks)

    def __call__(self, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of grid integers, float64 (n, b), over the examples of each subset: float64 (b, M)."""
        return self._sums(grid_nb)

    def __reduce__(self) -> tuple[type[Product], tuple[PackedMasks, str | None]]:
        return Product, (self._masks, self._device)


def _has_kernel(masks: PackedMasks, route: kernel.Route) -> bool:
    return route.name != "blas" and (route.forced or len(masks) >= MIN_KERNEL_SUBSETS)


def _sums_with(
    masks: PackedMasks, device: str | None, route: kernel.Route
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    if device is None:
        if _has_kernel(masks, route):
            return partial(kernel.sums, kernel.mask_words(masks), variant=route.name)
        if 8 * len(masks) * masks.n <= KEPT_BYTES:
            return partial(_whole_product, masks.unpacked().astype(np.float64))
        return partial(_blas_product, masks)
    try:
        import torch  # noqa: PLC0415 -- optional: needed for a torch device only

        weights_Mn = torch.empty(masks.shape, dtype=torch.float64, device=device)
        start = 0
        for block in masks.blocks():
            weights_Mn[start : start + len(block)] = torch.from_numpy(block.unpacked()).to(device)
            start += len(block)
    except (ImportError, RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device: expected a torch device with float64, got {device!r} ({error}). Omit 'device' to use numpy."
        ) from error
    return partial(_torch_product, weights_Mn)


def _whole_product(weights_Mn: NDArray[np.float64], grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    return grid_nb.T @ weights_Mn.T


def _blas_product(masks: PackedMasks, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    (M, n), b = masks.shape, grid_nb.shape[1]
    columns = min(-(-n // 8) * 8, INFLATED_COLUMNS)
    rows = min(M, max(1, INFLATED_BYTES // (8 * columns)))
    sums_bM = np.zeros((b, M))
    # Allocated once: new pages for each block would cost as much as inflating.
    inflated = np.empty(rows * columns)
    for column in range(0, n, columns):
        some_nb = grid_nb[column : column + columns]
        for row in range(0, M, rows):
            bits = masks.bits_MG[row : row + rows, column // 8 : -(-(column + columns) // 8)]
            weights = inflated[: 8 * bits.size].reshape(*bits.shape, 8)
            BYTES_AS_NUMBERS.take(bits, axis=0, out=weights, mode="clip")  # the mode "raise" would buffer the output
            # In this order of the factors, two threads are faster than with the transposed product.
            sums_bM[:, row : row + rows] += some_nb.T @ weights.reshape(len(bits), -1)[:, : len(some_nb)].T
    return sums_bM


def _torch_product(weights_Mn: Tensor, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    predictions_bM: NDArray[np.float64] = (weights_Mn.new_tensor(grid_nb).T @ weights_Mn.T).cpu().numpy()
    return predictions_bM
