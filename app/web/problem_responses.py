"""Every error leaves as ``application/problem+json``, whoever raised it."""

from __future__ import annotations

import sqlite3
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.exceptions import HTTPException

from app.errors import STATUS, BusyError, LimitError, no_room
from app.results.schemas import ProblemView
from app.results.submission_views import problem_view
from app.submissions import field_types
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

MEDIA_TYPE = "application/problem+json"
DESCRIBED: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemView.__name__}"}}},
    }
    for status, description in {"4XX": "What is wrong with the request", "5XX": "What failed on our side"}.items()
}
"""What the description of the API says of errors, the same of every call."""

log = structlog.get_logger()


def problem_response(
    problem: Problem, status: int | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return the response of a problem; its status is that of its code unless another is given."""
    view = problem_view(problem)
    if status is not None:
        view.status = status
    return JSONResponse(view.model_dump(), view.status, headers, MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Install the handlers of the service's own errors, of invalid requests, of unknown addresses and of our failures."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(NoConnectionError, _busy)  # all of them wait for the same lock
    app.add_exception_handler(Exception, _failure)


def _problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)  # noqa: S101 -- registered for this type
    headers = {}
    if STATUS[error.problem.code] == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, LimitError) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return problem_response(error.problem, headers=headers)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- registered for this type
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"])
    got = repr(first.get("input"))[:80]
    asked = field_types.SPELLINGS.get(first.get("ctx", {}).get("pattern"), first["msg"])
    return problem_response(
        Problem("request.invalid", expected=f"{place}: {asked}", got=got, hint="See /docs for what this call takes.")
    )


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for this type
    problem = Problem(
        "request.not_found" if error.status_code == 404 else "request.invalid",  # noqa: PLR2004
        expected="an address and a method of this API",
        got=str(error.detail),
        hint="See /docs for the calls there are.",
    )
    return problem_response(problem, error.status_code, dict(error.headers or {}))


def _database(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OperationalError)  # noqa: S101 -- registered for this type
    # The lower byte is the error, what is above tells it apart further.
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        log.error("database.full", path=request.url.path)
        return problem_response(no_room("room for a row of the database").problem)
    if code == sqlite3.SQLITE_BUSY:
        return _busy(request, error)
    return _failure(request, error)


def _busy(request: Request, _error: Exception) -> JSONResponse:
    log.error("database.busy", path=request.url.path)
    return _problem(request, BusyError())


def _failure(request: Request, error: Exception) -> JSONResponse:
    log.error("request.failed", path=request.url.path, exc_info=error)
    # The web server ends the connection after this; a client that would send its next request on it must know.
    return problem_response(
        Problem("internal.failed", expected="an answer", got="an error of ours", hint="Try again; it was logged."),
        headers={"Connection": "close"},
    )
