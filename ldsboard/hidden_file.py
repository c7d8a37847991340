"""Read and write `hidden/hidden.json`: the hidden seed, its nonce, the hashes of the hidden arrays, and the reserve.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from ldsboard.drafts import atomic_write
from ldsboard.manifest import REQUIRED, BundleError
from ldsboard.subsets import draw_masks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ldsboard.arrays.packed import PackedMasks

HIDDEN_FILE = "hidden.json"


class HiddenFile(NamedTuple):
    """The content of `hidden/hidden.json`."""

    seed: int
    """Root seed of the hidden subsets, below 2**128."""
    nonce: bytes
    """The 16 random bytes that are hashed with the seed for the published commitment."""
    files: dict[str, str]
    """sha256 of each hidden array, by its file name."""
    reserve: tuple[int, ...]
    """Ascending rows of the hidden arrays that are the reserve; empty without a reserve, or if the file has no such field."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises
        ------
        BundleError
            The file is damaged. The message quotes nothing of the file, because the file holds the seed and messages
            are logged.
        """
        try:
            members = json.loads(path.read_text(encoding="utf-8"))
            seed, nonce = _sixteen_bytes(members["seed"]), _sixteen_bytes(members["nonce"])
            reserve = members.get("reserve", [])
            if not isinstance(reserve, list) or not all(type(row) is int and row >= 0 for row in reserve):
                raise TypeError  # noqa: TRY301 -- one message for every kind of damage
            files = dict(members["files"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BundleError(
                f"{path} is damaged: it must hold files, a seed and a nonce, the last two with 32 hexadecimal digits. It may "
                "hold a reserve, a list of row numbers. Restore it."
            ) from None
        if not set(files) >= REQUIRED:
            raise BundleError(
                f"{path} is damaged: it must list the hashes of {sorted(REQUIRED)}, but lists {sorted(files)}. Restore it."
            )
        return cls(int.from_bytes(seed, "big"), nonce, files, tuple(reserve))

    def write(self, path: Path) -> None:
        """Write the file. An earlier file is replaced atomically, because it can be the only copy of the seed."""
        members: dict[str, Any] = {"seed": f"{self.seed:032x}", "nonce": self.nonce.hex(), "files": self.files}
        if self.reserve:
            members["reserve"] = list(self.reserve)
        with atomic_write(path) as file:
            file.write((json.dumps(members, indent=2) + "\n").encode())


def check_reserve(reserve: Sequence[int], count: int) -> None:
    """Raise BundleError unless the rows of a reserve are ascending rows of `count` hidden subsets, and leave other rows."""
    if list(reserve) != sorted(set(reserve) & set(range(count))) or len(reserve) >= count:
        raise BundleError(
            f"The reserve in {HIDDEN_FILE} must be ascending rows of the {count} hidden subsets, and must leave ranking subsets. "
            "Restore the file, or write the benchmark folder again."
        )


def _sixteen_bytes(digits: str) -> bytes:
    if len(digits) != 32:  # noqa: PLR2004
        raise ValueError
    return bytes.fromhex(digits)


@dataclass(frozen=True)
class HiddenPart:
    """The hidden subsets of a protected benchmark, and the seed that draws these subsets.

    Attributes
    ----------
    seed, nonce
        Root seed, an integer below 2**128, and the 16 random bytes that are hashed with the seed for the published commitment.
    masks, margins_MRN
        Hidden subsets, packed, and their margins, float32 (M, R, N).
    reserve
        Ascending rows of these arrays that are the reserve, see `ldsboard.subsets.draw_reserve`. The other rows are the ranking
        subsets. By default there is no reserve, and all rows are ranking subsets.
    """

    seed: int
    nonce: bytes
    masks: PackedMasks
    margins_MRN: NDArray[np.float32]
    reserve: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_reserve(self.reserve, len(self.masks))

    @property
    def masks_Mn(self) -> NDArray[np.bool_]:
        """The hidden subsets, bool (M, n), True where the example is in the training subset; unpacked anew at each access."""
        return self.masks.unpacked()

    @property
    def answered(self) -> NDArray[np.intp]:
        """Ascending rows of the ranking subsets: all rows that are not in the reserve."""
        return np.setdiff1d(np.arange(len(self.masks)), np.array(self.reserve, dtype=np.intp))


def are_drawn(masks: PackedMasks, root: int, alpha: float) -> bool:
    """Return whether these are the first subsets that `draw_masks` draws with a root seed."""
    first = 0
    for block in masks.blocks():
        if not np.array_equal(block, draw_masks(root, len(block), masks.n, alpha, first=first)):
            return False
        first += len(block)
    return True
