"""The web site: registers pages, static files, sessions and security headers with the application."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from app.pages import (
    account,
    admin,
    badges,
    benchmark,
    compare,
    home,
    images,
    leaderboard,
    methods,
    own_data,
    own_review_links,
    own_submissions,
    publishers,
    review,
    snapshots,
    submissions,
    submit,
    webhooks,
)
from app.pages.content.templates import render
from app.pages.static_files import Assets
from app.results.schemas import ProblemView
from app.settings import Settings
from app.web import sessions
from app.web.dependencies import count_request
from app.web.oauth import Providers
from app.web.query_parameters import check_repeated_names
from app.web.redirects import RelativeRedirects
from app.web.security_headers import SecurityHeaders

PAGE_MODULES = (
    home,
    leaderboard,
    benchmark,
    snapshots,
    submit,
    submissions,
    review,
    methods,
    compare,
    images,
    badges,
    account,
    own_submissions,
    own_review_links,
    own_data,
    publishers,
    webhooks,
    admin,
)
"""The modules that define pages, each with a ``router``."""


def problem_page(problem: ProblemView, path: str) -> str:
    """Return the HTML page that shows a problem; `path` is the path of the request that caused the problem."""
    return render("problem.html", problem=problem, path=path)


def install(app: FastAPI, settings: Settings) -> None:
    """Add the site to an application that already has the API."""
    app.state.providers = Providers(settings)
    for module in PAGE_MODULES:
        app.include_router(module.router, dependencies=[Depends(count_request), Depends(check_repeated_names)])
    sessions.install(app, settings)
    app.mount("/static", Assets(), name="static")
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RelativeRedirects)
