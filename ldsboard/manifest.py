"""Read and validate the manifest of a benchmark, `public/benchmark.json`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANIFEST = "benchmark.json"

REQUIRED = {"masks.npy", "margins.npy"}
"""Arrays that every public part and every hidden part has."""


class BundleError(ValueError):
    """The error for a benchmark folder that is incomplete, altered or inconsistent; the message names the file and a remedy."""


@dataclass(frozen=True)
class Manifest:
    """The content of `public/benchmark.json`.

    Attributes
    ----------
    name, version
        Name of the benchmark (lower-case letters, digits and single dashes), and number of this version.
    title, description, licence
        Texts that the pages show.
    dataset, recipe, provenance
        JSON objects that describe the data set, the training recipe, and how the ground truth was made.
    alpha
        Fraction of the training examples in each subset.
    n_train, n_targets
        Number of training examples n and of targets N.
    subsets
        Number of public subsets and of ranking subsets, without the reserve, under the keys ``public`` and ``ranking``.
    runs
        Number of runs R of each subset.
    output_function
        Name of the output function, such as ``margin``.
    split
        ``protected`` (the ranking subsets are hidden) or ``open`` (all subsets are public).
    ranking
        On an open benchmark, the first row of the ranking subsets and the row after the last; None on a protected benchmark. If
        the first row is 0, all subsets are both public subsets and ranking subsets.
    public_seed
        Root seed of the public subsets; None for imported subsets.
    commitment
        Commitment to the hidden seed, see `ldsboard.subsets.commitment`; None on an open benchmark.
    ceiling, ceiling_std_error, unreliable_targets
        The noise ceiling on the ranking subsets, see `ldsboard.core.ceiling.NoiseCeiling`; None if every subset has one run, or
        if there are fewer than 64 ranking subsets.
    null_band
        Half widths of the null band under the keys ``unrelated`` and ``shared``, see `ldsboard.core.ceiling.MarginSpectrum`.
    attempts_spectrum
        Largest eigenvalue of the matrix of rank correlations between the margins of targets, divided by N. From this number,
        `ldsboard.core.ceiling.attempt_gain` computes a bound on the gain from repeated attempts.
    files
        sha256 of every other file in ``public/``, by its relative path.
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

    @property
    def public_rows(self) -> slice:
        """Rows of the public subsets that the public LDS uses.

        On an open benchmark these are the rows before `ranking`, or all rows if no row is before `ranking`. On a protected
        benchmark these are all rows.
        """
        return slice(0, self.ranking[0]) if self.ranking and self.ranking[0] else slice(None)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate the manifest in the file `path`.

        Raises
        ------
        BundleError
            The file cannot be read, lacks a field, or has an unknown field or an invalid value.
        """
        try:
            members = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"Cannot read the benchmark manifest {path}: {error}") from error
        hint = "Use the version of LDSBoard that wrote this file, or create the benchmark again with the installed version."
        if not isinstance(members, dict):
            raise BundleError(f"{path} is not a JSON object. {hint}")
        if difference := members.keys() ^ _VALIDATORS:
            raise BundleError(f"{path} has missing or unknown fields: {', '.join(sorted(difference))}. {hint}")
        for name, fits in _VALIDATORS.items():
            if not fits(members[name]):
                raise BundleError(f"{path} has an invalid {name}: {members[name]!r:.80}. {hint}")
        if members["ranking"] is not None:
            members["ranking"] = tuple(members["ranking"])
        return cls(**members)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # one of the two types


def _nullable(fits: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def _is_natural(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_numbers(*names: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and set(value) == set(names) and all(map(_is_number, value.values()))


def _is_relative_paths(value: object) -> bool:
    """Return whether `value` maps paths to texts, and every path is relative and has no ``..``, backslash or colon."""
    return isinstance(value, dict) and all(
        isinstance(digest, str)
        and not PurePosixPath(name).is_absolute()
        and ".." not in PurePosixPath(name).parts
        and not {"\\", ":"} & set(name)  # path separators on Windows
        for name, digest in value.items()
    )


_VALIDATORS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("name", "title", "description", "licence", "output_function", "split"), _is_text),
    **dict.fromkeys(("version", "n_train", "n_targets", "runs"), _is_count),
    **dict.fromkeys(("dataset", "recipe", "provenance"), lambda value: isinstance(value, dict)),
    **dict.fromkeys(("public_seed", "unreliable_targets"), _nullable(_is_natural)),
    **dict.fromkeys(("ceiling", "ceiling_std_error"), _nullable(_is_number)),
    "commitment": _nullable(_is_text),
    "alpha": lambda value: _is_number(value) and 0 < value < 1,
    "attempts_spectrum": _is_number,
    "ranking": _nullable(lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))),  # noqa: PLR2004
    "subsets": _is_numbers("public", "ranking"),
    "null_band": _is_numbers("unrelated", "shared"),
    "files": _is_relative_paths,
}
"""For each field of the manifest, a function that returns whether a value of the field is valid."""
