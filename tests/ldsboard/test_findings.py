"""What ``score`` and ``validate`` say about the axes and the signs of a file."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, cache, lds
from ldsboard.bundle import write_bundle
from ldsboard.core.negative_targets import are_many, negative_targets
from ldsboard.subsets import draw_masks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.ldsboard.conftest import Run

    Board = Callable[[int, int, int], NDArray[Any]]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Return a function that pulls the benchmark ``b`` of M public subsets, n examples and N targets, and returns good scores."""
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LDSBOARD_SERVER", "http://localhost:9")

    def make(M: int, n: int, N: int) -> NDArray[Any]:
        rng = np.random.default_rng(6)
        effects_nN = rng.normal(size=(n, N))
        masks_Mn = draw_masks(7, M + 70, n, 0.5)
        noise_MN = rng.normal(size=(M + 70, N))
        words = dict.fromkeys(("title", "description", "licence"), "none") | {"name": "b", "output_function": "margin"}
        numbers = {"version": 1, "alpha": 0.5, "public_seed": 7, "split": "open", "ranking": (M, M + 70)}
        empty: dict[str, Any] = {"dataset": {}, "recipe": {}, "provenance": {}}
        margins_MRN = np.stack([masks_Mn @ effects_nN + noise_MN] * 2, axis=1).astype(np.float32)
        folder = cache.folder("http://localhost:9", "b", 1)
        write_bundle(folder, {**words, **numbers, **empty}, masks_Mn=masks_Mn, margins_MRN=margins_MRN, labels={})
        return effects_nN

    return make


def test_clearly_negative_targets_are_counted_by_the_stated_bound() -> None:
    limit = 3.09 * math.sqrt((1 + 100 / 60) / 99)
    rho_N = np.array([-limit - 1e-9, -limit + 1e-9, -1.0, 0.0, 1.0])
    assert negative_targets(rho_N, 100, 60) == 2
    assert negative_targets(rho_N, 2, 60) == 0
    assert [are_many(count, 7) for count in (0, 2, 3, 7)] == [False, False, True, True]
    assert [are_many(count, 1000) for count in (49, 50)] == [False, True]


@pytest.mark.parametrize("noise", [0.0, 1e9])
def test_random_scores_have_few_clearly_negative_targets(noise: float) -> None:
    """At most .001 of 40,000 targets are expected: 40, with a standard deviation of 6.3. Seen were 19 and 0."""
    rng = np.random.default_rng(3)
    counts = []
    for seed in range(20):
        masks = draw_masks(seed, 200, 100, 0.5)
        margins = masks @ rng.normal(size=(100, 2000)) + noise * rng.normal(size=(200, 2000))
        rho_N = lds(rng.normal(size=(100, 2000)), masks, margins).per_target
        counts.append(negative_targets(rho_N, 200, 100))
    assert sum(counts) < 60


@pytest.mark.parametrize("command", ["score", "validate"])
def test_wrong_sign_of_some_targets_is_told_with_their_number(
    tmp_path: Path, board: Board, run: Run, command: str
) -> None:
    scores = board(100, 60, 7)
    path = tmp_path / "scores.npy"
    told = "3 of 7 targets are clearly negative. Is the sign of their scores flipped?"
    mixed = scores * np.where(np.arange(7) % 2, -1, 1)
    np.save(path, mixed)
    code, _, err = run(command, path, "b")
    assert (code, f"Warning: {told}" in err, "[scores.negative_targets]" in err) == (0, True, True)
    for values in (scores, -scores, scores * np.where(np.arange(7) > 4, -1, 1)):
        np.save(path, values)
        assert "targets are clearly negative" not in run(command, path, "b")[2]
    np.save(path, mixed)
    answer = json.loads(run("score", path, "b", "--json")[1])
    assert (answer["negative_targets"], answer["warnings"]) == (3, ["scores.negative_targets"])
    board(40, 60, 7)
    _, _, err = run(command, path, "b")
    assert f"Note: {told}" in err
    assert "[scores.negative_targets]" not in err
    assert json.loads(run("score", path, "b", "--json")[1])["warnings"] == ["scores.random"]
    np.save(path, -scores)
    assert "targets are clearly negative" not in run(command, path, "b")[2]


def test_validate_says_all_that_score_says(tmp_path: Path, board: Board, run: Run) -> None:
    path = tmp_path / "scores.npy"
    for scores in (
        board(100, 60, 7),
        -board(100, 60, 7),
        np.zeros((60, 7)),
        np.random.default_rng(0).normal(size=(60, 7)),
    ):
        np.save(path, scores)
        _, out, err = run("score", path, "b")
        _, more_out, more_err = run("validate", path, "b")
        assert out in more_out
        assert err in more_err
        assert "Rows are training examples" in more_out


def test_axes_of_square_files_are_proposed_and_never_chosen(tmp_path: Path, board: Board, run: Run) -> None:
    scores = board(100, 40, 40)
    truth = GroundTruth.from_pulled("b")
    right, turned, noise, both = (tmp_path / f"{name}.npy" for name in ("right", "turned", "noise", "both"))
    np.save(right, scores)
    np.save(turned, scores.T)
    np.save(noise, np.random.default_rng(1).normal(size=(40, 40)))
    np.save(both, scores.T + scores / 2)  # the LDS of either order is far above chance
    proposal = "the file seems to be "
    for path, axes, other in (
        (right, "train,target", ""),
        (turned, "train,target", "target,train"),
        (right, "target,train", "train,target"),
        (turned, "target,train", ""),
        (noise, "train,target", ""),
        (both, "train,target", ""),
    ):
        array = np.load(path)
        expected, other_way = (truth.score(each) for each in ((array, array.T) if axes[1] == "r" else (array.T, array)))
        code, out, err = run("validate", path, "b", "--axes", axes)
        assert code == 0
        assert f"Read as {axes}: LDS {expected.lds:.4f}" in out
        assert f": LDS {other_way.lds:.4f}" in out
        assert (proposal in err, f"add --axes {other}" in err) == (bool(other), bool(other))
        assert json.loads(run("score", path, "b", "--axes", axes, "--json")[1])["lds"] == expected.lds
