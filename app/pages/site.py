"""The site: its pages, their files, their errors, and the headers that protect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Depends

from app.pages import (
    account,
    badges,
    benchmark,
    compare,
    guide,
    home,
    images,
    leaderboard,
    own_submissions,
    problem_pages,
    submissions,
    submit,
)
from app.pages.static_files import Assets
from app.web import sessions
from app.web.dependencies import count_request
from app.web.oauth import Providers
from app.web.security_headers import Protection

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.settings import Settings

ROOMS = (home, guide, leaderboard, badges, benchmark, submit, submissions, compare, images, account, own_submissions)
"""The modules that have pages."""


def install(app: FastAPI, settings: Settings) -> None:
    """Add the site; the API must be there already."""
    app.state.providers = Providers(settings)
    for room in ROOMS:
        app.include_router(room.router, dependencies=[Depends(count_request)])
    sessions.install(app, settings)
    app.mount("/static", Assets(), name="static")
    problem_pages.install(app)
    app.add_middleware(Protection)
