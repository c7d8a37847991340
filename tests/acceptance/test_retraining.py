"""Counterfactual evaluations of a server end with the same bits however often the server or its processes are killed."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.app.benchmarks import write_trainable
from tests.app.retraining import evaluate, saved, stored_falls
from tests.app.service import Service, npy, until
from tests.processes import alive, children, command_line, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example

ENTRIES, KILLS = 6, 10

pytestmark = (
    pytest.mark.slow
)  # run one after the other: the process that trains gets only processor time that is left over


@pytest.fixture(scope="module")
def slow_training(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A benchmark whose evaluation takes seconds, and has many parts."""
    return write_trainable(tmp_path_factory.mktemp("slow"), epochs=150, group=2)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, slow_training: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), counterfactual=True, retry_seconds=0.1) as running:
        running.publish(slow_training.folder)
        yield running


def falls(service: Service) -> dict[str, bytes]:
    """Return the falls of all evaluations that have ended, by submission."""
    return {name: row.falls for name, row in saved(service.database).items() if row.falls is not None}


def retraining(service: Service) -> int | None:
    """Return the pid of the process that trains for the server; None if there is none."""
    pids = [pid for pid in children(service.process.pid) if "-m ldsboard.retraining" in command_line(pid)]
    assert len(pids) <= 1
    return pids[0] if pids else None


def test_killed_evaluations_end_with_the_bits_of_an_undisturbed_run(
    service: Service, slow_training: Example, tmp_path: Path
) -> None:
    token = service.token("ann", ranked_per_day=100, ranked_per_version=100)
    ids = [
        service.submit_and_score(token, "toy", npy(slow_training.scores(seed=seed)), method=f"method-{seed}")["id"]
        for seed in range(ENTRIES)
    ]
    parts = service.settings.data_dir / "counterfactual"
    draw = random.Random(0)  # noqa: S311 -- moments of kills
    for kill in range(KILLS):
        finished = len(list(parts.glob("*/*.npz")))
        wanted = finished + draw.randint(1, 7)
        until(lambda: len(list(parts.glob("*/*.npz"))) >= wanted, f"{wanted} parts")  # noqa: B023 -- called at once
        child = until(lambda: retraining(service), "a process that trains")
        if kill % 2:
            os.kill(child, signal.SIGKILL)
        else:
            assert service.stop(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not alive(child), "the end of the process that trains")  # noqa: B023
        if not kill % 2:
            service.start()
    assert len(falls(service)) < ENTRIES  # all kills came in the middle
    until(lambda: len(falls(service)) == ENTRIES, "all evaluations")
    expected = {name: stored_falls(evaluate(slow_training, tmp_path, seed)) for seed, name in enumerate(ids)}
    assert falls(service) == expected
    assert sum(row.claims for row in saved(service.database).values()) >= ENTRIES + KILLS
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    assert {row["id"] for row in rows if row["fall"]} == set(ids)


def test_stopped_server_gives_its_claim_back_and_leaves_no_process(service: Service, slow_training: Example) -> None:
    token = service.token("bob")
    name = service.submit_and_score(token, "toy", npy(slow_training.scores(seed=99)), method="stopped")["id"]
    child = until(lambda: retraining(service), "a process that trains")
    assert service.stop() == 0
    assert not alive(child)
    row = saved(service.database)[name]
    assert (row.claimed_at, row.worker, row.failures, row.ended_at) == (None, None, 0, None)
    service.start()
    until(lambda: name in falls(service), "the evaluation")
    assert "Traceback" not in service.log.read_text()


def test_killed_server_leaves_no_paused_process(service: Service, slow_training: Example) -> None:
    token = service.token("cleo")
    service.submit_and_score(token, "toy", npy(slow_training.scores(seed=98)), method="paused")
    parts = service.settings.data_dir / "counterfactual"
    finished = len(list(parts.glob("*/*.npz")))
    until(lambda: len(list(parts.glob("*/*.npz"))) > finished, "a finished part")
    child = until(lambda: retraining(service), "a process that trains")
    stop(child)
    service.stop(signal.SIGKILL)
    until(lambda: not alive(child), "the end of the process that trains")
    service.start()
