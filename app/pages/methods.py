"""The page of a method: its history, as a chart and a table."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query

from app.accounts.users import Account
from app.db.accounts import Role
from app.db.models import Kind
from app.leaderboard.views import benchmark_view
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.results.method_history import MARK_DIFFERENCE, MARK_LEVEL, Wanted, branches, method_history
from app.web.dependencies import ReadSession, SettingsDep, VersionDep
from app.web.sessions import SignedInUser
from ldsboard.problems import ProblemError

router = Pages()

PAGE_SIZE = 100
"""Number of rows on one page."""


@router.get("/benchmarks/{name}/methods/{owner}/{method}")
def show_method(
    settings: SettingsDep,
    session: ReadSession,
    visitor: SignedInUser,
    version: VersionDep,
    owner: str,
    method: str,
    kind: Literal["", "ranked", "practice"] = "",
    branch: Annotated[str, Query(max_length=255)] = "",
    before: Annotated[str | None, Query(max_length=40)] = None,
) -> str:
    """Show the history of a method of one owner.

    The owner and admins can choose the kind of submissions that the page shows. Everybody else sees only ranked submissions, with
    their LDS on the ranking subsets. All visitors can choose a branch.

    Raises
    ------
    ProblemError
        ``submission.unknown``: the visitor may see no result of the method. The error does not reveal whether the owner, the
        method or any hidden results exist.
    """
    own = visitor is not None and (visitor.name == owner or visitor.role is Role.ADMIN)
    wanted = Wanted(owner, method, Kind(kind) if kind and own else None if own else Kind.RANKED, branch or None)
    history = method_history(session, version, visitor, wanted, limit=PAGE_SIZE, before=before)
    if not history.rows and not _has_rows(session, version, visitor, wanted):
        raise ProblemError(
            "submission.unknown",
            f"{version.benchmark.name} version {version.version} has no method {method[:64]!r} of {owner[:64]!r} that is"
            " visible to you.",
            "Open the method from the leaderboard. Your private and practice submissions are visible after you have signed in.",
        )
    return render(
        "method.html",
        benchmark=benchmark_view(session, version),
        history=history,
        own=own,
        kind=kind if own else "ranked",
        branch=branch,
        branches=branches(session, version, visitor, wanted),
        level=MARK_LEVEL,
        tolerance=MARK_DIFFERENCE,
        paged=before is not None,
        public_url=settings.public_url,
    )


def _has_rows(session: ReadSession, version: VersionDep, visitor: Account | None, wanted: Wanted) -> bool:
    """Return whether a visitor may see any result of a method, of any kind and branch."""
    everything = wanted._replace(kind=None, branch=None)
    return bool(method_history(session, version, visitor, everything, limit=1).rows)
