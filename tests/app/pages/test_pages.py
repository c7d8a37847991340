"""What the pages say, read without a browser."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import numpy as np

from app.db.models import Kind, State, Submission, Visibility
from app.pages import words
from app.services import accounts, submissions, tokens, uploads
from app.services import benchmarks as published
from app.services.quotas import Quotas
from app.services.submissions import Entry
from ldsboard.result import CHANCE, WARNINGS
from tests.app.benchmarks import write_benchmark
from tests.app.boards import HOSTILE
from tests.app.pages.markup import Markup
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.pages.conftest import Site

MINUS = "\N{MINUS SIGN}"


def reserved(site: Site, benchmark: str = "toy") -> str:
    """Return the id of a submission whose file is on its way."""
    with site.service.database.write() as session:
        _, token = tokens.create(session, accounts.add_user(session, "carol"))
        account = accounts.authenticate(session, f"Bearer {token}")
        entry = Entry(benchmark, "coming", "", Kind.PRACTICE, None, 1000)
        version = published.find(session, benchmark)
        submission = submissions.reserve(session, account, version, entry, Quotas(1, 1))
        uploads.open_upload(session, submission, "0" * 64, 1000, timedelta(hours=1))
        return submission.id


def test_home_lists_every_benchmark_with_its_kind(site: Site) -> None:
    text = site.text("/")
    assert 'href="/benchmarks/toy"' in text
    assert 'href="/benchmarks/open-toy"' in text
    assert ">protected<" in text
    assert ">practice board<" in text
    best = site.api("/benchmarks/toy")["best"]
    assert f"{best['method']} by {best['owner']}, {best['lds']:.4f}" in text


def test_leaderboard_shows_what_the_api_says(site: Site) -> None:
    rows = site.api("/benchmarks/toy/leaderboard")["rows"]
    page = site.page("/benchmarks/toy")
    (table,) = page.tables
    assert len(rows) == len(table) - 1 == 5
    entries = [attributes for attributes in page.all("tr") if "data-id" in attributes]
    for row, cells, entry in zip(rows, table[1:], entries, strict=True):
        rank, method, lds, share, owner, attempts, gain, _, date = cells
        assert rank == words.rank(row["rank"])
        assert method.startswith(row["method"])
        assert lds == f"{row['lds']:.4f} [{row['ci'][0]:.4f}, {row['ci'][1]:.4f}]".replace("-", MINUS)
        assert share == words.share(row["of_ceiling"]).replace("\u202f", " ")
        assert (owner, attempts, gain) == (row["owner"], str(row["attempts"]), f"≤ {row['possible_gain']:.4f}")
        assert date == f"{datetime.now(UTC):%Y-%m-%d}" or date == row["created_at"][:10]
        # The chart is drawn from these: as published, no digit more.
        assert entry["data-id"] == row["id"]
        drawn = [float(entry[f"data-{name}"] or "nan") for name in ("lds", "low", "high")]
        assert drawn == [row["lds"], *row["ci"]]


def test_leaderboard_names_what_is_random_and_what_is_flipped(site: Site) -> None:
    rows = {row["method"]: row["z_random"] for row in site.api("/benchmarks/toy/leaderboard")["rows"]}
    cells = {row[1].split()[0]: row[1] for row in site.page("/benchmarks/toy").tables[0][1:]}
    assert abs(rows["random"]) < CHANCE
    assert cells["random"] == "random not distinguishable from random"
    assert rows["flipped"] <= -CHANCE
    assert cells["flipped"] == "flipped sign flipped?"
    assert cells["middling"] == "middling"


def test_leaderboard_says_what_it_holds_for_and_how_to_submit(site: Site) -> None:
    text = site.text("/benchmarks/toy")
    assert "for these targets and this recipe" in text
    assert "only this share" in text
    assert "120 hidden subsets" in text
    assert f'"{site.service.url}/api/v1/benchmarks/toy/submissions?method=my-method"' in text
    assert "ldsboard submit scores.npy toy --method my-method --wait" in text
    assert "2 h, 5 models, one &lt;b&gt;GPU&lt;/b&gt;" in text


def test_leaderboard_continues_further_down(site: Site) -> None:
    whole, rest = (site.page(f"/benchmarks/toy?after={after}").tables[0][1:] for after in (0, 3))
    assert rest == whole[3:]
    assert "no entries so far down" in site.text("/benchmarks/toy?after=5")


def test_practice_board_says_that_nothing_is_hidden(site: Site) -> None:
    text = site.text("/benchmarks/open-toy")
    assert "practice board: nothing is hidden" in text
    assert "Nobody has an entry yet" in text
    assert "<script" not in text  # nothing to draw


def test_texts_of_users_are_escaped(site: Site) -> None:
    for path in ("/benchmarks/toy", f"/submissions/{site.ids['twin']}"):
        text = site.text(path)
        assert HOSTILE not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quoted&#34;" in text


def test_submission_shows_both_parts_and_its_histogram(site: Site) -> None:
    view = site.api(f"/submissions/{site.ids['middling']}")
    page = site.page(f"/submissions/{site.ids['middling']}")
    result, bins, *_ = page.tables
    assert [row[0] for row in result[1:]] == ["120 that rank, hidden", "40 public"]
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


def test_practice_submission_has_no_hidden_numbers(site: Site) -> None:
    text = site.text(f"/submissions/{site.ids['practice']}")
    assert [row[0] for row in Markup(text).tables[0][1:]] == ["40 public"]
    assert "are not listed" in text


def test_rejected_submission_shows_the_problem(site: Site) -> None:
    text = site.text(f"/submissions/{site.ids['spoiled']}")
    error = site.api(f"/submissions/{site.ids['spoiled']}")["error"]
    for part in ("title", "expected", "got", "hint", "code"):
        assert error[part] in text
    assert "<table" not in text
    assert "<script" not in text  # nothing to draw, nothing to wait for


def test_warnings_are_said_in_words(site: Site) -> None:
    assert WARNINGS["scores.sign_flipped"] in site.text(f"/submissions/{site.ids['flipped']}")
    assert WARNINGS["scores.random"] in site.text(f"/submissions/{site.ids['random']}")


def test_page_comes_again_until_the_state_is_final(site: Site) -> None:
    coming = reserved(site)
    text = site.text(f"/submissions/{coming}")
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in text
    assert words.STATES["uploading"] in text
    with site.service.database.write() as session:
        submissions.move(session, coming, State.UPLOADING, State.EXPIRED)
    text = site.text(f"/submissions/{coming}")
    assert "http-equiv" not in text
    assert words.STATES["expired"] in text


def test_private_submission_has_no_page(site: Site) -> None:
    coming = reserved(site)
    with site.service.database.write() as session:
        session.get_one(Submission, coming).visibility = Visibility.PRIVATE
    assert site.browser.get(f"/submissions/{coming}").status_code == 404


def test_comparison_says_who_is_better(site: Site) -> None:
    good, middling, twin = (site.ids[name] for name in ("good", "middling", "twin"))
    view = site.api(f"/compare?a={good}&b={middling}")
    text = site.text(f"/compare?a={good}&b={middling}")
    assert f"good by ada is better, by {view['difference']:.4f}" in text
    assert f"good by ada is better, by {view['difference']:.4f}" in site.text(f"/compare?a={middling}&b={good}")
    assert "cannot be told apart" in site.text(f"/compare?a={good}&b={twin}")


def test_comparison_across_benchmarks_is_explained(site: Site, open_toy: Example) -> None:
    token = site.service.token("dora")
    other = site.service.scored(token, open_toy.name, npy(open_toy.scores()))["id"]
    response = site.browser.get("/compare", params={"a": site.ids["good"], "b": other})
    assert response.status_code == 409
    assert "toy version 1 and open-toy version 1" in response.text


def test_older_versions_have_their_own_page(tmp_path: Path) -> None:
    with Service(tmp_path / "service") as service:
        for version in (1, 2):
            service.publish(write_benchmark(tmp_path / str(version), version=version).folder)
        page = Markup(httpx.get(f"{service.url}/benchmarks/toy", params={"version": 1}, trust_env=False).text)
        (here,) = [link for link in page.all("a") if link.get("aria-current") == "page"]
        assert here["href"] == "?version=1"
        assert httpx.get(f"{service.url}/benchmarks/toy", params={"version": 3}, trust_env=False).status_code == 404


def test_pages_answer_head(site: Site) -> None:
    response = site.browser.head("/benchmarks/toy")
    assert response.status_code == 200
    assert not response.content
