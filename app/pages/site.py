"""The site: its pages, their files, their errors, and the headers that protect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Depends

from app.dependencies import count_request
from app.pages import (
    about,
    account,
    badges,
    boards,
    comparisons,
    guide,
    home,
    own_submissions,
    pictures,
    problems,
    sending,
    submissions,
    visitors,
)
from app.pages.assets import Assets
from app.pages.protection import Protection
from app.pages.providers import Providers

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.settings import Settings

ROOMS = (home, guide, boards, badges, about, sending, submissions, comparisons, pictures, account, own_submissions)
"""The modules that have pages."""


def install(app: FastAPI, settings: Settings) -> None:
    """Add the site; the API must be there already."""
    app.state.providers = Providers(settings)
    for room in ROOMS:
        app.include_router(room.router, dependencies=[Depends(count_request)])
    visitors.install(app, settings)
    app.mount("/static", Assets(), name="static")
    problems.install(app)
    app.add_middleware(Protection)
