"""Leaderboards in a browser: sorting and search with and without JavaScript, charts, badges and copied commands."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.app.benchmarks import write_benchmark
from tests.app.evaluated import save_falls
from tests.app.service import npy
from tests.browser.page_faults import PHONE, find_faults
from tests.browser.test_browsing import numbers
from tests.browser.test_submission_page import is_linear

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import FloatRect, Page

    from tests.browser.conftest import Visitor

ENTRIES = 60


def overlap(a: FloatRect, b: FloatRect) -> bool:
    """Return whether two labels overlap; their boxes also hold 2 pixels of outline, and space above and below the letters."""
    shared = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
    return shared > 4 and abs(a["y"] - b["y"]) < 12


def methods(page: Page) -> list[str]:
    """Return the methods of a leaderboard in the displayed order."""
    return [row.get_attribute("data-method") or "" for row in page.locator("#board tbody tr").all()]


@pytest.mark.parametrize("javascript", [True, False])
def test_sorting_by_column_changes_order_and_address(visitor: Visitor, javascript: bool) -> None:
    page = visitor.open("/benchmarks/toy", javascript=javascript)
    best_first = methods(page)
    page.get_by_role("link", name="LDS [95 % interval]").click()
    page.wait_for_url("**/benchmarks/toy?sort=lds")
    page.get_by_role("link", name="LDS [95 % interval]").click()
    page.wait_for_url("**/benchmarks/toy?sort=lds&order=asc")
    page.locator("th[aria-sort=ascending]").wait_for()
    assert methods(page) == best_first[::-1]
    page.go_back()
    page.wait_for_url("**/benchmarks/toy?sort=lds")
    page.locator("th[aria-sort=descending]").wait_for()
    assert methods(page) == best_first


def test_search_filters_while_typing_and_shows_number_of_entries(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy?sort=date")
    found = page.get_by_role("status")
    page.get_by_role("searchbox").press_sequentially("bob")
    page.get_by_text("1 of 5 entries found").wait_for()
    assert found.inner_text() == "1 of 5 entries found"
    assert methods(page) == ["good"]
    assert re.search(r"[?&]q=bob", page.url)
    assert re.search(r"[?&]sort=date", page.url)
    assert page.evaluate("document.activeElement.id") == "q"
    # The charts show only the found entries.
    chart = page.locator("figure[data-chart=forest] svg.plot")
    chart.wait_for()
    assert chart.locator("g[aria-label=dot] circle").count() == 1
    page.get_by_role("searchbox").fill("nobody at all")
    page.get_by_text("No entry matches.").wait_for()
    assert page.locator("figure").count() == 0
    page.get_by_role("link", name="Show all 5").click()
    page.wait_for_url("**/benchmarks/toy?sort=date")
    assert len(methods(page)) == 5


def test_search_and_tags_work_without_javascript(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/crowd", javascript=False)
    assert len(methods(page)) == 50
    page.get_by_role("link", name="Further entries").click()
    assert len(methods(page)) == ENTRIES - 50
    named = page.locator("#board tbody tr:not([data-method=withheld])").first
    page.get_by_role("searchbox").fill(named.get_attribute("data-owner") or "")
    page.get_by_role("button", name="Find").click()
    assert page.get_by_role("status").inner_text() == f"1 of {ENTRIES} entries found"
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox").select_option("kernel")
    page.get_by_role("button", name="Find").click()
    shown = int(page.get_by_role("status").inner_text().split()[0])
    assert 0 < shown == len(methods(page)) < ENTRIES
    assert page.locator("#board tbody a.badge", has_text="kernel").count() == shown


def test_falls_are_drawn_against_the_lds(visitor: Visitor, tmp_path: Path) -> None:
    example, service = write_benchmark(tmp_path, "plotted", N=30), visitor.site.service
    service.publish(example.folder)
    for method, noise, scale in (("good", 0.1, 1.0), ("fair", 2.0, 3.0), ("random", 60.0, -0.2)):
        sent = service.submit_and_score(service.token("ada"), "plotted", npy(example.scores(noise)), method=method)
        save_falls(service, sent["id"], range(15), (3, 6, 60), 6, scale=scale)
    page = visitor.open("/benchmarks/plotted", width=PHONE)
    chart = page.locator("figure[data-chart=falls] svg.plot")
    assert chart.locator("g[aria-label=dot] circle").count() == 3
    assert sorted(chart.locator("g[aria-label=text] text").all_text_contents()) == ["fair", "good", "random"]
    assert "NaN" not in chart.inner_html()
    curves = page.locator("figure[data-chart=curves] svg.plot")
    dots = curves.locator("g[aria-label=dot] circle")
    page.get_by_text("Falls by number of removed examples").click()
    cells = page.locator("#curves td")
    assert is_linear(list(np.log(numbers(cells, "data-removed"))), numbers(dots, "cx"))
    assert is_linear(numbers(cells, "data-fall"), numbers(dots, "cy"))
    assert (
        curves.locator("g[aria-label=line] path[stroke-dasharray], g[aria-label=line][stroke-dasharray]").count() == 1
    )
    assert find_faults(page) == []


def test_cost_chart_shows_table_and_pareto_front(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/crowd?q=1")
    chart = page.locator("figure[data-chart=pareto] svg.plot")
    chart.wait_for()
    assert "Pareto front" in (chart.get_attribute("aria-label") or "")
    timed = page.locator("#board tbody tr[data-seconds]")
    dots = chart.locator("g[aria-label=dot] circle")
    assert dots.count() == timed.count() > 5
    pairs = sorted(zip(numbers(timed, "data-seconds"), numbers(timed, "data-lds"), strict=True))
    front = [lds for i, (_, lds) in enumerate(pairs) if all(lds > other for _, other in pairs[:i])]
    assert chart.locator("g[aria-label=dot] circle[fill='var(--accent)']").count() == len(front)
    assert "NaN" not in chart.inner_html()
    # A board with at most one known cost has no cost chart; only a board with a tag has a chart of the number of models.
    assert page.locator("figure[data-chart=models]").count() == 0
    assert visitor.open("/benchmarks/toy").locator("figure[data-chart=pareto]").count() == 0


def test_variants_with_a_tag_are_drawn_by_number_of_models(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/crowd?tag=kernel", width=PHONE)
    chart = page.locator("figure[data-chart=models] svg.plot")
    chart.wait_for()
    rows = page.locator("#board tbody tr[data-models]")
    pairs = sorted(zip(numbers(rows, "data-models"), numbers(rows, "data-lds"), strict=True))
    assert chart.locator("g[aria-label=dot] circle").count() == len(pairs) > 5
    front = {(models, lds) for models, lds in pairs if all(lds > high for fewer, high in pairs if fewer < models)}
    front = {
        (models, lds) for models, lds in front if (models, lds) == max(pair for pair in pairs if pair[0] == models)
    }
    assert chart.locator("g[aria-label=dot] circle[fill='var(--accent)']").count() == len(front)
    assert page.locator("#variants tbody td:nth-of-type(4)", has_text="yes").count() == len(front)
    assert "NaN" not in chart.inner_html()
    assert find_faults(page) == []


def test_boards_with_long_names_and_many_entries_fit_width(visitor: Visitor) -> None:
    page = visitor.open("/", width=PHONE)
    for path in (
        "/",
        "/benchmarks/crowd",
        "/benchmarks/crowd?q=long&sort=cost",
        "/benchmarks/once",
        "/benchmarks/toy?q=none",
    ):
        visitor.visit(page, path)
        assert find_faults(page) == []
    visitor.visit(page, "/benchmarks/crowd?q=long")
    assert methods(page) == ["m" * 64]
    title = page.locator(".method-title")
    assert title.get_attribute("dir") == "auto"
    assert title.evaluate("title => getComputedStyle(title).direction") == "rtl"
    box = page.locator("#board tbody th").bounding_box()
    assert box
    assert box["width"] < 420


def test_further_entries_replace_table_in_place(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/crowd")
    first = methods(page)
    page.get_by_role("link", name="Further entries").click()
    page.wait_for_url("**/benchmarks/crowd?after=50")
    page.get_by_text(f"51 to {ENTRIES} of {ENTRIES}").wait_for()
    assert not set(first) & set(methods(page))
    page.locator("figure[data-chart=forest] svg.plot").wait_for()  # exactly one
    page.get_by_role("link", name="Back").click()
    page.get_by_text(f"1 to 50 of {ENTRIES}").wait_for()
    assert methods(page) == first


def test_badge_is_shown_as_image(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy")
    page.get_by_text("A badge for a paper").click()
    badge = page.get_by_alt_text("Badge of the best entry")
    badge.scroll_into_view_if_needed()
    badge.evaluate("badge => badge.decode()")
    assert int(badge.evaluate("badge => badge.naturalWidth")) > 100


def test_copy_button_copies_commands(visitor: Visitor) -> None:
    page = visitor.open("/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines == page.locator("pre").inner_text().splitlines()
    assert [line.split()[0] for line in lines] == ["export", "ldsboard", "ldsboard"]


@pytest.mark.parametrize("javascript", [True, False])
def test_declared_entries_stand_below_the_board_and_in_no_chart(
    visitor: Visitor, tmp_path: Path, javascript: bool
) -> None:
    name = f"fitted-{javascript}".lower()
    example, service = write_benchmark(tmp_path, name, split="open"), visitor.site.service
    service.publish(example.folder)
    token = service.token("ada")
    for method, noise, declared in (("ridge", 0.1, "true"), ("good", 0.5, "false"), ("fair", 2.0, "false")):
        content = npy(example.scores(noise))
        service.submit_and_score(token, name, content, method=method, uses_subsets=declared, seconds="3")
    page = visitor.open(f"/benchmarks/{name}", width=PHONE, javascript=javascript)
    assert [method for method in methods(page) if method] == ["good", "fair", "ridge"]
    block = page.locator("#board tbody.apart")
    assert "Declared: fitted to these subsets, so not ranked" in block.inner_text()
    assert block.locator("tr[data-method]").count() == 1
    if javascript:
        for chart in ("forest", "pareto"):
            assert page.locator(f"figure[data-chart={chart}] g[aria-label=dot] circle").count() == 2
        assert find_faults(page) == []
    page.get_by_role("searchbox").fill("ridge")
    page.get_by_role("button", name="Find").click()
    page.get_by_text("1 of 3 entries found").wait_for()
    assert page.locator("figure").count() == 0
    assert "Declared: fitted to these subsets" in page.locator("#board").inner_text()


def test_labels_of_close_entries_do_not_overlap(visitor: Visitor, tmp_path: Path) -> None:
    example, service = write_benchmark(tmp_path, "close", N=30), visitor.site.service
    service.publish(example.folder)
    for method, scale in (("one-method", 1.0), ("the-second", 1.001), ("a-third-of-them", 0.999)):
        scores = npy(example.scores(0.1))
        sent = service.submit_and_score(service.token("ada"), "close", scores, method=method)
        save_falls(service, sent["id"], range(15), (3, 12), 12, scale=scale)
    for width in (PHONE, 1280):
        page = visitor.open("/benchmarks/close", width=width)
        for kind, count in (("falls", 3), ("curves", 4)):
            texts = page.locator(f"figure[data-chart={kind}] svg.plot g[aria-label=text] text").all()
            boxes = [box for text in texts if (box := text.bounding_box())]
            assert len(boxes) == count
            if kind == "curves":  # the highest name stands beside the end of its line
                ends = [dot.bounding_box() for dot in page.locator(f"figure[data-chart={kind}] circle").all()]
                highest = min(end["y"] + end["height"] / 2 for end in ends if end)
                assert min(box["y"] + box["height"] / 2 for box in boxes) == pytest.approx(highest, abs=3)
            assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]
