"""The home page, leaderboards, feeds and badges, read without a browser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from scipy import stats

from app.db.models import Submission
from app.leaderboard.schemas import BenchmarkView, Row
from app.pages.content import formatting
from app.pages.content.feed import atom
from app.pages.content.templates import render
from ldsboard.core.chance import RANDOM_P
from ldsboard.core.replicates import FILES_ONLY
from tests.app.benchmarks import write_benchmark
from tests.app.boards import HOSTILE
from tests.app.pages.markup import Markup
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.pages.conftest import Site

MINUS = "\N{MINUS SIGN}"
ATOM = "{http://www.w3.org/2005/Atom}"
SVG = "{http://www.w3.org/2000/svg}"


def plain_text(text: str) -> str:
    """Return the text of an HTML fragment in one line."""
    return " ".join("".join(ET.fromstring(f"<x>{text.replace('<br>', ' ')}</x>").itertext()).split())  # noqa: S314 -- the project's own page


def text_between(page: str, start: str, end: str) -> str:
    """Return the text of a page from the element that begins with `start` up to `end`, in one line."""
    return plain_text(page.split(start, 1)[1].split(">", 1)[1].split(end, 1)[0])


def listed_ids(page: Markup) -> list[str | None]:
    """Return the submission ids of a leaderboard page, in order."""
    return [attributes["data-id"] for attributes in page.all("tr") if "data-id" in attributes]


def test_home_shows_every_benchmark_and_how_to_submit(site: Site) -> None:
    text = site.text("/")
    assert 'href="/benchmarks/toy"' in text
    assert 'href="/benchmarks/open-toy"' in text
    assert ">protected<" in text
    assert ">practice board<" in text
    best = site.api("/benchmarks/toy")["best"]
    assert "No entry yet" in text_between(text.split('href="/benchmarks/open-toy"', 1)[1], '<p class="best', "</p>")
    card = text.split('href="/benchmarks/toy"', 1)[1]
    share = formatting.share(best["of_ceiling"]).replace("\u202f", " ")
    assert text_between(card, '<p class="best', "</p>") == (
        f"{best['lds']:.4f} {share} of the noise ceiling {best['method']} by {best['owner']}"
    )
    commands = text_between(text, "<pre data-copy", "</pre>")
    first = min(board["name"] for board in site.api("/benchmarks"))  # other tests may have published benchmarks
    assert commands == (
        f"export LDSBOARD_SERVER={site.service.url} LDSBOARD_TOKEN=ldsb_… "
        f"ldsboard pull {first} ldsboard submit scores.npy {first} --method my-method"
    )


def test_leaderboard_shows_the_rows_of_the_api(site: Site) -> None:
    rows = site.api("/benchmarks/toy/leaderboard")["rows"]
    page = site.page("/benchmarks/toy")
    (table,) = page.tables
    assert len(rows) == len(table) - 1 == 5
    entries = [attributes for attributes in page.all("tr") if "data-id" in attributes]
    for row, cells, entry in zip(rows, table[1:], entries, strict=True):
        rank, method, lds, share, _, attempts, date = cells
        mark = "≈ not separable from the first, " if row["separable_from_first"] is False else ""
        assert rank == mark + formatting.rank(row["rank"])
        assert method.startswith(f"{row['method']} {row['owner']}")
        assert lds == f"{row['lds']:.4f} [{row['ci'][0]:.4f}, {row['ci'][1]:.4f}]".replace("-", MINUS)
        assert share == formatting.share(row["of_ceiling"]).replace("\u202f", " ")
        assert attempts == f"{row['attempts']} ≤ {row['possible_gain']:.4f}"
        assert date == f"{datetime.now(UTC):%Y-%m-%d}" or date == row["created_at"][:10]
        # Charts use these attributes, which must have no more digits than the API.
        assert entry["data-id"] == row["id"]
        drawn = [float(entry[f"data-{name}"] or "nan") for name in ("lds", "low", "high")]
        assert drawn == [row["lds"], *row["ci"]]
        seconds = (row["cost"] or {}).get("seconds")
        assert entry.get("data-seconds") == (None if seconds is None else str(seconds))


def test_leaderboard_marks_random_and_sign_flipped_entries(site: Site) -> None:
    rows = {row["method"]: row for row in site.api("/benchmarks/toy/leaderboard")["rows"]}
    cells = {row[1].split()[0]: row[1] for row in site.page("/benchmarks/toy").tables[0][1:]}
    assert rows["random"]["p_random"] > RANDOM_P
    assert cells["random"] == "random ada history not distinguishable from random"
    assert (rows["flipped"]["p_random"] <= RANDOM_P, rows["flipped"]["z_random"] <= -3) == (True, True)
    assert cells["flipped"] == "flipped ada history sign flipped?"
    assert cells["middling"] == "middling ada history"


def test_leaderboard_names_the_best_entry_and_its_certainty(site: Site) -> None:
    first, second, third = site.api("/benchmarks/toy/leaderboard")["rows"][:3]
    text = site.text("/benchmarks/toy")
    # Both users sent the same file, so the two entries are equal.
    assert text_between(text, '<p class="lead', "</p>") == (
        "good by ada has the highest LDS, but may not be the best: it does not differ significantly from the second, "
        "good by bob, which is lower by 0.0000 [0.0000, 0.0000] (95 % interval; p-value 1; "
        "these two files; how much a rerun moves is not known). Compare the two."
    )
    found = site.api(f"/compare?a={first['id']}&b={third['id']}")
    half = stats.t.ppf(0.975, 119) * found["std_error"]
    interval = formatting.span((found["difference"] - half, found["difference"] + half))
    assert found["p_value"] < 1e-4
    assert text_between(text, '<p class="certain', "</p>") == (
        f"The best entry that is significantly worse is middling by ada, lower by {found['difference']:.4f} {interval} "
        "(95 % interval; p-value < 0.0001; these two files; how much a rerun moves is not known). Compare."
    )
    assert f'href="/compare?a={first["id"]}&amp;b={third["id"]}"' in text
    assert f'href="/compare?a={first["id"]}&amp;b={second["id"]}"' in text
    glance = text_between(text, '<dl class="glance', "</dl>")
    assert f"Highest LDS{first['lds']:.4f}95 % interval" in glance
    assert formatting.share(first["of_ceiling"]).replace("\u202f", " ") in glance
    tied = [attributes for attributes in Markup(text).all("tr") if "tied" in (attributes.get("class") or "")]
    assert [attributes["data-id"] for attributes in tied] == [first["id"], second["id"]]
    assert [attributes["class"] for attributes in tied] == ["tied opens", "tied"]


def test_practice_board_verdict_says_that_ground_truth_is_public(site: Site, tmp_path: Path) -> None:
    example, service = write_benchmark(tmp_path, "practised", split="open"), site.service
    service.publish(example.folder)
    for method, noise in (("one", 0.2), ("two", 3.0)):
        service.submit_and_score(service.token("ada"), example.name, npy(example.scores(noise)), method=method)
    verdict = text_between(site.text("/benchmarks/practised"), '<section class="verdict', "</section>")
    assert "one by ada has the highest LDS, significantly above that of the second, two by ada, by 0." in verdict
    assert f"(95 % interval; p-value < 0.0001; {FILES_ONLY}), and of every other entry. Compare one and two." in verdict
    assert "all ground truth is public, so a high LDS may only mean that the scores were fitted to it" in verdict
    assert "ground truth is public" not in site.text("/benchmarks/toy")


def test_leaderboard_explains_its_scope_and_escapes_texts(site: Site) -> None:
    text = site.text("/benchmarks/toy")
    assert "for these targets and this recipe" in text
    assert "does not compare methods across benchmarks" in text
    assert "120 hidden subsets" in text
    assert 'href="/benchmarks/toy/about"' in text
    assert 'href="/benchmarks/toy/submit"' in text
    assert "one &lt;b&gt;GPU&lt;/b&gt;" in text
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quoted&#34;" in text


@pytest.mark.parametrize("column", ["rank", "lds", "ceiling", "cost", "attempts", "date"])
def test_every_column_sorts_in_both_directions_and_keeps_ranks(site: Site, column: str) -> None:
    ranks = {row[1]: row[0] for row in site.page("/benchmarks/toy").tables[0]}
    address = f"/benchmarks/toy?sort={column}"
    seen = []
    for _ in range(2):
        page = site.page(address)
        (head,) = [attributes for attributes in page.all("th") if "aria-sort" in attributes]
        seen.append((head["aria-sort"], listed_ids(page)))
        assert {row[1]: row[0] for row in page.tables[0]} == ranks
        (link,) = [attributes for attributes in page.all("a") if attributes.get("id") == f"by-{column}"]
        address = f"/benchmarks/toy{link['href']}"
    (first, forward), (second, backward) = seen
    assert {first, second} == {"ascending", "descending"}
    if column == "cost":  # only one entry reports a cost; entries without one come last
        assert forward[0] == backward[0] == site.ids["twin"]
    elif column != "attempts":
        assert forward == backward[::-1]


def test_search_filters_entries_and_shows_the_count(site: Site) -> None:
    page = site.text("/benchmarks/toy?q=BOB&sort=date")
    assert "1 of 5 entries found" in page
    assert listed_ids(Markup(page)) == [site.ids["twin"]]
    assert [field["name"] for field in Markup(page).all("input") if field["type"] == "hidden"] == ["sort"]
    assert listed_ids(site.page("/benchmarks/toy?q=alert(1)")) == [site.ids["twin"]]
    nothing = site.text("/benchmarks/toy?q=%3Cscript%3E%22x")
    assert "0 of 5 entries found" in nothing
    assert "No entry matches" in nothing
    assert 'value="&lt;script&gt;&#34;x"' in nothing


@pytest.mark.parametrize("query", ["sort=psi", "order=up", "after=-1", "version=0", f"q={'x' * 101}"])
def test_invalid_leaderboard_query_is_rejected(site: Site, query: str) -> None:
    response = site.browser.get(f"/benchmarks/toy?{query}")
    assert response.status_code == 422
    assert "<h1>" in response.text


@pytest.fixture
def tagged(site: Site) -> Iterator[str]:
    """An entry with two tags, which are removed after the test, because other tests use the leaderboard too."""

    def tag(*tags: str) -> None:
        with site.service.database.write() as session:
            session.get_one(Submission, site.ids["middling"]).tags = list(tags)

    tag("two words", "a&b")
    yield site.ids["middling"]
    tag()


def test_tags_link_to_the_entries_with_that_tag(site: Site, tagged: str) -> None:
    page = site.page("/benchmarks/toy")
    links = [link["href"] for link in page.all("a") if (link.get("class") or "") == "badge"]
    assert links == ["?tag=two+words", "?tag=a%26b"]
    found = site.text("/benchmarks/toy?tag=a%26b")
    assert listed_ids(Markup(found)) == [tagged]
    assert '<option value="a&amp;b" selected>' in found


def test_leaderboard_continues_after_an_offset(site: Site) -> None:
    whole, rest = (site.page(f"/benchmarks/toy?after={after}").tables[0][1:] for after in (0, 3))
    assert rest == whole[3:]
    assert "no further entries" in site.text("/benchmarks/toy?after=5")


def test_empty_practice_board_says_that_nothing_is_hidden(site: Site) -> None:
    text = site.text("/benchmarks/open-toy")
    assert "practice board: nothing is hidden" in text
    assert "There are no entries yet" in text
    assert "<script" not in text  # nothing to draw


def test_feed_is_well_formed_and_lists_the_newest_entry_first(site: Site) -> None:
    response = site.browser.get("/benchmarks/toy/feed.atom")
    assert response.headers["content-type"] == "application/atom+xml"
    feed = ET.fromstring(response.content)  # noqa: S314 -- the project's own feed
    assert feed.tag == f"{ATOM}feed"
    rows = {row["id"]: row for row in site.api("/benchmarks/toy/leaderboard")["rows"]}
    entries = feed.findall(f"{ATOM}entry")
    ids = [(entry.findtext(f"{ATOM}id") or "").removeprefix("urn:ldsboard:submission:") for entry in entries]
    newest = sorted(rows, key=lambda submission_id: rows[submission_id]["created_at"], reverse=True)
    assert ids == newest
    titles = {i: entry.findtext(f"{ATOM}title") for i, entry in zip(ids, entries, strict=True)}
    assert titles[site.ids["twin"]] == f"{HOSTILE} (good)"
    assert titles[site.ids["good"]] == "good by ada"
    moments = [datetime.fromisoformat(text) for text in (element.text or "" for element in feed.iter(f"{ATOM}updated"))]
    assert moments[0] == max(moments)
    links = {(link.get("rel"), link.get("href")) for link in feed.findall(f"{ATOM}link")}
    assert links == {
        ("self", f"{site.service.url}/benchmarks/toy/feed.atom"),
        ("alternate", f"{site.service.url}/benchmarks/toy"),
    }
    empty = ET.fromstring(site.browser.get("/benchmarks/open-toy/feed.atom").content)  # noqa: S314 -- the project's own feed
    assert empty.findtext(f"{ATOM}updated")
    (link,) = [link for link in site.page("/benchmarks/toy").all("link") if link["rel"] == "alternate"]
    assert link["href"] == "/benchmarks/toy/feed.atom"


def test_feed_removes_characters_that_xml_forbids() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    values: dict[str, Any] = {"owner": "ada", "method": "m", "title": "a\x00\x1b]b\ud800c\ufffe", "tags": ["\x07t"]}
    values |= {"in_family": True, "uses_subsets": False}
    row = Row.model_construct(id="1", lds=0.5, ci=(0.4, 0.6), rank=(1, 1), spread=None, created_at=moment, **values)
    benchmark = BenchmarkView.model_construct(name="toy", title="T")
    written = atom(benchmark, [row], {"1": moment}, moment, "https://example.org")
    entry = ET.fromstring(written).find(f"{ATOM}entry")  # noqa: S314 -- the project's own feed
    assert entry is not None
    assert entry.findtext(f"{ATOM}title") == "a]bc (m)"


def test_badge_shows_lds_and_rank_of_the_leaderboard(site: Site) -> None:
    row = next(row for row in site.api("/benchmarks/toy/leaderboard")["rows"] if row["id"] == site.ids["flipped"])
    response = site.browser.get(f"/submissions/{row['id']}/badge.svg")
    assert response.headers["content-type"] == "image/svg+xml"
    assert response.headers["cache-control"] == "public, max-age=300"
    badge = ET.fromstring(response.content)  # noqa: S314 -- the project's own badge
    lds = f"{row['lds']:.3f} ± {row['std_error']:.3f}".replace("-", MINUS)
    assert badge.findtext(f"{SVG}title") == f"flipped on toy: LDS {lds}, rank {formatting.rank(row['rank'])}"
    for method in ("practice", "spoiled"):
        refused = site.browser.get(f"/submissions/{site.ids[method]}/badge.svg")
        assert refused.status_code == 404
        assert "as soon as its method is on a leaderboard" in refused.text


def test_badge_is_escaped() -> None:
    badge = render("badge.svg", name=HOSTILE, benchmark="toy", numbers="LDS 0.500")
    assert "<script>" not in badge
    assert ET.fromstring(badge).findtext(f"{SVG}title", "").startswith(HOSTILE)  # noqa: S314 -- the project's own badge
