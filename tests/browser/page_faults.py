"""Faults in the layout and the accessibility of an open page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

PHONE, DESK = 390, 1280
RUN_TOGETHER = re.compile(r"\S*[a-z)][.!?][A-Z][a-z]\S*")
"""Two sentences without a space between them, as a template can join them."""

SERIOUS = {"serious", "critical"}


def fits_width(page: Page) -> bool:
    """Return whether the page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def find_faults(page: Page) -> list[str]:
    """Return the faults of an open page.

    These are: no single main heading, joined sentences, too wide, and serious or critical axe-core violations.

    The page must have been opened in a window as wide as a phone. A chart is drawn for the width of the open window, and is
    redrawn a moment after the window has changed its width. A chart that was drawn for a wider window could therefore still make
    the page too wide when its width is checked. The axe-core rules are checked at the width of a phone only, because they take
    most of the time.
    """
    faults = [] if page.locator("h1").count() == 1 else [f"{page.url}: {page.locator('h1').count()} main headings"]
    texts = page.locator("p, li, dd, caption, figcaption").all_inner_texts()
    faults += [f"{page.url} joins sentences: {found}" for text in texts for found in RUN_TOGETHER.findall(text)]
    for width in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 900})
        faults += [] if fits_width(page) else [f"{page.url} is wider than {width} px"]
    page.set_viewport_size({"width": PHONE, "height": 900})
    return faults + serious_violations(page)


def serious_violations(page: Page) -> list[str]:
    """Return the serious and critical violations of axe-core's rules on an open page."""
    return [
        f"{page.url}: {violation['id']} ({violation['help']}) at "
        + ", ".join(str(node["target"]) for node in violation["nodes"][:3])
        for violation in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        if violation["impact"] in SERIOUS
    ]
