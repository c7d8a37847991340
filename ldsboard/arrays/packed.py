"""Subsets as packed bits: an eighth of the memory of a boolean matrix.

Legend: M subsets, n training examples, G bytes of a subset, ceil(n / 8).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import DTypeLike, NDArray

BLOCK_BYTES = 2**22
"""Packed bytes that are processed at a time."""


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """M subsets of n training examples as packed bits; numpy reads an object as an array, bool (M, n).

    Attributes
    ----------
    bits_MG
        uint8 (M, G), little bit order; the unused last bits of each row are 0. The array can be mapped from a file.
    n
        Number of training examples.
    """

    bits_MG: NDArray[np.uint8]
    n: int

    @classmethod
    def of(cls, masks_Mn: NDArray[np.bool_]) -> Self:
        """Pack subsets, bool (M, n)."""
        return cls(np.packbits(masks_Mn, axis=1, bitorder="little"), masks_Mn.shape[1])

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Return the subsets of several objects with equal n, one after another."""
        parts = list(parts)
        return cls(np.concatenate([part.bits_MG for part in parts]), parts[0].n)

    def __len__(self) -> int:
        return len(self.bits_MG)

    @property
    def shape(self) -> tuple[int, int]:
        """M and n."""
        return len(self), self.n

    def __getitem__(self, rows: slice | NDArray[np.integer] | list[int]) -> PackedMasks:
        """Return the subsets in `rows`; a slice copies nothing."""
        return PackedMasks(self.bits_MG[rows], self.n)

    def __array__(self, dtype: DTypeLike | None = None, *, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("packed masks cannot be read as an array without a copy")
        return self.unpacked().astype(dtype or np.bool_, copy=False)

    def unpacked(self) -> NDArray[np.bool_]:
        """Return the subsets as a new array, bool (M, n)."""
        return np.unpackbits(self.bits_MG, axis=1, count=self.n, bitorder="little").view(np.bool_)

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of training examples in each subset, int64 (M,)."""
        sizes = [np.bitwise_count(block.bits_MG).sum(axis=1, dtype=np.int64) for block in self.blocks()]
        return np.concatenate(sizes) if sizes else np.zeros(0, dtype=np.int64)

    def duplicates(self) -> int:
        """Count the subsets that are equal to an earlier subset; 16 bytes of each, a digest, are kept for this."""
        rows = (row for block in self.blocks() for row in np.ascontiguousarray(block.bits_MG))
        return len(self) - len({hashlib.blake2b(row.data, digest_size=16).digest() for row in rows})

    def blocks(self) -> Iterator[PackedMasks]:
        """Yield neighbouring subsets, at most `BLOCK_BYTES` at a time."""
        rows = max(1, BLOCK_BYTES // max(1, self.bits_MG.shape[1]))
        for start in range(0, len(self), rows):
            yield self[start : start + rows]
