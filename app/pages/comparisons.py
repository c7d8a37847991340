"""Submissions beside each other."""

from __future__ import annotations

from app.dependencies import Reading
from app.pages.routing import Pages
from app.pages.templates import render
from app.pages.visitors import Visitor
from app.services import comparison, results, visibility

router = Pages()


@router.page("/compare")
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
