"""API calls for the snapshots of leaderboards."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from app.leaderboard.schemas import SnapshotLink, SnapshotView
from app.leaderboard.stored_snapshots import snapshot_links
from app.web.dependencies import SettingsDep, SnapshotDep, VersionDep
from app.web.public_route import PublicRoute

router = APIRouter(prefix="/benchmarks/{name}", tags=["benchmarks"], route_class=PublicRoute)

MEDIA_TYPES = {".json": "application/json", ".csv": "text/csv; charset=utf-8", ".npz": "application/zip"}
"""Media type of each file name extension of a snapshot's files; all other files are plain text."""


@router.get("/snapshots")
def list_snapshots(settings: SettingsDep, version: VersionDep) -> list[SnapshotLink]:
    """List the snapshots of the leaderboard of a version, the newest first."""
    return snapshot_links(settings.snapshots_dir, version.benchmark.name, version.version)


@router.get("/versions/{number}/{day}")
def show_snapshot(snapshot: SnapshotDep) -> SnapshotView:
    """Show the snapshot of a day (UTC, YYYY-MM-DD), with the hashes of its files. The files of a snapshot never change."""
    return snapshot.view()


@router.get("/versions/{number}/{day}/{file}", response_class=FileResponse)
def download_snapshot_file(snapshot: SnapshotDep, file: str) -> FileResponse:
    """Download a file of a snapshot; `SHA256SUMS` lists the other files."""
    path = snapshot.file(file)
    return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix, "text/plain; charset=utf-8"), filename=path.name)
