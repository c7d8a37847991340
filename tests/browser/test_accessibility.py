"""Every page, light and dark, opens without errors, fits the window, and has no serious violation of axe-core's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.test_browsing import fits_width

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visitor

SERIOUS = {"serious", "critical"}


def serious_violations(page: Page, rules: list[str] | None = None) -> list[str]:
    """Return the serious and critical axe-core violations of an open page, for the given rules or all rules."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    return [
        f"{page.url}: {violation['id']} ({violation['help']}) at "
        + ", ".join(str(node["target"]) for node in violation["nodes"][:3])
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in SERIOUS
    ]


@pytest.mark.parametrize(
    ("dark", "rules"),
    # In the dark scheme only colours differ.
    [(False, None), pytest.param(True, ["color-contrast"], marks=pytest.mark.slow)],
)
def test_every_page_fits_and_has_no_serious_accessibility_violation(
    visitor: Visitor, dark: bool, rules: list[str] | None
) -> None:
    page = visitor.open("/", dark=dark)
    found = []
    for path in [*visitor.site.paths, "/nowhere"]:
        assert visitor.errors == []
        visitor.visit(page, path)
        assert page.locator("h1").count() == 1
        assert fits_width(page), path
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
        found += serious_violations(page, rules)
    visitor.errors = [text for text in visitor.errors if "404" not in text]  # the browser reports the 404 of /nowhere
    assert found == []
