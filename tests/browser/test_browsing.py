"""The pages as people see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from app.web.security_headers import PLOT_STYLE

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visitor

PHONE, DESK = 390, 1280


def numbers(elements: Locator, attribute: str) -> list[float]:
    """Return a number that each of some elements carries."""
    return [float(element.get_attribute(attribute) or "nan") for element in elements.all()]


def fits_width(page: Page) -> bool:
    """Tell whether the page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_every_page_opens_without_trouble_on_a_phone_and_fits(visitor: Visitor) -> None:
    page = visitor.open("/", width=PHONE)
    for path in visitor.site.paths:
        visitor.visit(page, path)
        assert page.locator("h1").count() == 1
        assert fits_width(page), path


def test_board_is_drawn_from_the_table_under_it(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy")
    rows = page.locator("#board tbody tr")
    chart = page.locator("figure[data-chart=forest] svg.plot")
    chart.wait_for()
    assert chart.get_attribute("role") == "img"
    assert "LDS of each entry" in (chart.get_attribute("aria-label") or "")
    dots = chart.locator("g[aria-label=dot] circle")
    assert dots.count() == rows.count() == 5
    # One straight axis takes the numbers of the table to their places: points, interval ends and the ceiling.
    ends = chart.locator("g[aria-label=rule][stroke='var(--accent)'] line")
    ceiling = chart.locator("g[aria-label=rule][stroke='var(--ceiling)'] line")
    drawn = [
        (numbers(rows, name), numbers(marks, place))
        for name, marks, place in (("data-lds", dots, "cx"), ("data-low", ends, "x1"), ("data-high", ends, "x2"))
    ]
    drawn.append((numbers(page.locator("#board"), "data-ceiling"), numbers(ceiling, "x1")))
    told, places = (np.concatenate(side) for side in zip(*drawn, strict=True))
    assert np.abs(np.polyval(np.polyfit(told, places, 1), told) - places).max() < 0.01  # pixels
    text = chart.text_content() or ""
    assert "ceiling" in text
    # Two entries share a method: their labels name the owners.
    assert "good · ada" in text
    assert "good · bob" in text
    assert chart.locator("style").text_content() == PLOT_STYLE
    assert chart.evaluate("chart => getComputedStyle(chart).display") == "block"


def test_board_without_a_noise_ceiling_is_drawn_without_it(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/once")
    chart = page.locator("figure[data-chart=forest] svg.plot")
    chart.wait_for()
    assert chart.locator("g[aria-label=dot] circle").count() == 1
    assert "chance" in (chart.text_content() or "")
    assert "ceiling" not in (chart.text_content() or "")
    assert chart.locator("[stroke='var(--ceiling)'], [fill='var(--ceiling)']").locator("line, rect, text").count() == 0
    assert "NaN" not in chart.inner_html()


def test_histogram_is_drawn_from_the_table_under_it(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['middling']}")
    bars = page.locator("figure[data-chart=histogram] svg.plot g[aria-label=rect] rect")
    assert bars.count() == page.locator("#bins tbody tr").count() > 0
    page.get_by_text("The same as a table").first.click()
    assert page.locator("#bins").is_visible()


def test_chart_follows_the_window(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy")
    page.locator("figure svg.plot").wait_for()
    page.set_viewport_size({"width": PHONE, "height": 900})
    page.locator(f"figure svg.plot[width='{PHONE - 32}']").wait_for()  # the margins of the page take 32 pixels
    assert page.locator("figure svg.plot").count() == 1
    assert fits_width(page)


def test_table_is_whole_without_javascript(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy", javascript=False)
    assert page.locator("#board tbody tr").count() == 5
    assert not page.locator("figure").is_visible()
    page = visitor.open(f"/submissions/{visitor.site.ids['good']}", javascript=False)
    assert not any(figure.is_visible() for figure in page.locator("figure").all())
    page.get_by_text("The same as a table").first.click()
    assert page.locator("#bins").is_visible()


def test_walk_from_the_first_page_to_a_comparison(visitor: Visitor) -> None:
    page = visitor.open("/")
    page.get_by_role("link", name="The toy benchmark").click()
    page.locator("#board").get_by_role("link", name="middling").click()
    page.get_by_label("with").select_option(label="random by ada")
    page.get_by_role("button", name="Compare").click()
    assert "middling by ada is better" in page.locator(".lead").inner_text()
    page.get_by_role("link", name="The other way round").click()
    page.wait_for_url("**/compare?a=" + visitor.site.ids["random"] + "**")
    assert "middling by ada is better" in page.locator(".lead").inner_text()


def test_keyboard_reaches_the_content(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.wait_for_url("**/benchmarks/toy#content")


def test_docs_show_the_operations(visitor: Visitor) -> None:
    page = visitor.open("/docs")
    page.locator(".opblock").first.wait_for()
    listed = page.request.get("/api/v1/openapi.json").json()["paths"]
    assert page.locator(".opblock").count() == sum(len(methods) for methods in listed.values())
    page.locator(".opblock-summary-control").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table .response .response-col_status")
    answer.wait_for()
    assert answer.inner_text().startswith("200")


def test_missing_page_leads_back(visitor: Visitor) -> None:
    page = visitor.open("/nowhere")
    # The browser itself reports the status of the page.
    assert [text for text in visitor.troubles if "404" not in text] == []
    visitor.troubles.clear()
    page.get_by_role("link", name="The benchmarks", exact=True).click()
    assert page.locator("h1").inner_text().startswith("Which data attribution method")
