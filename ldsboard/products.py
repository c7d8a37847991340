"""The one matrix product of scoring, by numpy or by torch: sums of grid integers, and so the same bits from both.

Legend: M subsets, n training examples, b targets of one block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Product(Protocol):
    """Sums the grid integers (n, b) of the examples in every subset; float64 (b, M)."""

    def __call__(self, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]: ...  # noqa: D102


def product_with(masks_Mn: NDArray[np.bool_], device: str | None) -> Product:
    """Return the product with these subsets, computed by numpy or on a torch device."""
    return NumpyProduct(masks_Mn) if device is None else TorchProduct(masks_Mn, device)


class NumpyProduct:
    """The product by numpy's BLAS."""

    def __init__(self, masks_Mn: NDArray[np.bool_]) -> None:
        self._weights_nM = np.asfortranarray(masks_Mn.T, dtype=np.float64)

    def __call__(self, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums."""
        return grid_nb.T @ self._weights_nM


class TorchProduct:
    """The product by torch, on a device that has float64; the subsets stay there."""

    def __init__(self, masks_Mn: NDArray[np.bool_], device: str) -> None:
        try:
            import torch  # noqa: PLC0415 -- only who names a device needs it

            self._to_tensor = torch.from_numpy
            self._weights_Mn = torch.from_numpy(masks_Mn).to(device).to(torch.float64)
        except (ImportError, RuntimeError, AssertionError, TypeError) as error:
            raise ValueError(
                f"device: expected a torch device with float64, got {device!r} ({error}). Leave it out to use numpy."
            ) from error

    def __call__(self, grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums."""
        grid = self._to_tensor(grid_nb).to(self._weights_Mn.device)
        predictions_bM: NDArray[np.float64] = (grid.T @ self._weights_Mn.T).cpu().numpy()
        return predictions_bM
