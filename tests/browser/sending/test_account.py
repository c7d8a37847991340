"""The pages of an account with a submission whose method name is very long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.app.service import npy
from tests.browser.sending.form import Board, open_form
from tests.browser.test_accessibility import serious_violations

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor


@pytest.mark.parametrize("width", [390, 1280])
def test_account_pages_fit_and_have_no_serious_accessibility_violation(
    visitor: Visitor, board: Board, calls: list[str], width: int
) -> None:
    page = open_form(visitor, calls, width=width)
    visitor.visit(page, "/account")
    owner = page.locator("h1").inner_text()
    method = f"a-very-long-name-of-a-method-{width}".ljust(64, "x")
    sent = board.service.submit_and_score(
        board.service.token(owner, ranked_per_day=99), "large", npy(board.example.scores(width)), method=method
    )
    page.reload()
    page.get_by_label(f"Change {method}").click()
    page.get_by_role("button", name="Pin").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_violations(page) == []
    page.locator("tr", has=page.locator(f"a[href='/submissions/{sent['id']}']")).get_by_text("Withdraw").click()
    page.get_by_role("heading", name=f"Withdraw {method}?").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_violations(page) == []
    page.get_by_role("button", name="Withdraw it").click()
    page.wait_for_url("**/account#submissions")
    assert board.service.row(sent["id"]).state == "withdrawn"
    page.get_by_role("link", name="Delete your account…").click()
    page.get_by_role("heading", name=f"Delete the account {owner}?").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_violations(page) == []
