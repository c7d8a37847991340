"""The page of a method in a browser: its chart, and its form without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.benchmarks import catalog
from app.db.models import Kind
from app.leaderboard.ranking import update_ranks
from tests.app.benchmarks import write_benchmark
from tests.app.commits import add_commit
from tests.browser.page_faults import PHONE, find_faults
from tests.browser.test_browsing import numbers
from tests.browser.test_submission_page import is_linear

if TYPE_CHECKING:
    from tests.browser.conftest import Site, Visitor

LDS = (0.3, 0.322, 0.35, 0.2, 0.32)
PATH = "/benchmarks/commits/methods/ada/trak"


@pytest.fixture(scope="module", autouse=True)
def _commits(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Publish the benchmark "commits", with one method over five commits and one method with a single commit."""
    site.service.publish(write_benchmark(tmp_path_factory.mktemp("commits"), "commits").folder)
    with site.service.database.write() as session:
        version = catalog.find_version(session, "commits")
        for place, lds in enumerate(LDS):
            origin = {"commit": f"{place:040}", "branch": "b" * 255, "number": 2**31 - 1, "provider": "gitlab"}
            add_commit(
                session, version, lds, hour=place, seed=place, kind=Kind.RANKED, origins=(origin,), title="t" * 200
            )
        add_commit(session, version, 0.1, hour=0, kind=Kind.RANKED, method="m" * 64, owner="o" * 64)
        update_ranks(session, version)


def test_chart_draws_every_commit_of_the_table_with_interval_and_baseline(visitor: Visitor) -> None:
    page = visitor.open(PATH)
    chart = page.locator("figure[data-chart=history] svg.plot")
    chart.wait_for()
    assert "ranking subsets" in (chart.get_attribute("aria-label") or "")
    rows = page.locator("#history tbody tr")
    dots = chart.locator(
        "g[aria-label=dot][fill='var(--accent)'] circle, g[aria-label=dot] circle[fill='var(--accent)']"
    )
    intervals = chart.locator("g[aria-label=rule] line[y1][y2]")
    newest_first = numbers(rows, "data-lds")
    assert dots.count() == rows.count() == len(LDS)
    heights = numbers(dots, "cy")
    assert is_linear(newest_first[::-1], heights)
    assert sorted(numbers(dots, "cx")) == numbers(dots, "cx"), "the oldest commit is at the left"
    assert intervals.count() >= len(LDS)
    marked = page.locator("#history tbody tr[data-marked]").count()
    assert marked == 3
    assert chart.locator("circle[r='8'], g[aria-label=dot] circle[r='8']").count() == marked
    assert chart.locator("g[aria-label=line] path").count() == 1
    assert "baseline" in (chart.text_content() or "")
    assert "NaN" not in chart.inner_html()


@pytest.mark.parametrize("path", [PATH, f"/benchmarks/commits/methods/{'o' * 64}/{'m' * 64}", "/benchmarks/commits"])
def test_method_page_fits_and_has_no_serious_accessibility_violation(visitor: Visitor, path: str) -> None:
    assert find_faults(visitor.open(path, width=PHONE)) == []


def test_history_is_reached_by_keyboard_and_readable_without_javascript(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/commits", javascript=False)
    page.get_by_role("link", name="History of trak by ada").press("Enter")
    page.wait_for_url(f"**{PATH}")
    assert page.locator("#history tbody tr").count() == len(LDS)
    assert not page.locator("figure[data-chart=history]").is_visible()
