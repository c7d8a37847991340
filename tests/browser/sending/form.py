"""The form that sends a score file, on a server that takes small parts, and how a visitor fills it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.browser.conftest import Visitor

N_TRAIN, TARGETS = 1200, 250
PART_BYTES, PARTS = 320 * 1024, 4
"""What a file of float32 scores is sent in; it is longer than what is hashed at once."""

LIMIT = 3_000_000


class Board:
    """A server that takes small parts and signs people in, and a benchmark whose files need several."""

    def __init__(self, service: Service, example: Example) -> None:
        self.service, self.example = service, example

    def submission(self, page: Page) -> dict[str, Any]:
        """Return the submission on whose page the browser has arrived, once it is final."""
        page.wait_for_url("**/submissions/*")
        return self.service.wait_until_final(page.url.rsplit("/", 1)[1])


def open_form(visitor: Visitor, calls: list[str], *, signed_in: bool = True, **options: Any) -> Page:
    """Open the form; what the page asks of the API from then on is noted in `calls`."""

    def note(request: Request) -> None:
        path = request.url.removeprefix(visitor.site.url)
        if path.startswith(("/api/", "/account/")):
            calls.append(f"{request.method} {path}")

    page = visitor.open("/", **options)
    if signed_in:
        page.goto("/sign-in/oidc")
        visitor.troubles.clear()  # the way leads over another site, the provider's
    page.on("request", note)
    visitor.visit(page, "/benchmarks/large/submit")
    return page


def choose(page: Page, content: bytes, name: str = "scores.npy") -> None:
    """Choose a file of this content."""
    page.get_by_label("Score file").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )
