"""The page of a submission in a browser: waiting for the result, and single targets; and the comparison page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy
from tests.browser.page_faults import PHONE, fits_width
from tests.browser.test_browsing import numbers

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visitor


def is_linear(values: list[float], positions: list[float]) -> bool:
    """Return whether the positions are a linear function of the values, to 0.01 pixels."""
    return bool(np.abs(np.polyval(np.polyfit(values, positions, 1), values) - positions).max() < 0.01)


def displayed_targets(page: Page) -> list[str]:
    """Return the target in the heading and the target in the status text for screen readers."""
    texts = (page.locator("#target-heading").inner_text(), page.locator("#said").inner_text())
    return [text.split(",")[0] for text in texts]


def start_upload(visitor: Visitor, name: str, content: bytes) -> MultipartUpload:
    """Start a multipart upload without sending its parts."""
    service = visitor.site.service
    return MultipartUpload(service, service.token(name), "drawn", content, method="coming").started()


def test_waiting_page_shows_result_without_reload(visitor: Visitor) -> None:
    upload = start_upload(visitor, "gus", npy(visitor.site.drawn.scores(0.3)))
    page = visitor.open(f"/submissions/{upload.id}")
    page.evaluate("document.body.dataset.same = 'yes'")
    assert page.locator("li[aria-current=step]").inner_text() == "Uploading"
    with page.expect_response(lambda response: response.status == 204):
        pass  # the page polls, and the state has not changed
    upload.put_all_parts()
    assert upload.complete().status_code == 202
    page.get_by_role("status").get_by_text("Scored.").wait_for()
    for kind in ("histogram", "scatter"):
        page.locator(f"#result figure[data-chart={kind}] svg.plot").wait_for()
    assert page.locator("body").get_attribute("data-same") == "yes"
    assert page.locator("[hx-trigger^=every]").count() == 0  # the page has stopped polling
    assert page.locator("#result").count() == 1
    assert page.locator("[role=status] #result").count() == 0  # screen readers must not read out the whole result
    # Links in the inserted result work like those of a loaded page.
    link = page.locator(".extremes a").first
    link.click()
    page.locator("#target-heading", has_text=link.inner_text()).wait_for()
    assert page.locator("body").get_attribute("data-same") == "yes"


def test_waiting_page_shows_reason_of_rejection(visitor: Visitor) -> None:
    scores_nN = visitor.site.drawn.scores()
    scores_nN[3, 2] = np.nan
    upload = start_upload(visitor, "hal", npy(scores_nN))
    page = visitor.open(f"/submissions/{upload.id}")
    upload.put_all_parts()
    assert upload.complete().status_code == 202
    page.get_by_role("status").get_by_text("Rejected.").wait_for()
    assert "(3, 2)" in page.locator("#result").inner_text()
    assert page.locator("[hx-trigger^=every]").count() == 0


def test_waiting_page_reloads_itself_without_javascript(visitor: Visitor) -> None:
    upload = start_upload(visitor, "ida", npy(visitor.site.drawn.scores(0.4)))
    page = visitor.open(f"/submissions/{upload.id}", javascript=False)
    assert "Uploading." in page.get_by_role("status").inner_text()
    upload.put_all_parts()
    assert upload.complete().status_code == 202
    page.get_by_text("Scored.").wait_for()
    assert page.locator("#points tbody tr").count() == 40


def test_scatter_chart_shows_points_of_its_table(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}")
    rows, dots = page.locator("#points tbody tr"), page.locator("figure[data-chart=scatter] g[aria-label=dot] circle")
    assert rows.count() == dots.count() == 40
    assert is_linear(numbers(rows, "data-predicted"), numbers(dots, "cx"))
    assert is_linear(numbers(rows, "data-actual"), numbers(dots, "cy"))
    label = page.locator("figure[data-chart=scatter] svg.plot").get_attribute("aria-label") or ""
    assert "40 public subsets, rank correlation" in label


def test_deletion_chart_shows_margins_of_its_table(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}?target=8")
    rows, chart = page.locator("#deletion tbody tr"), page.locator("figure[data-chart=deletion]")
    dots = chart.locator("g[aria-label=dot] circle")
    sizes = numbers(rows, "data-removed")
    margins = [numbers(rows, f"data-{side}") for side in ("proponents", "opponents")]
    assert sizes == [1, 3, 12]
    assert is_linear(list(np.log(sizes * 2)), numbers(dots, "cx"))
    assert is_linear(margins[0] + margins[1], numbers(dots, "cy"))
    assert chart.locator("g[aria-label=text] text").all_text_contents() == ["opponents", "all examples", "proponents"]
    assert "4.10 with all examples" in (chart.locator("svg.plot").get_attribute("aria-label") or "")
    page.get_by_label("Show target").select_option("9")
    page.locator("#target-heading", has_text="Target 9,").wait_for()
    assert chart.count() == 0
    page.locator("#target").get_by_role("link", name="Target 8").click()
    page.locator("#target-heading", has_text="Target 8,").wait_for()
    chart.locator("svg.plot").wait_for()
    assert page.get_by_label("Show target").input_value() == "8"


def test_labels_of_close_lines_do_not_overlap(visitor: Visitor) -> None:
    ids = visitor.site.ids
    page = visitor.open(f"/submissions/{ids['pictured']}?target=8", width=PHONE)
    for row in page.locator("#deletion tbody tr").all():
        row.evaluate("row => Object.assign(row.dataset, { proponents: '4.11', opponents: '4.1' })")
    figure = page.locator("figure[data-chart=deletion]")
    figure.evaluate("figure => draw(figure)")
    boxes = [text.bounding_box() for text in figure.locator("g[aria-label=text] text").all()]
    tops = sorted(box["y"] for box in boxes if box)
    assert len(tops) == 3
    assert min(np.diff(tops)) > 12
    assert fits_width(page)


def test_selecting_target_replaces_displayed_target(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}")
    page.evaluate("document.body.dataset.same = 'yes'")
    for target in ("0", "29"):
        page.get_by_label("Show target").focus()
        page.get_by_label("Show target").select_option(target)
        page.locator("#target-heading", has_text=f"Target {target},").wait_for()
        assert displayed_targets(page) == [f"Target {target}"] * 2
        assert page.url.endswith(f"?target={target}")
        assert page.evaluate("document.activeElement.name") == "target"  # the form field keeps the keyboard focus
        page.locator("#target figure[data-chart=scatter] svg.plot").wait_for()
        assert page.locator("figure[data-chart=scatter] svg.plot").count() == 1
    link = page.locator(".extremes a").last
    link.click()
    page.locator("#target-heading", has_text=f"{link.inner_text()},").wait_for()
    assert displayed_targets(page) == [link.inner_text()] * 2
    assert page.get_by_label("Show target").input_value() == link.inner_text().removeprefix("Target ")
    assert page.locator("body").get_attribute("data-same") == "yes"


def test_target_can_be_selected_without_javascript(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}", javascript=False)
    page.get_by_label("Show target").select_option("29")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**?target=29#target")
    assert displayed_targets(page) == ["Target 29"] * 2
    page.locator(".extremes a").first.click()
    assert displayed_targets(page)[0] == page.locator(".extremes a").first.inner_text()


def test_tables_of_targets_need_no_scrolling_on_a_phone(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}", width=PHONE)
    page.locator("details:has(#classes) summary").click()
    for table in ("#classes", "#margins"):
        found = page.locator(f".scroll:has({table})")
        assert found.evaluate("region => region.scrollWidth <= region.clientWidth"), table
        assert found.locator("thead th").last.inner_text() == "p < 0.05"


def test_images_are_rendered_pixelated(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}", width=PHONE)
    images = page.locator("img.face")
    assert images.count() == 6 + 1 + 16
    for image in images.all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
        assert image.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert fits_width(page)


def test_target_chart_of_comparison_shows_points_of_its_table(visitor: Visitor) -> None:
    ids = visitor.site.ids
    page = visitor.open(f"/compare?a={ids['good']}&b={ids['middling']}")
    rows, dots = page.locator("#versus tbody tr"), page.locator("figure[data-chart=targets] g[aria-label=dot] circle")
    assert rows.count() == dots.count() == 7
    assert is_linear(numbers(rows, "data-a"), numbers(dots, "cx"))
    assert is_linear(numbers(rows, "data-b"), numbers(dots, "cy"))


def test_entries_can_be_selected_and_compared_without_javascript(visitor: Visitor) -> None:
    page = visitor.open("/compare", javascript=False)
    page.get_by_label("Benchmark").select_option("toy")
    page.get_by_role("button", name="Show its entries").click()
    for name in ("middling", "random", "flipped"):
        page.get_by_label(name).check()
    page.get_by_role("button", name="Compare").first.click()
    assert page.locator("h1").inner_text() == "3 submissions compared"
    assert page.locator("#pairs tbody tr").count() == 3
    page.get_by_role("link", name="middling and flipped by target").click()
    assert "middling by ada is better" in page.locator(".lead").inner_text()
    page.get_by_role("link", name="Choose other submissions").click()
    assert page.get_by_label("flipped").is_checked()
