"""Badges of leaderboard entries, as SVG, for use on other sites such as the README of a repository."""

from __future__ import annotations

from enum import StrEnum

from fastapi import Response
from sqlalchemy.orm import Session

from app.db.models import Submission
from app.leaderboard import entries
from app.leaderboard.schemas import CounterfactualView, RankingNumbers
from app.pages.content import formatting
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.results.schemas import ReplicatesView
from app.results.submission_views import submission_view
from app.submissions import visibility
from app.web.dependencies import CurrentVersionDep, ReadSession
from ldsboard.counts import count
from ldsboard.problems import ProblemError

router = Pages()

CACHE_SECONDS = 300

MAX_NAME_LENGTH = 40
"""Maximum number of characters of a name on a badge."""

HINT = "A ranked submission has a badge as soon as its method is on a leaderboard."


class Shown(StrEnum):
    """Which numbers a badge shows: the LDS with its standard error, the rank, both of these, or the fall without 1 %."""

    BOTH = "both"
    LDS = "lds"
    RANK = "rank"
    FALL = "fall"


@router.get("/submissions/{submission_id}/badge.svg")
def show_badge(session: ReadSession, submission_id: str) -> Response:
    """Return the badge of a submission.

    If a public ranked submission is not listed, the badge shows the public entry with the same owner, benchmark and method. If
    several versions have such an entry, the badge shows the entry on the newest of these versions. All visitors get the same
    badge, because shared caches can store the badge.

    Raises
    ------
    ProblemError
        ``submission.unknown``: the submission does not exist, is private or suspended, or has no entry to show.
    """
    submission = visibility.find_submission(session, submission_id, None)
    badge = _badge(session, entries.find_listed_or_same(session, submission), Shown.BOTH)
    if badge is None:
        raise ProblemError("submission.unknown", f"No leaderboard lists {submission_id[:40]!r}.", HINT)
    return badge


@router.get("/badges/{name}/{owner}/{method}.svg")
def show_method_badge(
    session: ReadSession, version: CurrentVersionDep, owner: str, method: str, show: Shown = Shown.LDS
) -> Response:
    """Return the badge of an owner's method: the LDS with its standard error, the rank, both, or the fall.

    The badge shows the public entry of the method on the newest version that lists the method. Private and anonymous submissions,
    and practice submissions, have no badge at this address.

    Raises
    ------
    ProblemError
        ``benchmark.unknown``: there is no such benchmark.
        ``submission.unknown``: no leaderboard of the benchmark lists the method under the owner's name.
    """
    entry = entries.find_public_entry(session, version.benchmark, owner, method)
    badge = None if entry is None else _badge(session, entry, show)
    if badge is None:
        raise ProblemError(
            "submission.unknown",
            f"No leaderboard of {version.benchmark.name} lists the method {method[:80]!r} by {owner[:80]!r}.",
            HINT,
        )
    return badge


def _badge(session: Session, submission: Submission, shown: Shown) -> Response | None:
    """Return the badge of a submission as every visitor sees it; None if no leaderboard lists the submission."""
    view = submission_view(session, submission)
    if view.hidden is None or not view.hidden.listed:
        return None
    name = view.method if view.method != visibility.WITHHELD else view.owner
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[: MAX_NAME_LENGTH - 1]}…"
    if shown is Shown.FALL:
        numbers = _fall(view.counterfactual)
    else:
        numbers = _numbers(view.hidden, view.replicates or view.hidden, shown, uses_subsets=view.uses_subsets)
    image = render("badge.svg", name=name, benchmark=view.benchmark.name, numbers=numbers)
    headers = {"Cache-Control": f"public, max-age={CACHE_SECONDS}"}
    return Response(image, media_type="image/svg+xml", headers=headers)


def _fall(found: CounterfactualView | None) -> str:
    """Return the text of a badge that states the fall of the margin without 1 % of the examples, with its standard error."""
    if found is None or found.state != "done":
        return "fall not known"
    row = found.shown
    error = "" if row.std_error is None else f" ± {formatting.margin(row.std_error, 3)}"
    return f"fall {formatting.margin(row.fall, 3)}{error} without {count(row.removed, 'example')}"


def _numbers(
    numbers: RankingNumbers, entry: RankingNumbers | ReplicatesView, shown: Shown, *, uses_subsets: bool
) -> str:
    """Return the text of a badge that states the LDS with its standard error, the rank, or both.

    The rank comes from `numbers`. The LDS and its standard error come from `entry`: the means if the submission has replicates.
    The badge of an entry that is declared as fitted to the ranking subsets says so instead of a rank, because the LDS of such an
    entry means little.
    """
    lds = f"LDS {entry.lds:.3f} ± {entry.std_error:.3f}".replace("-", "−")  # noqa: RUF001 -- the minus sign is meant
    if uses_subsets:
        return "fitted to these subsets" if shown is Shown.RANK else f"{lds}, fitted to these subsets"
    place = f"rank {formatting.place(numbers.rank, numbers.in_family)}" if numbers.rank else "no ranks"
    return {Shown.BOTH: f"{lds}, {place}", Shown.LDS: lds, Shown.RANK: place}[shown]
