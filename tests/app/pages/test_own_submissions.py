"""Owners edit and withdraw their submissions on the account page; other users cannot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import select

from app.db.accounts import Audit, User
from app.db.models import Kind, State, Submission, Version, Visibility
from app.pages.content import formatting
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.pages.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service


@pytest.fixture
def owner(sign_in: Callable[[str], SignedInUser], request: pytest.FixtureRequest) -> SignedInUser:
    return sign_in(request.node.name)


def _audit_rows(sign_in_service: Service, submission_id: str) -> list[tuple[str, object]]:
    with sign_in_service.database.read() as session:
        query = select(Audit.action, Audit.detail).where(Audit.subject == submission_id).order_by(Audit.id)
        return [(action, detail) for action, detail in session.execute(query)]


def test_visibility_change_is_applied_and_audited(owner: SignedInUser, sign_in_service: Service, toy: Example) -> None:
    sent = owner.send(toy, "seen")
    page = owner.post(sent, visibility="private")
    assert page.url.path == "/account"
    assert "only you" in page.text
    assert httpx.get(f"{sign_in_service.url}/submissions/{sent}", trust_env=False).status_code == 404
    # The session cookie does not authenticate API calls: the page has no API links, but commands with a token.
    shown = Markup(owner.client.get(f"/submissions/{sent}").text)
    assert [link for link in shown.all("a") if f"/api/v1/submissions/{sent}" in (link["href"] or "")] == []
    text = owner.client.get(f"/submissions/{sent}").text
    for path in (sent, f"{sent}/per-target.npz"):
        assert re.search(rf"curl -H .*LDSBOARD_TOKEN.* {sign_in_service.url}/api/v1/submissions/{path}\n?", text)
    other = owner.send(toy, "seen-too", 0.6)
    assert "/api/v1/compare" not in owner.client.get(f"/compare?a={sent}&b={other}").text
    assert _audit_rows(sign_in_service, sent) == [("submission.edited", {"fields": ["visibility"]})]


def test_page_of_a_practice_board_joins_no_sentences_and_offers_nothing_after_retirement(
    owner: SignedInUser, sign_in_service: Service, tmp_path: Path
) -> None:
    example = write_benchmark(tmp_path, "ended", split="open")
    sign_in_service.publish(example.folder)
    sent = owner.send(example, "last")

    def text() -> str:
        return " ".join(owner.client.get(f"/submissions/{sent}").text.split())

    assert 'may have been fitted to it. <a href="/account/submissions/' in text()
    assert "--replicate-of" in text()
    retired = run_in_process(sign_in_service, "benchmark", "retire", "ended", "--yes")
    assert retired.output == "ended is retired.\n"
    assert "--replicate-of" not in text()


def test_private_submission_stays_private_after_retirement(
    owner: SignedInUser, sign_in_service: Service, tmp_path: Path
) -> None:
    example = write_benchmark(tmp_path, "over")
    sign_in_service.publish(example.folder)
    sent = owner.send(example, "unseen")
    owner.send(example, "seen", 0.6)
    owner.send(example, "tried", 0.7, kind="practice")
    assert owner.post(sent, visibility="private").is_success
    before = Markup(owner.client.get("/account").text)
    assert len(before.all("option")) == 3 * 3
    assert run_in_process(sign_in_service, "benchmark", "retire", "over", "--yes").exit_code == 0
    refused = owner.post(sent, visibility="public")
    assert (refused.status_code, sign_in_service.row(sent).visibility) == (409, "private")
    assert "its board takes no more entries" in refused.text
    assert "private submissions stay private" in refused.text
    after = Markup(owner.client.get("/account").text)
    offered = sorted(option["value"] or "" for option in after.all("option"))
    assert offered == ["anonymous", "private", "private", "public", "public"]  # two of "seen", and three of "tried"
    assert [field for field in after.all("input") if field.get("name") == "pinned"] == []
    assert "/benchmarks/over/submit#commands" not in [link["href"] for link in after.all("a")]


def test_account_and_review_page_say_that_anonymous_entries_share_an_alias(owner: SignedInUser, toy: Example) -> None:
    sent = owner.send(toy, "hidden-name", visibility="anonymous")
    account = " ".join(owner.client.get("/account").text.split())
    assert "share one alias: publishing one of them reveals the others, also through a snapshot" in account
    review = owner.client.get(f"/account/submissions/{sent}/review-link").text
    assert "If you publish one of these entries, you reveal the others." in review
    assert "share one alias" in owner.client.get("/benchmarks/toy/submit").text


def test_description_and_tags_are_saved_and_checked(
    owner: SignedInUser, sign_in_service: Service, toy: Example
) -> None:
    sent = owner.send(toy, "told")
    assert owner.post(sent, description="Two\r\nlines", tags="one two-3").status_code == 200
    row = sign_in_service.row(sent)
    assert (row.description.split(), row.tags, row.visibility) == (["Two", "lines"], ["one", "two-3"], "public")
    for tags in ("Capital", "a" * 33, " ".join("abcdefghi"), "a,b"):
        assert owner.post(sent, tags=tags).status_code == 422
    assert sign_in_service.row(sent).tags == ["one", "two-3"]


def test_pin_is_set_and_removed(owner: SignedInUser, sign_in_service: Service, toy: Example) -> None:
    first, second = owner.send(toy, "pinned", 0.5), owner.send(toy, "pinned", 0.6)

    def listed() -> set[str]:
        return {row["id"] for row in sign_in_service.client.get("/benchmarks/toy/leaderboard").json()["rows"]}

    assert second in listed()
    assert "pinned</span>" in owner.post(first, pinned="true").text
    assert {first, second} & listed() == {first}
    owner.post(first, pinned="false")
    assert {first, second} & listed() == {second}


def test_pinning_a_practice_submission_is_rejected(owner: SignedInUser, toy: Example) -> None:
    sent = owner.send(toy, "tried", kind="practice")
    refused = owner.post(sent, pinned="true")
    assert refused.status_code == 409
    assert "Only a scored ranked submission can be pinned" in refused.text
    assert 'name="pinned"' not in owner.client.get("/account").text


def test_withdrawal_needs_confirmation(owner: SignedInUser, sign_in_service: Service, toy: Example) -> None:
    sent = owner.send(toy, "gone")
    assert f'href="/account/submissions/{sent}/withdraw"' in owner.client.get("/account").text
    question = owner.client.get(f"/account/submissions/{sent}/withdraw")
    assert "This cannot be undone" in question.text
    assert sign_in_service.row(sent).state == State.SCORED
    (form,) = [attributes for attributes in Markup(question.text).all("form") if attributes["method"] == "post"]
    assert form["action"] == f"/account/submissions/{sent}/withdraw"
    page = owner.post(f"{sent}/withdraw")
    assert page.url.path == "/account"
    assert sign_in_service.row(sent).state == State.WITHDRAWN
    assert f"{sent}/withdraw" not in page.text
    assert _audit_rows(sign_in_service, sent) == [("submission.withdrawn", None)]
    assert owner.post(f"{sent}/withdraw").status_code == 409


def test_wrong_csrf_token_or_user_changes_nothing(
    owner: SignedInUser, sign_in_service: Service, toy: Example, sign_in: Callable[[str], SignedInUser]
) -> None:
    sent = owner.send(toy, "kept")
    thief = sign_in("thief")
    for csrf_token in ("", "guessed", "None", thief.csrf_token()):
        for path, fields in ((sent, {"visibility": "private"}), (f"{sent}/withdraw", {})):
            assert owner.post(path, **fields, form=csrf_token).status_code == 403
    for path, fields in ((sent, {"visibility": "private"}), (f"{sent}/withdraw", {})):
        refused = thief.post(path, **fields)
        assert refused.status_code == 403
        assert "belongs to another user" in refused.text
    assert thief.client.get(f"/account/submissions/{sent}/withdraw").status_code == 403
    owner.post(sent, visibility="private")
    for path, fields in ((sent, {"visibility": "public"}), (f"{sent}/withdraw", {})):
        assert thief.post(path, **fields).status_code == 404  # private: reported as unknown
    assert thief.client.get(f"/account/submissions/{sent}/withdraw").status_code == 404
    visitor = httpx.Client(base_url=sign_in_service.url, trust_env=False)
    assert visitor.get(f"/account/submissions/{sent}/withdraw").headers["Location"] == "/sign-in"
    assert visitor.post(f"/account/submissions/{sent}/withdraw", data={"form": owner.csrf_token()}).status_code == 403
    row = sign_in_service.row(sent)
    assert (row.state, row.visibility) == (State.SCORED, Visibility.PRIVATE)
    visitor.close()


def test_many_submissions_are_shown_in_pages(owner: SignedInUser, sign_in_service: Service) -> None:
    assert "You have no submissions yet" in owner.client.get("/account").text
    name = owner.name
    with sign_in_service.database.write() as session:
        user = session.scalars(select(User).where(User.name == name)).one()
        version = session.scalars(select(Version)).first()
        assert version is not None
        for place in range(101):
            method = f"{place:03}".ljust(64, "x")
            session.add(
                Submission(
                    user=user, version=version, kind=Kind.PRACTICE, state=State.EXPIRED, method=method, title="", size=1
                )
            )
            session.flush()
    seen = []
    for after, links in ((0, {"Older"}), *((after, {"Newer", "Older"}) for after in (25, 50, 75)), (100, {"Newer"})):
        text = owner.client.get("/account", params={"after": after}).text
        seen += re.findall(r"([0-9]{3})x{61}</a>", text)
        assert set(re.findall("(Older|Newer)</a>", text)) == links
        assert "101 submissions" in text
    assert sorted(seen, key=int) == [f"{place:03}" for place in range(101)]
    assert "There are no older submissions" in owner.client.get("/account", params={"after": 150}).text


def test_account_page_shows_when_the_quota_is_freed(
    owner: SignedInUser, sign_in_service: Service, toy: Example
) -> None:
    name = owner.name
    sign_in_service.token(name, ranked_per_day=1)
    assert "1 of 1" in owner.client.get("/account").text
    owner.send(toy, "only")
    text = owner.client.get("/account").text
    assert "0 of 1" in text
    assert re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC</time>", text)
    assert "the next is available at" in owner.client.get("/benchmarks/toy/submit").text
    sign_in_service.token(name, ranked_per_version=1)
    assert "with the next version" in owner.client.get("/account").text
    assert "no attempts left for this version" in owner.client.get("/benchmarks/toy/submit").text


def test_account_page_shows_storage_use(owner: SignedInUser, sign_in_service: Service, toy: Example) -> None:
    owner.send(toy, "taking", 0.9)
    kept = owner.service.client.get(
        "/users/me", headers={"Authorization": f"Bearer {sign_in_service.token(owner.name)}"}
    ).json()["usage"]
    assert kept["bytes"] > 0
    text = " ".join(owner.client.get("/account").text.split())
    assert (
        f"All your files together take {formatting.size(kept['bytes'])} of {formatting.size(kept['bytes_limit'])};"
        in text
    )
