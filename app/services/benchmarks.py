"""Benchmarks: published from a folder, listed, and handed out."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import asdict, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from app.db.models import Benchmark, Version
from app.services import boards
from app.services.images import find_images
from ldsboard import GroundTruth, result
from ldsboard.bundle import Bundle
from ldsboard.manifest import MANIFEST
from ldsboard.masks import count_duplicates
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sqlalchemy.orm import Session

    from ldsboard.manifest import Manifest

FEWEST_RANKING = 100
"""Fewer ranking subsets cannot tell methods apart."""

FEWEST_PUBLIC = 20
"""Fewer public subsets are no use to tune on."""

ARRAYS = ("masks.npy", "margins.npy", "train_labels.npy", "target_labels.npy", "train_images.npy", "target_images.npy")
"""What ``public.npz`` holds, where the benchmark has it."""

NAME = r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*"
"""What a benchmark may be called: it stands in addresses and in paths."""


class PublishError(ValueError):
    """A folder cannot be published; the message says why and what to do."""


def folder_of(root: Path, name: str, version: int) -> Path:
    """Return where a published version is kept."""
    return root / name / str(version)


def publish(session: Session, root: Path, folder: Path, images: Path | None = None) -> Version:
    """Publish a benchmark folder: verify it, copy it, prepare its downloads, and make it the current version; see `boards`.

    Parameters
    ----------
    session, root
        The database, and where published benchmarks are kept.
    folder
        What the worker wrote; it stays as it is.
    images
        Where the images are that the folder lacks; see `find_images`. What is published then has them, and says so.

    Raises
    ------
    PublishError, BundleError, ImagesError
        The folder is not a benchmark, or this version is published already, or the images are not those of the benchmark.
    """
    bundle = Bundle.open(folder)
    _check(bundle)
    added = find_images(images, bundle.manifest) if images is not None else {}
    digests = {name: sha256(content).hexdigest() for name, content in added.items()}
    manifest = replace(bundle.manifest, files=bundle.manifest.files | digests)
    benchmark = session.scalar(select(Benchmark).where(Benchmark.name == manifest.name))
    if benchmark is None:
        benchmark = Benchmark(name=manifest.name, current_version=manifest.version)
        session.add(benchmark)
        session.flush()
    elif any(known.version == manifest.version for known in benchmark.versions):
        raise PublishError(
            f"{manifest.name} version {manifest.version} is published already, and versions are immutable. "
            "Raise the version: --version."
        )
    version = Version(
        benchmark=benchmark, version=manifest.version, manifest=asdict(manifest), scorer_version=result.SCORER_VERSION
    )
    session.add(version)
    session.flush()
    boards.introduce(session, version)
    _copy(folder, manifest, added, folder_of(root, manifest.name, manifest.version))
    return version


def _check(bundle: Bundle) -> None:
    """Refuse a folder that can be opened but not offered, or not scored against."""
    manifest = bundle.manifest
    if not re.fullmatch(NAME, manifest.name) or manifest.version < 1:
        raise PublishError(
            "expected a name of at most 64 lower-case letters, digits and single dashes, and a version from 1, "
            f"got {manifest.name!r} version {manifest.version}. Write the folder again under another name."
        )
    if (manifest.split, manifest.ranking is None) not in {("protected", True), ("open", False)}:
        raise PublishError(
            "expected a protected split without ranking rows, or an open one with them, "
            f"got {manifest.split!r} with {manifest.ranking}. Write the folder again."
        )
    masks_Mn, margins_MRN, parts = bundle.scored_arrays()
    counts = {part: len(masks_Mn[rows]) for part, rows in parts.items()}
    if counts != manifest.subsets:
        raise PublishError(f"expected the subsets of the manifest, {manifest.subsets}, got {counts}. Write it again.")
    if counts["ranking"] < FEWEST_RANKING or counts["public"] < FEWEST_PUBLIC:
        raise PublishError(
            f"expected at least {FEWEST_PUBLIC} public and {FEWEST_RANKING} ranking subsets, got {counts}. Train more."
        )
    if duplicates := count_duplicates(masks_Mn):
        raise PublishError(f"expected different subsets, got {duplicates} that repeat another. Draw them again.")
    known = manifest.runs > 1 or manifest.split == "protected"
    if known and not (manifest.ceiling is not None and manifest.ceiling > 0):
        raise PublishError(
            f"expected a positive noise ceiling, got {manifest.ceiling}: the runs do not agree on anything. Train longer."
        )
    truth = GroundTruth(masks_Mn, margins_MRN)
    for rows in parts.values():
        truth.fingerprint(rows)  # refuses constant margins
    _check_numbers(manifest, truth, parts["ranking"])


def _check_numbers(manifest: Manifest, truth: GroundTruth, rows: slice) -> None:
    """Refuse a manifest whose numbers are not those of its arrays: every share of the ceiling would be wrong."""
    ceiling, spectrum = truth.noise_ceiling(rows) if manifest.runs > 1 else None, truth.margin_spectrum(rows)
    band = manifest.null_band
    stated = [
        manifest.ceiling,
        manifest.ceiling_std_error,
        band["unrelated"],
        band["shared"],
        manifest.attempts_spectrum,
    ]
    found = [ceiling and ceiling.value, ceiling and ceiling.std_error]
    found += [spectrum.unrelated, spectrum.shared, spectrum.attempts]
    # As floats, a number that is absent is nan.
    if not np.allclose(np.array(stated, float), np.array(found, float), rtol=1e-6, atol=1e-9, equal_nan=True):
        raise PublishError(
            f"expected ceiling, error, null band and spectrum {found} as the arrays have them, got {stated}. Write it again."
        )
    if has_kit(manifest.files) and not {"train_labels.npy", "target_labels.npy"} <= set(manifest.files):
        raise PublishError(
            f"expected the labels that its kit needs among the files, got {sorted(manifest.files)}. Write the folder again."
        )


def has_kit(files: Iterable[str]) -> bool:
    """Tell whether a benchmark with these public files shows how its models were trained."""
    return any(name.startswith("kit/") for name in files)


def _copy(folder: Path, manifest: Manifest, added: Mapping[str, bytes], target: Path) -> None:
    """Copy the folder, put in what is added, and pack its downloads; the target appears only when it is whole."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # What a killed publication left without a row; a version with one never comes here.
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "public", partial / "public")
    if manifest.split == "protected":
        shutil.copytree(folder / "hidden", partial / "hidden")
        (partial / "hidden").chmod(0o700)
    public, downloads = partial / "public", partial / "downloads"
    downloads.mkdir()
    for name, content in added.items():
        (public / name).write_bytes(content)
    if added:
        (public / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    # Only what the manifest names was verified, and only that is handed out.
    arrays = [public / name for name in ARRAYS if name in manifest.files]
    _pack(downloads / "public.npz", public, arrays)
    kit = [public / name for name in sorted(manifest.files) if name.startswith("kit/")]
    _pack(downloads / "kit.zip", public, [public / MANIFEST, *kit])
    partial.rename(target)


def _pack(archive: Path, root: Path, files: list[Path]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in files:
            bundle.write(path, path.relative_to(root).as_posix())


def find(session: Session, name: str, number: int | None = None) -> Version:
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


def current(session: Session) -> list[Version]:
    """Return the current version of every benchmark, by name."""
    query = select(Version).join(Benchmark).where(Version.version == Benchmark.current_version)
    return list(session.scalars(query.order_by(Benchmark.name)))
