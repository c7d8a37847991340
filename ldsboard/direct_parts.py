"""Send upload parts straight to the store of a server, to signed addresses that the server gives."""

from __future__ import annotations

import base64
import hashlib
import threading
from typing import TYPE_CHECKING, Any, Self

import httpx

from ldsboard import background
from ldsboard.client import LOCAL_HOSTS, TIMEOUT_SECONDS, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ldsboard.client import Client

ATTEMPTS = 3
"""Largest number of attempts for an upload part; each has a new signature. Afterwards all parts go through the server."""

ADDRESS, ARRIVED = {"url": str}, {"number": int, "sha256": str}
"""Members of the answers of the server."""


class DirectParts:
    """Sends the upload parts of one upload to the store; a context manager.

    If the store cannot be reached from here, or refuses a part, `send` returns False from then on, and the caller sends the parts
    through the server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()

    def send(self, part: dict[str, Any], content: Callable[[], Iterator[bytes]], hashed: Iterator[bytes]) -> bool:
        """Send an upload part, and return whether it has arrived.

        Parameters
        ----------
        part
            The server's description of the part.
        content
            Function that returns an iterator over the bytes; each attempt calls it.
        hashed
            The same bytes, to compute their hashes.

        Raises
        ------
        ClientError
            The server refused the part, or could not be reached.
        """
        if self._given_up.is_set():
            return False
        # The store compares the bytes with the MD5, so that a part with a fault of the network is sent again at once.
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for chunk in hashed:
            sha256.update(chunk)
            md5.update(chunk)
        known = {"sha256": sha256.hexdigest()}
        headers = {"Content-Length": str(part["size"]), "Content-MD5": base64.b64encode(md5.digest()).decode()}
        for _ in range(ATTEMPTS):
            if self._given_up.is_set():
                return False
            address = self._client.ask("POST", f"{self._client.server}{part['url']}/address", ADDRESS, json=known)
            if self._put(address["url"], content, headers) and self._has_arrived(part, known):
                return True
        self._given_up.set()
        return False

    def _put(self, url: str, content: Callable[[], Iterator[bytes]], headers: dict[str, str]) -> bool:
        try:
            http = self._connection(url)
        except (httpx.InvalidURL, ValueError, ImportError):  # also because of a proxy in the environment
            return False
        try:
            return background.call(lambda: http.put(url, content=content(), headers=headers)).is_success
        except (httpx.TransportError, httpx.InvalidURL):
            return False

    def _has_arrived(self, part: dict[str, Any], known: dict[str, str]) -> bool:
        """State that a part has arrived, and return whether the server finds it: a proxy may have answered for the store."""
        try:
            self._client.ask("POST", f"{self._client.server}{part['url']}/arrived", ARRIVED, json=known)
        except RefusedError as error:
            if error.problem.code != "upload.part":
                raise
            return False
        return True

    def _connection(self, url: str) -> httpx.Client:
        """Return the connection to the store, which gets neither the token nor the headers of the server."""
        with self._lock:
            if self._http is None:
                timeout = httpx.Timeout(TIMEOUT_SECONDS, connect=5)
                self._http = httpx.Client(timeout=timeout, trust_env=httpx.URL(url).host not in LOCAL_HOSTS)
            return self._http
