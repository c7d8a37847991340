"""What a person at the command line is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.tiny import HIDDEN_SEED
from worker import device
from worker.__main__ import _advice, _fill_in_ray_address
from worker.memory import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

TINY_OPTIONS = ("--public", "4", "--hidden", "6", "--group", "4", "--hidden-seed", HIDDEN_SEED)


@pytest.fixture
def worker(worker: Callable[..., CompletedProcess[str]]) -> Callable[..., tuple[int, str]]:
    """Run the command line in this process; return its exit code and what it said, in one line."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        done = worker(*arguments)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


def test_a_trained_folder_is_gathered_then_complete(worker: Callable[..., tuple[int, str]], trained: Path) -> None:
    options = ("train", "digits-mlp", "--out", trained, *TINY_OPTIONS, "--shard-size", "8")
    code, said = worker("gather", trained)
    assert code == 0
    assert "digits-mlp version 1 is in" in said
    assert "20 models" in said
    code, said = worker("train", "digits-mlp", "--out", trained, "--public", "4", "--hidden", "6")
    assert said.endswith("is complete.")  # with as many models at once as it was begun with
    before = (trained / "public" / "benchmark.json").stat().st_mtime_ns
    code, said = worker(*options)
    assert code == 0
    assert said.endswith("is complete.")
    assert (trained / "public" / "benchmark.json").stat().st_mtime_ns == before


def test_a_part_of_the_shards_waits_for_the_rest(worker: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, said = worker("train", "digits-mlp", "--out", tmp_path, *TINY_OPTIONS, "--shard-size", "8", "--shards", "1-1")
    assert code == 0
    assert said.endswith("Still missing: models 0-7, 16-19.")
    code, said = worker("gather", tmp_path)
    assert code == 2
    assert "expected 20 models" in said
    assert "missing: 0-7, 16-19" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gather", "OUT"], "is not a training folder: it has no training.json"),
        (
            ["train", "imagenet", "--out", "OUT"],
            "digits-mlp, fashion5k-mlp, or a path that ends in .py, got 'imagenet'",
        ),
        (["train", "digits-mlp", "--out", "OUT", "--shard-size", "15"], "multiple of 20, the number of models"),
        (["train", "digits-mlp", "--out", "OUT", "--shards", "3"], "expected shards as a-b with a <= b < 20, got '3'"),
        (["train", "digits-mlp", "--out", "OUT", "--shards", "9-20"], "got '9-20'"),
        (["train", "digits-mlp", "--out", "OUT", "--group", "0"], "group of at least 1, got 0"),
        (["train", "digits-mlp", "--out", "OUT", "--gpus-per-shard", "1"], "--gpus-per-shard 1 needs --ray"),
        (["train", "digits-mlp", "--out", "OUT", "--split", "half"], "'protected' or 'open', got 'half'"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    worker: Callable[..., tuple[int, str]], tmp_path: Path, arguments: list[str], message: str
) -> None:
    out = tmp_path / "out"
    code, said = worker(*[str(out) if argument == "OUT" else argument for argument in arguments])
    assert code == 2
    assert message in said
    assert not out.exists()


def test_a_cluster_of_gpus_needs_one_here(
    worker: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "best_kind", lambda: device.CPU)
    code, said = worker("train", "digits-mlp", "--out", tmp_path / "out", "--ray", "--gpus-per-shard", "1")
    assert (code, "This machine has no GPU" in said) == (2, True)
    monkeypatch.setattr(device, "best_kind", lambda: device.GPU)
    code, said = worker("train", "digits-mlp", "--out", tmp_path / "out", "--ray", "--device", "cuda")
    assert (code, "set --gpus-per-shard to at least 1" in said) == (2, True)


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(
    worker: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, said = worker("train", "digits-mlp", "--out", tmp_path / "file" / "out", *TINY_OPTIONS)
    assert code == 1
    assert said.startswith("error: [Errno 20] Not a directory")
    assert said.endswith("fix the cause and repeat the command.")


def test_a_name_in_brackets_is_told_as_it_is(worker: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, said = worker("gather", tmp_path / "truth[/b]")
    assert (code, "truth[/b]" in said) == (2, True)


def test_out_of_memory_names_the_group_to_restart_with() -> None:
    assert _advice(OutOfMemory(10, "no")).startswith("Either restart with --group 5 in another folder")
    assert _advice(OutOfMemory(1, "no")).startswith("Use fewer --processes")


def test_ray_may_have_an_address_or_none() -> None:
    assert _fill_in_ray_address(["train", "--ray", "--out", "x"]) == ["train", "--ray=local", "--out", "x"]
    assert _fill_in_ray_address(["train", "--ray"]) == ["train", "--ray=local"]
    assert _fill_in_ray_address(["train", "--ray", "head:6379"]) == ["train", "--ray", "head:6379"]


def test_help_names_the_commands(worker: Callable[..., tuple[int, str]]) -> None:
    code, said = worker("--help")
    assert code == 0
    assert all(name in said for name in ("train", "gather", "bench"))


def test_bench_prints_a_table(worker: Callable[..., tuple[int, str]]) -> None:
    code, said = worker("bench", "digits-mlp", "--group", "2", "--rounds", "1")
    assert code == 0
    assert "| digits-mlp, batched | 12 |" in said


def test_bench_takes_both_perceptrons_by_itself(worker: Callable[..., tuple[int, str]]) -> None:
    code, said = worker("bench", "--group", "2", "--rounds", "1", "--steps", "3")
    assert code == 0
    for name, visits in {"digits-mlp": 12 * 600, "fashion5k-mlp": 15 * 2500}.items():
        assert f"| {name}, batched | {2 * 3 * 50 / visits:.4g} |" in said
