"""Leaderboards with provenance, with an older version, and with one entry and no ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from app.accounts import users
from app.benchmarks import catalog
from app.leaderboard.ranking import update_ranks
from app.pages.content import formatting
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.pages.markup import Markup
from tests.app.pages.test_leaderboard import text_between
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.service import Service


def test_provenance_is_shown_as_reported(service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path / "origins", "origins")
    service.publish(example.folder)
    for method, provenance in (("told", {"repository": "owner/name"}), ("untold", {})):
        service.submit_and_score(service.token("ori"), "origins", npy(example.scores(0.5)), method=method, **provenance)
    text = httpx.get(f"{service.url}/benchmarks/origins", headers={"Accept": "text/html"}, trust_env=False).text
    origins = text.split('<td class="links">')[1:]
    assert ["reported" in cell.split("</td>")[0] for cell in origins] == [True, False]
    assert not any("verified" in cell.split("</td>")[0] for cell in origins)


def test_older_versions_have_their_own_page(service: Service, tmp_path: Path) -> None:
    for version in (1, 2):
        service.publish(write_benchmark(tmp_path / str(version), "aged", version=version).folder)

    def page(version: int) -> httpx.Response:
        return httpx.get(f"{service.url}/benchmarks/aged", params={"version": version}, trust_env=False)

    old = page(1).text
    here = [link for link in Markup(old).all("a") if link.get("aria-current") == "page"]
    assert [link["href"] for link in here] == ["/benchmarks/aged?version=1", "?version=1"]
    assert "The current version is" in old
    assert "The current version is" not in page(2).text
    assert page(3).status_code == 404


def test_leaderboard_with_one_entry_and_no_ceiling_explains_both(service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path / "single", "single", split="open", runs=1)
    service.publish(example.folder)
    token = service.token("lonely")
    replaced = service.submit_and_score(token, "single", npy(example.scores(2.0)), method="m" * 64)["id"]
    listed = service.submit_and_score(token, "single", npy(example.scores()), method="m" * 64, title="\u05d0" * 200)[
        "id"
    ]

    def page(address: str) -> str:
        return httpx.get(f"{service.url}{address}", trust_env=False).text

    # The badge of a replaced entry shows the newer entry of its method.
    badges = [page(f"/submissions/{i}/badge.svg") for i in (replaced, listed)]
    assert badges[0] == badges[1]
    assert "<svg" in badges[0]
    alone = page("/benchmarks/single")
    assert f"{'m' * 64} by lonely is the only entry so far." in text_between(alone, '<p class="lead', "</p>")
    assert "the ceiling needs several runs on each subset" in alone
    assert 'dir="auto"' in alone
    assert '<td class="n">\N{EN DASH}</td>' in alone
    assert "meter" not in page("/").split('href="/benchmarks/single"')[1].split("</article>")[0]


def test_pages_of_a_board_with_few_subsets_say_that_its_ceiling_is_unknown(service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path / "few", "few-subsets", split="open", ranking=63)
    service.publish(example.folder)
    submission = service.submit_and_score(service.token("fewer"), "few-subsets", npy(example.scores()))
    assert submission["hidden"]["of_ceiling"] is None
    assert service.client.get("/benchmarks/few-subsets").json()["ceiling"] is None
    board, about, result = (
        httpx.get(f"{service.url}{address}", trust_env=False).text
        for address in ("/benchmarks/few-subsets", "/benchmarks/few-subsets/about", submission["links"]["page"])
    )
    assert "<dd>unknown</dd><dd>too few subsets to know the ceiling</dd>" in board
    assert "Unknown: too few subsets to know the ceiling.</li>" in board
    assert "Unknown: too few subsets to know the ceiling." in about
    assert "The noise ceiling is unknown: too few subsets to know the ceiling." in result
    for text in (board, about, result):
        assert "needs several runs" not in text
        assert "None" not in text


def test_board_shows_an_imprecise_ceiling_without_shares(service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path / "imprecise", "imprecise", split="open")
    service.publish(example.folder)
    submission = service.submit_and_score(service.token("unsure"), "imprecise", npy(example.scores()))
    address = f"{service.url}/benchmarks/imprecise"
    assert submission["hidden"]["of_ceiling"] is not None
    assert "not known well enough" not in httpx.get(address, trust_env=False).text
    with service.database.write() as session:
        version = catalog.find_version(session, "imprecise")
        version.manifest = version.manifest | {"ceiling": 0.5, "ceiling_std_error": 0.06}
    board = httpx.get(address, trust_env=False).text
    numbers = f"of {formatting.number(0.5)} ± {formatting.number(0.06)}, the highest LDS to expect"
    assert f"<dd>not known well enough</dd><dd>{numbers}</dd>" in board
    assert "None" not in board


def test_board_marks_entries_outside_the_family_and_entries_that_are_not_separable(
    service: Service, tmp_path: Path
) -> None:
    service.publish(write_benchmark(tmp_path / "crowded", "crowded").folder)
    with service.database.write() as session:
        version = catalog.find_version(session, "crowded")
        rival, crowd = (users.add_user(session, name) for name in ("rival", "crowd"))
        factories.add_entry(session, version, rival, "best", 0.5, 30)
        factories.add_entry(session, version, rival, "equal", 0.5, 31)
        for day in range(6):
            factories.add_entry(session, version, crowd, f"weak-{day}", 0.2 - 0.0001 * day, day)
        update_ranks(session, version)
    text = httpx.get(f"{service.url}/benchmarks/crowded", trust_env=False).text
    cells = [row[0] for row in Markup(text).tables[0][1:]]
    assert cells == ["1–2", "≈ not separable from the first, 1–2", "(3–8)", *["3–7"] * 5]  # noqa: RUF001 -- dashes of ranges
    caption = text_between(text, "<caption", "</caption>")
    assert "; ≈ marks entries that are not separable from the first" in caption
    assert "; entries with ranks in parentheses are not counted by other ranks" in caption
    lead = text_between(text, '<p class="lead', "</p>")
    assert "may not be the best: it does not differ significantly from the second, equal by rival" in lead
