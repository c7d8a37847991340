"""The commands that retrain models without examples: ``ldsboard counterfactual`` and ``python -m worker counterfactual``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import cache, cli
from ldsboard.commands import counterfactual

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def scores_nN() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(1200, 597)).astype(np.float32)


@pytest.fixture
def cached(pulled: Path, scores_nN: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a score file, and a cache with the benchmark, of which few targets are evaluated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    folder = cache.folder(cache.default_server(), "digits-mlp", 1)
    shutil.copytree(pulled, folder)
    np.save("scores.npy", scores_nN)
    return folder


def test_library_and_trainer_print_the_same_numbers_and_train_once(
    cached: Path,
    worker: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shared = ["--targets", "2", "--processes", "1", "--json"]
    monkeypatch.setattr(
        "sys.argv", ["ldsboard", "counterfactual", "scores.npy", "digits-mlp", "--out", "falls.npz", *shared]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    offline = capsys.readouterr()
    assert "Training 213 models." in offline.err
    done = worker("counterfactual", "--benchmark", cached, "--scores", "scores.npy", *shared)
    assert (done.returncode, done.stderr) == (0, "")  # nothing is trained again
    assert done.stdout == offline.out
    found = json.loads(done.stdout)
    assert [(row["direction"], row["removed"]) for row in found["rows"][:2]] == [("proponents", 3), ("proponents", 6)]
    with np.load("falls.npz") as falls:
        assert falls["targets"].tolist() == [0, 596]
        assert falls["proponents"][2].mean() == pytest.approx(found["rows"][2]["fall"])


def test_table_names_headline_and_marks(cached: Path, worker: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    np.save("constant.npy", np.zeros((1200, 597)))
    done = worker("counterfactual", "--benchmark", cached, "--scores", "constant.npy", "--targets", "2")
    assert done.returncode == 0, done.stderr
    assert "Without the 12 of 1,200 training examples with the highest scores, " in " ".join(done.stdout.split())
    assert (
        "Note: proponents, 12 examples: for 2 of 2 targets, removed and kept examples have equal scores" in done.stderr
    )
    assert "for 2 of 2 targets, fewer examples have positive scores than were removed." in done.stderr


def test_missing_torch_is_named(
    cached: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del cached
    monkeypatch.setattr(counterfactual, "find_spec", lambda _: None)
    monkeypatch.setattr("sys.argv", ["ldsboard", "counterfactual", "scores.npy", "digits-mlp"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "needs torch. Install it: pip install torch" in capsys.readouterr().err


def test_single_target_has_no_interval_and_no_nan(
    cached: Path, worker: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = worker("counterfactual", "--benchmark", cached, "--scores", "scores.npy", "--targets", "1")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "nan" not in text
    assert " on average over 1 target and 3 runs (± " in text


def test_trainer_reports_bad_score_files_and_folders(
    cached: Path, worker: Callable[..., subprocess.CompletedProcess[str]], scores_nN: np.ndarray[Any, Any]
) -> None:
    np.save("short.npy", scores_nN[:7])
    np.save("nan.npy", np.where(scores_nN > 3, np.nan, scores_nN))
    for file, message in (
        ("none.npy", "There is no file none.npy. Check the path."),
        ("short.npy", "(7, 597)"),
        ("nan.npy", "finite"),
    ):
        done = worker("counterfactual", "--benchmark", cached, "--scores", file)
        assert done.returncode == 2
        assert message in done.stderr
    done = worker("counterfactual", "--benchmark", cached, "--scores", "scores.npy", "--out", "no/such/folder.npz")
    assert done.returncode == 2
    assert "--out: the folder no/such does not exist." in done.stderr
    done = worker("counterfactual", "--benchmark", cached, "--scores", "scores.npy", "--out", ".")
    assert done.returncode == 2
    assert "--out: . is a folder. Name a file in it, such as falls.npz." in done.stderr
