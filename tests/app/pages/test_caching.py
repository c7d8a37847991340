"""Caching and compression of pages and static files; pages for a session cookie are neither cached nor compressed."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

    from tests.app.pages.conftest import Site

PATHS = ("/", "/benchmarks/toy", "/benchmarks/toy/feed.atom")
STATIC = "/static/style.css"


def raw(site: Site, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """Get a path; return the response and its body as transferred, without decoding."""
    with site.browser.stream("GET", path, headers={"Accept-Encoding": "identity"} | headers) as response:
        return response, b"".join(response.iter_raw())


@pytest.mark.parametrize("path", [*PATHS, STATIC])
def test_unchanged_page_returns_304(site: Site, path: str) -> None:
    for encoding in ("identity", "gzip"):
        response, body = raw(site, path, **{"Accept-Encoding": encoding})
        assert response.headers["cache-control"] == "no-cache"
        assert body
        again, nothing = raw(
            site, path, **{"Accept-Encoding": encoding, "If-None-Match": f'"x", {response.headers["etag"]}'}
        )
        assert (again.status_code, nothing) == (304, b"")
        assert again.headers["etag"].removeprefix("W/") == response.headers["etag"].removeprefix("W/")
        changed, whole = raw(site, path, **{"Accept-Encoding": encoding, "If-None-Match": 'W/"x"'})
        assert (changed.status_code, whole) == (200, body)


@pytest.mark.parametrize("path", [*PATHS, STATIC])
def test_pages_are_compressed_only_for_clients_that_accept_gzip(site: Site, path: str) -> None:
    plain, whole = raw(site, path)
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    for refused in ("gzip;q=0", "gzip;q=0.000", "br", "identity, gzip; q=0.00"):
        assert raw(site, path, **{"Accept-Encoding": refused})[1] == whole
    packed, body = raw(site, path, **{"Accept-Encoding": "br, gzip;q=0.8"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert int(packed.headers["content-length"]) == len(body) < len(whole)
    assert gzip.decompress(body) == whole


def test_pages_for_a_session_cookie_are_not_cached_or_compressed(site: Site) -> None:
    for path in ("/", "/benchmarks/toy"):
        etag = raw(site, path)[0].headers["etag"]
        headers = {"Cookie": "ldsboard=x", "Accept-Encoding": "gzip", "If-None-Match": etag}
        response, body = raw(site, path, **headers)
        assert response.status_code == 200
        assert body.startswith(b"<!DOCTYPE html>")
        assert response.headers["cache-control"] == "no-store"
        assert "etag" not in response.headers
        assert "Cookie" in response.headers["vary"]


def test_errors_have_no_etag(site: Site) -> None:
    response, _ = raw(site, "/benchmarks/none", **{"Accept-Encoding": "gzip"})
    assert response.status_code == 404
    assert "etag" not in response.headers


def test_downloads_are_not_compressed(site: Site) -> None:
    response, _ = raw(site, "/api/v1/benchmarks/toy/public.npz", **{"Accept-Encoding": "gzip"})
    assert response.status_code == 200
    assert "content-encoding" not in response.headers


def test_public_api_response_has_an_etag_and_is_compressed(site: Site) -> None:
    path = "/api/v1/benchmarks/toy/leaderboard"
    response, body = raw(site, path, **{"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == raw(site, path)[1]
    again, _ = raw(site, path, **{"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["etag"] == response.headers["etag"]


def test_api_response_to_a_token_is_not_stored_by_caches(site: Site) -> None:
    token = site.service.token("cache-reader")
    response, _ = raw(site, "/api/v1/benchmarks/toy/leaderboard", Authorization=f"Bearer {token}")
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers
    assert "content-encoding" not in response.headers


def test_range_request_returns_uncompressed_bytes(site: Site) -> None:
    whole = raw(site, STATIC)[1]
    response, body = raw(site, STATIC, **{"Accept-Encoding": "gzip", "Range": "bytes=10-19"})
    assert (response.status_code, body) == (206, whole[10:20])
