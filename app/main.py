"""The web application, put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI

from app.api import accounts, benchmarks, health, one_shot, ownership, parts, problems, submissions
from app.api.body_limit import BodyLimit
from app.api.head import Head
from app.api.query import PREFIX, check_query_names
from app.dependencies import count_request
from app.pages import site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.rooms import Rooms


def create_app(rooms: Rooms) -> FastAPI:
    """Return the application; it starts to work in its rooms when it is started, and closes them at its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.rooms = rooms
        rooms.start()
        yield
        rooms.close()

    app = FastAPI(
        title="LDSBoard",
        version="1",
        summary="Evaluation of data attribution methods by the linear datamodeling score",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    problems.install(app)
    api = APIRouter(
        prefix=PREFIX,
        dependencies=[Depends(count_request), Depends(check_query_names)],
        responses=problems.DESCRIBED,
    )
    api.include_router(benchmarks.router)
    api.include_router(one_shot.router)
    api.include_router(parts.router)
    api.include_router(submissions.router)
    api.include_router(ownership.router)
    api.include_router(accounts.router)
    app.include_router(api)
    app.include_router(health.router)
    app.add_middleware(Head)
    app.add_middleware(BodyLimit)
    site.install(app, rooms.settings)
    return app
