"""The page of the owner for a review link: it says what the link shows, and makes and withdraws the link without JavaScript."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from app.db.review_links import ReviewLink
from tests.app.pages.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app.benchmarks import Example
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service


@pytest.fixture
def owner(sign_in: Callable[[str], SignedInUser], request: pytest.FixtureRequest) -> SignedInUser:
    return sign_in(request.node.name[-30:])


def _link(page: httpx.Response) -> str:
    (link,) = re.findall(r"<code>(http\S+/review\?link=\S+)</code>", page.text)
    return str(link)


def _has_link(service: Service, submission_id: str) -> bool:
    with service.database.read() as session:
        return session.get(ReviewLink, submission_id) is not None


def _status(link: str) -> int:
    return httpx.get(link, trust_env=False).status_code


def test_owner_makes_replaces_and_withdraws_a_link(owner: SignedInUser, sign_in_service: Service, toy: Example) -> None:
    sent = owner.send(toy, "reviewed")
    owner.post(sent, visibility="private")
    path = f"/account/submissions/{sent}/review-link"
    for page in ("/account", f"/submissions/{sent}"):
        assert f'href="{path}"' in owner.client.get(page).text
    shown = owner.client.get(path)
    assert "has no valid review link" in shown.text
    assert "the name of the method, <strong>reviewed</strong>" in shown.text
    (form,) = [attributes for attributes in Markup(shown.text).all("form") if attributes["method"] == "post"]
    assert form["action"] == path
    made = owner.post(f"{sent}/review-link")
    first = _link(made)
    assert "Cache-Control" in made.headers
    assert (_status(first), owner.name in httpx.get(first, trust_env=False).text) == (200, False)
    again = owner.client.get(path).text
    assert first not in again
    assert "is valid" in again
    second = _link(owner.post(f"{sent}/review-link"))
    assert (_status(first), _status(second)) == (404, 200)
    ended = owner.post(f"{sent}/review-link/withdraw")
    assert (ended.url.path, "has no valid review link" in ended.text) == (path, True)
    assert _status(second) == 404
    assert not _has_link(sign_in_service, sent)
    assert owner.post(f"{sent}/review-link/withdraw").status_code == 200


def test_owner_of_a_public_submission_is_warned(owner: SignedInUser, toy: Example) -> None:
    sent = owner.send(toy, "named")
    path = f"/account/submissions/{sent}/review-link"
    assert "This submission is public" in owner.client.get(path).text
    owner.post(sent, visibility="anonymous")
    text = owner.client.get(path).text
    assert "This submission is public" not in text
    assert "This submission is anonymous" in text
    owner.post(f"{sent}/withdraw")
    assert "A link can be made when the submission is scored" in owner.client.get(path).text


def test_wrong_csrf_token_or_user_makes_and_ends_no_link(
    owner: SignedInUser, sign_in_service: Service, toy: Example, sign_in: Callable[[str], SignedInUser]
) -> None:
    linked, other = (owner.send(toy, method, noise) for method, noise in (("linked", 0.5), ("other", 0.6)))
    owner.post(f"{linked}/review-link")
    thief = sign_in("link-thief")
    for csrf_token in ("", "guessed", thief.csrf_token()):
        assert owner.post(f"{other}/review-link", form=csrf_token).status_code == 403
        assert owner.post(f"{linked}/review-link/withdraw", form=csrf_token).status_code == 403
    for visibility, expected in (("public", 403), ("private", 404)):
        for sent in (linked, other):
            owner.post(sent, visibility=visibility)
        assert thief.post(f"{other}/review-link").status_code == expected
        assert thief.post(f"{linked}/review-link/withdraw").status_code == expected
        assert thief.client.get(f"/account/submissions/{linked}/review-link").status_code == expected
    with httpx.Client(base_url=sign_in_service.url, trust_env=False) as visitor:
        assert visitor.get(f"/account/submissions/{linked}/review-link").headers["Location"] == "/sign-in"
    assert (_has_link(sign_in_service, linked), _has_link(sign_in_service, other)) == (True, False)
