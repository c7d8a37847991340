"""Publishing of benchmarks: verify and copy a benchmark folder, then publish the copy in a short transaction."""

from __future__ import annotations

import io
import json
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
from app.benchmarks.catalog import version_folder
from app.db.models import Benchmark, Version
from app.leaderboard.disclosure import benchmark_numbers
from app.management.publication_checks import PublishError, check_publishable
from app.scoring import rescoring
from ldsboard.bundle import Bundle
from ldsboard.core import result
from ldsboard.images import find_images
from ldsboard.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from ldsboard.manifest import Manifest

PUBLIC_ARRAYS = (
    "masks.npy",
    "margins.npy",
    *(f"{part}_{kind}.npy" for kind in ("labels", "images") for part in ("train", "target")),
)
"""Arrays in ``public.npz``; arrays that the benchmark does not have are left out."""


@dataclass(frozen=True)
class PreparedVersion:
    """A verified benchmark version that is ready to be published.

    Attributes
    ----------
    copy
        Path of a temporary copy of the benchmark folder, to which archives for download and any images were added.
    target
        Path at which the copy is published.
    reserve_subsets
        Number of hidden subsets in the reserve.
    """

    manifest: Manifest
    copy: Path
    target: Path
    reserve_subsets: int


@contextmanager
def prepare(root: Path, folder: Path, images: Path | None = None) -> Iterator[PreparedVersion]:
    """Verify and copy one benchmark folder, and yield the copy as a prepared version; see `prepare_all`."""
    with prepare_all(root, [folder], images) as (prepared,):
        yield prepared


@contextmanager
def prepare_all(root: Path, folders: Sequence[Path], images: Path | None = None) -> Iterator[list[PreparedVersion]]:
    """Verify and copy benchmark folders, and yield the copies, with their download archives, as prepared versions.

    Publish the copies with `publish_all` in the ``with`` block. A copy that is not published is deleted at the end of the block.
    Until then, no other process can prepare versions in `root`. All folders are verified before the first is copied.

    Verifying and copying take long, because all arrays are read and written. Call this function outside any write transaction,
    because an open write transaction blocks all other writers.

    Parameters
    ----------
    root
        Folder of the published benchmarks.
    folders
        Folders that the worker or an import wrote; the folders are not changed.
    images
        An ``.npz`` file, or a folder of ``.npy`` files, with the images that the benchmark lacks, see `find_images`. The images
        are added to the copy, and their hashes to the manifest of the copy. None: no images are added.

    Raises
    ------
    BundleError
        A folder is incomplete, altered or inconsistent, or its subsets have several sizes.
    PublishError
        A benchmark is not fit to be published, or another process is publishing.
    ProblemError
        The subsets cannot be ranked, for instance because a target has equal margins for all subsets.
    ImagesError
        `images` cannot be read or lacks an image array of a benchmark, or a benchmark does not need images.
    """
    prepared, images_of = [], []
    for folder in folders:
        bundle = Bundle.open(folder)
        reserve_subsets = check_publishable(bundle)
        found = find_images(images, bundle.manifest) if images is not None else {}
        added = {f"{name}.npy": _file_content(array) for name, array in found.items()}
        digests = {name: sha256(content).hexdigest() for name, content in added.items()}
        manifest = replace(bundle.manifest, files=bundle.manifest.files | digests)
        target = version_folder(root, manifest.name, manifest.version)
        copy = target.with_name(f"{target.name}.partial")
        prepared.append(PreparedVersion(manifest, copy, target, reserve_subsets))
        images_of.append(added)
    root.mkdir(parents=True, exist_ok=True)
    try:
        lock = data_lock.lock_file(root / "publishing.lock")
    except Timeout as error:
        raise PublishError(
            f"Another process is publishing a benchmark in {root}. Try again when it has finished."
        ) from error
    with lock:
        try:
            for folder, made, added in zip(folders, prepared, images_of, strict=True):
                _copy(folder, made.manifest, added, made.copy)
            yield prepared
        finally:
            for made in prepared:
                shutil.rmtree(made.copy, ignore_errors=True)


def _file_content(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def publish(session: Session, prepared: PreparedVersion) -> Version:
    """Save one prepared version in the database, move its copy to the final path, and return the row; see `publish_all`."""
    return publish_all(session, [prepared])[0]


def publish_all(session: Session, prepared: Sequence[PreparedVersion]) -> list[Version]:
    """Save prepared versions in the database, move the copies to their final paths, and return the versions' rows.

    Call this function in a write session within the ``with`` block of `prepare_all`. The copies are moved before the commit. A
    version with a higher number than the current version becomes the current version, at once or after rescoring; see
    `app.scoring.rescoring.introduce_version`.

    Raises
    ------
    PublishError
        One of the versions was published before, or a benchmark is retired; no copy was moved.
    """
    versions = [_save(session, made) for made in prepared]
    for made in prepared:
        # A killed process may have left this folder; no row refers to it, because this version was not published before.
        shutil.rmtree(made.target, ignore_errors=True)
        made.copy.rename(made.target)
    return versions


def _save(session: Session, prepared: PreparedVersion) -> Version:
    """Save the row of a version, and of a new benchmark; raise PublishError if a version or benchmark cannot be published."""
    manifest = prepared.manifest
    benchmark = session.scalar(select(Benchmark).where(Benchmark.name == manifest.name))
    if benchmark is None:
        benchmark = Benchmark(name=manifest.name, current_version=manifest.version)
        session.add(benchmark)
        session.flush()
    elif benchmark.retired_at is not None:
        raise PublishError(
            f"{manifest.name} is retired and takes no new versions. Publish a benchmark with another name."
        )
    elif any(other.version == manifest.version for other in benchmark.versions):
        raise PublishError(
            f"{manifest.name} version {manifest.version} is published already, and versions are immutable. "
            "Write a benchmark folder with a higher version: python -m worker train and python -m app benchmark import have the "
            "option --version."
        )
    version = Version(
        benchmark=benchmark,
        version=manifest.version,
        manifest=asdict(manifest),
        reserve_subsets=prepared.reserve_subsets,
        scorer_version=result.SCORER_VERSION,
    )
    session.add(version)
    session.flush()
    rescoring.introduce_version(session, version)
    return version


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
    """Return the manifest for download as JSON text, with rounded numbers from hidden subsets."""
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
