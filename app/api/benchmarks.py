"""API calls for benchmarks, their downloads and their leaderboards."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from app.benchmarks import catalog
from app.db.models import Kind, Version
from app.leaderboard.schemas import BenchmarkView, LeaderboardView
from app.leaderboard.tables import csv_table
from app.leaderboard.views import benchmark_view, leaderboard_view
from app.results.method_history import MAX_ROWS, Wanted, method_history
from app.results.schemas import HistoryView
from app.settings import Settings
from app.submissions.field_types import Branch, Method
from app.web.dependencies import OptionalUser, ReadSession, SettingsDep, VersionDep
from app.web.public_route import PublicRoute

router = APIRouter(prefix="/benchmarks", tags=["benchmarks"], route_class=PublicRoute)


@router.get("")
def list_benchmarks(session: ReadSession) -> list[BenchmarkView]:
    """List all benchmarks, each in its current version."""
    return [benchmark_view(session, version) for version in catalog.current_versions(session)]


@router.get("/{name}")
def show_benchmark(session: ReadSession, version: VersionDep) -> BenchmarkView:
    """Show a version of a benchmark."""
    return benchmark_view(session, version)


@router.get("/{name}/public.npz", response_class=FileResponse)
def download_public(settings: SettingsDep, version: VersionDep) -> FileResponse:
    """Download public masks (packed bits, little bit order), margins, and any labels and images, as one .npz file."""
    return _download(settings, version, "public.npz")


@router.get("/{name}/kit.zip", response_class=FileResponse)
def download_kit(settings: SettingsDep, version: VersionDep) -> FileResponse:
    """Download the manifest and any kit (recipe, index files and reference models) as one .zip file."""
    return _download(settings, version, "kit.zip")


def _download(settings: Settings, version: Version, file: str) -> FileResponse:
    name, number = version.benchmark.name, version.version
    path = catalog.version_folder(settings.benchmarks_dir, name, number) / "downloads" / file
    return FileResponse(path, media_type="application/zip", filename=f"{name}-{number}-{file}")


@router.get("/{name}/leaderboard", response_model=LeaderboardView, responses={200: {"content": {"text/csv": {}}}})
def show_leaderboard(
    session: ReadSession,
    version: VersionDep,
    format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002 -- the name of the query parameter
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> LeaderboardView | Response:
    """Show the entries in the order of the board, as JSON or CSV: the highest LDS first, entries declared as fitted last.

    JSON is paged by `after` (number of entries to skip) and `limit`; CSV contains all entries.
    """
    if format == "csv":
        return Response(csv_table(leaderboard_view(session, version)), media_type="text/csv; charset=utf-8")
    return leaderboard_view(session, version, after=after, limit=limit)


@router.get("/{name}/history")
def show_history(
    session: ReadSession,
    version: VersionDep,
    viewer: OptionalUser,
    owner: Annotated[str, Query(min_length=1, max_length=64)],
    method: Method,
    kind: Kind | None = None,
    branch: Branch | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    before: Annotated[str | None, Query(max_length=40, description="field next of the page before")] = None,
) -> HistoryView:
    """Show the LDS of a method over commits, newest first. The LDS of each row is compared with that of one baseline.

    If the same file was sent for several commits, the history has one row for each of these commits. If you send the token of the
    owner or of an admin, the history also contains private and practice submissions. For everybody else, the history contains
    only public ranked submissions. No history contains anonymous submissions.

    If `kind` is `ranked`, every LDS is computed on the ranking subsets; otherwise, every LDS is the public LDS.
    """
    return method_history(session, version, viewer, Wanted(owner, method, kind, branch), limit=limit, before=before)
