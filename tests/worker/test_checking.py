"""New models are compared with those of a published benchmark: models that are trained alike agree, and others differ.

Legend: K subsets, R runs, N targets.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.app.benchmarks import write_benchmark
from worker.checking import compare
from worker.recipes import digits_mlp
from worker.training import Margins, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from subprocess import CompletedProcess

    from numpy.typing import NDArray
    from torch import nn

    from worker.checking import Comparison

K, N = 40, 60


def margins(rng: np.random.Generator, runs: int, noise: float = 1.0) -> NDArray[np.float32]:
    """Return margins (K, runs, N): an effect of each subset on each target, and noise of each run."""
    effects_KN = rng.normal(size=(K, 1, N)) + 3
    return (effects_KN + noise * rng.normal(size=(K, runs, N))).astype(np.float32)


def compared(rng: np.random.Generator) -> list[Comparison]:
    every = margins(rng, 3)
    return compare(every[:, 2], every[:, :2])


def test_statistics_equal_their_definitions() -> None:
    every = margins(np.random.default_rng(0), 3).astype(float)
    new_KN, published_KRN = every[:, 2], every[:, :2]

    def agreement(a_KN: NDArray[np.float64], b_KN: NDArray[np.float64]) -> float:
        return float(np.mean([np.corrcoef(a_KN[:, j], b_KN[:, j])[0, 1] for j in range(N)]))

    found, mean, spread = compare(new_KN.astype(np.float32), published_KRN.astype(np.float32))
    with_new = (agreement(new_KN, published_KRN[:, 0]) + agreement(new_KN, published_KRN[:, 1])) / 2
    assert found.new == pytest.approx(with_new)
    assert found.published == pytest.approx(agreement(published_KRN[:, 0], published_KRN[:, 1]))
    assert (mean.new, mean.published) == pytest.approx((new_KN.mean(), published_KRN.mean()))
    assert spread.new == pytest.approx(np.mean([new_KN[k].std() for k in range(K)]))


def test_standard_errors_are_those_of_repeated_draws() -> None:
    """Over 300 draws, the standard deviation of a difference is known within 4 %; jackknife errors are slightly too large."""
    rng = np.random.default_rng(1)
    draws = [compared(rng) for _ in range(300)]
    for statistic in zip(*draws, strict=True):
        spread = np.std([each.new - each.published for each in statistic])
        assert 0.85 < np.mean([each.error for each in statistic]) / spread < 1.25
        assert abs(np.mean([each.new - each.published for each in statistic])) < 4 * spread / 300**0.5
        assert all(each.agrees for each in statistic)


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        (lambda new: new + 0.2, {"mean margin"}),
        (lambda new: 3 + 1.2 * (new - 3), {"standard deviation"}),
        (lambda new: new[::-1], {"agreement"}),
        (lambda new: np.full_like(new, 3), {"agreement", "standard deviation"}),
    ],
    ids=["shifted", "more confident", "other subsets", "constant"],
)
def test_differences_are_found(
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]], differing: set[str]
) -> None:
    every = margins(np.random.default_rng(2), 3)
    found = compare(change(every[:, 2]).astype(np.float32), every[:, :2])
    assert {each.name for each in found if not each.agrees} == differing


@pytest.fixture
def published(worker: Callable[..., CompletedProcess[str]], tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    made = worker("train", "digits-mlp", "--out", folder, "--split", "open", "--public", "12", "--hidden", "4")
    assert made.returncode == 0, made.stderr
    return folder


def test_models_trained_on_this_machine_agree_and_speed_is_stated(
    worker: Callable[..., CompletedProcess[str]], published: Path
) -> None:
    done = worker("check", published, "--subsets", "12", "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "digits-mlp, batched, K = 20: 12 models in" in done.stdout
    assert "of the measured peak" in done.stdout
    assert done.stdout.count(": agrees\n") == 3
    again = worker("check", published, "--subsets", "12", "--device", "cpu", "--engine", "sequential", "--group", "5")
    assert again.returncode == 0, again.stdout
    assert "digits-mlp, sequential, K = 5" in again.stdout
    new = [
        line.split("new ")[1].split(",")[0]
        for out in (done, again)
        for line in out.stdout.splitlines()
        if "new " in line
    ]
    assert list(map(float, new[:3])) == pytest.approx(
        list(map(float, new[3:])), abs=0.01
    )  # the same models, up to rounding


def test_models_trained_otherwise_differ(
    worker: Callable[..., CompletedProcess[str]], published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits_mlp, "SETTINGS", replace(digits_mlp.SETTINGS, epochs=9))
    done = worker("check", published, "--subsets", "12", "--device", "cpu")
    assert done.returncode == 1
    assert "mean margin: new" in done.stdout
    assert done.stdout.count(": DIFFERS\n") >= 1


def test_check_refuses_what_cannot_be_compared(
    worker: Callable[..., CompletedProcess[str]], published: Path, tmp_path: Path
) -> None:
    def message(*arguments: str | Path) -> str:
        done = worker("check", *arguments, "--device", "cpu")
        assert done.returncode == 2
        return " ".join(done.stderr.split())

    assert "expected at least 10 subsets, got 9" in message(published, "--subsets", "9")
    assert "has 12 public subsets. Use --subsets 12 or less." in message(published)
    assert "expected one of the engines" in message(published, "--subsets", "12", "--engine", "fast")
    assert str(tmp_path / "none") in message(tmp_path / "none", "--subsets", "12")
    assert "Train this recipe with the sequential engine" in message(
        published, "--subsets", "12", "--engine", "vmapped"
    )


def altered(published: Path, folder: Path, **fields: object) -> Path:
    """Copy a benchmark, with other fields in its manifest."""
    shutil.copytree(published, folder)
    path = folder / "public" / "benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


def test_check_refuses_another_recipe_data_set_or_origin(
    worker: Callable[..., CompletedProcess[str]], published: Path, tmp_path: Path
) -> None:
    manifest = json.loads((published / "public" / "benchmark.json").read_text())

    def message(name: str, *arguments: str, **fields: object) -> str:
        done = worker("check", altered(published, tmp_path / name, **fields), "--subsets", "12", *arguments)
        assert done.returncode == 2, done.stdout
        return " ".join(done.stderr.split())

    dataset = manifest["dataset"] | {"source": "elsewhere"}
    assert "differs from the data set that" in message("data", dataset=dataset)
    assert "has no public seed, because the subsets were imported" in message("imported", public_seed=None)
    own = tmp_path / "own.py"
    own.write_text(Path(digits_mlp.__file__).read_text() + "# mine\n")
    assert "The recipe digits-mlp differs from the kit's recipe" in message("recipe", "--recipe", str(own))
    own.write_text(Path(digits_mlp.__file__).read_text())
    assert worker("check", published, "--subsets", "12", "--recipe", own).returncode == 0


def test_check_refuses_a_benchmark_of_one_run(tmp_path: Path, worker: Callable[..., CompletedProcess[str]]) -> None:
    one = write_benchmark(tmp_path, "one", split="open", runs=1)
    done = worker("check", one.folder, "--subsets", "12")
    assert done.returncode == 2
    assert "has one run of each subset" in " ".join(done.stderr.split())


def test_check_reports_memory_and_diverged_models(
    worker: Callable[..., CompletedProcess[str]], published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = Trainer.evaluate

    def evaluate_diverged(trainer: Trainer, models: Sequence[nn.Module]) -> Margins:
        found = evaluate(trainer, models)
        found.margins_KN[:2, 0] = np.inf
        return found

    monkeypatch.setattr(Trainer, "evaluate", evaluate_diverged)
    diverged = worker("check", published, "--subsets", "12", "--device", "cpu")
    assert diverged.returncode == 1
    assert "  2 of 12 new models DIVERGED" in diverged.stdout

    def run_out(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(Trainer, "train", run_out)
    done = worker("check", published, "--subsets", "12", "--device", "cpu")
    assert done.returncode == 2
    assert "Memory ran out with K = 20. Use a smaller --group." in " ".join(done.stderr.split())
