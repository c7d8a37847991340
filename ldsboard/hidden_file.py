"""Read and write `hidden/hidden.json`: the hidden seed, its nonce, the hashes of the hidden arrays, and the reserve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ldsboard.drafts import atomic_write
from ldsboard.manifest import REQUIRED, BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
