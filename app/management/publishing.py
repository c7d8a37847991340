"""Benchmarks, published: a folder is verified and copied beside the others first, and one short transaction makes it appear."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from app import data_lock
from app.benchmarks.catalog import has_kit, version_folder
from app.db.models import Benchmark, Version
from app.management.images import find_images
from app.scoring import rescoring
from ldsboard import GroundTruth, result
from ldsboard.bundle import Bundle
from ldsboard.manifest import MANIFEST
from ldsboard.masks import count_duplicates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy.orm import Session

    from ldsboard.manifest import Manifest

MIN_RANKING_SUBSETS = 100
"""Fewer ranking subsets cannot tell methods apart."""

MIN_PUBLIC_SUBSETS = 20
"""Fewer public subsets are no use to tune on."""

PUBLIC_ARRAYS = ("masks.npy", "margins.npy", "train_labels.npy", "target_labels.npy", "train_images.npy", "target_images.npy")
"""What ``public.npz`` holds, where the benchmark has it."""

NAME_PATTERN = r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*"
"""What a benchmark may be called: it stands in addresses and in paths."""


class PublishError(ValueError):
    """A folder cannot be published; the message says why and what to do."""


@dataclass(frozen=True)
class PreparedVersion:
    """A benchmark that was verified: its manifest, its copy with its downloads, and where that is to be."""

    manifest: Manifest
    copy: Path
    target: Path


@contextmanager
def prepare(root: Path, folder: Path, images: Path | None = None) -> Iterator[PreparedVersion]:
    """Verify a benchmark folder, copy it and prepare its downloads; at the end of the block a copy not published is gone.

    This reads and writes all arrays: no transaction may be open meanwhile, or nobody else could write.

    Parameters
    ----------
    root
        Where published benchmarks are kept.
    folder
        What the worker wrote; it stays as it is.
    images
        Where the images are that the folder lacks; see `find_images`. What is published then has them, and says so.

    Raises
    ------
    PublishError, BundleError, ImagesError
        The folder is not a benchmark, or the images are not those of the benchmark, or something else is being published.
    """
    bundle = Bundle.open(folder)
    _check(bundle)
    added = find_images(images, bundle.manifest) if images is not None else {}
    digests = {name: sha256(content).hexdigest() for name, content in added.items()}
    manifest = replace(bundle.manifest, files=bundle.manifest.files | digests)
    target = version_folder(root, manifest.name, manifest.version)
    copy = target.with_name(f"{target.name}.partial")
    root.mkdir(parents=True, exist_ok=True)
    try:
        held = data_lock.lock_file(root / "publishing.lock")
    except BlockingIOError as error:
        raise PublishError(
            f"expected to be the only one who publishes, got another at work in {root}. Try again when it is done."
        ) from error
    try:
        _copy(folder, manifest, added, copy)
        yield PreparedVersion(manifest, copy, target)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
        held.close()


def publish(session: Session, made: PreparedVersion) -> Version:
    """Make a verified benchmark appear, as the current version; see `boards`.

    Raises
    ------
    PublishError
        This version is published already.
    """
    manifest = made.manifest
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
    rescoring.introduce_version(session, version)
    # What a killed publication left without a row; a version with one never comes here.
    shutil.rmtree(made.target, ignore_errors=True)
    made.copy.rename(made.target)
    return version


def _check(bundle: Bundle) -> None:
    """Refuse a folder that can be opened but not offered, or not scored against."""
    manifest = bundle.manifest
    if not re.fullmatch(NAME_PATTERN, manifest.name) or manifest.version < 1:
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
    if counts["ranking"] < MIN_RANKING_SUBSETS or counts["public"] < MIN_PUBLIC_SUBSETS:
        raise PublishError(
            f"expected at least {MIN_PUBLIC_SUBSETS} public and {MIN_RANKING_SUBSETS} ranking subsets, got {counts}. Train more."
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


def _copy(folder: Path, manifest: Manifest, added: Mapping[str, bytes], copy: Path) -> None:
    """Copy the folder, put in what is added, and pack its downloads."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "public", copy / "public")
    if manifest.split == "protected":
        shutil.copytree(folder / "hidden", copy / "hidden")
        (copy / "hidden").chmod(0o700)
    public, downloads = copy / "public", copy / "downloads"
    downloads.mkdir()
    for name, content in added.items():
        (public / name).write_bytes(content)
    if added:
        (public / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    # Only what the manifest names was verified, and only that is handed out.
    arrays = [public / name for name in PUBLIC_ARRAYS if name in manifest.files]
    _pack(downloads / "public.npz", public, arrays)
    kit = [public / name for name in sorted(manifest.files) if name.startswith("kit/")]
    _pack(downloads / "kit.zip", public, [public / MANIFEST, *kit])


def _pack(archive: Path, root: Path, files: list[Path]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in files:
            bundle.write(path, path.relative_to(root).as_posix())
