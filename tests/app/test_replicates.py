"""Replicates: which submissions are replicates of each other, and the means over them on boards and in comparisons."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from sqlalchemy import select

from app.accounts import users
from app.benchmarks import catalog
from app.db.models import Evaluation
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import update_ranks
from app.pages.content import formatting
from app.results.replicate_sets import find_replicates
from app.submissions.replicates import Sent, group, rerun_key
from ldsboard import compare
from ldsboard.client import Client
from ldsboard.commands.gates import Baseline, Gates, judge
from ldsboard.core.replicates import FILES_ONLY
from tests.app import factories
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

COMMIT = "a" * 40


def test_groups_join_by_root_and_by_commit() -> None:
    sent = [
        Sent("root", "x", None, COMMIT),
        Sent("second", "x", "root", None),
        Sent("third", "x", "root", "b" * 40),
        Sent("rerun", "x", None, "b" * 40),
        Sent("alone", "x", None, None),
        Sent("other series", "y", "root", COMMIT),
        Sent("of a deleted root", "x", "gone", None),
        Sent("of the same deleted root", "x", "gone", None),
    ]
    whole = frozenset({"root", "second", "third", "rerun"})
    deleted = frozenset({"of a deleted root", "of the same deleted root"})
    expected = dict.fromkeys(whole, whole) | dict.fromkeys(deleted, deleted)
    expected |= {name: frozenset({name}) for name in ("alone", "other series")}
    assert group(sent) == group(sent[::-1]) == expected


def submit_seeds(service: Service, token: str, toy: Example, count: int, **query: str) -> list[dict[str, Any]]:
    """Submit files of one method from several seeds, each after the first as a replicate of the one before it."""
    views: list[dict[str, Any]] = []
    for seed in range(count):
        stated = {"replicate_of": views[-1]["id"]} if views else {}
        scores = npy(toy.scores(0.5, seed=seed))
        views.append(service.submit_and_score(token, toy.name, scores, **stated, **query))
    return views


def board_of(service: Service, name: str, owner: str) -> dict[str, Any]:
    """Return the only row of an owner on a board."""
    rows = service.client.get(f"/benchmarks/{name}/leaderboard").json()["rows"]
    (row,) = [row for row in rows if row["owner"] == owner]
    found: dict[str, Any] = row
    return found


def test_entry_is_the_mean_over_its_replicates(service: Service, toy: Example) -> None:
    token = service.token("averaging")
    first, second, third = submit_seeds(service, token, toy, 3)
    rows = [service.row(view["id"]) for view in (first, second, third)]
    assert [row.replicate_of for row in rows] == [None, first["id"], first["id"]]
    headers = {"Authorization": f"Bearer {token}"}
    for submission in rows:  # the owner sees it, and strangers do not
        address = f"/submissions/{submission.id}"
        assert service.client.get(address, headers=headers).json()["replicate_of"] == submission.replicate_of
        assert service.client.get(address).json()["replicate_of"] is None
    row = board_of(service, "toy", "averaging")
    published = [view["hidden"]["lds"] for view in (first, second, third)]
    results = [toy.offline(toy.scores(0.5, seed=seed))["ranking"] for seed in range(3)]
    psi_M = np.mean([result.influence for result in results], axis=0)
    M = psi_M.size
    assert (row["id"], row["replicates"]) == (third["id"], 3)
    assert row["lds"] == round(np.mean(published), 4)
    assert row["spread"] == round(np.std(published, ddof=1), 4) > 0
    assert row["std_error"] == round(np.sqrt(np.sum(psi_M**2) / (M * (M - 1))), 4)
    assert row["ci"][0] < row["lds"] < row["ci"][1]
    assert row["p_random"] == max(view["hidden"]["p_random"] for view in (first, second, third))
    view = service.client.get(f"/submissions/{first['id']}").json()
    ids = sorted(each["id"] for each in (first, second, third))
    numbers = {name: row[name] for name in ("lds", "std_error", "spread", "fitted")}
    assert view["replicates"] == {"ids": ids, "part": "ranking"} | numbers
    badge = httpx.get(f"{service.url}/submissions/{third['id']}/badge.svg", trust_env=False).text
    assert f"LDS {row['lds']:.3f} ± {row['std_error']:.3f}" in badge
    header, *lines = service.client.get("/benchmarks/toy/leaderboard", params={"format": "csv"}).text.splitlines()
    cells = dict(zip(header.split(","), next(line for line in lines if third["id"] in line).split(","), strict=True))
    assert (cells['"replicates"'], cells['"spread"']) == ("3", str(row["spread"]))


def test_withdrawn_replicate_leaves_the_mean(service: Service, toy: Example) -> None:
    token = service.token("withdrawing")
    views = submit_seeds(service, token, toy, 3)
    headers = {"Authorization": f"Bearer {token}"}
    assert service.client.delete(f"/submissions/{views[0]['id']}", headers=headers).status_code == 204
    row = board_of(service, "toy", "withdrawing")
    assert row["replicates"] == 2
    assert row["lds"] == round(np.mean([view["hidden"]["lds"] for view in views[1:]]), 4)
    # The root is withdrawn, and its replicates stay replicates of each other; a new one cannot name the root.
    refused = service.submit(token, "toy", npy(toy.scores(0.5, seed=9)), replicate_of=views[0]["id"])
    assert (refused.status_code, refused.json()["code"]) == (422, "replicate.different")
    assert "withdrawn" in refused.json()["got"]
    private = service.client.patch(f"/submissions/{views[1]['id']}", headers=headers, json={"visibility": "private"})
    assert private.status_code == 200
    row = board_of(service, "toy", "withdrawing")
    assert (row["replicates"], row["spread"], row["lds"]) == (1, None, views[2]["hidden"]["lds"])


def test_comparison_uses_the_replicates_of_both_sides(service: Service, open_toy: Example) -> None:
    token = service.token("comparing")
    a = submit_seeds(service, token, open_toy, 3, method="a")
    b = service.submit_and_score(token, open_toy.name, npy(open_toy.scores(0.9, seed=7)), method="b")
    results = [open_toy.offline(open_toy.scores(0.5, seed=seed))["ranking"] for seed in range(3)]
    other = open_toy.offline(open_toy.scores(0.9, seed=7))["ranking"]
    expected = compare(results, other)
    found = service.client.get("/compare", params={"a": a[1]["id"], "b": b["id"]}).json()
    assert (found["replicates"], found["note"]) == ([3, 1], None)
    assert found["lds"] == pytest.approx([np.mean([result.lds for result in results]), other.lds])
    for name in ("difference", "std_error", "z", "p_value", "spread"):
        assert found[name] == pytest.approx(getattr(expected, name), rel=1e-9)
    assert found["ci"] == pytest.approx(expected.confidence_interval, rel=1e-9)
    # Two replicates of one method are compared as files, with the spread of all.
    within = service.client.get("/compare", params={"a": a[0]["id"], "b": a[1]["id"]}).json()
    assert (within["replicates"], within["lds"]) == ([1, 1], pytest.approx([result.lds for result in results[:2]]))
    assert within["spread"] == pytest.approx(expected.spread)
    assert within["difference"] == pytest.approx(results[0].lds - results[1].lds)


def test_reruns_of_one_commit_are_replicates_of_the_same_kind_and_visibility(service: Service, toy: Example) -> None:
    token = service.token("rerunning")
    query = {"commit": COMMIT}
    views = [
        service.submit_and_score(token, "toy", npy(toy.scores(0.5, seed=seed)), **query | more)
        for seed, more in enumerate(
            [{}, {}, {"kind": "practice"}, {"visibility": "anonymous"}, {"method": "other"}, {"commit": "b" * 40}]
        )
    ]
    first, second, practice, anonymous, other, later = (view["id"] for view in views)
    headers = {"Authorization": f"Bearer {token}"}

    def members(submission_id: str) -> Any:
        replicates = service.client.get(f"/submissions/{submission_id}", headers=headers).json()["replicates"]
        return replicates and replicates["ids"]

    assert members(first) == members(second) == sorted([first, second])
    assert [members(name) for name in (practice, anonymous, other, later)] == [None] * 4


def test_replicate_must_have_the_same_owner_version_and_method(
    service: Service, toy: Example, open_toy: Example
) -> None:
    token = service.token("replicating")
    own = service.submit_and_score(token, "toy", npy(toy.scores(0.5)), method="ours")["id"]
    stranger = service.token("stranger")
    foreign = service.submit(stranger, "toy", npy(toy.scores(0.6)), visibility="private").json()["id"]
    before = service.rows()["submission"]

    def refusal(name: str, replicate_of: str, method: str = "ours", **query: str) -> dict[str, Any]:
        example = toy if name == "toy" else open_toy
        content = npy(example.scores(0.7))
        response = service.submit(token, example.name, content, method=method, replicate_of=replicate_of, **query)
        assert response.status_code == 422
        problem: dict[str, Any] = response.json()
        assert problem["code"] == "replicate.different"
        return problem

    unknown = refusal("toy", "0" * 16)
    assert unknown["hint"] == (
        "Give the id of your submission of the method ours to toy version 1, or leave out replicate_of."
    )
    hidden = refusal("toy", foreign)
    assert {**hidden, "got": "", "detail": ""} == {**unknown, "got": "", "detail": ""}  # does not tell that it exists
    assert refusal("toy", own, "theirs")["hint"] == "Submit the file with the method ours, or leave out replicate_of."
    assert "toy version 1" in refusal("open", own)["got"]
    assert refusal("toy", own, "theirs", dry_run="true")["got"] == f"{own}, a submission of the method ours"
    assert service.rows()["submission"] == before
    malformed = service.submit(token, "toy", npy(toy.scores(0.7)), replicate_of="latest")
    assert (malformed.status_code, malformed.json()["code"]) == (422, "request.invalid")
    # The hint works: the file is accepted with the method of the other submission.
    assert service.submit(token, "toy", npy(toy.scores(0.7)), method="ours", replicate_of=own).status_code == 202


def test_pages_show_mean_and_spread_and_say_what_is_compared(service: Service, toy: Example) -> None:
    token = service.token("showing")
    files = [
        service.submit_and_score(token, "toy", npy(toy.scores(noise)), method=f"file-{noise}") for noise in (0.4, 0.8)
    ]
    several = submit_seeds(service, token, toy, 3, method="seeds")

    def text(path: str) -> str:
        page = httpx.get(f"{service.url}{path}", headers={"Accept": "text/html"}, trust_env=False)
        assert page.status_code == httpx.codes.OK
        return " ".join(html.unescape(re.sub("<[^>]*>", " ", page.text)).split())

    row = next(
        row for row in service.client.get("/benchmarks/toy/leaderboard").json()["rows"] if row["method"] == "seeds"
    )
    mean = f"mean of 3, spread {formatting.number(row['spread'])}"
    board = text("/benchmarks/toy")
    assert mean in board
    assert FILES_ONLY in board
    single = text(f"/compare?a={files[0]['id']}&b={files[1]['id']}")
    assert f"Compared: {FILES_ONLY}." in single
    assert "each file alone" not in single
    compared = text(f"/compare?a={several[0]['id']}&b={files[1]['id']}")
    assert FILES_ONLY not in compared
    assert "the mean of 3 replicates with one file" in compared
    assert "it is known for the first only, and assumed for both" in compared
    assert f"{formatting.number(row['lds'])} (mean of 3)" in compared
    assert "the LDS of each file alone" in compared
    submission = text(f"/submissions/{several[0]['id']}")
    assert "This submission is one of 3 replicates, which differ by the seed: mean LDS" in submission
    assert all(each["id"] in submission for each in several)
    shown = f"Mean LDS {row['lds']:.4f} of 3 replicates on the ranking subsets, standard deviation over replicates"
    assert f"{shown} {formatting.number(row['spread'])}" in submission
    cited = rf"${row['lds']:.3f} \pm {row['std_error']:.3f}$"
    assert submission.count(cited) == 2
    assert submission.count(f"mean of 3 replicates with standard deviation {row['spread']:.4f}") == 2
    assert FILES_ONLY in text("/benchmarks/toy/methods/showing/seeds")
    assert "Replicates" in text("/guide")


def test_regression_gate_accounts_for_reruns(service: Service, open_toy: Example) -> None:
    # The same drop is significant between two files, and not once three reruns with a large spread are known.
    token, name = service.token("gating"), open_toy.name
    runs = [npy(open_toy.scores(noise)) for noise in (0.2, 1.4, 0.6)]
    baseline = service.submit_and_score(token, name, runs[0], kind="practice", commit="b" * 40)
    drop = service.submit_and_score(token, name, runs[1], kind="practice", commit=COMMIT)
    subsets = {"public": 1, "ranking": 1}
    with Client(str(service.client.base_url).removesuffix("/").removesuffix("/api/v1"), token) as client:
        gate = Gates(no_regress_from=baseline["id"])
        (before,) = judge(client, drop, gate, Baseline(baseline, subsets))
        for content in (npy(open_toy.scores(0.2, seed=3)), runs[2]):
            service.submit_and_score(token, name, content, kind="practice", commit=COMMIT)
        (after,) = judge(client, drop, gate, Baseline(baseline, subsets))
    assert (before.met, before.numbers["note"], before.numbers["replicates"]) == (False, FILES_ONLY, [1, 1])
    assert FILES_ONLY in before.line
    assert (after.met, after.numbers["note"], after.numbers["replicates"]) == (True, None, [3, 1])
    assert "means over 3 and 1 replicates" in after.line
    assert after.numbers["p_value"] > 0.05 > before.numbers["p_value"]


@pytest.mark.parametrize("joined", [True, False])
def test_pages_and_boards_average_the_same_replicates(harness: ServiceHarness, joined: bool) -> None:
    with harness.database.write() as session:
        version = catalog.find_version(session, "toy")
        user = users.add_user(session, "lab")
        root, link, rerun = [factories.add_entry(session, version, user, "ours", 0.3, day) for day in range(3)]
        link.replicate_of = root.id
        link.uses_subsets = True  # without effect on hidden subsets, and so no reason to keep replicates apart
        link.rerun_key = rerun.rerun_key = rerun_key(user.id, COMMIT)
        session.flush()
        evaluations = {found.submission_id: found for found in session.scalars(select(Evaluation))}
        if not joined:
            evaluations[link.id].scorer_version += 1
        update_ranks(session, version)
        (entry,) = list_entries(session, version)
        found = find_replicates(session, [evaluations[rerun.id]])[rerun.id]
        assert [each.submission_id for each in found] == (entry.average["ids"] if entry.average else [entry.id])
        assert len(found) == (3 if joined else 1)
