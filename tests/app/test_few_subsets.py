"""Boards with few subsets, or whose subsets are all public, show an LDS with its interval, but no ranks.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import csv
import io
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ldsboard import GroundTruth, compare, leaderboard
from ldsboard.bundle import Bundle
from ldsboard.cli import cli
from ldsboard.core.significance import half_width
from tests.app.commands import run_in_process
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tests.app.service import Service

n, N = 30, 4
EFFECTS = np.random.default_rng(3).normal(size=(n, N)).astype(np.float32)


@pytest.fixture
def publish(service: Service, tmp_path: Path) -> Callable[..., GroundTruth]:
    """Import ground truth of M subsets as a board, the first `equal` with equal margins, and return the ground truth."""

    def run(name: str, M: int, *options: str, equal: int = 0) -> GroundTruth:
        rng = np.random.default_rng([4, M])
        masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
        margins_MN = (masks_Mn @ EFFECTS + rng.normal(size=(M, N))).astype(np.float32)
        margins_MN[:equal] = 0
        np.save(tmp_path / "masks.npy", masks_Mn)
        np.save(tmp_path / "margins.npy", margins_MN)
        files = ("--masks", str(tmp_path / "masks.npy"), "--margins", str(tmp_path / "margins.npy"))
        made = run_in_process(service, "benchmark", "import", name, *files, *options)
        assert made.exit_code == 0, made.stderr
        return GroundTruth(masks_Mn, margins_MN)

    return run


def scores(noise: float, seed: int = 5) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=EFFECTS.shape)
    return (EFFECTS + noise * drawn).astype(np.float32)


def page(service: Service, path: str) -> str:
    response = service.client.get(f"{service.url}{path}")
    assert response.status_code == 200
    assert "None" not in response.text
    return " ".join(response.text.split())


def test_board_whose_subsets_are_all_public_has_no_ranks(
    service: Service, token: str, publish: Callable[..., GroundTruth], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    truth = publish("few", 12)
    views = {
        method: service.submit_and_score(token, "few", npy(scores(noise)), method=method)
        for method, noise in (("good", 0.1), ("fair", 1.0), ("random", 1e6))
    }
    results = {"good": truth.score(scores(0.1)), "fair": truth.score(scores(1.0)), "random": truth.score(scores(1e6))}
    for method, view in views.items():
        hidden = service.client.get(f"/submissions/{view['id']}").json()["hidden"]
        assert (hidden["rank"], hidden["listed"], hidden["p_random"]) == (None, True, results[method].p_random)
        assert view["public"]["lds"] == hidden["lds"] == results[method].lds

    board = service.client.get("/benchmarks/few/leaderboard").json()
    assert (board["ranked"], [row["rank"] for row in board["rows"]]) == (False, [None] * 3)
    assert {(row["attempts"], row["possible_gain"]) for row in board["rows"]} == {(None, None)}
    shown = service.client.get("/benchmarks/few").json()
    assert (shown["subsets"], shown["best"], shown["entries"]) == ({"public": 12, "ranking": 12}, None, 3)
    assert (shown["ranked"], shown["all_subsets_rank"]) == (False, True)
    table = service.client.get("/benchmarks/few/leaderboard", params={"format": "csv"}).text
    assert [(row["rank_low"], row["rank_high"]) for row in csv.DictReader(io.StringIO(table))] == [("", "")] * 3

    text = page(service, "/benchmarks/few")
    widths = [half_width(compare(a, b).std_error, 12) for a, b in combinations(results.values(), 2)]
    assert f"differences below {np.median(widths):.4f} cannot be seen for a typical pair" in text
    assert (
        "This board has no ranks: entries are scored on the same public subsets that methods are tuned and fitted on."
        in text
    )
    assert not [heading for heading in (">Rank<", "possible gain", 'class="n place"') if heading in text]
    assert (
        text.count(">not distinguishable from random")
        == sum("scores.random" in view["warnings"] for view in views.values())
        >= 1
    )
    assert "3 entries, without ranks" in page(service, "/")
    submission = page(service, views["good"]["links"]["page"])
    assert "p-value ≤ 0.0001, the least that 9,999 permutations can show" in submission
    assert "12 subsets" in page(service, "/benchmarks/few/about")
    page(service, "/benchmarks/few/submit")
    page(service, "/benchmarks/few/feed.atom")
    badge = page(service, f"{views['good']['links']['page']}/badge.svg")
    assert "no ranks" in badge

    monkeypatch.setenv("LDSBOARD_SERVER", service.url)
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    records: list[dict[str, Any]] = leaderboard("few")
    assert [record["rank_low"] for record in records] == [None] * 3
    done = CliRunner().invoke(cli, ["leaderboard", "few"], catch_exceptions=False)
    assert (done.exit_code, done.stdout.count("good")) == (0, 1)
    pulled = CliRunner().invoke(cli, ["pull", "few"], catch_exceptions=False).stdout.strip()
    assert Bundle.open(Path(pulled).parent).manifest.public_rows == slice(None)
    assert GroundTruth.from_pulled("few").score(scores(0.1)).lds == results["good"].lds


@pytest.mark.parametrize("seeds", [2, 3])
def test_smallest_visible_difference_is_that_of_the_comparisons_of_the_entries(
    service: Service, publish: Callable[..., GroundTruth], seeds: int
) -> None:
    name = f"reruns-{seeds}"
    publish(name, 12)
    entries = []
    for number, owner in enumerate(("ann", "ben", "cleo")):
        token = service.token(f"{owner}-{seeds}", ranked_per_day=50, ranked_per_version=50)
        reruns = seeds if number < 2 else 1
        for seed in range(reruns):
            noisy = npy(scores(0.3 * 3**seed * (1 + number / 10), seed=10 * number + seed))
            sent = service.submit_and_score(token, name, noisy, method=owner, commit="a" * 40)
        entries.append(sent["id"])
    pairs = [service.client.get("/compare", params={"a": a, "b": b}).json() for a, b in combinations(entries, 2)]
    assert [pair["replicates"] for pair in pairs] == [[seeds, seeds], [seeds, 1], [seeds, 1]]
    assert {pair["spread"] is None for pair in pairs} == {seeds < 3}
    widths = [(high - low) / 2 for low, high in (pair["ci"] for pair in pairs)]
    text = page(service, f"/benchmarks/{name}")
    assert (
        f"With 12 subsets, differences below {np.median(widths):.4f} cannot be seen for a typical pair, and a larger difference"
        in text
    )


@pytest.mark.parametrize(
    ("M", "options", "ranked"), [(40, ("--ranking", "10-40"), True), (25, ("--ranking", "8-25"), False)]
)
def test_board_has_ranks_from_twenty_ranking_subsets(
    service: Service,
    token: str,
    publish: Callable[..., GroundTruth],
    M: int,
    options: tuple[str, ...],
    ranked: bool,
) -> None:
    publish(f"small-{M}", M, *options)
    for method, noise in (("good", 0.1), ("fair", 1.0)):
        service.submit_and_score(token, f"small-{M}", npy(scores(noise)), method=method)
    rows = service.client.get(f"/benchmarks/small-{M}/leaderboard").json()["rows"]
    assert [row["rank"] is not None for row in rows] == [ranked] * 2
    assert [row["attempts"] for row in rows] == [2, 2]
    text = page(service, f"/benchmarks/small-{M}")
    assert (">Rank<" in text, "17 subsets are too few to rank methods" in text) == (ranked, not ranked)
    assert [row["possible_gain"] for row in rows] == [None, None]  # nothing is hidden
    assert "possible gain" not in text


def test_more_subsets_give_no_ranks_if_all_are_public(
    service: Service, token: str, publish: Callable[..., GroundTruth]
) -> None:
    publish("all-public", 30)
    for method, noise in (("good", 0.1), ("fair", 1.0)):
        service.submit_and_score(token, "all-public", npy(scores(noise)), method=method)
    rows = service.client.get("/benchmarks/all-public/leaderboard").json()["rows"]
    assert [(row["rank"], row["attempts"]) for row in rows] == [(None, None)] * 2
    text = page(service, "/benchmarks/all-public")
    assert (
        "This board has no ranks: entries are scored on the same public subsets that methods are tuned and fitted on."
        in text
    )
    assert "cannot be seen" not in text
    first, second = (row["id"] for row in rows)
    entry, pair = page(service, f"/submissions/{first}"), page(service, f"/compare?a={first}&b={second}")
    about = page(service, "/benchmarks/all-public/about")
    assert [text for text in (entry, pair, about) if "ranking subsets" in text or "ranked submission" in text] == []
    assert "on all 30 subsets of all-public" in entry
    assert "Attempts of its owner" not in entry
    assert "the ranks on the leaderboard" not in pair
    assert "a high LDS may only mean that the scores were fitted to it" in pair


def test_scores_fitted_to_the_ranking_subsets_are_marked(service: Service, token: str, tmp_path: Path) -> None:
    rng, many = np.random.default_rng(7), 300
    masks_Mn = rng.permuted(np.tile(np.arange(many) < many // 2, (200, 1)), axis=1)
    effects_nN = rng.normal(size=(many, N)).astype(np.float32)
    margins_MRN = ((masks_Mn @ effects_nN)[:, None] + 8 * rng.normal(size=(200, 2, N))).astype(np.float32)
    np.save(tmp_path / "masks.npy", masks_Mn)
    np.save(tmp_path / "margins.npy", margins_MRN)
    files = ("--masks", str(tmp_path / "masks.npy"), "--margins", str(tmp_path / "margins.npy"))
    made = run_in_process(service, "benchmark", "import", "fitted", *files)
    assert made.exit_code == 0, made.stderr
    ranking = slice(40, 200)
    ridge_nN = np.linalg.pinv(masks_Mn[ranking] - 0.5) @ margins_MRN.mean(axis=1)[ranking]
    for method, array in (("ridge", ridge_nN), ("true", effects_nN)):
        service.submit_and_score(token, "fitted", npy(array.astype(np.float32)), method=method)
    rows = {row["method"]: row for row in service.client.get("/benchmarks/fitted/leaderboard").json()["rows"]}
    assert rows["ridge"]["lds"] > 0.99
    assert rows["ridge"]["of_ceiling"] > 1.1
    assert (rows["ridge"]["fitted"], rows["true"]["fitted"]) == (True, False)
    assert page(service, "/benchmarks/fitted").count("more than the runs allow: fitted to these subsets") == 1
    # The mean with an honest file hides no fitted one.
    mixed = [
        service.submit_and_score(token, "fitted", npy(array.astype(np.float32)), method="mixed", commit="a" * 40)["id"]
        for array in (ridge_nN, effects_nN + rng.normal(size=effects_nN.shape))
    ]
    board = service.client.get("/benchmarks/fitted/leaderboard").json()
    row = next(row for row in board["rows"] if row["method"] == "mixed")
    assert row["lds"] < board["ceiling"]
    assert (row["replicates"], row["fitted"]) == (2, True)
    views = [service.client.get(f"/submissions/{submission_id}").json() for submission_id in mixed]
    assert [(view["hidden"]["fitted"], view["replicates"]["fitted"]) for view in views] == [(True, True), (False, True)]
    notice = "is more than 3 standard errors above the noise ceiling"
    assert f"The LDS {notice}" in page(service, f"/submissions/{mixed[0]}")
    assert f"The LDS of the mean or of another replicate {notice}" in page(service, f"/submissions/{mixed[1]}")


@pytest.mark.parametrize(("M", "equal"), [(8, 0), (12, 0), (12, 11), (30, 29)])
def test_board_says_if_no_file_can_be_told_from_random(
    service: Service, publish: Callable[..., GroundTruth], M: int, equal: int
) -> None:
    name = f"ties-{M}-{equal}"
    truth = publish(name, M, equal=equal)
    perfect = GroundTruth(np.eye(M, dtype=bool), truth.margins_MN).score(truth.margins_MN)
    assert ("scores.random" in perfect.warnings) == (equal > 0)
    for path in (f"/benchmarks/{name}", f"/benchmarks/{name}/about"):
        assert (f"{M} subsets cannot tell any file from random scores here" in page(service, path)) == (equal > 0)


@pytest.mark.parametrize(("M", "options"), [(7, ()), (20, ("--ranking", "7-20")), (20, ("--ranking", "13-20"))])
def test_board_needs_eight_public_and_eight_ranking_subsets(
    service: Service, tmp_path: Path, M: int, options: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(6)
    np.save(tmp_path / "masks.npy", rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1))
    np.save(tmp_path / "margins.npy", rng.normal(size=(M, N)))
    files = ("--masks", str(tmp_path / "masks.npy"), "--margins", str(tmp_path / "margins.npy"))
    made = run_in_process(service, "benchmark", "import", "tiny", *files, *options)
    assert made.exit_code != 0
    assert "Expected at least 8 public and 8 ranking subsets" in made.stderr
