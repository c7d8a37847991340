"""Submissions, one page each."""

from __future__ import annotations

from app.db.models import FINAL
from app.dependencies import Reading
from app.pages.figures import histogram
from app.pages.routing import Pages
from app.pages.templates import render
from app.pages.visitors import Visitor
from app.services import benchmarks, leaderboard, results, visibility

router = Pages()


@router.page("/submissions/{submission_id}")
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
