"""A dry run: the answers of a real upload and of `ldsboard validate`, and no trace."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.problems import ProblemError
from ldsboard.scores import check_finite, check_shape, read_scores
from tests.app.service import npy
from tests.app.test_refusals import FILES

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
    assert token, "made before the rows are counted"
    service.idle()
    rows, files = service.rows(), service.files()
    yield
    assert service.files() == files
    assert service.rows() == rows


def _spoiled(scores_nN: np.ndarray) -> bytes:
    spoiled = scores_nN.copy()
    spoiled[3, 2] = np.nan
    return npy(spoiled)


def test_a_good_file_is_told_so_whatever_the_quota(service: Service, token: str, toy: Example) -> None:
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
def test_a_bad_file_has_the_words_of_validate(
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
    scores_nN = read_scores(path)
    check_shape(scores_nN.shape, 60, 7)
    check_finite(scores_nN)


def test_who_and_where_are_checked_as_ever(service: Service, token: str, toy: Example) -> None:
    content = npy(toy.scores())
    assert service.submit("ldsb_nobody", "toy", content, dry_run="true").status_code == 401
    assert service.submit(token, "none", content, dry_run="true").json()["code"] == "benchmark.unknown"
    assert service.submit(token, "toy", content, dry_run="true", method="Ours").json()["code"] == "request.invalid"
