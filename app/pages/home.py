"""The home page, the guide (about the LDS, score files, and numbers on the pages), and the page of the API documentation."""

from __future__ import annotations

from app.benchmarks import catalog
from app.leaderboard.views import benchmark_view
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.web.dependencies import ReadSession, SettingsDep

router = Pages()


@router.get("/")
def show_home(settings: SettingsDep, session: ReadSession) -> str:
    """Show the home page, which lists the benchmarks."""
    views = [benchmark_view(session, version) for version in catalog.current_versions(session)]
    return render("home.html", benchmarks=views, public_url=settings.public_url)


@router.get("/guide")
def show_guide(settings: SettingsDep, session: ReadSession) -> str:
    """Show the guide; its examples use the first benchmark of this site."""
    versions = catalog.current_versions(session)
    example = benchmark_view(session, versions[0]) if versions else None
    return render("guide.html", benchmark=example, public_url=settings.public_url)


@router.get("/docs")
def show_docs() -> str:
    """Show the API documentation."""
    return render("docs.html")
