"""Error responses: ``application/problem+json`` (RFC 9457). Outside the API, a client that accepts HTML gets a page instead."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from app.db.database_errors import is_away, is_busy, is_full
from app.errors import BusyError, DatabaseAwayError, LimitError, disk_full
from app.results.schemas import ProblemView
from app.submissions import field_types
from app.web.request_ids import HEADER, REQUEST_ID
from app.web.request_metrics import PROBLEM
from app.web.security_headers import headers_of
from ldsboard.problems import Problem, ProblemError

MEDIA_TYPE = "application/problem+json"
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemView.__name__}"}}},
    }
    for status, description in {"4XX": "The request has a problem", "5XX": "The server failed"}.items()
}
"""The error responses of every call, as the description of the API shows them."""

RenderPage = Callable[[ProblemView, str], str]
"""Function that returns the HTML page of a problem; the second argument is the path at which the problem occurred."""

log = structlog.get_logger()


def problem_response(
    request: Request,
    problem: Problem,
    status: int | None = None,
    headers: dict[str, str] | None = None,
    members: dict[str, Any] | None = None,
) -> Response:
    """Return the response for a problem: JSON, or a page if the address is outside the API and the client accepts HTML.

    By default, the response has the status of the problem's code. `members` are further members of the JSON object.
    """
    request.scope[PROBLEM] = problem.code
    view = ProblemView.of(problem, status)
    headers = headers or {}
    if not request.url.path.startswith("/api/"):
        headers = {"Vary": "Accept"} | headers
        if "text/html" in request.headers.get("accept", "").lower():
            page = request.app.state.render_problem_page(view, request.url.path)
            # The response to a server failure does not pass through the middleware that adds these headers.
            return HTMLResponse(page, view.status, headers_of(request.url.path) | headers)
    return JSONResponse(view.model_dump(exclude_none=True) | (members or {}), view.status, headers, MEDIA_TYPE)


def _handle_problem_error(request: Request, error: ProblemError) -> Response:
    headers = {}
    if ProblemView.of(error.problem).status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, LimitError) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return problem_response(request, error.problem, headers=headers)


def _handle_validation_error(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"]) or "the body"
    got = repr(first.get("input"))[:80]
    asked = field_types.expected_value(first)
    found = ProblemError.mismatch(
        "request.invalid", expected=f"{place}: {asked}", got=got, hint="See /docs for the parameters of this call."
    )
    return problem_response(request, found.problem)


def _handle_http_error(request: Request, error: HTTPException) -> Response:
    code = "request.not_found" if error.status_code == HTTPStatus.NOT_FOUND else "request.invalid"
    detail = f"{request.method} {request.url.path[:80]}: {error.detail}."
    problem = Problem(code, detail, "See /docs for the addresses and methods of this API.")
    return problem_response(request, problem, error.status_code, dict(error.headers or {}))


def _handle_database_error(request: Request, error: OperationalError) -> Response:
    if is_full(error):
        log.error("database.full", path=request.url.path)
        return problem_response(request, disk_full().problem)
    if is_away(error):
        log.error("database.away", path=request.url.path, error=str(error.orig))
        return _handle_problem_error(request, DatabaseAwayError())
    if is_busy(error):
        return _handle_busy_database(request, error)
    return _handle_server_error(request, error)


def _handle_impossible_value(request: Request, _error: DataError) -> Response:
    # The database refuses NUL characters in text, wherever they come from: address, header, body or an identity of a CI run.
    found = ProblemError.mismatch(
        "request.invalid", expected="text without NUL characters", got="a value that the database refuses",
        hint="See /docs for the parameters of this call.",
    )  # fmt: skip
    return problem_response(request, found.problem)


def _handle_busy_database(request: Request, _error: Exception) -> Response:
    log.error("database.busy", path=request.url.path)
    return _handle_problem_error(request, BusyError())


def _handle_server_error(request: Request, error: Exception) -> Response:
    log.error("request.failed", path=request.url.path, exc_info=error)
    request_id = request.scope[REQUEST_ID]
    problem = Problem(
        "internal.failed",
        f"The request failed, and the error was logged with request={request_id}.",
        "Try again later.",
    )
    # This response does not pass through the middleware that adds the id. The web server closes the connection after it; the
    # header tells clients not to reuse it.
    return problem_response(request, problem, headers={"Connection": "close", HEADER: request_id})


HANDLERS: dict[type[Exception], Callable[..., Response]] = {
    ProblemError: _handle_problem_error,
    RequestValidationError: _handle_validation_error,
    HTTPException: _handle_http_error,
    OperationalError: _handle_database_error,
    DataError: _handle_impossible_value,
    NoConnectionError: _handle_busy_database,  # every connection waits for the same lock
    Exception: _handle_server_error,
}


def install_problem_handlers(app: FastAPI, render_page: RenderPage) -> None:
    """Install the handlers of problems, invalid requests, unknown addresses, databases out of use, and server failures."""
    app.state.render_problem_page = render_page
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
