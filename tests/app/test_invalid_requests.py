"""Requests that are rejected by their head or first bytes: they leave no row, no file and no attempt."""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.arrays.scores import check_shape
from ldsboard.formats.score_files import open_scores
from ldsboard.problems import PROBLEMS
from tests.app.service import PATIENCE_SECONDS, npy, read_response, until
from tests.conftest import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.app.benchmarks import Example
    from tests.app.service import Service

SCORES = np.random.default_rng(5).normal(size=(60, 7)).astype(np.float32)


def _archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _header_only(shape: str, descr: str = "'<f4'") -> bytes:
    """Return a file that consists of a header with this shape, without data."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[{}], [None]]), allow_pickle=True)
    return buffer.getvalue()


FILES = {
    "empty": ("scores.empty", b""),
    "a text": ("scores.unreadable", b"0.1,0.2,0.3\n"),
    "an archive with a folder": ("scores.unreadable", _archive(**{"a/scores": SCORES})),
    "an archive of objects": ("scores.object", _archive(scores=np.array([[None]]))),
    "ends in its header": ("scores.unreadable", npy(SCORES)[:100]),
    "a broken header": ("scores.unreadable", npy(SCORES).replace(b"'descr'", b"'descr:")),
    "a header of another make": ("scores.unreadable", _header_only("(60, -7)")),
    "pickled objects": ("scores.object", _pickled()),
    "integers": ("scores.dtype", npy(SCORES.astype(np.int64))),
    "complex numbers": ("scores.dtype", npy(SCORES.astype(np.complex64))),
    "records": ("scores.dtype", npy(np.zeros((60, 7), [("a", "f4")]))),
    "cut short": ("scores.truncated", npy(SCORES)[:-1]),
    "too long": ("scores.truncated", npy(SCORES) + b"\0"),
    "a claim of 2**80 bytes": ("scores.truncated", _header_only(f"({2**40}, {2**38})")),
    "cut short and of another shape": ("scores.truncated", npy(SCORES[:50])[:-1]),
    "too few rows": ("scores.shape", npy(SCORES[:-1])),
    "one dimension": ("scores.shape", npy(SCORES.ravel())),
    "three dimensions": ("scores.shape", npy(SCORES[None])),
    "no rows": ("scores.empty", npy(SCORES[:0])),
}


@pytest.fixture(autouse=True)
def _nothing_is_left(service: Service) -> Iterator[None]:
    service.wait_until_idle()
    accounts = {"user", "token"}
    rows, files = service.rows(), service.files()
    yield
    until(lambda: service.files() == files, "the deletion of received files")
    assert {name: n for name, n in service.rows().items() if name not in accounts} == {
        name: n for name, n in rows.items() if name not in accounts
    }


def _problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem["type"] == f"urn:ldsboard:problem:{code}"
    assert problem["title"] == PROBLEMS[code].title
    assert problem["status"] == status
    assert all(problem[part] for part in ("hint", "detail"))
    assert ("expected" in problem) == ("got" in problem)
    return problem


@pytest.mark.parametrize(("code", "content"), FILES.values(), ids=FILES.keys())
def test_invalid_file_is_rejected_with_the_problem_of_the_library(
    service: Service, token: str, toy: Example, tmp_path: Path, code: str, content: bytes
) -> None:
    problem = _problem(service.submit(token, "toy", content), 422, code)
    path = tmp_path / "scores.npy"
    path.write_bytes(content)
    with pytest.raises(ProblemError) as raised:
        check_shape(open_scores(path).shape, *toy.scores().shape)
    assert problem | raised.value.problem.as_dict() == problem


def test_shape_problem_names_both_shapes(service: Service, token: str) -> None:
    problem = service.submit(token, "toy", npy(SCORES.T[1:])).json()
    assert problem["expected"].startswith("shape (60, 7)")
    assert problem["got"] == "shape (6, 60)"


def test_large_file_is_rejected_by_its_content_length(service: Service, token: str) -> None:
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as connection:
        request = (
            "PUT /api/v1/benchmarks/toy/submissions?method=ours HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {MAX_UPLOAD_BYTES + 1}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(request.encode())
        answer = read_response(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"upload.too_large"' in answer


def test_large_file_sent_completely_is_rejected_alike(service: Service, token: str) -> None:
    problem = _problem(service.submit(token, "toy", bytes(8 * MAX_UPLOAD_BYTES)), 413, "upload.too_large")
    assert problem["expected"] == f"at most {MAX_UPLOAD_BYTES} bytes"
    assert problem["got"] == f"{8 * MAX_UPLOAD_BYTES} bytes"


def test_body_without_content_length_is_rejected(service: Service, token: str) -> None:
    response = service.client.put(
        "/benchmarks/toy/submissions",
        params={"method": "ours"},
        content=iter([npy(SCORES)]),
        headers={"Authorization": f"Bearer {token}"},
    )
    _problem(response, 411, "upload.length_required")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, "auth.missing"),
        ({"Authorization": ""}, "auth.missing"),
        ({"Authorization": "Bearer ldsb_nobody"}, "auth.invalid"),
        ({"Authorization": "Bearer"}, "auth.invalid"),
        ({"Authorization": "Basic YWxpY2U6c2VjcmV0"}, "auth.invalid"),
    ],
)
def test_missing_or_invalid_token_is_rejected_before_the_file_is_read(
    service: Service, header: dict[str, str], code: str
) -> None:
    response = service.client.put(
        "/benchmarks/toy/submissions", params={"method": "ours"}, content=npy(SCORES), headers=header
    )
    _problem(response, 401, code)
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_token_with_the_basic_scheme_is_rejected(service: Service, token: str) -> None:
    response = service.client.put(
        "/benchmarks/toy/submissions", params={"method": "a"}, content=b"", headers={"Authorization": f"Basic {token}"}
    )
    _problem(response, 401, "auth.invalid")


def test_unknown_benchmark_error_lists_the_existing_ones(service: Service, token: str) -> None:
    problem = _problem(service.submit(token, "cifar", npy(SCORES)), 404, "benchmark.unknown")
    assert "toy" in problem["expected"]
    assert problem["got"] == "cifar"


@pytest.mark.parametrize(
    "query",
    [
        {"method": "Ours"},
        {"method": "=cmd"},
        {"method": "-x"},
        {"method": ""},
        {"method": "a" * 65},
        {"kind": "secret"},
        {"title": "t" * 201},
        {"title": "two\nlines"},
        {"title": "ours \u202egnp.exe"},
        {"seconds": "-1"},
        {"seconds": "inf"},
        {"seconds": "nan"},
        {"models": "1.5"},
        {"models": str(10**30)},
    ],
    ids=str,
)
def test_invalid_query_parameter_is_rejected(service: Service, token: str, query: dict[str, str]) -> None:
    problem = _problem(service.submit(token, "toy", npy(SCORES), **query), 422, "request.invalid")
    assert next(iter(query)) in problem["expected"]


def test_exhausted_quota_is_rejected_with_retry_after(service: Service, toy: Example) -> None:
    nobody = service.token("without-quota", ranked_per_day=0)
    response = service.submit(nobody, "toy", npy(toy.scores()))
    problem = _problem(response, 429, "quota.exceeded")
    assert 0 < int(response.headers["Retry-After"]) <= 24 * 60 * 60
    assert "practice" in problem["hint"].lower()
    never = service.token("never", ranked_per_version=0)
    response = service.submit(never, "toy", npy(toy.scores()))
    _problem(response, 429, "quota.exceeded")
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize("send", [60, 3000])
def test_small_file_with_a_dropped_connection_leaves_nothing(
    service: Service, token: str, toy: Example, send: int
) -> None:
    content = npy(toy.scores().astype(np.float64))
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as connection:
        request = (
            "PUT /api/v1/benchmarks/toy/submissions?method=ours HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection.sendall(request.encode() + content[:send])
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read() == b""
    assert service.client.get("/benchmarks").is_success


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/nothing", 404, "request.not_found"),
        ("/benchmarks/nothing", 404, "benchmark.unknown"),
        ("/benchmarks/toy?version=2", 404, "benchmark.unknown"),
        ("/benchmarks/toy?version=0", 422, "request.invalid"),
        (f"/benchmarks/toy?version={10**30}", 422, "request.invalid"),
        ("/benchmarks/toy/leaderboard?format=xml", 422, "request.invalid"),
        ("/benchmarks/toy/leaderboard?limit=0", 422, "request.invalid"),
        ("/benchmarks/toy/submissions", 405, "request.invalid"),
        ("/benchmarks/..%2f..%2fhidden/public.npz", 404, "request.not_found"),
        ("/submissions/0123456789abcdef", 404, "submission.unknown"),
        ("/submissions/%ff%00", 422, "request.invalid"),
        ("/submissions/0123456789abcdef?wait=61", 422, "request.invalid"),
        ("/submissions/0123456789abcdef/per-target.npz", 404, "submission.unknown"),
        ("/compare?a=1&b=2", 404, "submission.unknown"),
        ("/compare?a=1", 422, "request.invalid"),
    ],
)
def test_invalid_address_returns_a_problem(service: Service, address: str, status: int, code: str) -> None:
    _problem(service.client.get(address), status, code)


@pytest.mark.parametrize(
    "stated", ["Content-Length: 9\r\nTransfer-Encoding: chunked", "Content-Length: 9\r\nContent-Length: 3"]
)
def test_conflicting_body_lengths_are_rejected(service: Service, token: str, stated: str) -> None:
    rows = service.rows()
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as connection:
        request = (
            "PUT /api/v1/benchmarks/toy/submissions?method=ours HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n{stated}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        connection.sendall(request.encode())
        assert connection.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"
    assert service.rows() == rows
