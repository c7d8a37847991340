"""Ground truth is preloaded, and scoring processes share the processors."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from app.context import AppContext
from app.scoring.sandbox import scoring_process
from app.settings import Settings
from ldsboard import GroundTruth
from ldsboard.core.parallel import usable_processors
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service, npy, until

if TYPE_CHECKING:
    from pathlib import Path

    from ldsboard.core.result import Result
    from tests.app.benchmarks import Example


@pytest.mark.server
def test_ground_truth_is_preloaded_at_server_start_and_at_upload_start(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path / "service")

    def broken(name: str) -> tuple[Example, str]:
        """Publish a benchmark and delete its manifest; return the example and the log text of the failed preload."""
        example = write_benchmark(tmp_path / name, name, n=600, N=40)
        service.publish(example.folder)
        folder = (service.settings.benchmarks_dir / name / "1").absolute()
        (folder / "public" / "benchmark.json").unlink()
        return example, f"The ground truth in {folder} could not be preloaded"

    _, first_message = broken("first")
    with service:
        until(lambda: first_message in service.log.read_text(), "a preload at the start")
        second, second_message = broken("second")
        token, content = service.token("ann"), npy(second.scores())
        with socket.create_connection(("localhost", service.port)) as connection:
            head = "PUT /api/v1/benchmarks/second/submissions?method=m HTTP/1.1\r\nHost: localhost\r\n"
            head += f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content[:-1])
            until(lambda: second_message in service.log.read_text(), "a preload for the upload")


@pytest.mark.parametrize(("at_once", "threads"), [(1, usable_processors()), (64, 1)])
def test_parallel_scoring_processes_share_the_processors(tmp_path: Path, at_once: int, threads: int) -> None:
    context = AppContext(Settings(data_dir=tmp_path, scoring_processes=at_once))
    assert context.sandbox._threads == threads
    context.database.close()
    context.data_lock.release()


@pytest.mark.parametrize("threads", [1, 2])
def test_scoring_process_uses_the_given_number_of_threads(
    toy: Example, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    masks_Mn, margins_MRN, parts = toy.bundle.scored_arrays()
    truth, thread_counts = GroundTruth(masks_Mn, margins_MRN), []

    def noting(scores: object, splits: dict[str, slice], *, threads: int, progress: None) -> dict[str, Result]:
        thread_counts.append(threads)
        return plain(scores, splits, threads=threads, progress=progress)

    plain = truth.score
    monkeypatch.setattr(truth, "score", noting)
    answer, _ = scoring_process.score(toy.scores(), truth, {"public": parts["public"]}, threads)
    assert thread_counts == [threads]
    assert answer["parts"]["public"]["lds"] == toy.offline(toy.scores())["public"].lds
