"""Open and fill in the form that sends a score file, on a server with small upload parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.browser.conftest import Visitor

N_TRAIN, TARGETS = 1200, 250
PART_BYTES, PARTS = 320 * 1024, 4
"""Size and number of upload parts of a float32 score file; a part is longer than the blocks that the page hashes."""

LIMIT = 3_000_000


class Board:
    """A server with small upload parts and sign-in, and a benchmark whose score files have several parts."""

    def __init__(self, service: Service, example: Example) -> None:
        self.service, self.example = service, example

    def submission(self, page: Page) -> dict[str, Any]:
        """Wait for the page of a submission, and return that submission once it is final."""
        page.wait_for_url("**/submissions/*")
        return self.service.wait_until_final(page.url.rsplit("/", 1)[1])


def open_form(visitor: Visitor, calls: list[str], *, signed_in: bool = True, **options: Any) -> Page:
    """Open the form, and append every later API request of the page to `calls`, except the checks of chosen files."""

    def note(request: Request) -> None:
        path = request.url.removeprefix(visitor.site.url)
        if path.startswith(("/api/", "/account/")) and "/check?" not in path:
            calls.append(f"{request.method} {path}")

    page = visitor.open("/", **options)
    if signed_in:
        page.goto("/sign-in/oidc")
        visitor.errors.clear()  # sign-in redirects to the provider's site, which counts as a foreign request
    page.on("request", note)
    visitor.visit(page, "/benchmarks/large/submit")
    return page


def choose_file(page: Page, content: bytes, name: str = "scores.npy") -> None:
    """Choose a file with the given content in the form."""
    page.get_by_label("Score file").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )
