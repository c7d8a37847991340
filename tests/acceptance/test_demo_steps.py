"""The steps of the demo, with a small benchmark and precomputed scores instead of minutes of training."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from app import data_lock
from app.__main__ import cli
from app.cli import demo as steps
from app.cli.common import listen
from app.cli.demo import BENCHMARK, markers
from app.settings import Settings
from tests.app.benchmarks import write_benchmark
from tests.app.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

    from tests.app.benchmarks import Example

PRACTICE, WITHOUT_IMAGES = "fashion5k-mlp", "cifar10-5k-convnet"
NOISE = {"random": 30.0, "similarity": 0.3}
"""The baselines of this demo, and the noise added to the true effects to get their scores."""


class FakeTrainer:
    """Replaces the trainer: writes the prepared benchmark and scores; other commands run unchanged."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.commands: list[str] = []
        self._original_run = steps._run

    def __call__(self, *arguments: str, **environment: str) -> str:
        _, module, command, name, *options = arguments
        self.commands.append(f"{module} {command}")
        if module != "worker":
            return self._original_run(*arguments, **environment)
        out = Path(options[options.index("--out") + 1])
        if command == "train":
            shutil.copytree(self.example.folder, out)
            return ""
        np.save(out, self.example.scores(NOISE[name]))
        return json.dumps({"seconds": 1.5, "models": 1})


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    fake = FakeTrainer(write_benchmark(tmp_path / "made", BENCHMARK))
    for name, pictures in ((PRACTICE, (4, 4)), (WITHOUT_IMAGES, ())):
        dataset = {"name": "Fashion-MNIST" if pictures else "CIFAR-10"}
        made = write_benchmark(tmp_path / f"made-{name}", name, split="open", pictures=pictures, dataset=dataset)
        shutil.copytree(made.folder, tmp_path / "shipped" / name)
    monkeypatch.delenv("LDSBOARD_CIFAR10", raising=False)
    monkeypatch.setattr(steps, "_run", fake)
    monkeypatch.setattr(steps, "BASELINES", tuple(NOISE))
    monkeypatch.setattr(steps.Demo.submit_baselines, "__defaults__", (tuple(NOISE),))
    monkeypatch.setattr(steps, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    return fake


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as reserved:
        yield reserved


def _demo(port: int, *options: str) -> Result:
    return CliRunner().invoke(cli, ["demo", "--port", str(port), *options], catch_exceptions=False)


def test_demo_runs_all_steps_once_and_repeats_none(
    trainer: FakeTrainer, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(["Before", *markers(BENCHMARK), "between", *markers(PRACTICE), "after"]))
    first = _demo(port, "--all", "--table", str(readme))
    assert first.exit_code == 0, first.output
    each = ["ldsboard.cli pull", *["worker baseline", "ldsboard.cli submit"] * len(NOISE)]
    assert trainer.commands == ["worker train", *each, *each]
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

    trainer.commands.clear()
    first_token = token.read_text()
    assert _demo(port, "--all", "--table", str(readme)).exit_code == 0
    assert trainer.commands == []
    assert (token.read_text(), readme.read_text()) == (first_token, text)

    monkeypatch.setenv("LDSBOARD_CIFAR10", str(tmp_path))  # the images of the other practice board
    readme.write_text("\n".join([text, *markers(WITHOUT_IMAGES)]))
    assert _demo(port, "--all", "--table", str(readme)).exit_code == 0
    assert trainer.commands == each
    assert "| 1 | `similarity` |" in readme.read_text().partition(markers(WITHOUT_IMAGES)[0])[2]


@pytest.mark.slow
def test_demo_prints_example_command_while_server_runs(
    trainer: FakeTrainer, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps.Demo.submit_baselines, "__defaults__", (("similarity",),))
    greet = steps.Demo.greet

    def greet_and_end(demo: steps.Demo, token: str) -> None:
        greet(demo, token)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps.Demo, "greet", greet_and_end)
    result = _demo(port)
    assert result.exit_code == 0, result.output
    token = (Settings().data_dir / "demo-token").read_text()
    assert f"export LDSBOARD_SERVER=http://localhost:{port} LDSBOARD_TOKEN={token}" in result.output
    assert f"'http://localhost:{port}/api/v1/benchmarks/{BENCHMARK}/submissions?method=my-method'" in result.output
    again = f"python -m app demo --all --port {port}\n"
    assert f"{PRACTICE} is empty. To submit the baselines to it, stop the server, and run: " in result.output
    assert (
        f"{WITHOUT_IMAGES} is empty. To submit the baselines to it, stop the server, set LDSBOARD_CIFAR10 to"
        in result.output
    )
    assert result.output.count(again) == 2
    assert "similarity" in capfd.readouterr().out  # the leaderboard, printed by a subprocess
    assert trainer.commands[-1] == "ldsboard.cli submit"


def test_demo_reports_readme_without_marks_and_failed_step(
    trainer: FakeTrainer, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text("nothing")
    monkeypatch.setattr(steps.Demo.submit_baselines, "__defaults__", ((),))
    without_marks = _demo(port, "--table", str(tmp_path / "README.md"))
    assert (without_marks.exit_code, trainer.commands) == (2, ["worker train"])
    assert f"README.md lacks the markers {markers(BENCHMARK)[0]}" in without_marks.stderr
    assert (tmp_path / "README.md").read_text() == "nothing"
    monkeypatch.setattr(
        steps.Demo, "prepare", lambda _: trainer._original_run("-c", f"import sys; sys.exit({os.EX_USAGE})")
    )
    failed = _demo(port)
    assert failed.exit_code == 2
    assert "A step of the demo failed: -c import sys" in failed.stderr


def test_demo_prints_one_error_if_its_data_folder_is_taken(
    trainer: FakeTrainer, tmp_path: Path, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    with data_lock.lock_data_folder(tmp_path / "data"):
        refused = _demo(port)
    errors = (refused.stderr + capfd.readouterr().err).splitlines()
    assert refused.exit_code == 2
    (message,) = [line for line in errors if "rror" in line or "server" in line]
    assert message.startswith(
        f"Error: A server, a worker or another command uses the data folder {tmp_path / 'data'}. "
    )
    assert trainer.commands == ["worker train"]


def test_demo_prints_one_error_if_its_port_is_taken_while_models_train(
    trainer: FakeTrainer, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as ending:
        prepare = steps.Demo.prepare

        def prepare_and_take_port(demo: steps.Demo) -> None:
            prepare(demo)
            ending.enter_context(listen("127.0.0.1", port))

        monkeypatch.setattr(steps.Demo, "prepare", prepare_and_take_port)
        refused = _demo(port)
    errors = (refused.stderr + capfd.readouterr().err).splitlines()
    assert refused.exit_code == 2
    (message,) = [line for line in errors if "rror" in line or "server" in line]
    assert message.startswith(f"Error: Cannot listen on 127.0.0.1:{port}: ")
    assert trainer.commands == ["worker train"]
