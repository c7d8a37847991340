"""Benchmarks: listed, found, and where they are kept. What makes them appear is `publication`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db.models import Benchmark, Version
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy.orm import Session


def version_folder(root: Path, name: str, version: int) -> Path:
    """Return where a published version is kept."""
    return root / name / str(version)


def has_kit(files: Iterable[str]) -> bool:
    """Tell whether a benchmark with these public files shows how its models were trained."""
    return any(name.startswith("kit/") for name in files)


def are_compatible(old: Version, new: Version) -> bool:
    """Return whether a file that was sent to one version can be scored against another."""

    def essence(version: Version) -> tuple[object, ...]:
        manifest = version.manifest
        return (
            manifest["n_train"],
            manifest["n_targets"],
            manifest["output_function"],
            manifest["dataset"].get("sha256"),
        )

    return essence(old) == essence(new)


def find_version(session: Session, name: str, number: int | None = None) -> Version:
    """Return a version of a benchmark, by default the current one, or raise ``benchmark.unknown``."""
    query = select(Version).join(Benchmark).where(Benchmark.name == name)
    wanted = Benchmark.current_version if number is None else number
    # One that is being made ready is not there yet.
    version = session.scalar(query.where(Version.version == wanted, Version.version <= Benchmark.current_version))
    if version is None:
        names = session.scalars(select(Benchmark.name).order_by(Benchmark.name)).all()
        raise ProblemError(
            "benchmark.unknown",
            expected=f"one of: {', '.join(names) or '(none is published yet)'}",
            got=name[:80] if number is None else f"{name[:80]} version {number}",
            hint="See the list of benchmarks at /api/v1/benchmarks.",
        )
    return version


def current_versions(session: Session) -> list[Version]:
    """Return the current version of every benchmark, by name."""
    query = select(Version).join(Benchmark).where(Version.version == Benchmark.current_version)
    return list(session.scalars(query.order_by(Benchmark.name)))
