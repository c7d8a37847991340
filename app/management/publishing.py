"""Publishing of benchmarks: verify and copy a benchmark folder, then publish the copy in a short transaction."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from filelock import Timeout
from sqlalchemy import select

from app import data_lock
from app.benchmarks.catalog import has_kit, version_folder
from app.db.models import Benchmark, Version
from app.leaderboard.disclosure import benchmark_numbers
from app.management.images import find_images
from app.scoring import rescoring
from ldsboard import GroundTruth
from ldsboard.arrays.masks import count_duplicates
from ldsboard.bundle import Bundle
from ldsboard.core import result
from ldsboard.core.ceiling import can_know_ceiling
from ldsboard.counts import count
from ldsboard.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy.orm import Session

    from ldsboard.manifest import Manifest

MIN_RANKING_SUBSETS = 100
"""Minimum number of ranking subsets; fewer cannot distinguish methods."""

MIN_PUBLIC_SUBSETS = 20
"""Minimum number of public subsets; fewer are useless for tuning."""

PUBLIC_ARRAYS = (
    "masks.npy",
    "margins.npy",
    "train_labels.npy",
    "target_labels.npy",
    "train_images.npy",
    "target_images.npy",
)
"""Arrays in ``public.npz``; arrays that the benchmark does not have are left out."""

NAME_PATTERN = r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*"
"""Pattern of benchmark names, which are parts of URLs and file paths."""


class PublishError(ValueError):
    """A folder cannot be published; the message says why and what to do."""


@dataclass(frozen=True)
class PreparedVersion:
    """A verified benchmark version that is ready to be published.

    Attributes
    ----------
    copy
        Path of a temporary copy of the benchmark folder, to which archives for download and any images were added.
    target
        Path at which the copy is published.
    """

    manifest: Manifest
    copy: Path
    target: Path


@contextmanager
def prepare(root: Path, folder: Path, images: Path | None = None) -> Iterator[PreparedVersion]:
    """Verify and copy a benchmark folder, and yield the copy, with its download archives, as a prepared version.

    If the ``with`` block does not publish the copy, the copy is deleted at the end of the block.

    Verifying and copying take long, because all arrays are read and written. Call this outside any write transaction, because an
    open write transaction blocks all other writers.

    Parameters
    ----------
    root
        Folder of the published benchmarks.
    folder
        Folder that the worker wrote; the folder is not changed.
    images
        An ``.npz`` file, or a folder of ``.npy`` files, with the images that the benchmark lacks, see `find_images`. The images
        are added to the copy, and their hashes to the manifest of the copy. None: no images are added.

    Raises
    ------
    BundleError
        The folder is incomplete, altered or inconsistent.
    PublishError
        The benchmark is not fit to be published, or another process is publishing.
    ProblemError
        The subsets cannot be ranked, for instance because a target has equal margins for all subsets.
    ImagesError
        The images do not belong to the benchmark.
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
        lock = data_lock.lock_file(root / "publishing.lock")
    except Timeout as error:
        raise PublishError(
            f"Another process is publishing a benchmark in {root}. Try again when it has finished."
        ) from error
    with lock:
        try:
            _copy(folder, manifest, added, copy)
            yield PreparedVersion(manifest, copy, target)
        finally:
            shutil.rmtree(copy, ignore_errors=True)


def publish(session: Session, prepared: PreparedVersion) -> Version:
    """Save a prepared version in the database, move the copy to its final path, and return the version's row.

    The version becomes the current version of the benchmark, at once or after rescoring: this function calls
    `app.scoring.rescoring.introduce_version`.

    Raises
    ------
    PublishError
        This version was published before.
    """
    manifest = prepared.manifest
    benchmark = session.scalar(select(Benchmark).where(Benchmark.name == manifest.name))
    if benchmark is None:
        benchmark = Benchmark(name=manifest.name, current_version=manifest.version)
        session.add(benchmark)
        session.flush()
    elif any(other.version == manifest.version for other in benchmark.versions):
        raise PublishError(
            f"{manifest.name} version {manifest.version} is published already, and versions are immutable. "
            "Write a benchmark folder with a higher version: python -m worker train and python -m app benchmark import have the "
            "option --version."
        )
    version = Version(
        benchmark=benchmark, version=manifest.version, manifest=asdict(manifest), scorer_version=result.SCORER_VERSION
    )
    session.add(version)
    session.flush()
    rescoring.introduce_version(session, version)
    # A killed process may have left this folder; no row refers to it, because this version was not published before.
    shutil.rmtree(prepared.target, ignore_errors=True)
    prepared.copy.rename(prepared.target)
    return version


def _check(bundle: Bundle) -> None:
    """Check that a benchmark whose public part is verified may be published.

    Raises
    ------
    BundleError
        The hidden part is missing or damaged.
    PublishError
        The name, version, split, subsets or noise ceiling is not allowed; or a number in the manifest contradicts the arrays, or
        the kit lacks labels, see `_check_numbers`.
    ProblemError
        The subsets cannot be ranked, for instance because a target has equal margins for all subsets.
    """
    manifest = bundle.manifest
    if not re.fullmatch(NAME_PATTERN, manifest.name) or manifest.version < 1:
        raise PublishError(
            f"{manifest.name!r} version {manifest.version} cannot be published: a name consists of at most 64 lower-case "
            "letters, digits and single dashes, and a version is at least 1. Write a benchmark folder with a valid name and "
            "version: change NAME in the recipe and train, or run python -m app benchmark import NAME --version VERSION."
        )
    if (manifest.split, manifest.ranking is None) not in {("protected", True), ("open", False)}:
        raise PublishError(
            f"The split is {manifest.split!r} and the ranking rows are {manifest.ranking}. A benchmark is either 'open' with "
            f"ranking rows, or 'protected' without ranking rows. {_rewrite_hint(bundle)}"
        )
    masks_Mn, margins_MRN, parts = bundle.scored_arrays()
    counts = {part: len(masks_Mn[rows]) for part, rows in parts.items()}
    if counts != manifest.subsets:
        raise PublishError(
            f"The manifest states {manifest.subsets} subsets, but the arrays hold {counts}. {_rewrite_hint(bundle)}"
        )
    if counts["ranking"] < MIN_RANKING_SUBSETS or counts["public"] < MIN_PUBLIC_SUBSETS:
        raise PublishError(
            f"Expected at least {MIN_PUBLIC_SUBSETS} public and {MIN_RANKING_SUBSETS} ranking subsets, got {counts}. "
            "Train models on more subsets."
        )
    if duplicates := count_duplicates(masks_Mn):
        raise PublishError(f"The subsets must differ. Found {count(duplicates, 'repetition')}. Draw different subsets.")
    needs_ceiling = can_know_ceiling(counts["ranking"], manifest.runs) or manifest.split == "protected"
    if needs_ceiling and not (manifest.ceiling is not None and manifest.ceiling > 0):
        raise PublishError(
            f"The noise ceiling is {manifest.ceiling} instead of a positive number: "
            "margins of different runs do not correlate. Train the models longer."
        )
    truth = GroundTruth(masks_Mn, margins_MRN)
    for rows in parts.values():
        truth.fingerprint(rows)  # raises an error for constant margins
    _check_numbers(bundle, truth, parts["ranking"])


def _check_numbers(bundle: Bundle, truth: GroundTruth, rows: slice) -> None:
    """Raise PublishError if the manifest's ceiling, null band or spectrum contradicts the arrays, or if a kit lacks labels."""
    manifest = bundle.manifest
    known = can_know_ceiling(manifest.subsets["ranking"], manifest.runs)
    ceiling, spectrum = truth.noise_ceiling(rows) if known else None, truth.margin_spectrum(rows)
    band = manifest.null_band
    stated = [manifest.ceiling, manifest.ceiling_std_error]
    stated += [band["unrelated"], band["shared"], manifest.attempts_spectrum]
    found = [ceiling and ceiling.value, ceiling and ceiling.std_error]
    found += [spectrum.unrelated, spectrum.shared, spectrum.attempts]
    # A value of None becomes nan in a float array.
    if not np.allclose(np.array(stated, float), np.array(found, float), rtol=1e-6, atol=1e-9, equal_nan=True):
        names = ("ceiling", "ceiling_std_error", "null_band.unrelated", "null_band.shared", "attempts_spectrum")
        pairs = zip(names, stated, found, strict=True)
        numbers = "; ".join(f"{name}: manifest {before}, arrays {computed}" for name, before, computed in pairs)
        raise PublishError(
            f"The manifest must state the numbers that the arrays give. {numbers}. {_rewrite_hint(bundle)}"
        )
    if has_kit(manifest.files) and not {"train_labels.npy", "target_labels.npy"} <= set(manifest.files):
        raise PublishError(
            "The kit needs train_labels.npy and target_labels.npy, but the manifest lists only "
            f"{', '.join(sorted(manifest.files))}. {_rewrite_hint(bundle)}"
        )


def _rewrite_hint(bundle: Bundle) -> str:
    """Return how to write the manifest of a benchmark folder again from the trained models or the imported files."""
    provenance = bundle.manifest.provenance
    if "imported" in provenance:
        return "Import the files again with python -m app benchmark import, with the options of the first import."
    partial = " --partial" if "planned" in provenance else ""
    folder = shlex.quote(str(bundle.folder))
    return f"Write the benchmark folder again from the trained models: python -m worker gather {folder}{partial}"


def _copy(folder: Path, manifest: Manifest, added: Mapping[str, bytes], copy: Path) -> None:
    """Copy the public part and any hidden part of `folder` to `copy`, and create the download archives in ``copy/downloads``.

    If `added` (file name to content) is not empty, these files are added to the copied public part, and `manifest` is written in
    place of the copied manifest.
    """
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
    # Only files named by the manifest were verified, so only these are packed.
    arrays = [public / name for name in PUBLIC_ARRAYS if name in manifest.files]
    _pack(downloads / "public.npz", public, arrays)
    kit = [public / name for name in sorted(manifest.files) if name.startswith("kit/")]
    _pack(downloads / "kit.zip", public, kit, {MANIFEST: _published(manifest)})


def _published(manifest: Manifest) -> str:
    """Return the manifest as everybody may download it: numbers from hidden subsets are rounded."""
    members = asdict(manifest)
    return json.dumps(members | benchmark_numbers(members), indent=2) + "\n"


def _pack(archive: Path, root: Path, files: list[Path], texts: Mapping[str, str] | None = None) -> None:
    """Write the ZIP file `archive` from `texts`, which maps names in the archive to texts, and from `files`.

    In the archive, the name of a file is its path relative to `root`.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in (texts or {}).items():
            bundle.writestr(name, text)
        for path in files:
            bundle.write(path, path.relative_to(root).as_posix())
