"""Images: training examples and targets as PNG, and badges of leaderboard entries as SVG, for use on other sites."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response

from app.benchmarks.examples import Examples, ExampleSet
from app.leaderboard import entries
from app.pages.content import png
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.results.submission_views import submission_view
from app.submissions import visibility
from app.web.dependencies import ReadSession, SettingsDep, VersionDep, VersionNumber
from ldsboard.problems import ProblemError

router = Pages()

BADGE_CACHE_SECONDS = 300

MAX_NAME_LENGTH = 40
"""Maximum number of characters of a name on a badge."""


@router.get("/benchmarks/{name}/images/{part}/{index}.png")
def show_image(
    settings: SettingsDep,
    benchmark_version: VersionDep,
    part: ExampleSet,
    index: Annotated[int, Path(ge=0, lt=2**31)],
    version: VersionNumber = None,
) -> Response:
    """Return the image of a training example or of a target, as PNG.

    If the address names a version, browsers cache the image for a year, because the files of a version never change.
    """
    examples = Examples(settings.benchmarks_dir, benchmark_version)
    cache_control = "public, max-age=31536000, immutable" if version is not None else "no-cache"
    image = png.encode(examples.image(part, index))
    return Response(image, media_type="image/png", headers={"Cache-Control": cache_control})


@router.get("/submissions/{submission_id}/badge.svg")
def show_badge(session: ReadSession, submission_id: str) -> Response:
    """Return the badge of a submission, as SVG.

    If a public ranked submission is not listed, the badge shows the public entry with the same owner, benchmark and method on the
    newest version. All visitors get the same badge, because shared caches may store the badge.

    Raises
    ------
    ProblemError
        ``submission.unknown``: the submission does not exist, is private or suspended, or has no entry to show.
    """
    submission = visibility.find_submission(session, submission_id, None)
    view = submission_view(session, entries.find_listed_or_same(session, submission))
    if view.hidden is None or view.hidden.rank is None:
        raise ProblemError(
            "submission.unknown",
            f"No leaderboard lists {submission_id[:40]!r}.",
            "A ranked submission has a badge as soon as its method is on a leaderboard.",
        )
    name = view.method if view.method != visibility.WITHHELD else view.owner
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[: MAX_NAME_LENGTH - 1]}…"
    badge = render("badge.svg", name=name, benchmark=view.benchmark.name, numbers=view.hidden)
    headers = {"Cache-Control": f"public, max-age={BADGE_CACHE_SECONDS}"}
    return Response(badge, media_type="image/svg+xml", headers=headers)
