"""Every page, light and dark: it opens without trouble, fits, and has nothing that keeps somebody from using it, by axe-core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.test_browsing import fits_width

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visitor

GRAVE = {"serious", "critical"}


def serious_violations(page: Page, rules: list[str] | None = None) -> list[str]:
    """Return what is serious or critical on an open page, by all rules or by these."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    return [
        f"{page.url}: {violation['id']} ({violation['help']}) at "
        + ", ".join(str(node["target"]) for node in violation["nodes"][:3])
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in GRAVE
    ]


@pytest.mark.parametrize(
    ("dark", "rules"), [(False, None), (True, ["color-contrast"])]
)  # only colours differ in the dark
def test_every_page_opens_fits_and_has_nothing_grave(visitor: Visitor, dark: bool, rules: list[str] | None) -> None:
    page = visitor.open("/", dark=dark)
    found = []
    for path in [*visitor.site.paths, "/nowhere"]:
        assert visitor.troubles == []
        visitor.visit(page, path)
        assert page.locator("h1").count() == 1
        assert fits_width(page), path
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
        found += serious_violations(page, rules)
    visitor.troubles = [text for text in visitor.troubles if "404" not in text]  # what is told of /nowhere
    assert found == []
