"""The request that a webhook makes: one POST to a checked address, with limits of time and size."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from app.feedback.addresses import NotPublicError
from app.feedback.calls import Outcome

if TYPE_CHECKING:
    import ssl

    from app.feedback.addresses import Addresses
    from app.feedback.messages import Message

TOTAL_SECONDS = 10.0
"""Seconds from resolving the host to the end of the answer."""

CONNECT_SECONDS = 3.0
"""Seconds to connect to one of the addresses of a host."""

MAX_ANSWER_BYTES = 4096
"""Number of bytes of an answer's body that are read; the bytes are dropped."""


async def send(message: Message, addresses: Addresses, verify: ssl.SSLContext) -> Outcome:
    """Send a message once, and return the outcome. Redirects are not followed, and no proxy is used.

    An answer with a status other than 2xx, no answer, and a host that is not public are outcomes with an error.
    The errors of an outcome contain nothing that the receiver sent, and no address to which the host was resolved.

    Parameters
    ----------
    addresses
        Which addresses may be called.
    verify
        Context that verifies the certificate of the receiver.
    """
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            status = await _post(message, addresses, verify)
    except NotPublicError:
        return Outcome(None, "The host has no public address.")
    except (TimeoutError, httpx.TimeoutException):
        return Outcome(None, f"The receiver did not answer within {TOTAL_SECONDS:g} seconds.")
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Outcome(None, "The certificate of the receiver is not valid.")
        return Outcome(None, "The connection to the receiver failed.")
    if httpx.codes.is_success(status):
        return Outcome(status, None)
    redirects = " Redirects are not followed." if httpx.codes.is_redirect(status) else ""
    return Outcome(status, f"The receiver answered with status {status}.{redirects}")


async def _post(message: Message, addresses: Addresses, verify: ssl.SSLContext) -> int:
    """Send a message to the first IP address of the host that accepts a connection; return the HTTP status of the answer."""
    url = httpx.URL(message.url)
    resolved = await addresses.resolve(url)
    timeout = httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, timeout=timeout) as client:
        for address in resolved[:-1]:
            try:
                return await _post_to(client, url, address, message)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await _post_to(client, url, resolved[-1], message)


async def _post_to(client: httpx.AsyncClient, url: httpx.URL, address: str, message: Message) -> int:
    """Send a message to one of the receiver's addresses, and return the HTTP status of the answer."""
    # The request goes to the checked address itself: resolving the name again could give another address. The header and the
    # extension state the name, for the receiver and for the check of its certificate.
    async with client.stream(
        "POST",
        url.copy_with(host=address),
        content=message.body,
        headers=message.headers() | {"Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    ) as response:
        received = 0
        async for chunk in response.aiter_raw():
            received += len(chunk)
            if received >= MAX_ANSWER_BYTES:
                break
        return response.status_code
