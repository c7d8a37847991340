"""Output and exit codes of the trainer's command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsboard.retraining import device
from tests.worker.tiny import HIDDEN_SEED
from worker.__main__ import _fill_in_ray_address
from worker.memory import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

TINY_OPTIONS = ("--public", "4", "--hidden", "6", "--group", "4", "--hidden-seed", HIDDEN_SEED)


@pytest.fixture
def worker(worker: Callable[..., CompletedProcess[str]]) -> Callable[..., tuple[int, str]]:
    """Return a function that runs the command line in this process; it returns the exit code and the output as one line."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        done = worker(*arguments)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


def test_gather_completes_trained_folder_and_train_reports_it(
    worker: Callable[..., tuple[int, str]], trained: Path
) -> None:
    options = ("train", "digits-mlp", "--out", trained, *TINY_OPTIONS, "--shard-size", "8")
    code, output = worker("gather", trained)
    assert code == 0
    assert "digits-mlp version 1 is in" in output
    assert "Models: 20;" in output
    assert output.endswith("noise ceiling: unknown: it needs at least 64 ranking subsets.")
    code, output = worker("train", "digits-mlp", "--out", trained, "--public", "4", "--hidden", "6")
    assert output.endswith("is complete.")  # with the folder's own group size
    before = (trained / "public" / "benchmark.json").stat().st_mtime_ns
    code, output = worker(*options)
    assert code == 0
    assert output.endswith("is complete.")
    assert (trained / "public" / "benchmark.json").stat().st_mtime_ns == before


def test_train_of_some_shards_reports_missing_models(worker: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, output = worker(
        "train", "digits-mlp", "--out", tmp_path, *TINY_OPTIONS, "--shard-size", "8", "--shards", "1-1"
    )
    assert code == 0
    assert output.endswith("Still missing: models 0-7, 16-19.")
    code, output = worker("gather", tmp_path)
    assert code == 2
    assert "expected 20 models" in output
    assert "missing: 0-7, 16-19" in output


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
        (["train", "digits-mlp", "--out", "OUT", "--group", "0"], "at least 1 for group, got 0"),
        (["train", "digits-mlp", "--out", "OUT", "--gpus-per-shard", "1"], "--gpus-per-shard 1 needs --ray"),
        (["train", "digits-mlp", "--out", "OUT", "--split", "half"], "'protected' or 'open', got 'half'"),
    ],
)
def test_invalid_options_are_reported_before_anything_is_written(
    worker: Callable[..., tuple[int, str]], tmp_path: Path, arguments: list[str], message: str
) -> None:
    out = tmp_path / "out"
    code, output = worker(*[str(out) if argument == "OUT" else argument for argument in arguments])
    assert code == 2
    assert message in output
    assert not out.exists()


def test_train_with_gpus_per_shard_requires_local_gpu(
    worker: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "best_kind", lambda: device.CPU)
    code, output = worker("train", "digits-mlp", "--out", tmp_path / "out", "--ray", "--gpus-per-shard", "1")
    assert (code, "This machine has no GPU" in output) == (2, True)
    monkeypatch.setattr(device, "best_kind", lambda: device.GPU)
    code, output = worker("train", "digits-mlp", "--out", tmp_path / "out", "--ray", "--device", "cuda")
    assert (code, "set --gpus-per-shard to at least 1" in output) == (2, True)


def test_train_reports_unwritable_folder(worker: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, output = worker("train", "digits-mlp", "--out", tmp_path / "file" / "out", *TINY_OPTIONS)
    assert code == 1
    assert output.startswith("error: [Errno 20] Not a directory")
    assert output.endswith("fix the cause and repeat the command.")


def test_error_shows_path_with_brackets_unchanged(worker: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, output = worker("gather", tmp_path / "truth[/b]")
    assert (code, "truth[/b]" in output) == (2, True)


def test_out_of_memory_advice_names_smaller_group() -> None:
    assert OutOfMemory(10, "no").advice.startswith("Either restart with --group 5 in another folder")
    assert OutOfMemory(1, "no").advice.startswith("Use fewer --processes")


def test_ray_option_address_is_optional() -> None:
    assert _fill_in_ray_address(["train", "--ray", "--out", "x"]) == ["train", "--ray=local", "--out", "x"]
    assert _fill_in_ray_address(["train", "--ray"]) == ["train", "--ray=local"]
    assert _fill_in_ray_address(["train", "--ray", "head:6379"]) == ["train", "--ray", "head:6379"]


def test_help_names_commands(worker: Callable[..., tuple[int, str]]) -> None:
    code, output = worker("--help")
    assert code == 0
    assert all(name in output for name in ("train", "gather", "bench"))


def test_bench_prints_a_table(worker: Callable[..., tuple[int, str]]) -> None:
    code, output = worker("bench", "digits-mlp", "--group", "2", "--rounds", "1")
    assert code == 0
    assert "| digits-mlp, batched | 12 |" in output


def test_bench_defaults_to_both_perceptrons(worker: Callable[..., tuple[int, str]]) -> None:
    code, output = worker("bench", "--group", "2", "--rounds", "1", "--steps", "3")
    assert code == 0
    for name, visits in {"digits-mlp": 12 * 600, "fashion5k-mlp": 15 * 2500}.items():
        assert f"| {name}, batched | {2 * 3 * 50 / visits:.4g} |" in output
