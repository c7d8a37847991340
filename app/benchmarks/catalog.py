"""Queries for published benchmarks and their versions, and the folders of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import contains_eager

from app.db.base import CodePointOrder
from app.db.models import Benchmark, Version
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy.orm import Session

VERSIONS = select(Version).join(Benchmark).options(contains_eager(Version.benchmark))
"""Query that selects versions together with their benchmarks."""


def version_folder(root: Path, name: str, version: int) -> Path:
    """Return the folder of a published version of the benchmark `name`; `root` is the folder of all benchmarks."""
    return root / name / str(version)


def has_kit(files: Iterable[str]) -> bool:
    """Return whether a benchmark has a kit, given the names of its public files."""
    return any(name.startswith("kit/") for name in files)


def are_compatible(old: Version, new: Version) -> bool:
    """Return whether two versions have the same data, shape and output function, so that one score file fits both versions."""
    same_data = old.manifest["dataset"].get("sha256") == new.manifest["dataset"].get("sha256")
    fields = ("n_train", "n_targets", "output_function")
    return same_data and all(old.manifest[field] == new.manifest[field] for field in fields)


FEWEST_RANKED = 20
"""Minimum number of ranking subsets of a board with ranks."""


def all_subsets_rank(manifest: dict[str, Any]) -> bool:
    """Return whether all subsets of a benchmark are both public and ranking subsets, so that anybody can fit scores to them."""
    return manifest["ranking"] is not None and manifest["ranking"][0] == 0


def count_subsets(manifest: dict[str, Any]) -> int:
    """Return the number of subsets of a benchmark, public and ranking subsets together, without the reserve."""
    subsets = manifest["subsets"]
    return int(subsets["ranking"] if all_subsets_rank(manifest) else subsets["public"] + subsets["ranking"])


def has_ranks(manifest: dict[str, Any]) -> bool:
    """Return whether the entries of a benchmark have ranks.

    There are no ranks if all subsets are public and ranking subsets, or if there are fewer than `FEWEST_RANKED` ranking subsets.
    """
    return manifest["subsets"]["ranking"] >= FEWEST_RANKED and not all_subsets_rank(manifest)


def has_hidden_subsets(manifest: dict[str, Any]) -> bool:
    """Return whether the ranking subsets of a benchmark are hidden, so that no method can be fitted to them."""
    return bool(manifest["split"] == "protected")


def find_version(session: Session, name: str, number: int | None = None) -> Version:
    """Return a published version of a benchmark, by default the current version.

    Raises
    ------
    ProblemError
        ``benchmark.unknown``: the benchmark or the version does not exist, or the version is newer than the current version.
    """
    query = VERSIONS.where(Benchmark.name == name)
    wanted = Benchmark.current_version if number is None else number
    # A version with a higher number than the current version is invisible, because its rescoring is not complete.
    version = session.scalar(query.where(Version.version == wanted, Version.version <= Benchmark.current_version))
    if version is None:
        names = session.scalars(select(Benchmark.name).order_by(CodePointOrder(Benchmark.name))).all()
        got = name[:80] if number is None else f"{name[:80]} version {number}"
        raise ProblemError(
            "benchmark.unknown",
            f"This server has no benchmark {got}.",
            "GET /api/v1/benchmarks lists all benchmarks and their versions.",
            f"a published version of one of these benchmarks: {', '.join(names) or '(none is published yet)'}",
            got,
        )
    return version


def find_open_version(session: Session, name: str) -> Version:
    """Return the current version of a benchmark that takes submissions.

    Raises
    ------
    ProblemError
        ``benchmark.unknown``: the benchmark does not exist.
        ``benchmark.retired``: the benchmark is retired.
    """
    version = find_version(session, name)
    check_not_retired(version.benchmark)
    return version


def check_not_retired(benchmark: Benchmark) -> None:
    """Raise ``benchmark.retired`` if a benchmark is retired, so that it takes no more files."""
    if (retired_at := benchmark.retired_at) is not None:
        raise ProblemError(
            "benchmark.retired",
            f"The benchmark {benchmark.name} was retired on {retired_at:%Y-%m-%d} and takes no more submissions.",
            "Send the file to another benchmark: GET /api/v1/benchmarks lists all of them. Score a file offline with "
            "ldsboard score.",
        )


def current_versions(session: Session) -> list[Version]:
    """Return the current version of every benchmark, sorted by the code points of the benchmark names."""
    query = VERSIONS.where(Version.version == Benchmark.current_version)
    return list(session.scalars(query.order_by(CodePointOrder(Benchmark.name))))
