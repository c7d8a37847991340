"""Pages in a browser: charts, navigation, keyboard, and rendering without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from app.web.security_headers import PLOT_STYLE
from tests.browser.page_faults import PHONE, fits_width

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.conftest import Visitor


def numbers(elements: Locator, attribute: str) -> list[float]:
    """Return the numeric attribute of each element."""
    return [float(element.get_attribute(attribute) or "nan") for element in elements.all()]


def test_board_chart_shows_numbers_of_its_table(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy")
    rows = page.locator("#board tbody tr")
    chart = page.locator("figure[data-chart=forest] svg.plot")
    chart.wait_for()
    assert chart.get_attribute("role") == "img"
    assert "LDS of each entry" in (chart.get_attribute("aria-label") or "")
    dots = chart.locator("g[aria-label=dot] circle")
    assert dots.count() == rows.count() == 5
    # Points, interval ends and the ceiling lie on one linear axis: fit the axis and check every position.
    ends = chart.locator("g[aria-label=rule][stroke='var(--accent)'] line")
    ceiling = chart.locator("g[aria-label=rule][stroke='var(--ceiling)'] line")
    drawn = [
        (numbers(rows, name), numbers(marks, attribute))
        for name, marks, attribute in (("data-lds", dots, "cx"), ("data-low", ends, "x1"), ("data-high", ends, "x2"))
    ]
    drawn.append((numbers(page.locator("#board"), "data-ceiling"), numbers(ceiling, "x1")))
    values, positions = (np.concatenate(side) for side in zip(*drawn, strict=True))
    assert np.abs(np.polyval(np.polyfit(values, positions, 1), values) - positions).max() < 0.01  # pixels
    text = chart.text_content() or ""
    assert "ceiling" in text
    # Two entries have the same method, so their labels name the owners.
    assert "good · ada" in text
    assert "good · bob" in text
    assert chart.locator("style").text_content() == PLOT_STYLE
    assert chart.evaluate("chart => getComputedStyle(chart).display") == "block"


def test_board_chart_without_noise_ceiling_draws_no_ceiling(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/once")
    chart = page.locator("figure[data-chart=forest] svg.plot")
    chart.wait_for()
    assert chart.locator("g[aria-label=dot] circle").count() == 1
    assert "chance" in (chart.text_content() or "")
    assert "ceiling" not in (chart.text_content() or "")
    assert chart.locator("[stroke='var(--ceiling)'], [fill='var(--ceiling)']").locator("line, rect, text").count() == 0
    assert "NaN" not in chart.inner_html()


def test_histogram_shows_bins_of_its_table(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['middling']}")
    bars = page.locator("figure[data-chart=histogram] svg.plot g[aria-label=rect] rect")
    assert bars.count() == page.locator("#bins tbody tr").count() > 0
    page.get_by_text("The same as a table").first.click()
    assert page.locator("#bins").is_visible()


def test_chart_is_redrawn_after_window_resize(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy")
    page.locator("figure svg.plot").wait_for()
    page.set_viewport_size({"width": PHONE, "height": 900})
    page.locator(f"figure svg.plot[width='{PHONE - 32}']").wait_for()  # the margins of the page take 32 pixels
    assert page.locator("figure svg.plot").count() == 1
    assert fits_width(page)


def test_tables_are_complete_without_javascript(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy", javascript=False)
    assert page.locator("#board tbody tr").count() == 5
    assert not page.locator("figure").is_visible()
    page = visitor.open(f"/submissions/{visitor.site.ids['good']}", javascript=False)
    assert not any(figure.is_visible() for figure in page.locator("figure").all())
    page.get_by_text("The same as a table").first.click()
    assert page.locator("#bins").is_visible()


def test_links_lead_from_home_to_comparison(visitor: Visitor) -> None:
    page = visitor.open("/")
    page.get_by_role("link", name="The toy benchmark").click()
    page.locator("#board").get_by_role("link", name="middling", exact=True).click()
    page.get_by_label("with").select_option(label="random by ada")
    page.get_by_role("button", name="Compare").click()
    assert "middling by ada is better" in page.locator(".lead").inner_text()
    page.get_by_role("link", name="Swap first and second").click()
    page.wait_for_url("**/compare?a=" + visitor.site.ids["random"] + "**")
    assert "middling by ada is better" in page.locator(".lead").inner_text()


def test_skip_link_leads_keyboard_to_content(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/toy")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.wait_for_url("**/benchmarks/toy#content")


def test_api_docs_list_and_execute_operations(visitor: Visitor) -> None:
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


def test_missing_page_links_to_benchmarks(visitor: Visitor) -> None:
    page = visitor.open("/nowhere")
    # The browser reports the 404 status in its console.
    assert [text for text in visitor.errors if "404" not in text] == []
    visitor.errors.clear()
    page.get_by_role("link", name="the benchmarks", exact=True).click()
    assert page.locator("h1").inner_text().startswith("Which data attribution method")
