"""The owner makes a review link and opens its page, with a method whose name is very long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.service import npy
from tests.browser.page_faults import PHONE, find_faults
from tests.browser.sending.form import Board, open_form

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor


def test_review_pages_fit_and_have_no_serious_accessibility_violation(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    page = open_form(visitor, calls, width=PHONE)
    visitor.visit(page, "/account")
    owner = page.locator("h1").inner_text()
    method = "a-method-for-reviewers".ljust(64, "x")
    sent = board.service.submit_and_score(
        board.service.token(owner, ranked_per_day=99), "large", npy(board.example.scores(393)), method=method
    )
    visitor.visit(page, f"/submissions/{sent['id']}")
    page.get_by_role("link", name="Review link").click()
    page.get_by_role("heading", name=f"Review link of {method}").wait_for()
    assert find_faults(page) == []
    page.get_by_role("button", name="Make a review link").click()
    page.get_by_role("status").wait_for()
    assert find_faults(page) == []
    visitor.visit(page, str(page.get_by_role("status").locator("code").inner_text()))
    page.get_by_role("heading", name=method).wait_for()
    assert owner not in page.content()
    assert find_faults(page) == []
