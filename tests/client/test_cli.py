"""The commands of the command line with a running server: their output and their effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ldsboard
from app.accounts import users
from app.benchmarks import catalog
from app.leaderboard.ranking import update_ranks
from ldsboard import GroundTruth, cache, compare
from ldsboard.commands import exits
from ldsboard.core.result import FEW_TARGETS
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.evaluated import save_falls
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.shell import Shell


def test_pull_downloads_published_folder_and_score_works_offline(
    shell: Shell, toy: Example, scores: Path, service: Service
) -> None:
    folder = shell("pull", "toy").out.strip()
    assert folder == str(cache.folder(service.url, "toy", 1) / "public")
    assert shell("pull", "toy").out.strip() == folder
    manifest = toy.bundle.manifest
    pulled = cache.pulled("toy", service.url)
    assert {path.relative_to(pulled / "public").as_posix() for path in pulled.rglob("*.*")} >= set(manifest.files)
    assert not (pulled / "hidden").exists()

    expected = toy.offline(toy.scores())["public"]
    assert GroundTruth.from_pulled("toy").score(scores).lds == expected.lds
    printed = shell("score", str(scores), "toy", "--json").json
    assert printed["lds"] == expected.lds
    assert f"{expected.lds:.4f}" in shell("score", str(scores), "toy").out
    assert shell("validate", str(scores), "toy").code == 0


def test_open_benchmark_has_the_same_public_lds_offline_and_on_the_server(
    shell: Shell, open_toy: Example, scores: Path
) -> None:
    noisy = scores.with_name("noisy.npy")
    np.save(noisy, open_toy.scores(noise=3))
    assert shell("pull", "open-toy").code == 0
    views = [
        shell("submit", str(path), "open-toy", "--method", "same-bits", "--practice", "--json").json
        for path in (scores, noisy)
    ]
    offline = shell("score", str(scores), "open-toy", "--json").json
    public = views[0]["public"]
    assert (offline["part"], offline["subsets"]) == ("public", 40)
    for name in ("lds", "std_error", "ci", "z_random", "p_random", "mean_p", "std_error_new_targets", "targets"):
        assert offline[name] == public[name]
    assert GroundTruth.from_pulled("open-toy").score(scores).lds == public["lds"]
    assert "on the 40 public subsets" in shell("score", str(scores), "open-toy").out
    here = shell("compare", str(scores), str(noisy), "open-toy", "--json").json
    there = shell("compare", *(view["id"] for view in views), "--json").json
    assert {name: here[name] for name in there if name in here} == {name: there[name] for name in there if name in here}


def test_submit_waits_and_prints_result_of_server(shell: Shell, toy: Example, scores: Path) -> None:
    result = shell("submit", str(scores), "toy", "--method", "cli", "--seconds", "1.5", "--device", "cpu", "--json")
    assert result.code == 0, result.err
    assert result.json["state"] == "scored"
    assert result.json["kind"] == "ranked"
    assert result.json["cost"] == {"seconds": 1.5, "device": "cpu"}
    assert result.json["public"]["lds"] == toy.offline(toy.scores())["public"].lds

    shown = shell("status", result.json["id"])
    assert "scored" in shown.out
    assert f"{result.json['hidden']['lds']:.4f}" in shown.out
    assert shell("status", result.json["id"], "--wait", "--json").json == result.json
    assert "cli" in shell("leaderboard", "toy").out
    assert result.json["id"] in {row["id"] for row in shell("leaderboard", "toy", "--json").json["rows"]}


def test_status_shows_one_rank_as_one_number(shell: Shell, scores: Path) -> None:
    submission = shell("submit", str(scores), "toy", "--method", "placed", "--json").json
    for rank, shown in (([3, 3], ", rank 3\n"), ([3, 5], ", rank 3-5\n")):
        placed = submission | {"hidden": submission["hidden"] | {"rank": rank}}
        shell.environment.setattr("ldsboard.client.Client.submission", lambda *_, placed=placed: placed)
        assert shown in shell("status", submission["id"]).out


NEW_TARGETS = "  Standard error for a new draw of targets: {:.4f}. The interval is for these {} targets."


def test_score_and_status_show_error_for_new_targets(shell: Shell, toy: Example, scores: Path) -> None:
    submission = shell("submit", str(scores), "toy", "--method", "few", "--json").json
    notes = [NEW_TARGETS.format(submission[part]["std_error_new_targets"], 7) for part in ("hidden", "public")]
    _, on_ranking, on_hidden, on_public, of_public = shell("status", submission["id"]).out.splitlines()
    assert (on_ranking[:4], on_public[:11]) == ("LDS ", "Public LDS ")
    assert [on_hidden, of_public] == notes
    shell("pull", "toy")
    assert shell("score", str(scores), "toy").out.splitlines()[1:] == notes[1:]
    assert notes[1] == NEW_TARGETS.format(toy.offline(toy.scores())["public"].std_error_new_targets, 7)


@pytest.mark.parametrize(
    "changes",
    [{"targets": None}, {"targets": {"count": FEW_TARGETS}}, {"std_error_new_targets": None}],
    ids=["unknown number of targets", "many targets", "one target"],
)
def test_status_without_error_for_new_targets(shell: Shell, scores: Path, changes: dict[str, Any]) -> None:
    submission = shell("submit", str(scores), "toy", "--method", "many", "--kind", "practice", "--json").json
    changed = submission | {"public": submission["public"] | changes}
    shell.environment.setattr("ldsboard.client.Client.submission", lambda *_: changed)
    assert "new draw" not in shell("status", submission["id"]).out


def test_status_shows_why_scoring_is_delayed(shell: Shell, scores: Path) -> None:
    submission = shell("submit", str(scores), "toy", "--method", "delayed", "--kind", "practice", "--json").json
    notice = "Scoring is being restarted [soon]."
    delayed = submission | {"state": "queued", "notice": notice}
    shell.environment.setattr("ldsboard.client.Client.submission", lambda *_: delayed)
    assert notice in shell("status", submission["id"]).out
    assert shell("status", submission["id"], "--json").json == delayed


def test_status_shows_the_fall(shell: Shell, scores: Path) -> None:
    submission = shell("submit", str(scores), "toy", "--method", "retrained", "--kind", "practice", "--json").json
    row = {"direction": "proponents", "removed": 12, "fall": 1.5, "ci": [1.25, 1.75]}
    rows = [row | {"removed": 3}, row, row | {"direction": "opponents"}]
    done = {"state": "done", "headline": 12, "targets": [0, 3, 6], "rows": rows, "percent": None, "reason": None}
    fall = "Fall of the margin without 12 proponents 1.500"
    for counterfactual, shown in (
        (done, f"{fall} [1.250, 1.750], mean of 3 targets\n"),
        (done | {"targets": [3], "rows": [row | {"ci": [None, None]}]}, f"{fall}, mean of 1 target\n"),
        ({"state": "running", "headline": None, "percent": 45}, "Retraining without examples: 45 % of the models are"),
        ({"state": "interrupted", "headline": None}, "Retraining without examples: interrupted\n"),
        ({"state": "impossible", "headline": None, "reason": "No [x]."}, "Retraining without examples: No [x].\n"),
    ):
        evaluated = submission | {"counterfactual": done | counterfactual}
        shell.environment.setattr("ldsboard.client.Client.submission", lambda *_, evaluated=evaluated: evaluated)
        assert shown in shell("status", submission["id"]).out


def test_submit_in_ci_defaults_to_practice(shell: Shell, scores: Path) -> None:
    shell.environment.setenv("CI", "true")
    practice = shell("submit", str(scores), "toy", "--method", "ci", "--json")
    assert practice.json["kind"] == "practice"
    assert practice.json["hidden"] is None
    ranked = shell("submit", str(scores), "toy", "--method", "ci", "--kind", "ranked", "--no-wait")
    assert ranked.code == 0
    assert "ranked" in ranked.out


def test_compare_works_online_and_offline(shell: Shell, toy: Example, scores: Path, tmp_path: Path) -> None:
    worse = tmp_path / "worse.npy"
    np.save(worse, toy.scores(noise=5))
    a, b = (shell("submit", str(path), "toy", "--method", path.stem, "--json").json["id"] for path in (scores, worse))
    online = shell("compare", a, b, "--json").json
    assert online["difference"] > 0
    assert online["part"] == "ranking"
    assert "on the ranking subsets" in shell("compare", a, b).out
    shell("pull", "toy")
    offline = shell("compare", str(scores), str(worse), "--benchmark", "toy", "--json").json
    parts = toy.offline(toy.scores()), toy.offline(toy.scores(noise=5))
    assert offline["difference"] == parts[0]["public"].lds - parts[1]["public"].lds

    gate = shell("submit", str(worse), "toy", "--method", "worse", "--no-regress-from", a)
    assert gate.code == exits.GATE
    assert "worse than" in gate.err
    assert shell("submit", str(scores), "toy", "--method", "scores", "--no-regress-from", b).code == 0


def test_replicates_are_submitted_and_compared(shell: Shell, toy: Example, tmp_path: Path) -> None:
    paths = [tmp_path / f"seed-{seed}.npy" for seed in range(4)]
    for seed, path in enumerate(paths):
        np.save(path, toy.scores(0.5, seed=seed))
    first = shell("submit", str(paths[0]), "toy", "--method", "seeds", "--json").json["id"]
    for path in paths[1:3]:
        sent = shell("submit", str(path), "toy", "--method", "seeds", "--replicate-of", first)
        assert sent.code == 0, sent.err
    assert "Mean LDS of 3 replicates on the ranking subsets" in sent.out
    assert ", mean of 3, spread 0." in shell("leaderboard", "toy").out
    (record,) = [row for row in ldsboard.leaderboard("toy") if row["method"] == "seeds"]
    assert (record["replicates"], record["spread"] > 0) == (3, True)
    refused = shell("submit", str(paths[3]), "toy", "--method", "other", "--replicate-of", first)
    assert refused.code == exits.USAGE
    assert "Submit the file with the method seeds, or leave out replicate_of." in refused.err
    again = shell("submit", str(paths[2]), "toy", "--method", "seeds", "--replicate-of", first)
    assert (again.code, "Warning" in again.err) == (0, False)
    alone = shell("submit", str(paths[3]), "toy", "--method", "seeds", "--json").json["id"]
    repeated = shell("submit", str(paths[3]), "toy", "--method", "seeds", "--replicate-of", first)
    assert repeated.code == exits.USAGE
    assert f"This call repeats submission {alone}, which is no replicate of {first}." in repeated.err

    shell("pull", "toy")
    names = [str(path) for path in paths]
    command = ("compare", names[0], names[3], "toy")
    assert "these two files; how much a rerun moves is not known" in shell(*command).out
    more = ("--more-a", names[1], "--more-a", names[2])
    found = shell(*command, *more, "--json").json
    results = [toy.offline(toy.scores(0.5, seed=seed))["public"] for seed in range(4)]
    expected = compare(results[:3], results[3])
    assert (found["std_error"], found["p_value"]) == (expected.std_error, expected.p_value)
    assert (found["replicates"], found["note"]) == ([3, 1], None)
    assert "means over 3 and 1 replicates" in shell(*command, *more).out
    assert shell("compare", first, first, *more).code == exits.USAGE  # the server knows the replicates of submissions


def test_submit_explains_warnings(shell: Shell, toy: Example, tmp_path: Path) -> None:
    path = tmp_path / "flipped.npy"
    np.save(path, -toy.scores())
    result = shell("submit", str(path), "toy", "--method", "flipped", "--kind", "practice")
    assert "Is the sign flipped?" in result.err


def test_pull_replaces_damaged_benchmark(shell: Shell, service: Service) -> None:
    shell("pull", "toy")
    path = cache.pulled("toy", service.url) / "public" / "margins.npy"
    path.write_bytes(b"damaged")
    assert shell("pull", "toy").code == 0
    assert path.read_bytes() != b"damaged"


def test_leaderboard_shows_which_entries_are_separable_from_the_first(
    shell: Shell, service: Service, tmp_path: Path
) -> None:
    service.publish(write_benchmark(tmp_path / "crowd", "crowd").folder)
    with service.database.write() as session:
        version, owner = catalog.find_version(session, "crowd"), users.add_user(session, "crowd")
        ids = [
            factories.add_entry(session, version, owner, f"m{day}", lds, day).id
            for day, lds in enumerate([0.1, 0.5, 0.5, 0.3, 0.3, 0.3])
        ]
        update_ranks(session, version)
    shell.environment.setenv("COLUMNS", "200")
    shown = shell("leaderboard", "crowd").out
    rows = [[cell.strip() for cell in line[1:-1].split("│")] for line in shown.splitlines()]
    cells = {row[-1]: (row[0], row[-2]) for row in rows if len(row) > 1}
    assert [cells[name] for name in ids] == [
        ("(6)", "yes"),
        ("1-2", ""),
        ("1-2", "no"),
        *[("3-5", "yes")] * 3,
    ]
    assert "Other entries have ranks in parentheses." in shown


def test_leaderboard_shows_falls(shell: Shell, service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path / "fallen", "fallen", N=30)
    service.publish(example.folder)
    shell.environment.setenv("COLUMNS", "200")
    ids = [
        service.submit_and_score(service.token("fallen"), "fallen", npy(example.scores(noise)), method=f"f{place}")[
            "id"
        ]
        for place, noise in enumerate((0.1, 2.0, 4.0))
    ]
    assert "fall" not in shell("leaderboard", "fallen").out.replace("fallen", "")
    assert {row["fall"] for row in ldsboard.leaderboard("fallen")} == {None}
    for name, scale in zip(ids[:2], (1.0, 2.0), strict=True):
        save_falls(service, name, range(15), (3, 12), 12, scale=scale)
    rows = [line[1:-1].split("│") for line in shell("leaderboard", "fallen").out.splitlines()]
    cells = {row[-1].strip(): row[-2].strip() for row in rows if len(row) > 1}
    assert [cells[name] for name in ids] == ["1.700 [0.062, 0.500], 2", "3.400 [0.062, 0.500], 1", ""]
    record = next(row for row in ldsboard.leaderboard("fallen") if row["id"] == ids[1])
    assert {name: record[name] for name in record if name.startswith("fall")} == {
        "fall": pytest.approx(3.4),
        "fall_std_error": pytest.approx(0.2309401),
        "fall_ci_low": 0.0625,
        "fall_ci_high": 0.5,
        "fall_rank_low": 1,
        "fall_rank_high": 1,
    }
