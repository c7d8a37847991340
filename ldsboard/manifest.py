"""What a benchmark says of itself, in `public/benchmark.json`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANIFEST = "benchmark.json"


class BundleError(ValueError):
    """A benchmark folder is incomplete, altered or inconsistent; the message names the file and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What `public/benchmark.json` says.

    `subsets` counts the public and the ranking ones; `ranking` names the rows that rank on an open benchmark and is None on
    a protected one, whose ranking subsets are hidden; `files` maps every other public file to its sha256. One run of each subset
    tells no noise ceiling: with `runs` 1, `ceiling`, `ceiling_std_error` and `unreliable_targets` are None. `public_seed` is None
    where the subsets came from elsewhere.
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
    public_seed: int | None
    commitment: str | None
    ceiling: float | None
    ceiling_std_error: float | None
    unreliable_targets: int | None
    null_band: dict[str, float]
    attempts_spectrum: float
    provenance: dict[str, Any]
    files: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest, refusing one with missing or unknown fields."""
        try:
            members = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"expected a benchmark manifest at {path}, got: {error}") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(members, dict) or set(members) != names:
            difference = ", ".join(sorted(names ^ set(members))) if isinstance(members, dict) else "it holds no object"
            raise BundleError(f"{path} has missing or unknown fields: {difference}. Write it again with this version.")
        for name, fits in _FITS.items():
            if not fits(members[name]):
                raise BundleError(
                    f"{path} has an unusable {name}: {members[name]!r:.80}. Write it again with this version."
                )
        if members["ranking"] is not None:
            members["ranking"] = tuple(members["ranking"])
        return cls(**members)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # one of the two types


def _nullable(fits: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def _natural(value: object) -> bool:
    return type(value) is int and value >= 0


def _numbers(*names: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and set(value) == set(names) and all(map(_number, value.values()))


def _relative_paths(value: object) -> bool:
    """Tell whether these are hashes of files inside the folder, so that no name reaches out of it."""
    return isinstance(value, dict) and all(
        isinstance(digest, str)
        and not PurePosixPath(name).is_absolute()
        and ".." not in PurePosixPath(name).parts
        and not {"\\", ":"} & set(name)  # which separate on Windows
        for name, digest in value.items()
    )


_FITS: dict[str, Callable[[Any], bool]] = {
    "name": _text,
    "version": _count,
    "title": _text,
    "description": _text,
    "licence": _text,
    "dataset": lambda value: isinstance(value, dict),
    "recipe": lambda value: isinstance(value, dict),
    "alpha": lambda value: _number(value) and 0 < value < 1,
    "n_train": _count,
    "n_targets": _count,
    "subsets": _numbers("public", "ranking"),
    "runs": _count,
    "output_function": _text,
    "split": _text,
    "ranking": _nullable(lambda value: isinstance(value, list) and len(value) == 2 and all(map(_count, value))),  # noqa: PLR2004
    "public_seed": _nullable(_natural),
    "commitment": _nullable(_text),
    "ceiling": _nullable(_number),
    "ceiling_std_error": _nullable(_number),
    "unreliable_targets": _nullable(_natural),
    "null_band": _numbers("unrelated", "shared"),
    "attempts_spectrum": _number,
    "provenance": lambda value: isinstance(value, dict),
    "files": _relative_paths,
}
"""What the value of each field must be like."""
