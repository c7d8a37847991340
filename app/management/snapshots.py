"""Snapshots: write the leaderboard of today into a folder that never changes, and remove a snapshot if the law requires it.

The board, the day and the public address of the server determine the content of a snapshot. A second snapshot on one day is
therefore identical to the first, or refused because the board has changed.
"""

from __future__ import annotations

import io
import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from app.benchmarks.catalog import find_version
from app.db.base import now
from app.db.models import Evaluation, Measurement
from app.leaderboard.disclosure import benchmark_numbers
from app.leaderboard.ranking import Ranker, is_ranked
from app.leaderboard.stored_snapshots import (
    ABOUT,
    REMOVAL,
    ROWS,
    SUMS,
    delete_removed,
    find_snapshot,
    snapshot_folder,
    snapshot_page,
)
from app.leaderboard.tables import csv_table
from app.leaderboard.views import leaderboard_view
from app.management.snapshot_texts import citation_file, readme
from ldsboard.drafts import atomic_folder, atomic_write, sync_folder
from ldsboard.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.db.sessions import Database

FORMAT = 1
"""Number of the format of a snapshot's files. Increase the number if the pages can no longer show snapshots of the old format."""

READ_ONLY = 0o444

MAX_REASON_LENGTH = 500


class SnapshotError(ValueError):
    """A snapshot cannot be taken or removed; the message says why and what to do."""


class Taken(NamedTuple):
    """The snapshot of today. ``is_new`` is False if the snapshot existed before, with the same bytes."""

    folder: Path
    address: str
    is_new: bool


def take(database: Database, root: Path, public_url: str, name: str, number: int | None = None) -> Taken:
    """Rank all changed boards, then write the snapshot of today (UTC) of a benchmark version, by default of the current version.

    If the snapshot of today exists already, its files are compared, and no file is written. The snapshot holds what everybody can
    see on the board, with the same rounding. All files are complete, read-only and synced to the disk before the folder gets its
    name.

    Parameters
    ----------
    root
        Folder of all snapshots; a missing folder is created.
    public_url
        Address of the server, for the permanent address of the snapshot.

    Raises
    ------
    ProblemError
        ``benchmark.unknown``: there is no such benchmark or version.
    SnapshotError
        The board is changing; or the snapshot of today has other content, or was removed.
    """
    day = now().date().isoformat()
    Ranker(database).renew_all()
    with database.read() as session:
        version = find_version(session, name, number)
        if not is_ranked(session, version):
            raise SnapshotError(f"The board of {name} has just changed and is being ranked. Run the command again.")
        address = f"{public_url}{snapshot_page(name, version.version, day)}"
        contents = _contents(session, version, day, address)
        folder = snapshot_folder(root, name, version.version, day)
    is_new = not folder.exists()
    if is_new:
        _write(folder, contents)
    if (folder / REMOVAL).exists():
        raise SnapshotError(f"The snapshot of {day} was removed. The next snapshot can be taken tomorrow (UTC).")
    stored = {path.name: path.read_bytes() for path in folder.iterdir()}
    if changed := sorted(file for file in {*stored, *contents} if stored.get(file) != contents.get(file)):
        raise SnapshotError(
            f"{folder} exists with other content ({', '.join(changed)}), and snapshots never change. "
            "The next snapshot can be taken tomorrow (UTC)."
        )
    return Taken(folder, address, is_new)


def _contents(session: Session, version: Version, day: str, address: str) -> dict[str, bytes]:
    """Return the content of each file of a snapshot, by file name."""
    board = leaderboard_view(session, version)
    manifest = version.manifest | benchmark_numbers(version.manifest)
    entries, targets = len(board.rows), manifest["n_targets"]
    about = {
        "format": FORMAT,
        "benchmark": board.benchmark,
        "version": board.version,
        "date": day,
        "title": manifest["title"],
        "licence": manifest["licence"],
        "address": address,
        "entries": entries,
        "scorer_version": version.scorer_version,
        "per_target": {
            "ids": {"dtype": "<U16", "shape": [entries]},
            "rho": {"dtype": "<f8", "shape": [entries, targets], "subsets": "public", "rounded": False},
        },
    }
    texts = {
        ROWS: board.model_dump_json(indent=2) + "\n",
        "leaderboard.csv": csv_table(board),
        MANIFEST: json.dumps(manifest, indent=2) + "\n",
        ABOUT: json.dumps(about, indent=2) + "\n",
        "CITATION.cff": citation_file(about),
        "README.txt": readme(about),
    }
    contents = {name: text.encode() for name, text in texts.items()}
    contents["per-target.npz"] = _per_target(session, version, [row.id for row in board.rows])
    sums = "".join(f"{sha256(content).hexdigest()}  {name}\n" for name, content in sorted(contents.items()))
    return contents | {SUMS: sums.encode()}


def _per_target(session: Session, version: Version, ids: Sequence[str]) -> bytes:
    """Return an ``.npz`` file with ``ids``, text (E,), and ``rho`` on the public subsets, float64 (E, N), of E entries."""
    query = (
        select(Evaluation.submission_id, Measurement.per_target)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .where(
            Evaluation.version_id == version.id,
            Evaluation.scorer_version == version.scorer_version,
            Evaluation.submission_id.in_(ids),
            # rho on the ranking subsets never leaves the server.
            Measurement.part == "public",
        )
    )
    found = {submission_id: np.frombuffer(rho, dtype="<f8") for submission_id, rho in session.execute(query)}
    rho_EN = np.array([found[submission_id] for submission_id in ids])
    buffer = io.BytesIO()
    # `savez` gives every member the same date, so equal arrays give equal bytes.
    np.savez(buffer, ids=np.array(ids, "U16"), rho=rho_EN.reshape(len(ids), version.manifest["n_targets"]))
    return buffer.getvalue()


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Write the files of a snapshot; if another process has written the folder meanwhile, keep that folder."""
    with atomic_folder(folder, keep=lambda _: True) as draft:
        for name, content in contents.items():
            with (draft / name).open("xb") as file:
                file.write(content)
                os.fchmod(file.fileno(), READ_ONLY)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(draft)
    # The folders of the version, of the benchmark and of all snapshots may be new.
    for parent in list(folder.parents)[:4]:
        sync_folder(parent)


def remove(root: Path, name: str, version: int, day: str, reason: str) -> None:
    """Delete the files of a snapshot; from then on, its address shows the day and the reason of the removal.

    Parameters
    ----------
    reason
        Why the snapshot is removed: one line of at most `MAX_REASON_LENGTH` characters, which everybody can read.

    Raises
    ------
    ProblemError
        ``snapshot.unknown``: there is no such snapshot. ``snapshot.removed``: the snapshot was removed before.
    SnapshotError
        The reason is empty, too long or not one line.
    """
    if not (0 < len(reason.strip()) <= MAX_REASON_LENGTH and reason.isprintable()):
        raise SnapshotError(
            f"Give the reason of the removal with --reason: one line of at most {MAX_REASON_LENGTH} characters."
        )
    folder = find_snapshot(root, name, version, day).folder
    # From here on, no file is served, also if this process is killed before the files are deleted.
    with atomic_write(folder / REMOVAL) as file:
        file.write(json.dumps({"removed_on": now().date().isoformat(), "reason": reason}).encode())
    delete_removed(folder)
