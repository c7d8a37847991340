"""The page of a submission as people use it, while it waits and when they look at single targets; and the one that compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy
from tests.browser.test_browsing import PHONE, fits_width, numbers

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visitor


def straight(told: list[float], places: list[float]) -> bool:
    """Tell whether one straight axis takes numbers to their places, in pixels."""
    return bool(np.abs(np.polyval(np.polyfit(told, places, 1), told) - places).max() < 0.01)


def shown(page: Page) -> list[str]:
    """Return which target a page shows, and which it says that it shows."""
    texts = (page.locator("#target-heading").inner_text(), page.locator("#said").inner_text())
    return [text.split(",")[0] for text in texts]


def sending(visitor: Visitor, name: str, content: bytes) -> MultipartUpload:
    """Return an upload in parts whose file has not arrived."""
    service = visitor.site.service
    return MultipartUpload(service, service.token(name), "drawn", content, method="coming").started()


def test_a_page_that_waits_shows_the_result_without_a_reload(visitor: Visitor) -> None:
    coming = sending(visitor, "gus", npy(visitor.site.drawn.scores(0.3)))
    page = visitor.open(f"/submissions/{coming.id}")
    page.evaluate("document.body.dataset.same = 'yes'")
    assert page.locator("li[aria-current=step]").inner_text() == "Uploading"
    with page.expect_response(lambda response: response.status == 204):
        pass  # it asks, and nothing has changed
    coming.put_all_parts()
    assert coming.complete().status_code == 202
    page.get_by_role("status").get_by_text("Scored.").wait_for()
    for kind in ("histogram", "scatter"):
        page.locator(f"#result figure[data-chart={kind}] svg.plot").wait_for()
    assert page.locator("body").get_attribute("data-same") == "yes"
    assert page.locator("[hx-trigger^=every]").count() == 0  # it asks no more
    assert page.locator("#result").count() == 1
    assert page.locator("[role=status] #result").count() == 0  # all of it is not for saying
    # What came by itself works as if it had been there from the start.
    link = page.locator(".extremes a").first
    link.click()
    page.locator("#target-heading", has_text=link.inner_text()).wait_for()
    assert page.locator("body").get_attribute("data-same") == "yes"


def test_a_page_that_waits_shows_what_is_wrong_with_the_file(visitor: Visitor) -> None:
    scores_nN = visitor.site.drawn.scores()
    scores_nN[3, 2] = np.nan
    coming = sending(visitor, "hal", npy(scores_nN))
    page = visitor.open(f"/submissions/{coming.id}")
    coming.put_all_parts()
    assert coming.complete().status_code == 202
    page.get_by_role("status").get_by_text("Rejected.").wait_for()
    assert "(3, 2)" in page.locator("#result").inner_text()
    assert page.locator("[hx-trigger^=every]").count() == 0


def test_a_page_that_waits_comes_again_without_javascript(visitor: Visitor) -> None:
    coming = sending(visitor, "ida", npy(visitor.site.drawn.scores(0.4)))
    page = visitor.open(f"/submissions/{coming.id}", javascript=False)
    assert "Uploading." in page.get_by_role("status").inner_text()
    coming.put_all_parts()
    assert coming.complete().status_code == 202
    page.get_by_text("Scored.").wait_for()
    assert page.locator("#points tbody tr").count() == 40


def test_points_are_drawn_from_the_table_under_them(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}")
    rows, dots = page.locator("#points tbody tr"), page.locator("figure[data-chart=scatter] g[aria-label=dot] circle")
    assert rows.count() == dots.count() == 40
    assert straight(numbers(rows, "data-predicted"), numbers(dots, "cx"))
    assert straight(numbers(rows, "data-actual"), numbers(dots, "cy"))
    label = page.locator("figure[data-chart=scatter] svg.plot").get_attribute("aria-label") or ""
    assert "40 public subsets, rank correlation" in label


def test_another_target_takes_the_place_of_the_one_before(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}")
    page.evaluate("document.body.dataset.same = 'yes'")
    for target in ("0", "29"):
        page.get_by_label("Look at").focus()
        page.get_by_label("Look at").select_option(target)
        page.locator("#target-heading", has_text=f"Target {target},").wait_for()
        assert shown(page) == [f"Target {target}"] * 2
        assert page.url.endswith(f"?target={target}")
        assert page.evaluate("document.activeElement.name") == "target"  # the keyboard stays where it is
        page.locator("#target figure[data-chart=scatter] svg.plot").wait_for()
        assert page.locator("figure[data-chart=scatter] svg.plot").count() == 1
    link = page.locator(".extremes a").last
    link.click()
    page.locator("#target-heading", has_text=f"{link.inner_text()},").wait_for()
    assert shown(page) == [link.inner_text()] * 2
    assert page.get_by_label("Look at").input_value() == link.inner_text().removeprefix("Target ")
    assert page.locator("body").get_attribute("data-same") == "yes"


def test_targets_can_be_chosen_without_javascript(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}", javascript=False)
    page.get_by_label("Look at").select_option("29")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**?target=29#target")
    assert shown(page) == ["Target 29"] * 2
    page.locator(".extremes a").first.click()
    assert shown(page)[0] == page.locator(".extremes a").first.inner_text()


def test_pictures_are_seen_pixel_by_pixel(visitor: Visitor) -> None:
    page = visitor.open(f"/submissions/{visitor.site.ids['pictured']}", width=PHONE)
    images = page.locator("img.face")
    assert images.count() == 6 + 1 + 16
    for image in images.all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
        assert image.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert fits_width(page)


def test_targets_of_two_are_drawn_from_the_table_under_them(visitor: Visitor) -> None:
    ids = visitor.site.ids
    page = visitor.open(f"/compare?a={ids['good']}&b={ids['middling']}")
    rows, dots = page.locator("#versus tbody tr"), page.locator("figure[data-chart=targets] g[aria-label=dot] circle")
    assert rows.count() == dots.count() == 7
    assert straight(numbers(rows, "data-a"), numbers(dots, "cx"))
    assert straight(numbers(rows, "data-b"), numbers(dots, "cy"))


def test_entries_are_chosen_and_compared_without_javascript(visitor: Visitor) -> None:
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
    page.get_by_role("link", name="Choose others").click()
    assert page.get_by_label("flipped").is_checked()
