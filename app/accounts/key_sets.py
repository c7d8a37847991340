"""The key sets of issuers, against which the signatures of identity tokens are checked.

A key set is fetched when a token needs a key: at first, after an hour, and for an unknown key if the set is at least a minute
old. While an issuer cannot be reached, its last key set is used for up to 24 hours.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from app.errors import LimitError
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from app.issuers import Issuer

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""The algorithm of each type of key. No other algorithm is accepted."""

FRESH_SECONDS = 3600.0
"""Age at which a key set is fetched again."""

KEPT_SECONDS = 24 * 3600.0
"""Age until which a key set is used if the issuer cannot be reached."""

COOL_DOWN_SECONDS = 60.0
"""Least age in seconds at which a key set is fetched again because it lacks a key."""

RETRY_SECONDS = 5.0
"""Least number of seconds between a failed fetch and the next."""

TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
MAX_ID_LENGTH = 200
"""Maximum number of characters of the id of a key."""

log = structlog.get_logger()


class IssuerUnavailableError(LimitError):
    """The key set of an issuer cannot be fetched now, or holds no usable key."""

    retry_after = round(RETRY_SECONDS)

    def __init__(self, issuer: Issuer) -> None:
        super().__init__(
            "oidc.unavailable",
            f"The keys of {issuer.address} cannot be fetched from {issuer.keys} now.",
            f"Nothing is wrong with your token. Try again in {self.retry_after} seconds.",
        )


@dataclass
class _KeySet:
    """The keys of an issuer by their ids, with the times of the last successful and of the last failed fetch."""

    keys: dict[str, jwt.PyJWK]
    fetched_at: float
    failed_at: float


class KeySets:
    """The key sets of the issuers, in the memory of one server process. Use only in the event loop: this class has no lock.

    Concurrent requests for keys of one issuer wait for the same fetch, and occupy no thread while they wait. A fetched key set
    without usable keys counts as a failed fetch.

    Parameters
    ----------
    clock
        Returns the time in seconds; a test can replace it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sets: dict[str, _KeySet] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}

    async def find(self, issuer: Issuer, key_id: str) -> jwt.PyJWK:
        """Return the key of an issuer with this id; fetch the key set if necessary.

        Raises
        ------
        IssuerUnavailableError
            No key set was fetched in the last 24 hours. Or the stored key set lacks the key, and the last fetch failed.
        ProblemError
            ``oidc.key``: the issuer has no such key.
        """
        known = self._sets.get(issuer.address)
        if self._is_due(known, key_id):
            await self._fetch_once(issuer)
            known = self._sets[issuer.address]
        if known is None or not known.keys or self._clock() - known.fetched_at > KEPT_SECONDS:
            raise IssuerUnavailableError(issuer)
        if key_id not in known.keys:
            if self._clock() - known.failed_at < RETRY_SECONDS:  # the newest keys are not known
                raise IssuerUnavailableError(issuer)
            raise ProblemError(
                "oidc.key",
                f"The identity token is signed with the key {key_id[:MAX_ID_LENGTH]!r}, which {issuer.address} does not publish.",
                f"Request a new identity token. If the issuer has just changed its keys, wait {COOL_DOWN_SECONDS:.0f} seconds.",
            )
        return known.keys[key_id]

    def _is_due(self, known: _KeySet | None, key_id: str) -> bool:
        """Return whether the key set must be fetched before a key is looked up."""
        if known is None:
            return True
        moment = self._clock()
        if moment - known.failed_at < RETRY_SECONDS:
            return False
        age = moment - known.fetched_at
        return age > FRESH_SECONDS or (key_id not in known.keys and age >= COOL_DOWN_SECONDS)

    async def _fetch_once(self, issuer: Issuer) -> None:
        """Fetch a key set, or wait for the fetch that runs already."""
        task = self._fetches.get(issuer.address)
        if task is None:
            task = asyncio.create_task(self._fetch(issuer))
            self._fetches[issuer.address] = task
            task.add_done_callback(lambda _: self._fetches.pop(issuer.address, None))
        await asyncio.shield(task)  # another request may wait for the same fetch

    async def _fetch(self, issuer: Issuer) -> None:
        """Fetch a key set and store its keys; after a failure keep the earlier keys."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                keys = usable_keys(await _download(issuer.keys))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError) as error:
            log.warning("oidc.keys_failed", issuer=issuer.address, error=f"{type(error).__name__}: {error}"[:200])
            known = self._sets.setdefault(issuer.address, _KeySet({}, -KEPT_SECONDS, 0.0))
            known.failed_at = self._clock()
        else:
            self._sets[issuer.address] = _KeySet(keys, self._clock(), -RETRY_SECONDS)


@cache
def _certificates() -> ssl.SSLContext:
    """Return the TLS context of all fetches. Only the first call reads the certificates of the trusted authorities."""
    return httpx.create_ssl_context()


async def _download(address: str) -> bytes:
    """Return the body of the response from an address. Redirects are not followed.

    Raises
    ------
    ValueError
        The status of the response is not 200, or the body has more than `MAX_BYTES`.
    httpx.HTTPError, httpx.InvalidURL
        No response has arrived, or `address` is malformed.
    """
    content = bytearray()
    certificates = await asyncio.to_thread(_certificates)  # reading them takes too long for the event loop
    async with (
        httpx.AsyncClient(verify=certificates, timeout=TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream("GET", address, headers={"Accept": "application/json"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"status {response.status_code}")
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
    return bytes(content)


def usable_keys(content: bytes) -> dict[str, jwt.PyJWK]:
    """Return the keys of a key set that can verify identity tokens, by id; skip other keys, and all after the first `MAX_KEYS`.

    Raises
    ------
    ValueError
        The content is no key set, or no key is usable.
    """
    key_set = json.loads(content)
    entries = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no key set")  # noqa: TRY004 -- the content is wrong, not an argument
    keys: dict[str, jwt.PyJWK] = {}
    for entry in entries[:MAX_KEYS]:
        key = _usable_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            keys.setdefault(entry["kid"], key)
    if not keys:
        raise ValueError("no usable key")
    return keys


def _usable_key(entry: dict[str, Any]) -> jwt.PyJWK | None:
    """Return the public key that an entry of a key set describes; None if the key cannot verify identity tokens.

    The key is usable if it is valid, has an id, is meant for signatures, is not a private key, and if its type, algorithm and
    strength are accepted.
    """
    key_id, key_type = entry.get("kid"), entry.get("kty")
    algorithm = ALGORITHMS.get(key_type) if isinstance(key_type, str) else None
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_ID_LENGTH or algorithm is None or "d" in entry:
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(entry, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if _is_strong(key.key) else None


def _is_strong(key: object) -> bool:
    if isinstance(key, RSAPublicKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
