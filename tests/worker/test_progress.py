"""The progress display and the log of a training."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from ldsboard.retraining.processes import ProcessError
from worker.progress import Log, Tally, show_progress
from worker.reports import Finished, NodeLost, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.reports import Report

REPORTS: list[Report] = [
    Progress(4, 3.6),
    Progress(4, 3.8),
    Finished(8, 16, 0.925, 1.5),
    Progress(4, 4.0),
    Finished(16, 20, 1.0, 0.7),
]


def lines(log: Log) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def displayed(tmp_path: Path, *, terminal: bool) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=200, color_system=None)
    show_progress(REPORTS, Tally(20, 8, 7.2, 12), console, Log.in_folder(tmp_path / "shards"))
    return screen.getvalue()


def test_terminal_shows_count_speed_time_left_and_accuracy(tmp_path: Path) -> None:
    last = displayed(tmp_path, terminal=True).splitlines()[-2]  # the last line restores the cursor
    assert "20/20" in last
    assert "models/s, 0:00:00 left, mean accuracy 0.930" in last  # (7.2 + 11.4) / 20, including models of earlier runs


def test_time_left_counts_only_models_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally(2000, 0, 0.0, wanted=8, start=100.0)
    monkeypatch.setattr("worker.progress.time.monotonic", lambda: 104.0)
    tally.add(Progress(4, 3.6))
    assert "0:00:04 left" in str(tally)  # not half an hour: other runs train the other models


def test_batch_job_prints_one_line_per_shard(tmp_path: Path) -> None:
    first, second = displayed(tmp_path, terminal=False).splitlines()
    assert first.startswith("models-000008-000016.npz: 16 of 20 models, ")
    assert second.startswith("models-000016-000020.npz: 20 of 20 models, ")


def test_log_has_one_line_per_shard_and_survives_restart(tmp_path: Path) -> None:
    displayed(tmp_path, terminal=False)
    displayed(tmp_path, terminal=True)
    log = Log.in_folder(tmp_path / "shards")
    assert [line["event"] for line in lines(log)] == ["begun", "shard", "shard", "ended"] * 2
    shard = lines(log)[1]
    assert (shard["start"], shard["stop"], shard["accuracy"], shard["seconds"]) == (8, 16, 0.925, 1.5)
    assert (shard["done"], shard["models"]) == (16, 20)
    assert "time" in shard
    assert log.path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("terminal", [False, True])
def test_lost_node_is_shown_and_logged(tmp_path: Path, *, terminal: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=200, color_system=None)
    reports: list[Report] = [Progress(4, 3.6), NodeLost("b (10.0.0.2)", 1), NodeLost("a (10.0.0.1)", 0)]
    show_progress(reports, Tally(20, 8, 7.2, 12), console, log := Log.in_folder(tmp_path))
    assert "Lost node b (10.0.0.2): 1 node left. Its unfinished shards are trained again.\n" in screen.getvalue()
    assert "Lost node a (10.0.0.1): 0 nodes left.\n" in screen.getvalue()
    assert lines(log)[1] | {"time": ""} == {
        "time": "",
        "event": "lost",
        "node": "b (10.0.0.2)",
        "left": 1,
        "done": 12,
        "models": 20,
    }


def test_log_records_failed_training(tmp_path: Path) -> None:
    def fail() -> Iterator[Progress]:
        yield Progress(4, 3.6)
        raise ProcessError

    log = Log.in_folder(tmp_path)
    with pytest.raises(ProcessError):
        show_progress(fail(), Tally(20, 8, 7.2, 12), Console(file=io.StringIO()), log)
    assert [line["event"] for line in lines(log)] == ["begun", "failed"]
    assert lines(log)[1] | {"time": ""} == {
        "time": "",
        "event": "failed",
        "error": "ProcessError",
        "done": 12,
        "models": 20,
    }
