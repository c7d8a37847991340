"""Damage checks: compare the bytes of stored files, upload parts and published benchmarks with their hashes."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db.models import File
from app.db.uploads import UploadPart
from app.submissions import multipart
from ldsboard.manifest import MANIFEST, BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy.orm import Session

    from app.submissions.storage import Storage
    from ldsboard.bundle import Bundle


def stated_hashes(session: Session, storage: Storage) -> dict[str, str]:
    """Return the SHA-256 that the database states for each stored file and each upload part of an open upload, by key."""
    hashes = {storage.key(stated): stated for stated in session.scalars(select(File.sha256))}
    return hashes | {part_key(storage, part): part.sha256 for part in open_parts(session)}


def part_key(storage: Storage, part: UploadPart) -> str:
    """Return the key of an upload part."""
    return storage.part_key(part.submission_id, part.number, part.sha256)


def open_parts(session: Session) -> list[UploadPart]:
    """Return the received upload parts of the uploads that are neither completed nor expired."""
    uploads = multipart.open_upload_ids(session)
    parts = session.scalars(select(UploadPart).order_by(UploadPart.submission_id, UploadPart.number))
    return [part for part in parts if part.submission_id in uploads]


def find_altered(storage: Storage, hashes: Mapping[str, str]) -> set[str]:
    """Return the keys of the files whose bytes do not have the stated SHA-256; missing files are left out."""
    return {key for key, stated in hashes.items() if is_altered(storage, key, stated)}


def is_altered(storage: Storage, key: str, stated: str) -> bool:
    """Return whether a file exists and its bytes do not have the stated SHA-256."""
    digest = hashlib.sha256()
    try:
        for chunk in storage.read(key):
            digest.update(chunk)
    except FileNotFoundError:  # a running server may delete the file meanwhile
        return False
    return digest.hexdigest() != stated


def verify_benchmark(bundle: Bundle, manifest: Mapping[str, Any], reserve_subsets: int) -> None:
    """Verify what `Bundle.open` does not check: the manifest in the database, the hidden part and the archives for download.

    Parameters
    ----------
    manifest
        The manifest in the database, which must equal the manifest in the folder.
    reserve_subsets
        The number of subsets in the reserve when the version was published, which must equal the number in the hidden part.

    Raises
    ------
    BundleError
        The hidden part or an archive is missing or damaged, the manifests differ, or the size of the reserve differs.
    """
    if json.loads(json.dumps(asdict(bundle.manifest))) != manifest:
        raise BundleError(f"{bundle.folder / 'public' / MANIFEST} differs from the manifest in the database.")
    if bundle.manifest.split == "protected":
        reserve = len(bundle.hidden().reserve)
        if reserve != reserve_subsets:
            folder = bundle.folder / "hidden"
            raise BundleError(
                f"{folder} has {reserve} subsets in the reserve, not {reserve_subsets} as published. Restore it."
            )
    for name in ("public.npz", "kit.zip"):
        path = bundle.folder / "downloads" / name
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
            raise BundleError(f"{path} cannot be read: {error}.") from error
        if damaged is not None:
            raise BundleError(f"{path} is damaged: the checksum of {damaged} in this archive is wrong.")
