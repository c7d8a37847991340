"""Write screenshots of the main pages, light and dark, wide and narrow: ``python -m tests.browser.screenshots``.

Requires a data folder filled by ``make demo`` and no server that uses the folder; writes into ``screenshots/``. The demo's user
signs in through a temporary identity provider.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import sync_playwright
from sqlalchemy import delete, select, update

from app.cli.demo import BENCHMARK, OWNER, Demo
from app.db.accounts import Identity, Role, User
from app.db.sessions import Database
from app.settings import Settings
from tests.app.pages.provider import Provider
from tests.browser.chromium import launch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

FOLDER = Path("screenshots")
WIDTHS = (1280, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main() -> None:
    """Start an identity provider and the server, and write screenshots of the main pages."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    FOLDER.mkdir(exist_ok=True)
    with Provider() as provider:
        # The server is a separate process and reads its settings from the environment.
        os.environ |= {f"LDSBOARD_{name.upper()}": value for name, value in provider.settings.items()}
        os.environ["LDSBOARD_PUBLIC_URL"] = (
            f"http://localhost:{port}"  # the same host name as the demo uses, since cookies belong to one host
        )
        settings = Settings()
        demo = Demo(settings, Database(settings.resolved_database_url), port)
        with signed_in_as_owner(demo, provider), demo.serving(), sync_playwright() as playwright:
            write_screenshots(demo, launch(playwright))


@contextmanager
def signed_in_as_owner(demo: Demo, provider: Provider) -> Iterator[None]:
    """Within the block, link the provider's identity to the demo's user, who is an admin meanwhile."""
    known = {"provider": provider.address, "subject": provider.current["sub"]}
    with demo.database.write() as session:
        owner = session.scalars(select(User).where(User.name == OWNER)).one()
        session.add(Identity(user_id=owner.id, **known))
        owner.role = Role.ADMIN
    try:
        yield
    finally:
        with demo.database.write() as session:
            session.execute(delete(Identity).filter_by(**known))
            session.execute(update(User).where(User.name == OWNER).values(role=Role.USER))


def write_screenshots(demo: Demo, browser: Browser) -> None:
    """Write a screenshot of each main page at every width in every colour scheme."""
    rows = demo.rows()
    if len(rows) < 2:
        raise SystemExit("The demo's board has fewer than two entries. Run first: make demo")
    pages = {
        "home": "/",
        "leaderboard": f"/benchmarks/{BENCHMARK}",
        "about": f"/benchmarks/{BENCHMARK}/about",
        "submit": f"/benchmarks/{BENCHMARK}/submit",
        "guide": "/guide",
        "submission": f"/submissions/{rows[0]['id']}",
        "compare": f"/compare?a={rows[0]['id']}&b={rows[1]['id']}",
        "practice": "/benchmarks/fashion5k-mlp",
        "choose": "/compare",
        "sign-in": "/sign-in",
        "docs": "/docs",
        "missing": "/submissions/none",
    }
    if practised := demo.rows("fashion5k-mlp"):
        pages["practised"] = f"/submissions/{practised[0]['id']}"
    pages["account"] = "/sign-in/oidc"  # the following pages are those of a signed-in user
    pages["admin"] = "/admin"
    pages["trust"] = "/account/publishers"
    pages["submit-signed-in"] = f"/benchmarks/{BENCHMARK}/submit"
    for width, scheme in product(WIDTHS, SCHEMES):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        for name, path in pages.items():
            page.goto(demo.address + path, wait_until="networkidle")
            page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)
        page.close()
    browser.close()
    print(f"{len(pages) * len(WIDTHS) * len(SCHEMES)} screenshots are in {FOLDER}/")


if __name__ == "__main__":
    main()
