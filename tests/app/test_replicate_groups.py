"""Groups of replicates: nothing that happens later changes them, and comparisons of a board use their means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.accounts import users
from app.accounts.audit import OPERATOR
from app.benchmarks import catalog
from app.db.models import Submission, Visibility
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import Ranker, update_ranks
from app.management import account_deletion, withdrawal
from app.results.comparison import compare_with_first, smallest_visible_difference
from app.results.submission_views import submission_view
from app.submissions.replicates import rerun_key
from tests.app import factories
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy

if TYPE_CHECKING:
    import httpx

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

pytestmark = pytest.mark.database

COMMIT = "a" * 40


def test_deletion_of_an_account_keeps_the_groups_of_its_reruns(harness: ServiceHarness, toy: Example) -> None:
    # Otherwise the mean of an anonymous entry would change at the moment when a public owner gets a placeholder name.
    origin = {"commit": COMMIT}
    for visibility, noises in ((Visibility.PUBLIC, (0.2, 0.4, 0.8)), (Visibility.ANONYMOUS, (0.3, 0.5, 0.9))):
        for noise in noises:
            harness.accept(npy(toy.scores(noise)), user="zora", provenance=origin, visibility=visibility)

    def groups(*without: str) -> list[tuple[str, int, float]]:
        while harness.evaluator.evaluate_next():
            pass
        with harness.database.read() as session:
            entries = list_entries(session, catalog.find_version(session, "toy"))
            return [(entry.id, entry.replicates, entry.lds) for entry in entries if entry.id not in without]

    def keys() -> set[str | None]:
        with harness.database.read() as session:
            return set(session.scalars(select(Submission.rerun_key)))

    before, stored = groups(), keys()
    assert [replicates for _, replicates, _ in before] == [3, 3]
    with harness.database.write() as session:
        user_id = users.find_user(session, "zora").id
    ranker = Ranker(harness.database)
    account_deletion.delete_account(harness.database, ranker, harness.storage, user_id, OPERATOR)
    assert keys() == stored == {rerun_key(user_id, COMMIT)}
    rival = harness.accept(npy(toy.scores(0.7)), "rival", user="bob")  # its result ranks the board again
    assert groups(rival) == before


def test_repeated_file_with_a_commit_joins_no_group(service: Service, toy: Example) -> None:
    token = service.token("repeating")
    earlier = npy(toy.scores(0.3, seed=1))
    a = service.submit_and_score(token, "toy", earlier)
    b = service.submit_and_score(token, "toy", npy(toy.scores(0.6, seed=2)), commit=COMMIT)
    assert service.submit(token, "toy", earlier, commit=COMMIT).json()["id"] == a["id"]
    c = service.submit_and_score(token, "toy", npy(toy.scores(0.6, seed=3)), commit=COMMIT)
    views = [service.client.get(f"/submissions/{sent['id']}").json() for sent in (a, b, c)]
    assert views[0]["provenance"]["commit"] == COMMIT
    joined = sorted([b["id"], c["id"]])
    assert [view["replicates"] and view["replicates"]["ids"] for view in views] == [None, joined, joined]
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    assert [row["replicates"] for row in rows if row["owner"] == "repeating"] == [2]
    assert [service.row(sent["id"]).rerun_key for sent in (a, b)] == [None, service.row(c["id"]).rerun_key]
    assert "rerun_key" not in service.client.get(f"/submissions/{b['id']}").text


@pytest.mark.parametrize("way", ["file", "key", "parts"])
def test_repeat_cannot_make_a_replicate(service: Service, toy: Example, way: str) -> None:
    token = service.token(f"late-{way}")
    content = npy(toy.scores(0.3, seed=1))
    root, alone = (service.submit(token, "toy", npy(toy.scores(0.6, seed=seed))).json()["id"] for seed in (2, 3))
    first = service.submit(token, "toy", content, key="k", replicate_of=root).json()["id"]

    def repeat(named: str) -> httpx.Response:
        if way != "parts":
            return service.submit(token, "toy", content, key="k" if way == "key" else None, replicate_of=named)
        upload = MultipartUpload(service, token, "toy", content, replicate_of=named).started()
        upload.put_all_parts()
        return upload.complete()

    refused = repeat(alone)
    assert (refused.status_code, refused.json()["code"]) == (409, "request.conflict")
    assert f"repeats submission {first}, which is no replicate of {alone}." in refused.json()["detail"]
    assert service.row(first).replicate_of == root
    for named in (root, first):
        assert repeat(named).json()["id"] == first


def test_repeat_may_name_a_replicate_of_the_same_commit(service: Service, toy: Example) -> None:
    token = service.token("same-commit")
    files = [npy(toy.scores(0.6, seed=seed)) for seed in (1, 2)]
    first, second = (service.submit(token, "toy", content, commit=COMMIT).json()["id"] for content in files)
    assert service.submit(token, "toy", files[1], replicate_of=first).json()["id"] == second


@pytest.mark.parametrize("key", [None, "k"])
def test_repeat_cannot_lose_a_declaration(service: Service, open_toy: Example, key: str | None) -> None:
    token = service.token(f"forgetful-{key or 'file'}")
    content = npy(open_toy.scores(0.5))
    plain = service.submit(token, open_toy.name, content, key=key).json()["id"]
    refused = service.submit(token, open_toy.name, content, key=key, uses_subsets="true")
    assert (refused.status_code, refused.json()["code"]) == (409, "request.conflict")
    assert f"PATCH /api/v1/submissions/{plain}" in refused.json()["hint"]
    headers = {"Authorization": f"Bearer {token}"}
    declared = service.client.patch(f"/submissions/{plain}", json={"uses_subsets": True}, headers=headers)
    assert declared.status_code == 200
    assert service.submit(token, open_toy.name, content, key=key, uses_subsets="true").json()["id"] == plain
    assert service.submit(token, open_toy.name, content, key=key).json()["id"] == plain


def test_rerun_key_differs_between_users_and_commits() -> None:
    keys = {rerun_key(user, commit) for user in (1, 11) for commit in ("1aaaaaa", "aaaaaaa")}
    assert len(keys) == 4
    assert rerun_key(1, None) is None


def test_declarations_do_not_separate_replicates_on_a_protected_version(harness: ServiceHarness, toy: Example) -> None:
    # A declaration on a practice board stays stored when the next version hides its ranking subsets.
    sent = [harness.accept(npy(toy.scores(noise)), provenance={"commit": COMMIT}) for noise in (0.3, 0.6, 0.9)]
    with harness.database.write() as session:
        session.get_one(Submission, sent[0]).uses_subsets = True
    while harness.evaluator.evaluate_next():
        pass
    with harness.database.read() as session:
        version = catalog.find_version(session, "toy")
        (entry,) = list_entries(session, version)
        assert entry.replicates == 3
        for submission_id in sent:
            view = submission_view(session, session.get_one(Submission, submission_id))
            assert view.replicates is not None
            assert view.replicates.ids == sorted(sent)


@pytest.mark.parametrize(
    ("earlier", "later", "hint"),
    [
        ({"kind": "practice"}, {}, "kind=practice"),
        ({}, {"kind": "practice"}, "kind=ranked"),
        ({"visibility": "private"}, {}, "visibility=private"),
        ({}, {"visibility": "anonymous"}, "visibility=public"),
        ({"uses_subsets": "true"}, {}, "uses_subsets=true"),
        ({}, {"uses_subsets": "true"}, "uses_subsets=false"),
    ],
)
def test_submission_of_another_kind_visibility_or_declaration_is_no_replicate(
    service: Service, open_toy: Example, earlier: dict[str, str], later: dict[str, str], hint: str
) -> None:
    token = service.token("differing-" + hint.partition("=")[2])
    named = service.submit(token, open_toy.name, npy(open_toy.scores(0.5)), **earlier).json()["id"]
    content = npy(open_toy.scores(0.6))
    refused = service.submit(token, open_toy.name, content, replicate_of=named, **later)
    assert (refused.status_code, refused.json()["code"]) == (422, "replicate.different")
    assert refused.json()["hint"] == f"Submit the file with {hint}, or leave out replicate_of."
    assert refused.json()["got"] == f"{named}, a submission with {hint}"
    fitting = later | dict([hint.split("=")])
    assert service.submit(token, open_toy.name, content, replicate_of=named, **fitting).status_code == 202


def test_smallest_visible_difference_is_that_of_the_means(harness: ServiceHarness, open_toy: Example) -> None:
    harness.publish(open_toy.folder)
    with harness.database.write() as session:
        version = catalog.find_version(session, "open-toy")
        user = users.add_user(session, "lab")
        sent = [factories.add_entry(session, version, user, f"m{day % 2}", 0.3 + 0.01 * day, day) for day in range(6)]
        update_ranks(session, version)
        entries = list_entries(session, version)
        (files,) = compare_with_first(session, version, entries)
        assert files.replicates == (1, 1)
        assert smallest_visible_difference(session, version, entries) == pytest.approx((files.ci[1] - files.ci[0]) / 2)
        for submission in sent[2:]:
            submission.replicate_of = sent[0 if submission.method == "m0" else 1].id
        session.flush()
        update_ranks(session, version)
        entries = list_entries(session, version)
        (means,) = compare_with_first(session, version, entries)
        assert means.replicates == (3, 3)
        assert smallest_visible_difference(session, version, entries) == pytest.approx((means.ci[1] - means.ci[0]) / 2)
        assert means.ci != files.ci
        assert smallest_visible_difference(session, version, entries[:1]) is None


def test_board_is_shown_before_it_is_ranked_after_the_withdrawal_of_a_replicate(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        version = catalog.find_version(session, "toy")
        ours, theirs = users.add_user(session, "lab"), users.add_user(session, "other")
        sent = [factories.add_entry(session, version, ours, "ours", 0.4, day) for day in range(3)]
        for submission in sent[1:]:
            submission.replicate_of = sent[0].id
        factories.add_entry(session, version, theirs, "theirs", 0.3, 4)
        session.flush()
        update_ranks(session, version)
        session.flush()
        withdrawal.withdraw(session, sent[0])
    with harness.database.read() as session:
        version = catalog.find_version(session, "toy")
        entries = list_entries(session, version)
        assert entries[0].replicates == 3  # the board is ranked after the withdrawal is committed
        (pair,) = compare_with_first(session, version, entries)
        assert pair.replicates == (2, 1)
