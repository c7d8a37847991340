"""The home page and the API documentation page."""

from __future__ import annotations

from app.benchmarks import catalog
from app.leaderboard.views import benchmark_view
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.web.dependencies import ReadSession

router = Pages()


@router.page("/")
def home(session: ReadSession, public_url: PublicUrl) -> str:
    """List the benchmarks."""
    views = [benchmark_view(session, version) for version in catalog.current_versions(session)]
    return render("home.html", benchmarks=views, public_url=public_url)


@router.page("/docs")
def show_docs() -> str:
    """Show the API documentation."""
    return render("docs.html")
