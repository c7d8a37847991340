"""What a benchmark says of itself, in `public/benchmark.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "benchmark.json"


class BundleError(ValueError):
    """A benchmark folder is incomplete, altered or inconsistent; the message names the file and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What `public/benchmark.json` says.

    `subsets` counts the public and the ranking ones; `ranking` names the rows that rank on an open benchmark and is None on
    a protected one, whose ranking subsets are hidden; `files` maps every other public file to its sha256.
    """

    name: str
    version: int
    title: str
    description: str
    licence: str
    dataset: dict[str, Any]
    recipe: dict[str, Any]
    alpha: float
    n_train: int
    n_targets: int
    subsets: dict[str, int]
    runs: int
    output_function: str
    split: str
    ranking: tuple[int, int] | None
    public_seed: int
    commitment: str | None
    ceiling: float
    ceiling_std_error: float
    unreliable_targets: int
    null_band: dict[str, float]
    attempts_spectrum: float
    provenance: dict[str, Any]
    files: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest, refusing one with missing or unknown fields."""
        try:
            members = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise BundleError(f"expected a benchmark manifest at {path}, got: {error}") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(members, dict) or set(members) != names:
            difference = ", ".join(sorted(names ^ set(members))) if isinstance(members, dict) else "it holds no object"
            raise BundleError(f"{path} has missing or unknown fields: {difference}. Write it again with this version.")
        if members["ranking"] is not None:
            members["ranking"] = tuple(members["ranking"])
        return cls(**members)
