"""The steps of the demo, with a small benchmark and ready scores in place of what the trainer would take minutes for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.cli import demo as steps
from app.cli.demo import BENCHMARK, PRACTICE, markers
from app.settings import Settings
from tests.app.benchmarks import write_benchmark
from tests.app.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

    from tests.app.benchmarks import Example

NOISE = {"random": 30.0, "similarity": 0.3}
"""The baselines of this demo, and how far their scores are from the true effects."""


class Trainer:
    """Stands for the trainer: gives the benchmark and the scores that are ready; other commands run as they are."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.asked: list[str] = []
        self._plain = steps._run

    def __call__(self, *arguments: str, **environment: str) -> str:
        _, module, command, name, *options = arguments
        self.asked.append(f"{module} {command}")
        if module != "worker":
            return self._plain(*arguments, **environment)
        out = Path(options[options.index("--out") + 1])
        if command == "train":
            shutil.copytree(self.example.folder, out)
            return ""
        np.save(out, self.example.scores(NOISE[name]))
        return json.dumps({"seconds": 1.5, "models": 1})


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    stand_in = Trainer(write_benchmark(tmp_path / "made", BENCHMARK))
    shipped = write_benchmark(tmp_path / "shipped", PRACTICE, split="open")
    monkeypatch.setattr(steps, "_run", stand_in)
    monkeypatch.setattr(steps, "BASELINES", tuple(NOISE))
    monkeypatch.setattr(steps.Demo.submit_baselines, "__defaults__", (tuple(NOISE),))
    monkeypatch.setattr(steps, "SHIPPED", shipped.folder.parent)
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    return stand_in


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as reserved:
        yield reserved


def _demo(port: int, *options: str) -> Result:
    return CliRunner().invoke(cli, ["demo", "--port", str(port), *options], catch_exceptions=False)


def test_it_trains_publishes_submits_writes_the_tables_and_the_second_time_has_nothing_to_do(
    trainer: Trainer, tmp_path: Path, port: int
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(["Before", *markers(BENCHMARK), "between", *markers(PRACTICE), "after"]))
    first = _demo(port, "--all", "--table", str(readme))
    assert first.exit_code == 0, first.output
    each = ["ldsboard.cli pull", *["worker baseline", "ldsboard.cli submit"] * len(NOISE)]
    assert trainer.asked == ["worker train", *each, *each]
    text = readme.read_text()
    for board, before, after in ((BENCHMARK, "Before", "between"), (PRACTICE, "between", "after")):
        start, end = markers(board)
        assert text.partition(start)[0].endswith(f"{before}\n")
        assert text.partition(end)[2].startswith(f"\n{after}")
        rows = text.partition(start)[2].partition(end)[0].strip().splitlines()
        assert rows[0].startswith("| rank | method | LDS [95 % interval] |")
        assert [row.split("|")[2].strip() for row in rows[2:]] == ["`similarity`", "`random`"]
    token = tmp_path / "data" / "demo-token"
    assert token.stat().st_mode & 0o077 == 0

    trainer.asked.clear()
    kept = token.read_text()
    assert _demo(port, "--all", "--table", str(readme)).exit_code == 0
    assert trainer.asked == []
    assert (token.read_text(), readme.read_text()) == (kept, text)


def test_it_greets_with_a_command_to_paste_until_the_server_ends(
    trainer: Trainer, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps.Demo.submit_baselines, "__defaults__", (("similarity",),))
    greet = steps.Demo.greet

    def greet_and_end(demo: steps.Demo, token: str) -> None:
        greet(demo, token)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps.Demo, "greet", greet_and_end)
    said = _demo(port)
    assert said.exit_code == 0, said.output
    token = (Settings().data_dir / "demo-token").read_text()
    assert f"export LDSBOARD_SERVER=http://localhost:{port} LDSBOARD_TOKEN={token}" in said.output
    assert f"'http://localhost:{port}/api/v1/benchmarks/{BENCHMARK}/submissions?method=my-method'" in said.output
    assert f"The practice board {PRACTICE} is empty" in said.output
    assert "similarity" in capfd.readouterr().out  # the leaderboard, by a process of its own
    assert trainer.asked[-1] == "ldsboard.cli submit"


def test_a_file_without_marks_and_a_step_that_fails_are_told(
    trainer: Trainer, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text("nothing")
    monkeypatch.setattr(steps.Demo.submit_baselines, "__defaults__", ((),))
    unmarked = _demo(port, "--table", str(tmp_path / "README.md"))
    assert (unmarked.exit_code, trainer.asked) == (2, ["worker train"])
    assert f"README.md lacks the markers {markers(BENCHMARK)[0]}" in unmarked.stderr
    assert (tmp_path / "README.md").read_text() == "nothing"
    monkeypatch.setattr(steps.Demo, "prepare", lambda _: trainer._plain("-c", f"import sys; sys.exit({os.EX_USAGE})"))
    failed = _demo(port)
    assert failed.exit_code == 2
    assert "A step of the demo failed: -c import sys" in failed.stderr
