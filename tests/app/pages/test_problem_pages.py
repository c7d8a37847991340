"""Errors as HTML pages and as problem documents, and the security headers of every response."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from app.web.security_headers import HEADERS

if TYPE_CHECKING:
    from tests.app.pages.conftest import Site
    from tests.app.service import Service


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nowhere", 404, "request.not_found"),
        ("/benchmarks/unknown", 404, "benchmark.unknown"),
        ("/benchmarks/toy?version=none", 422, "request.invalid"),
        ("/submissions/unknown", 404, "submission.unknown"),
        ("/compare?a=unknown&b=unknown", 404, "submission.unknown"),
        ("/static/nothing.js", 404, "request.not_found"),
        ("/static/../site.py", 404, "request.not_found"),
    ],
)
def test_errors_are_html_for_browsers_and_json_for_programs(site: Site, path: str, status: int, code: str) -> None:
    response = site.browser.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert code in response.text
    response = site.browser.get(path, headers={"Accept": "*/*"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == code


def test_api_errors_are_never_html(site: Site) -> None:
    for path in ("/api/v1/nowhere", "/api/v1/benchmarks/unknown"):
        assert site.browser.get(path).headers["content-type"] == "application/problem+json"


def test_wrong_method_names_the_allowed_ones(site: Site) -> None:
    response = site.browser.post("/")
    assert response.status_code == 405
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize("path", ["/", "/benchmarks/toy", "/docs", "/nowhere", "/api/v1/benchmarks", "/api/v1/nowhere"])
def test_every_response_has_the_security_headers(site: Site, path: str) -> None:
    headers = site.browser.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    # Sources that the policy does not name are forbidden.
    assert "default-src 'none'" in re.split("; *", headers["Content-Security-Policy"])


def _rename(service: Service, table: str, name: str) -> None:
    with service.database.write() as session:
        session.connection().exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")


def test_server_error_page_has_the_security_headers(empty_service: Service) -> None:
    _rename(empty_service, "version", "lost")
    try:
        response = httpx.get(empty_service.url, headers={"Accept": "text/html"}, trust_env=False)
    finally:
        _rename(empty_service, "lost", "version")
    assert response.status_code == 500
    assert "internal.failed" in response.text
    assert "lost" not in response.text
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert httpx.get(empty_service.url, headers={"Accept": "text/html"}, trust_env=False).status_code == 200
