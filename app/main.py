"""The web application: API, pages and middleware."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI

from app.api import (
    accounts,
    benchmarks,
    description,
    direct_parts,
    editing,
    file_check,
    health,
    metrics,
    moderation,
    multipart_upload,
    oidc,
    own_data,
    publishers,
    review_links,
    single_upload,
    snapshots,
    submissions,
    webhooks,
)
from app.pages import site
from app.web import problem_responses
from app.web.admission import Admission
from app.web.body_limit import BodyLimit
from app.web.client_version import check_client_version
from app.web.dependencies import count_request
from app.web.head import Head
from app.web.open_bodies import OpenBodies
from app.web.query_parameters import PREFIX, check_query_names
from app.web.request_ids import RequestIds
from app.web.request_metrics import Measured, RequestMetrics
from app.web.response_cache import ResponseCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.context import AppContext


def create_app(context: AppContext) -> FastAPI:
    """Return the web application. The start of the application starts `context`; the end of the application closes `context`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.context = context
        app.state.response_cache = ResponseCache(context.database.revision)
        context.start()
        yield
        context.close()

    app = FastAPI(
        title="LDSBoard",
        version="1",
        summary="Evaluation of data attribution methods by the linear datamodeling score",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # app.api.description serves the description with the checks of all calls
    )
    app.state.admission = Admission()
    app.state.open_bodies = OpenBodies(context.settings.uploads_per_user)
    problem_responses.install_problem_handlers(app, site.problem_page)
    api = APIRouter(
        prefix=PREFIX,
        dependencies=[Depends(count_request), Depends(check_client_version), Depends(check_query_names)],
        responses=problem_responses.ERROR_RESPONSES,
    )
    for module in (
        benchmarks,
        snapshots,
        file_check,
        single_upload,
        multipart_upload,
        direct_parts,
        submissions,
        editing,
        review_links,
        accounts,
        oidc,
        own_data,
        publishers,
        webhooks,
        moderation,
        description,
    ):
        api.include_router(module.router)
    app.include_router(api)
    app.include_router(health.router)
    app.include_router(metrics.router)
    counted = app.state.request_metrics = RequestMetrics()
    # `Measured` must see the refusals of `BodyLimit`, and the same scope as the routes, of
    # which `Head` makes a copy.
    app.add_middleware(BodyLimit)
    app.add_middleware(Measured, metrics=counted)
    app.add_middleware(Head)
    site.install(app, context.settings)
    app.add_middleware(RequestIds)  # the outermost
    counted.name_routes(app.routes)
    return app
