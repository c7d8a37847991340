"""The guide to the LDS, score files and the numbers on the pages."""

from __future__ import annotations

from app.benchmarks import catalog
from app.leaderboard.views import benchmark_view
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.web.dependencies import ReadSession

router = Pages()


@router.page("/guide")
def show_guide(session: ReadSession, public_url: PublicUrl) -> str:
    """Show the guide; its examples use the first benchmark of this site."""
    versions = catalog.current_versions(session)
    example = benchmark_view(session, versions[0]) if versions else None
    return render("guide.html", benchmark=example, public_url=public_url)
