"""Review links through a real server: what they show, whom they never name, who may make them, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app.accounts import tokens, users
from app.accounts.audit import OPERATOR
from app.db.accounts import Audit, Scope
from app.db.models import State, Visibility
from app.db.review_links import ReviewLink
from app.leaderboard.ranking import Ranker
from app.management import account_deletion, moderation
from app.pages.content.formatting import number
from app.pages.content.formatting import rank as rank_text
from tests.app.benchmarks import write_benchmark
from tests.app.roles import Roles, commit_of, create_roles, identifying_texts, provenance_texts
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    import numpy as np
    from numpy.typing import NDArray

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

UNKNOWN_ID = "0" * 16
PRIVATE = Visibility.PRIVATE


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with Service(tmp_path_factory.mktemp("reviewed")) as service:
        yield create_roles(service, tmp_path_factory.mktemp("seen"))


def call(service: Service, method: str, submission_id: str, token: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return service.client.request(method, f"/submissions/{submission_id}/review-link", headers=headers)


def make(service: Service, submission_id: str, token: str) -> str:
    """Make a review link, and return its secret."""
    made = call(service, "POST", submission_id, token)
    assert made.status_code == 201, made.text
    address, _, secret = made.json()["url"].partition("/review?link=")
    assert address == service.url
    return str(secret)


def open_link(service: Service, secret: str, **headers: str) -> httpx.Response:
    return service.client.get(f"{service.url}/review", params={"link": secret}, headers=headers)


@pytest.mark.parametrize("visibility", list(Visibility))
def test_link_shows_the_result_and_does_not_name_the_owner(roles: Roles, visibility: Visibility) -> None:
    service, submission_id = roles.service, roles.ids[visibility, State.SCORED]
    page = open_link(service, make(service, submission_id, roles.owners[visibility]))
    assert page.status_code == 200
    roles = roles.as_owner_of(visibility)
    view = roles.get(f"/api/v1/submissions/{submission_id}", "owner").json()
    shown = [view["method"], submission_id, view["created_at"][:10], number(view["hidden"]["lds"])]
    assert [text for text in shown if text not in page.text] == []
    hidden = {*identifying_texts(visibility), *provenance_texts(visibility)} - {view["method"]}
    hidden |= {str(service.row(submission_id).file_sha256), commit_of(visibility)[:7], "anonymous", "ttempts"}
    hidden |= {f"/submissions/{submission_id}", "/methods/"}
    whole = f"{page.headers}{page.text.replace(view['method'], '')}"
    assert [text for text in sorted(hidden) if text in whole] == []


def test_page_of_a_link_is_the_same_for_everybody_and_is_not_stored_or_passed_on(roles: Roles) -> None:
    service = roles.as_owner_of(PRIVATE).service
    secret = make(service, roles.ids[PRIVATE, State.SCORED], roles.owners[PRIVATE])
    pages = [open_link(service, secret)]
    pages += [open_link(service, secret, Authorization=f"Bearer {roles.owners[PRIVATE]}")]
    pages += [open_link(service, secret, Accept="text/html"), open_link(service, "wrong", Accept="text/html")]
    pages += [open_link(service, "wrong"), service.client.get(f"{service.url}/review/?link={secret}")]
    assert [page.status_code for page in pages] == [200, 200, 200, 404, 404, 307]
    assert len({page.text for page in pages[:3]}) == 1
    assert '<meta name="robots" content="noindex">' in pages[0].text
    for page in pages:
        expected = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
        assert {name: page.headers[name] for name in expected} == expected
        assert "ETag" not in page.headers
        assert secret not in page.text
    assert secret not in service.log.read_text()


def test_wrong_foreign_replaced_and_withdrawn_links_get_the_same_answer(roles: Roles) -> None:
    service, token, submission_id = roles.service, roles.owners[PRIVATE], roles.ids[PRIVATE, State.SCORED]
    replaced = make(service, submission_id, token)
    secret = make(service, submission_id, token)
    assert open_link(service, secret).status_code == 200
    refused = [replaced, "", secret.lower(), f"{secret}x", secret[:-1], tokens.digest(secret), token, submission_id]
    answers = [open_link(service, wrong) for wrong in refused] + [service.client.get(f"{service.url}/review")]
    assert call(service, "DELETE", submission_id, token).json() == {"withdrawn": True}
    assert call(service, "DELETE", submission_id, token).json() == {"withdrawn": False}
    answers.append(open_link(service, secret))
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert answers[0].json()["code"] == "request.not_found"
    assert make(service, submission_id, token) not in (secret, replaced)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_only_the_owner_and_admins_make_and_withdraw_links(roles: Roles, method: str) -> None:
    service, owner = roles.service, f"owner-{PRIVATE}"
    with service.database.write() as session:
        user = users.add_user(session, owner)
        _, limited = tokens.create(session, user, method=f"method-of-{PRIVATE}")
    submitting = service.token(owner, scopes=[Scope.SUBMIT])
    for visibility in Visibility:
        submission_id = roles.ids[visibility, State.SCORED]
        secret = make(service, submission_id, roles.owners[visibility])
        other = 404 if visibility is PRIVATE else 403
        expected = {None: 401, roles.tokens["other"]: other, limited: 403, submitting: 403}
        answers = {token: call(service, method, submission_id, token) for token in expected}
        assert {token: answer.status_code for token, answer in answers.items()} == expected
        unknown = call(service, method, UNKNOWN_ID, roles.tokens["other"])
        if visibility is PRIVATE:
            hidden = answers[roles.tokens["other"]].text.replace(submission_id, UNKNOWN_ID)
            assert (unknown.status_code, unknown.text) == (404, hidden)
        assert open_link(service, secret).status_code == 200
        assert call(service, method, submission_id, roles.tokens["admin"]).is_success
        assert open_link(service, secret).status_code == 404


def test_only_a_scored_submission_gets_a_link(roles: Roles) -> None:
    for state in set(State) - {State.SCORED}:
        refused = call(roles.service, "POST", roles.ids[PRIVATE, state], roles.owners[PRIVATE])
        assert (refused.status_code, refused.json()["code"]) == (409, "submission.not_scored")


def test_secret_is_stored_only_as_a_hash_and_both_actions_are_recorded_without_it(roles: Roles) -> None:
    service, token, submission_id = roles.service, roles.owners[PRIVATE], roles.ids[PRIVATE, State.SCORED]
    with service.database.read() as session:
        last = max(session.scalars(select(Audit.id)), default=0)
    secret = make(service, submission_id, token)
    stored = b"".join(path.read_bytes() for path in service.settings.data_dir.glob("*") if path.is_file())
    assert tokens.digest(secret).encode() in stored
    assert secret.encode() not in stored
    call(service, "DELETE", submission_id, token)
    with service.database.read() as session:
        rows = session.execute(
            select(Audit.actor, Audit.action, Audit.subject, Audit.detail).where(Audit.id > last).order_by(Audit.id)
        ).all()
    owner = f"owner-{PRIVATE}"
    assert [tuple(row) for row in rows] == [
        (owner, "submission.link_made", submission_id, None),
        (owner, "submission.link_withdrawn", submission_id, None),
    ]


def test_links_use_the_quota_of_edits(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> None:
    with Service(tmp_path_factory.mktemp("limited"), edits_per_day=2) as service:
        service.publish(toy.folder)
        token = service.token("ann")
        submission_id = service.submit_and_score(token, "toy", npy(toy.scores()))["id"]
        for _ in range(2):
            make(service, submission_id, token)
        refused = call(service, "POST", submission_id, token)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota.exceeded")
        assert call(service, "DELETE", submission_id, token).is_success


def test_suspension_hides_the_page_and_withdrawal_ends_the_link(service: Service, token: str, toy: Example) -> None:
    submission_id = service.submit_and_score(token, "toy", npy(toy.scores(0.4)), method="suspended")["id"]
    secret = make(service, submission_id, token)
    with service.database.write() as session:
        moderation.suspend(session, submission_id, "A copy.", "the operator", OPERATOR)
    assert open_link(service, secret).status_code == 404
    with service.database.write() as session:
        moderation.reinstate(session, submission_id, OPERATOR)
    assert open_link(service, secret).status_code == 200
    service.client.delete(f"/submissions/{submission_id}", headers={"Authorization": f"Bearer {token}"})
    assert open_link(service, secret).status_code == 404
    with service.database.read() as session:
        assert session.get(ReviewLink, submission_id) is None


def test_links_end_with_the_account_of_the_owner(harness: ServiceHarness, toy: Example) -> None:
    visibilities = {"zora": (Visibility.PUBLIC, Visibility.ANONYMOUS, PRIVATE), "bob": (Visibility.PUBLIC,)}
    sent = [
        harness.accept(npy(toy.scores(0.2 + 0.1 * number)), f"m{number}", user=user, visibility=visibility)
        for user, every in visibilities.items()
        for number, visibility in enumerate(every)
    ]
    while harness.evaluator.evaluate_next():
        pass
    with harness.database.write() as session:
        session.add_all(ReviewLink(submission_id=each, digest=tokens.digest(each)) for each in sent)
        user_id = users.find_user(session, "zora").id
    account_deletion.delete_account(harness.database, Ranker(harness.database), harness.storage, user_id, OPERATOR)
    assert {sent[0], sent[1]} <= harness.leaderboard()[2]
    with harness.database.read() as session:
        assert session.scalars(select(ReviewLink.submission_id)).all() == sent[3:]


def test_published_submission_keeps_id_date_and_link(service: Service, token: str, toy: Example) -> None:
    fields = {"method": "to-publish", "visibility": "private", "models": "5", "device": "a GPU of Zora's lab"}
    sent = service.submit(token, "toy", npy(toy.scores(0.45)), **fields).json()
    owner = {"Authorization": f"Bearer {token}"}
    service.wait_until_idle()
    secret = make(service, sent["id"], token)
    before = open_link(service, secret).text
    assert "Rank if it joined the board" in before
    assert "5 models" in before
    assert "a GPU" not in before
    changed = service.client.patch(f"/submissions/{sent['id']}", json={"visibility": "public"}, headers=owner)
    published = service.client.get(f"/submissions/{sent['id']}").json()
    assert (published["id"], published["created_at"]) == (sent["id"], sent["created_at"])
    assert changed.json()["hidden"]["listed"]
    after = open_link(service, secret).text
    for page in (before, after):
        assert f"<code>{sent['id']}</code>" in page
        assert sent["created_at"][:19] in page
    assert "<dt>Rank</dt>" in after
    assert "alice" not in after


def test_practice_submission_and_board_without_ranks_say_so(
    service: Service, token: str, toy: Example, open_toy: Example
) -> None:
    practice = service.submit_and_score(token, "toy", npy(toy.scores(0.5)), method="tried", kind="practice")
    page = open_link(service, make(service, practice["id"], token)).text
    assert "have no rank" in page
    assert "<dt>Rank" not in page
    on_open = service.submit_and_score(token, "open-toy", npy(open_toy.scores(0.5)), method="opened")
    page = open_link(service, make(service, on_open["id"], token)).text
    assert "all ground truth is public" in page
    assert number(on_open["public"]["lds"]) in page


def send(service: Service, token: str, benchmark: str, scores: NDArray[np.float32], **fields: str) -> dict[str, Any]:
    """Send a file, and return the scored submission as its owner sees it."""
    sent = service.submit(token, benchmark, npy(scores), **fields).json()
    service.wait_until_idle()
    owner = {"Authorization": f"Bearer {token}"}
    found: dict[str, Any] = service.client.get(f"/submissions/{sent['id']}", headers=owner).json()
    return found


def test_page_of_a_replicate_shows_the_mean_and_names_no_other_replicate(service: Service, toy: Example) -> None:
    token = service.token("seeding")
    fields = {"method": "seeded", "visibility": "private"}
    first = send(service, token, "toy", toy.scores(0.45, seed=1), **fields)
    root = {"replicate_of": first["id"]}
    others = [send(service, token, "toy", toy.scores(0.45, seed=seed), **fields, **root) for seed in (2, 3)]
    secret = make(service, first["id"], token)
    pages = [open_link(service, secret).text]
    for view in (first, *others):
        change = {"visibility": "anonymous"}
        headers = {"Authorization": f"Bearer {token}"}
        service.client.patch(f"/submissions/{view['id']}", json=change, headers=headers)
    pages.append(open_link(service, secret).text)
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    (row,) = [
        row for row in rows if row["id"] == others[-1]["id"]
    ]  # the reviewed file is not the one that has the rank
    assert row["replicates"] == 3
    for page, name in zip(pages, ("Rank if it joined the board", "Rank"), strict=True):
        assert f"<dt>{name}</dt><dd>{rank_text(tuple(row['rank']))}</dd>" in page
        assert "one of 3 replicates" in page
        assert f"mean LDS is {number(row['lds'])} ± {number(row['std_error'])} on the ranking subsets" in page
        assert number(first["hidden"]["lds"]) in page
        assert [view["id"] for view in others if view["id"] in page] == []


def test_page_of_a_declared_submission_says_so_and_shows_no_rank(service: Service, token: str, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path, "for-reviewers", split="open")
    service.publish(example.folder)
    ranks = []
    for visibility in ("private", "public"):
        for declared in ("false", "true"):
            fields = {"method": f"{visibility}-{declared}", "visibility": visibility, "uses_subsets": declared}
            sent = send(service, token, example.name, example.scores(0.5), **fields)
            page = open_link(service, make(service, sent["id"], token)).text
            ranks.append("<dt>Rank" in page)
            assert ("Declared: fitted to these subsets." in page) == (declared == "true") == ("has no rank" in page)
    assert ranks == [True, False, True, False]
