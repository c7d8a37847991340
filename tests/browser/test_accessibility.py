"""Every page, light and dark, opens without errors, fits the window, and has no serious violation of axe-core's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.page_faults import DESK, PHONE, find_faults, serious_violations

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor


def test_every_page_fits_and_has_no_serious_accessibility_violation(visitor: Visitor) -> None:
    page = visitor.open("/", width=PHONE)
    found = []
    for path in [*visitor.site.paths, "/nowhere"]:
        assert visitor.errors == []
        visitor.visit(page, path)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        found += find_faults(page)
    visitor.errors = [text for text in visitor.errors if "404" not in text]  # the browser reports the 404 of /nowhere
    assert found == []


@pytest.mark.slow
def test_every_wide_dark_page_has_no_serious_accessibility_violation(visitor: Visitor) -> None:
    page = visitor.open("/", width=DESK, dark=True)
    found = []
    for path in visitor.site.paths:
        visitor.visit(page, path)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        found += serious_violations(page)
    assert found == []
