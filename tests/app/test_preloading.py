"""What the service has ready before a file is scored: ground truth, and each file's part of the processors."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from app.context import AppContext
from app.scoring.sandbox import child
from app.settings import Settings
from ldsboard import GroundTruth
from ldsboard.parallel import usable_processors
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service, npy, until

if TYPE_CHECKING:
    from pathlib import Path

    from ldsboard.result import Result
    from tests.app.benchmarks import Example


@pytest.mark.server
def test_ground_truth_is_preloaded_at_server_start_and_at_upload_start(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path / "service")

    def broken(name: str) -> tuple[Example, str]:
        """Publish a benchmark and take its manifest away; return also what is logged when it cannot be loaded."""
        example = write_benchmark(tmp_path / name, name, n=600, N=40)
        service.publish(example.folder)
        folder = (service.settings.benchmarks_dir / name / "1").absolute()
        (folder / "public" / "benchmark.json").unlink()
        return example, f"The ground truth in {folder} could not be preloaded"

    _, of_first = broken("first")
    with service:
        until(lambda: of_first in service.log.read_text(), "an attempt to load what is current")
        second, of_second = broken("second")
        token, content = service.token("ann"), npy(second.scores())
        with socket.create_connection(("localhost", service.port)) as connection:
            head = "PUT /api/v1/benchmarks/second/submissions?method=m HTTP/1.1\r\nHost: localhost\r\n"
            head += f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content[:-1])
            until(lambda: of_second in service.log.read_text(), "an attempt to load what an upload is for")


@pytest.mark.parametrize(("at_once", "threads"), [(1, usable_processors()), (64, 1)])
def test_parallel_scoring_processes_share_the_processors(tmp_path: Path, at_once: int, threads: int) -> None:
    context = AppContext.open(Settings(data_dir=tmp_path, scoring_processes=at_once))
    assert context.scorer._threads == threads
    context.database.close()
    context.data_lock.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_scoring_process_uses_the_given_number_of_threads(
    toy: Example, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    masks_Mn, margins_MRN, parts = toy.bundle.scored_arrays()
    truth, told = GroundTruth(masks_Mn, margins_MRN), []

    def noting(scores: object, splits: dict[str, slice], *, threads: int) -> dict[str, Result]:
        told.append(threads)
        return plain(scores, splits, threads=threads)

    plain = truth.score
    monkeypatch.setattr(truth, "score", noting)
    answer, _ = child.score(toy.scores(), truth, {"public": parts["public"]}, threads)
    assert told == [threads]
    assert answer["parts"]["public"]["lds"] == toy.offline(toy.scores())["public"].lds
