"""Stored snapshots of leaderboards: dated folders of files that never change.

The snapshot of a day is the folder ``NAME/VERSION/YYYY-MM-DD`` below the folder of all snapshots. `SUMS` lists all other files of
the folder. If the operator removes a snapshot, the file `REMOVAL` takes the place of all files, so that the permanent address of
the snapshot says when and why the snapshot was removed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.leaderboard.schemas import SnapshotFile, SnapshotLink, SnapshotView
from app.submissions.field_types import DAY_PATTERN
from ldsboard.bundle import sha256
from ldsboard.drafts import sync_folder
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ABOUT, ROWS, SUMS, REMOVAL = "snapshot.json", "leaderboard.json", "SHA256SUMS", "removed.json"
"""Names of files: description of the snapshot, rows of the board, hashes of all other files, and the note of a removal."""

SUM_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9.-]+)\n")
"""A line of `SUMS`, as ``sha256sum`` writes and checks it."""


@dataclass(frozen=True)
class StoredSnapshot:
    """The folder of a snapshot, and the members of its description `ABOUT`."""

    folder: Path
    about: dict[str, Any]

    def read(self, name: str) -> dict[str, Any]:
        """Return the object in a JSON file of the snapshot.

        The leaderboard, `ROWS`, has the members that `app.leaderboard.schemas.LeaderboardView` had on that day.
        """
        found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return found

    def file(self, name: str) -> Path:
        """Return the path of a file of the snapshot.

        Raises
        ------
        ProblemError
            ``snapshot.unknown``: the snapshot has no file with this name.
        """
        if name != SUMS and name not in read_sums(self.folder):
            raise ProblemError(
                "snapshot.unknown",
                f"The snapshot of {self.folder.name} has no file {name[:80]!r}.",
                f"{SUMS} lists the files of a snapshot.",
            )
        return self.folder / name

    def view(self) -> SnapshotView:
        """Return the snapshot as a response model."""
        name, version, day = self.about["benchmark"], self.about["version"], self.about["date"]
        page = snapshot_page(name, version, day)
        hashes = read_sums(self.folder) | {SUMS: sha256(self.folder / SUMS)}
        return SnapshotView(
            **{field: self.about[field] for field in SnapshotView.model_fields if field in self.about},
            page=page,
            files=[
                SnapshotFile(
                    name=file, size=(self.folder / file).stat().st_size, sha256=digest, url=f"/api/v1{page}/{file}"
                )
                for file, digest in hashes.items()
            ],
        )


def snapshot_page(name: str, version: int, day: str) -> str:
    """Return the path of a snapshot's page; the address of the page is permanent."""
    return f"/benchmarks/{name}/versions/{version}/{day}"


def snapshot_folder(root: Path, name: str, version: int, day: str) -> Path:
    """Return the folder of the snapshot of a day; `root` is the folder of all snapshots."""
    return root / name / str(version) / day


def find_snapshot(root: Path, name: str, version: int, day: str) -> StoredSnapshot:
    """Return the snapshot of a benchmark version of a day.

    Raises
    ------
    ProblemError
        ``snapshot.unknown``: there is no such snapshot. ``snapshot.removed``: the operator has removed the snapshot.
    """
    folder = snapshot_folder(root, name, version, day)
    if (folder / REMOVAL).is_file():
        removal = json.loads((folder / REMOVAL).read_text(encoding="utf-8"))
        raise ProblemError(
            "snapshot.removed",
            f"The operator removed the snapshot of {day} on {removal['removed_on']}: {removal['reason']}",
            f"/benchmarks/{name}/about?version={version} lists the other snapshots.",
        )
    if not re.match(DAY_PATTERN, day) or not (folder / ABOUT).is_file():
        raise ProblemError(
            "snapshot.unknown",
            f"{name} version {version} has no snapshot of {day[:20]}.",
            f"/benchmarks/{name}/about?version={version} lists the snapshots.",
        )
    return StoredSnapshot(folder, json.loads((folder / ABOUT).read_text(encoding="utf-8")))


def snapshot_links(root: Path, name: str, version: int) -> list[SnapshotLink]:
    """Return the snapshots of a benchmark version, the newest first; removed snapshots are left out."""
    folders = [path.parent for path in (root / name / str(version)).glob(f"*/{ABOUT}")]
    days = {folder.name for folder in folders if re.match(DAY_PATTERN, folder.name)}
    days -= {folder.name for folder in folders if (folder / REMOVAL).exists()}
    return [SnapshotLink(date=day, page=snapshot_page(name, version, day)) for day in sorted(days, reverse=True)]


def read_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that `SUMS` lists, by file name.

    Raises
    ------
    ValueError
        A line is no hash with a file name.
    """
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines(keepends=True)
    matches = [SUM_LINE.fullmatch(line) for line in lines]
    if None in matches:
        raise ValueError(f"{folder / SUMS} is damaged.")
    return {match[2]: match[1] for match in matches if match}


def find_faults(folder: Path, *, quick: bool) -> Iterator[str]:
    """Yield a text for each fault of a snapshot's files, such as ``kit.zip is missing``.

    If `SUMS` is missing or damaged, only this fault is yielded. If `quick` is true, the other files are not hashed, so that
    damaged contents are not found.
    """
    try:
        stated = read_sums(folder)
    except (OSError, ValueError):  # a UnicodeDecodeError is a ValueError
        yield f"{SUMS} is missing or damaged"
        return
    for name in sorted({path.name for path in folder.iterdir()} - {SUMS, *stated}):
        yield f"{name} does not belong to it"
    for name, digest in stated.items():
        if not (folder / name).is_file():
            yield f"{name} is missing"
        elif not quick and sha256(folder / name) != digest:
            yield f"{name} is damaged"


def delete_removed(folder: Path) -> None:
    """Delete all files of a snapshot except the note of its removal.

    The caller makes sure that the snapshot has the note: this function does not check.
    """
    for path in folder.iterdir():
        if path.name != REMOVAL:
            path.unlink()
    sync_folder(folder)
