"""A picture of every page, light and dark, wide and narrow, from the demo's data: ``python -m tests.browser.screenshots``.

Needs a data folder that ``make demo`` has filled, and no server on it; writes ``screenshots/``.
"""

from __future__ import annotations

import socket
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

from app.db.sessions import Database
from app.demo import BENCHMARK, PRACTICE, Demo
from app.settings import Settings
from tests.browser.chromium import launch

FOLDER = Path("screenshots")
WIDTHS = (1280, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main() -> None:
    """Start the server, open every page, and write what it looks like."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    settings = Settings()
    demo = Demo(settings, Database(settings.resolved_database_url), port)
    FOLDER.mkdir(exist_ok=True)
    with demo.serving(), sync_playwright() as playwright:
        rows = demo.rows()
        if len(rows) < 2:
            raise SystemExit("expected the entries of the demo, got fewer than two. Run first: make demo")
        pages = {
            "home": "/",
            "leaderboard": f"/benchmarks/{BENCHMARK}",
            "about": f"/benchmarks/{BENCHMARK}/about",
            "submit": f"/benchmarks/{BENCHMARK}/submit",
            "guide": "/guide",
            "submission": f"/submissions/{rows[0]['id']}",
            "compare": f"/compare?a={rows[0]['id']}&b={rows[1]['id']}",
            "practice": f"/benchmarks/{PRACTICE}",
            "choose": "/compare",
            "sign-in": "/sign-in",
            "docs": "/docs",
            "missing": "/submissions/none",
        }
        if practised := demo.rows(PRACTICE):
            pages["practised"] = f"/submissions/{practised[0]['id']}"
        browser = launch(playwright)
        for width, scheme in product(WIDTHS, SCHEMES):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            for name, path in pages.items():
                page.goto(demo.address + path, wait_until="networkidle")
                page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)
            page.close()
        browser.close()
    print(f"{len(pages) * len(WIDTHS) * len(SCHEMES)} pictures are in {FOLDER}/")


if __name__ == "__main__":
    main()
