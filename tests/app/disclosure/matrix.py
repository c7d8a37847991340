"""Requests every address as every viewer, and reports the hidden numbers, withheld texts and secrets in the responses."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import httpx

from app.db.models import Visibility
from app.web.sessions import KEY_FILE
from tests.app.disclosure.contents import contents
from tests.app.service import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.app.disclosure.board import Board
    from tests.app.disclosure.hidden_numbers import HiddenNumbers
    from tests.app.disclosure.viewers import Viewer

PLAIN = {"Accept-Encoding": "identity"}
VARIANTS = (
    ("HEAD", PLAIN),
    ("GET", {"Accept-Encoding": "gzip"}),
    ("GET", PLAIN | {"Accept": "text/html"}),
    ("GET", PLAIN | {"Accept": "application/json"}),
    ("GET", PLAIN | {"Range": "bytes=10-2000"}),
    ("GET", PLAIN | {"If-None-Match": "*"}),
)
"""Methods and headers, in addition to a plain GET, of the requests of viewers whose name is in `EVERY_VARIANT`."""

EVERY_VARIANT = ("a visitor", "the private owner (cookie)")


class Find(NamedTuple):
    """Something hidden in a response."""

    viewer: str
    request: str
    place: str
    what: str


class Matrix:
    """The search of the responses of one server."""

    def __init__(self, board: Board, viewers: list[Viewer], numbers: HiddenNumbers) -> None:
        self._board = board
        self._viewers = viewers
        self._numbers = numbers
        key = (board.service.settings.data_dir / KEY_FILE).read_text()
        github = board.service.settings.github_client_secret.get_secret_value()
        links = (link.partition("=")[2] for link in board.review_links.values())
        self.secrets = [key, github, *links, *(secret for viewer in viewers for secret in viewer.secrets)]
        """Tokens, cookies, keys and the secrets of review links, which no response may contain."""
        self.names = {viewer.name for viewer in viewers}
        owned = (text for visibility in Visibility for text in board.owners_texts(visibility))
        self._texts = list(dict.fromkeys([*self.secrets, *owned]))
        self._found: dict[bytes, list[tuple[str, str, bool]]] = {}
        """The results of `_searched`, by the SHA-256 of the bytes."""
        self.statuses: dict[str, set[int]] = {}
        """The statuses of the plain GET requests, by address."""

    def search(self, addresses: Iterable[str]) -> list[Find]:
        """Request all addresses as all viewers; return what the responses disclose."""
        found: list[Find] = []
        every = list(addresses)
        for viewer in self._viewers:
            headers = {"User-Agent": "matrix"} | viewer.headers
            variants = [("GET", PLAIN), *(VARIANTS if viewer.name in EVERY_VARIANT else ())]
            with httpx.Client(base_url=self._board.service.url, timeout=PATIENCE_SECONDS, trust_env=False) as client:
                for address in every:
                    for method, added in variants:
                        with client.stream(method, address, headers=headers | added) as response:
                            body = b"".join(response.iter_raw())
                        client.cookies.clear()  # a viewer has only its own cookie
                        if (method, added) == ("GET", PLAIN):
                            self.statuses.setdefault(address, set()).add(response.status_code)
                        request = f"{method} {address} {added}"
                        found += self._search_response(viewer, address, request, response, body)
        return found

    def _search_response(
        self, viewer: Viewer, address: str, request: str, response: httpx.Response, body: bytes
    ) -> Iterator[Find]:
        head = f"{response.status_code}\n" + "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        hidden = self._withheld_texts(viewer, unquote(address))
        for place, text, is_number in (*self._searched("headers", head.encode()), *self._searched("body", body)):
            if is_number or text in hidden:
                yield Find(viewer.name, request, place, text)

    def _searched(self, place: str, data: bytes) -> list[tuple[str, str, bool]]:
        """Return place and text of everything in `data` that some viewer must not see, and whether it is a hidden number."""
        digest = sha256(data).digest()
        if digest not in self._found:
            self._found[digest] = found = []
            for content in contents(place, data):
                found += [(content.place, number, True) for number in self._numbers.find(content)]
                whole = content.text
                found += [(content.place, text, False) for text in self._texts if text in whole]
        return self._found[digest]

    def _withheld_texts(self, viewer: Viewer, address: str) -> set[str]:
        """Return the texts that a viewer must not see, except those in the address, which an error message may repeat."""
        unknown = set(Visibility) - viewer.knows
        texts = {text for kept in unknown for text in self._board.owners_texts(kept) if text not in address}
        return texts.union(self.secrets) - self._board.shown_to_reviewers(address)
