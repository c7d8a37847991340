"""What may be said of a submission, and how a refusal puts it: in words, whichever way it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.api.benchmarks import _plain
from tests.app.sending import Sending
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"method": "withheld"}, "this one stands for those of anonymous entries"),
        ({"method": "Upper Case"}, "1 to 64 lower-case letters, digits"),
        ({"title": "two\nlines"}, "one line, without control characters"),
        ({"device": "a\x1b[31mred one"}, "one line, without control characters"),
        ({"repository": "turned \u202e around"}, "one line, without control characters"),
        ({"commit": "HEAD"}, "7 to 64 hexadecimal digits in lower case"),
        ({"url": "javascript:alert(1)"}, "an address that begins with http:// or https://"),
        ({"url": "https://x.org/ and more"}, "without spaces and control characters"),
        ({"sha256": "0" * 63}, "64 hexadecimal digits in lower case"),
    ],
    ids=str,
)
def test_a_refused_word_is_told_in_words(service: Service, toy: Example, said: dict[str, str], words: str) -> None:
    token, content = service.token("ann"), npy(toy.scores())
    (name, text) = next(iter(said.items()))
    parts: dict[str, Any] = said
    if name == "device":
        parts = {"cost": said}
    elif name in ("repository", "commit", "url"):
        parts = {"provenance": said}
    before = service.rows()["submission"]
    for refused in (
        service.submit(token, "toy", content, **said),
        Sending(service, token, "toy", content, **parts).begin(),
    ):
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (422, "request.invalid")
        assert name in problem["expected"]
        assert words in problem["expected"]
        assert "^" not in problem["expected"]
        assert problem["got"] == repr(text)[:80]
    assert service.rows()["submission"] == before


def test_an_anonymous_entry_tells_the_numbers_of_its_cost_and_not_the_device(service: Service, toy: Example) -> None:
    token, said = service.token("cluster-owner"), {"seconds": "7", "device": "the cluster of somebody known"}
    sent = service.scored(token, "toy", npy(toy.scores(0.3)), method="costly", visibility="anonymous", **said)
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    (row,) = [row for row in rows if row["id"] == sent["id"]]
    assert sent["cost"] == row["cost"] == {"seconds": 7.0}
    own = service.client.get(f"/submissions/{sent['id']}", headers={"Authorization": f"Bearer {token}"}).json()
    assert own["cost"] == {"seconds": 7.0, "device": said["device"]}
    assert "somebody known" not in service.client.get(f"{service.url}/submissions/{sent['id']}").text


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0@x", "\uff1d1+1", "\uff0bx", "\tplain"],
)
def test_no_cell_of_a_table_is_a_formula(text: str) -> None:
    assert _plain(text) == f"'{text}"


@pytest.mark.parametrize("value", [-0.25, None, "a=b", "plain", " plain", "1+1"])
def test_other_cells_stay_as_they_are(value: object) -> None:
    assert _plain(value) == value
