"""Fields of a submission: invalid values are explained in words, in single and multipart uploads; CSV cells are escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.leaderboard.tables import _escape_formula
from app.submissions.fields import ReportedProvenance
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "withheld"}, "a method name other than 'withheld'"),
        ({"method": "Upper Case"}, "1 to 64 lower-case letters, digits"),
        ({"title": "two\nlines"}, "one line, without control characters"),
        ({"device": "a\x1b[31mred one"}, "one line, without control characters"),
        ({"repository": "turned \u202e around"}, "one line, without control characters"),
        ({"commit": "HEAD"}, "7 to 64 hexadecimal digits in lower case"),
        ({"branch": "ma\u2028in"}, "one line, without control characters"),
        ({"branch": "b" * 256}, "at most 255 characters"),
        ({"branch": ""}, "at least 1 character"),
        ({"number": "0"}, "greater than or equal to 1"),
        ({"number": "2147483648"}, "less than 2147483648"),
        ({"number": "1.5"}, "a valid integer"),
        ({"provider": "bitbucket"}, "'github', 'gitlab', 'forgejo' or 'other'"),
        ({"paper": "javascript:alert(1)"}, "an address that begins with http:// or https://"),
        ({"code": "https://x.org/\u202e"}, "without spaces and control characters"),
        ({"code": "https://x.org/" + "x" * 487}, "at most 500 characters"),
        ({"url": "javascript:alert(1)"}, "an address that begins with http:// or https://"),
        ({"url": "https://x.org/ and more"}, "without spaces and control characters"),
        ({"sha256": "0" * 63}, "64 hexadecimal digits in lower case"),
    ],
    ids=str,
)
def test_invalid_field_is_explained_in_words(
    service: Service, toy: Example, fields: dict[str, str], words: str
) -> None:
    token, content = service.token("ann"), npy(toy.scores())
    (name, text) = next(iter(fields.items()))
    parts: dict[str, Any] = fields
    if name == "device":
        parts = {"cost": fields}
    elif name in ReportedProvenance.model_fields:
        parts = {"provenance": fields}
    before = service.rows()["submission"]
    for refused in (
        service.submit(token, "toy", content, **fields),
        MultipartUpload(service, token, "toy", content, **parts).start(),
    ):
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (422, "request.invalid")
        assert name in problem["expected"]
        assert words in problem["expected"]
        assert "^" not in problem["expected"]
        assert problem["got"] == repr(text)[:80]
    assert service.rows()["submission"] == before


ORIGIN: dict[str, Any] = {"branch": "main", "number": 7, "provider": "forgejo", "url": "https://x.org/runs/1"}
LINKS = {"paper": "https://x.org/paper", "code": "https://x.org/code"}


def test_single_and_multipart_uploads_keep_branch_number_provider_and_links(service: Service, toy: Example) -> None:
    token, content = service.token("ann"), npy(toy.scores(0.4))
    single = service.submit(token, "toy", content, method="single", **ORIGIN | LINKS).json()
    parts = MultipartUpload(service, token, "toy", content, method="parts", provenance=ORIGIN, **LINKS).started()
    parts.put_all_parts()
    for view in (single, parts.complete().json()):
        assert view.items() >= LINKS.items()
        assert (view["urls"], view["provenance"]) == (LINKS, ORIGIN | {"verified": False})


def test_nobody_can_state_that_a_provenance_is_verified(service: Service, toy: Example) -> None:
    token, content = service.token("ann"), npy(toy.scores())
    stated = {"repository": "ann/x", "verified": True}
    for refused in (
        service.submit(token, "toy", content, repository="ann/x", verified="true"),
        MultipartUpload(service, token, "toy", content, provenance=stated).start(),
    ):
        assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")


def test_anonymous_submission_withholds_branch_number_and_links(service: Service, toy: Example) -> None:
    token = service.token("hiding")
    fields = {"visibility": "anonymous", "method": "hid", **ORIGIN, **LINKS}
    sent = service.submit_and_score(token, "toy", npy(toy.scores(0.35)), **fields)
    assert (sent["provenance"], sent["paper"], sent["code"], sent["urls"]) == (None, None, None, {})
    page = service.client.get(f"{service.url}/submissions/{sent['id']}").text
    assert "x.org" not in page
    own = service.client.get(f"/submissions/{sent['id']}", headers={"Authorization": f"Bearer {token}"}).json()
    assert own.items() >= LINKS.items()


def test_anonymous_entry_shows_cost_numbers_without_the_device(service: Service, toy: Example) -> None:
    token, fields = service.token("cluster-owner"), {"seconds": "7", "device": "the cluster of somebody known"}
    sent = service.submit_and_score(
        token, "toy", npy(toy.scores(0.3)), method="costly", visibility="anonymous", **fields
    )
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    (row,) = [row for row in rows if row["id"] == sent["id"]]
    assert sent["cost"] == row["cost"] == {"seconds": 7.0}
    own = service.client.get(f"/submissions/{sent['id']}", headers={"Authorization": f"Bearer {token}"}).json()
    assert own["cost"] == {"seconds": 7.0, "device": fields["device"]}
    assert "somebody known" not in service.client.get(f"{service.url}/submissions/{sent['id']}").text


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0@x", "\uff1d1+1", "\uff0bx", "\tplain"],
)
def test_csv_cell_that_looks_like_a_formula_is_escaped(text: str) -> None:
    assert _escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("value", [-0.25, None, "a=b", "plain", " plain", "1+1"])
def test_other_csv_cells_are_unchanged(value: object) -> None:
    assert _escape_formula(value) == value
