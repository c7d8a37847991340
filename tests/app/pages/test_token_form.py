"""The form for a token on the account page: its limits, and a refused value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.pages.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.app.pages.signed_in import SignedInUser


@pytest.fixture
def owner(sign_in: Callable[[str], SignedInUser]) -> SignedInUser:
    return sign_in("maker-of-tokens")


def _create(owner: SignedInUser, **fields: Any) -> httpx.Response:
    return owner.client.post("/account/tokens", data={"form": owner.csrf_token()} | fields)


def _text(owner: SignedInUser) -> str:
    return owner.client.get("/account").text


def test_form_names_the_scopes_and_a_token_lives_at_most_a_year(owner: SignedInUser) -> None:
    refused = _create(owner, name="eternal", scopes="manage", days="366")
    assert "expected days: a whole number from 1 to 365" in refused.text
    assert "ldsb_" in _create(owner, name="yearly", scopes="manage", days="365").text
    page = _text(owner)
    assert ("eternal" in page, "yearly" in page) == (False, True)
    (days,) = [field for field in Markup(page).all("input") if field.get("name") == "days"]
    assert days["max"] == "365"
    for label in (
        "<code>submit</code>: sending score files",
        "<code>manage</code>: editing and withdrawing submissions; ",
    ):
        assert label in page
    assert "trusted workflows, webhooks" in page


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": ""}, "expected name: 1 to 64 characters"),
        ({"name": "<" * 65}, "expected name: 1 to 64 characters"),
        ({"scopes": []}, "expected scopes: at least one of submit, manage"),
        ({"scopes": ["submit", "manage", "rule"]}, "expected scopes: at least one of submit, manage"),
        ({"days": "0"}, "expected days: a whole number"),
        ({"days": '"soon"'}, "expected days: a whole number"),
        ({"days": ""}, "expected days: a whole number"),
    ],
)
def test_refused_value_is_named_and_the_form_keeps_all_values(
    owner: SignedInUser, changes: dict[str, Any], expected: str
) -> None:
    typed = {"name": "desktop", "scopes": ["manage"], "days": "31"} | changes
    refused = _create(owner, **typed)
    assert "ldsb_" not in refused.text
    (alert,) = re.findall(r'<p role="alert" class="notice">(.*)</p>', refused.text)
    assert expected in alert
    fields = [field for field in Markup(refused.text).all("input") if field["name"] in typed]
    shown = {field["name"]: field["value"] for field in fields if field["name"] != "scopes"}
    assert shown == {"name": typed["name"], "days": typed["days"]}
    assert {field["value"] for field in fields if "checked" in field} == set(typed["scopes"]) & {"submit", "manage"}
    assert "desktop" not in _text(owner)
