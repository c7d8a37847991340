"""Submission pages and comparison pages, read without a browser."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from app.accounts import tokens, users
from app.accounts.quotas import Quotas
from app.benchmarks import catalog as published
from app.db.models import Kind, State, Submission, Visibility
from app.pages.content import formatting
from app.submissions import lifecycle, multipart
from app.submissions.fields import SubmissionRequest
from ldsboard.core.result import WARNINGS
from tests.app.boards import HOSTILE
from tests.app.pages.markup import Markup
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.pages.conftest import Site

MINUS = "\N{MINUS SIGN}"


def uploading_submission(site: Site, benchmark: str = "toy") -> str:
    """Create a submission with an open multipart upload, and return its id."""
    with site.service.database.write() as session:
        _, token = tokens.create(session, users.add_user(session, "carol"))
        account = users.authenticate(session, f"Bearer {token}")
        entry = SubmissionRequest(benchmark=benchmark, method="coming", kind=Kind.PRACTICE, size=1000)
        version = published.find_version(session, benchmark)
        submission = lifecycle.reserve(session, account.id, version, entry, Quotas(1, 1))
        multipart.open_upload(session, submission, "0" * 64, 1000, timedelta(hours=1))
        return submission.id


def test_user_texts_are_escaped(site: Site) -> None:
    text = site.text(f"/submissions/{site.ids['twin']}")
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quoted&#34;" in text


def test_submission_page_shows_both_splits_and_the_histogram(site: Site) -> None:
    view = site.api(f"/submissions/{site.ids['middling']}")
    page = site.page(f"/submissions/{site.ids['middling']}")
    result, bins, *_ = page.tables
    assert [row[0] for row in result[1:]] == ["120 ranking, hidden", "40 public"]
    for row, part in zip(result[1:], ("hidden", "public"), strict=True):
        assert row[1].split()[0] == f"{view[part]['lds']:.4f}"
    archive = site.service.client.get(view["links"]["per_target"].removeprefix("/api/v1")).content
    rho_N = np.load(io.BytesIO(archive))["rho"]
    assert sum(int(count) for _, count in bins[1:]) == len(rho_N) == 7
    drawn = [attributes for attributes in page.all("tr") if "data-count" in attributes]
    for attributes in drawn:
        low, high = float(attributes["data-low"] or "nan"), float(attributes["data-high"] or "nan")
        assert int(attributes["data-count"] or "-1") == np.count_nonzero((rho_N >= low) & (rho_N < high))
    options = [option["value"] for option in page.all("option")]
    assert "http-equiv" not in site.text(f"/submissions/{site.ids['middling']}")
    assert site.ids["good"] in options
    assert site.ids["middling"] not in options


def test_practice_submission_page_shows_no_hidden_numbers(site: Site) -> None:
    text = site.text(f"/submissions/{site.ids['practice']}")
    assert [row[0] for row in Markup(text).tables[0][1:]] == ["40 public"]
    assert "are not listed" in text


def test_rejected_submission_page_shows_the_problem(site: Site) -> None:
    text = site.text(f"/submissions/{site.ids['spoiled']}")
    error = site.api(f"/submissions/{site.ids['spoiled']}")["error"]
    for part in ("title", "detail", "hint", "code"):
        assert error[part] in text
    assert "<table" not in text
    assert "<script" not in text  # no charts and no updates


def test_warnings_are_shown_in_words(site: Site) -> None:
    assert WARNINGS["scores.sign_flipped"] in site.text(f"/submissions/{site.ids['flipped']}")
    assert WARNINGS["scores.random"] in site.text(f"/submissions/{site.ids['random']}")


def test_submission_page_refreshes_until_the_state_is_final(site: Site) -> None:
    uploading = uploading_submission(site)
    text = site.text(f"/submissions/{uploading}")
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in text
    assert formatting.STATES["uploading"] in text
    with site.service.database.write() as session:
        lifecycle.transition(session, uploading, State.UPLOADING, State.EXPIRED)
    text = site.text(f"/submissions/{uploading}")
    assert "http-equiv" not in text
    assert formatting.STATES["expired"] in text


def test_private_submission_has_no_page(site: Site) -> None:
    uploading = uploading_submission(site)
    with site.service.database.write() as session:
        session.get_one(Submission, uploading).visibility = Visibility.PRIVATE
    assert site.browser.get(f"/submissions/{uploading}").status_code == 404


def test_comparison_names_the_better_submission(site: Site) -> None:
    good, middling, twin = (site.ids[name] for name in ("good", "middling", "twin"))
    view = site.api(f"/compare?a={good}&b={middling}")
    text = site.text(f"/compare?a={good}&b={middling}")
    assert f"good by ada is better, by {view['difference']:.4f}" in text
    assert f"good by ada is better, by {view['difference']:.4f}" in site.text(f"/compare?a={middling}&b={good}")
    assert "do not differ significantly" in site.text(f"/compare?a={good}&b={twin}")


def test_comparison_across_benchmarks_is_rejected_with_a_reason(site: Site, open_toy: Example) -> None:
    token = site.service.token("dora")
    other = site.service.submit_and_score(token, open_toy.name, npy(open_toy.scores()), kind="practice")["id"]
    response = site.browser.get("/compare", params={"a": site.ids["good"], "b": other})
    assert response.status_code == 409
    assert "toy version 1 (scorer version 1) and open-toy version 1 (scorer version 1)" in response.text


def test_pages_answer_head(site: Site) -> None:
    response = site.browser.head("/benchmarks/toy")
    assert response.status_code == 200
    assert not response.content
