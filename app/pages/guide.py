"""The guide: what the score is, and how to make a file of scores."""

from __future__ import annotations

from app.dependencies import Reading
from app.pages.routing import Pages, PublicUrl
from app.pages.templates import render
from app.services import benchmarks, leaderboard

router = Pages()


@router.page("/guide")
def show_guide(session: Reading, public_url: PublicUrl) -> str:
    """Explain the score; the commands name a benchmark of this site, the first one."""
    versions = benchmarks.current(session)
    example = leaderboard.benchmark_view(session, versions[0]) if versions else None
    return render("guide.html", benchmark=example, public_url=public_url)
