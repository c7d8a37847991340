"""The pages: one address each, made from what the services show."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.responses import HTMLResponse

from app.db.models import FINAL
from app.dependencies import Reading, TheRooms, WhichVersion, count_request
from app.pages import account, problems, visitors
from app.pages.assets import Assets
from app.pages.figures import histogram
from app.pages.protection import Protection
from app.pages.providers import Providers
from app.pages.templates import render
from app.pages.visitors import Visitor
from app.services import benchmarks, comparison, leaderboard, results, visibility

if TYPE_CHECKING:
    from app.settings import Settings

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
page = partial(router.api_route, methods=["GET", "HEAD"])

ENTRIES = 500
"""Entries of a leaderboard on one page."""


def _public_url(rooms: TheRooms) -> str:
    return rooms.settings.public_url


PublicUrl = Annotated[str, Depends(_public_url)]


def install(app: FastAPI, settings: Settings) -> None:
    """Add the pages, their files, their errors and the headers that protect them; the API must be there already."""
    app.state.providers = Providers(settings)
    app.include_router(router, dependencies=[Depends(count_request)])
    app.include_router(account.router, dependencies=[Depends(count_request)])
    visitors.install(app, settings)
    app.mount("/static", Assets(), name="static")
    problems.install(app)
    app.add_middleware(Protection)


@page("/")
def home(session: Reading) -> str:
    """List the benchmarks."""
    views = [leaderboard.benchmark_view(session, version) for version in benchmarks.current(session)]
    return render("home.html", benchmarks=views)


@page("/benchmarks/{name}")
def show_benchmark(
    session: Reading,
    public_url: PublicUrl,
    name: str,
    version: WhichVersion = None,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> str:
    """Show a benchmark and its leaderboard."""
    found = benchmarks.find(session, name, version)
    return render(
        "benchmark.html",
        benchmark=leaderboard.benchmark_view(session, found),
        board=leaderboard.view(session, found, after=after, limit=ENTRIES),
        following=after + ENTRIES,
        kit=benchmarks.has_kit(found.manifest["files"]),
        public_url=public_url,
    )


@page("/submissions/{submission_id}")
def show_submission(session: Reading, visitor: Visitor, submission_id: str) -> str:
    """Show a submission and what became of it; the page comes again by itself until that is final."""
    found = visibility.find(session, submission_id, visitor)
    view = results.view(session, found, visitor)
    version = benchmarks.find(session, view.benchmark.name, view.benchmark.version)
    others = leaderboard.view(session, version).rows if view.public else []
    return render(
        "submission.html",
        submission=view,
        benchmark=leaderboard.benchmark_view(session, version),
        bins=histogram(results.public_per_target(session, found)) if view.public else [],
        others=[row for row in others if row.id != view.id],
        final=view.state in FINAL,
    )


@page("/compare")
def compare(session: Reading, visitor: Visitor, a: str = "", b: str = "") -> str:
    """Compare two submissions, or ask which."""
    if not (a and b):
        return render("compare.html", a=a, b=b)
    found = [visibility.find(session, wanted.strip(), visitor) for wanted in (a, b)]
    return render(
        "comparison.html",
        comparison=comparison.compare(session, *found),
        sides=[results.view(session, submission, visitor) for submission in found],
    )


@page("/docs")
def show_docs() -> str:
    """Show the documentation of the API."""
    return render("docs.html")
