"""Dry runs give the answers of an upload and of `ldsboard validate`, and save nothing."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.arrays.scores import check_finite, check_shape
from ldsboard.formats.score_files import HEADER_LIMIT, open_scores, read_header
from ldsboard.problems import ProblemError
from tests.app.service import npy
from tests.app.test_invalid_requests import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture
def token(service: Service) -> str:
    return service.token("dry", ranked_per_day=0)


@pytest.fixture(autouse=True)
def _nothing_is_left(service: Service, token: str) -> Iterator[None]:
    assert token, "created before the rows are counted"
    service.wait_until_idle()
    rows, files = service.rows(), service.files()
    yield
    assert service.files() == files
    assert service.rows() == rows


def _spoiled(scores_nN: np.ndarray) -> bytes:
    spoiled = scores_nN.copy()
    spoiled[3, 2] = np.nan
    return npy(spoiled)


def test_dry_run_accepts_a_valid_file_without_quota(service: Service, token: str, toy: Example) -> None:
    content = npy(toy.scores(seed=60))
    expected = {
        "benchmark": {"name": "toy", "version": 1},
        "method": "ours",
        "kind": "ranked",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    response = service.submit(token, "toy", content, dry_run="true", key="k")
    assert (response.status_code, response.json()) == (200, expected)
    compressed = service.client.put(
        "/benchmarks/toy/submissions?method=ours&dry_run=true",
        content=gzip.compress(content),
        headers={"Authorization": f"Bearer {token}", "Content-Encoding": "gzip"},
    )
    assert compressed.json() == expected


@pytest.mark.parametrize("name", [*FILES, "not finite"])
def test_dry_run_reports_the_same_problem_as_validate(
    service: Service, token: str, toy: Example, tmp_path: Path, name: str
) -> None:
    content = FILES[name][1] if name in FILES else _spoiled(toy.scores())
    path = tmp_path / "scores.npy"
    path.write_bytes(content)
    with pytest.raises(ProblemError) as raised:
        _validate(path)
    response = service.submit(token, "toy", content, dry_run="true")
    assert response.status_code == 422
    problem = response.json()
    assert problem | raised.value.problem.as_dict() == problem


def _validate(path: Path) -> None:
    scores_nN = open_scores(path)
    check_shape(scores_nN.shape, 60, 7)
    check_finite(scores_nN)


def test_dry_run_checks_token_benchmark_and_parameters(service: Service, token: str, toy: Example) -> None:
    content = npy(toy.scores())
    assert service.submit("ldsb_nobody", "toy", content, dry_run="true").status_code == 401
    assert service.submit(token, "none", content, dry_run="true").json()["code"] == "benchmark.unknown"
    assert service.submit(token, "toy", content, dry_run="true", method="Ours").json()["code"] == "request.invalid"
    assert service.submit(token, "toy", content, dry_run="true", sha256="0" * 64).json()["code"] == "upload.hash"


CHECK = "/benchmarks/toy/check"


def test_check_returns_the_header_of_a_file_that_fits_and_needs_no_token(service: Service, toy: Example) -> None:
    rows = service.rows()
    content = npy(toy.scores())
    response = service.client.post(CHECK, params={"size": len(content)}, content=content[:HEADER_LIMIT])
    assert response.status_code == 200, response.text
    shape = list(toy.scores().shape)
    fits = {"benchmark": {"name": "toy", "version": 1}, "dtype": "float32", "shape": shape, "transposed": False}
    assert response.json() == fits
    transposed = npy(toy.scores().T)
    response = service.client.post(CHECK, params={"size": len(transposed)}, content=transposed[:HEADER_LIMIT])
    assert response.json() == fits | {"transposed": True}
    assert service.rows() == rows


def test_check_rejects_a_file_with_the_problem_of_the_library(service: Service, toy: Example) -> None:
    content = npy(toy.scores()[1:])
    response = service.client.post(CHECK, params={"size": len(content)}, content=content[:HEADER_LIMIT])
    with pytest.raises(ProblemError) as raised:
        check_shape(read_header(content, len(content)).shape, *toy.scores().shape)
    assert response.status_code == 422
    assert response.json() | raised.value.problem.as_dict() == response.json()


@pytest.mark.parametrize(
    ("size", "length", "status", "code"),
    [
        (10, 9, 422, "request.invalid"),
        (HEADER_LIMIT + 1, HEADER_LIMIT - 1, 422, "request.invalid"),
        (0, 0, 422, "scores.empty"),
        (2**40, HEADER_LIMIT, 413, "upload.too_large"),
        (HEADER_LIMIT + 1, HEADER_LIMIT + 1, 413, "request.too_large"),
    ],
)
def test_check_rejects_sizes_that_do_not_fit_the_bytes(
    service: Service, size: int, length: int, status: int, code: str
) -> None:
    response = service.client.post(CHECK, params={"size": size}, content=bytes(length))
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_check_rejects_a_compressed_body(service: Service) -> None:
    response = service.client.post(
        CHECK, params={"size": 9}, content=gzip.compress(bytes(9)), headers={"Content-Encoding": "gzip"}
    )
    assert (response.status_code, response.json()["code"]) == (415, "upload.encoding")
