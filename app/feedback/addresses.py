"""The addresses that webhooks may call: https addresses of public hosts, and the hosts that the operator allows by name.

Without this check, a user could make the server send requests to services that only the server can reach, such as the metadata
service of a cloud. The check is made on the address to which the server then connects, because the answers of a name server can
change between two questions.
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING, Self

import httpx

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from app.settings import Settings

MAX_URL_LENGTH = 500

HTTPS_PORT, HTTP_PORT = 443, 80
LAST_PORT = 65535
FIRST_FREE_PORT = 1024
"""Ports below this number, except `HTTPS_PORT`, belong to other services, such as mail."""

SPECIAL_NETWORKS = [
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; Oracle's cloud has its metadata service here
        "168.63.129.16/32",  # services of Azure for its own machines
        "192.88.99.0/24",  # relays of 6to4, withdrawn by RFC 7526
        "2002::/16",  # 6to4: holds an IPv4 address, which can be private
        "3fff::/20",  # documentation (RFC 9637)
    )
]
"""Networks that count as global in `ipaddress`, but that webhooks are not allowed to call."""

GLOBAL_UNICAST = ip_network("2000::/3")
"""The IPv6 addresses of public hosts. Addresses that hold an IPv4 address (mapped, NAT64) are outside."""

_NAME = re.compile(rb"(?=.{1,253}\.?\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
"""A name that a name server can know, in lower case, by the lengths of RFC 1035."""

_UNKNOWABLE = "a host that no name server can know"


class NotPublicError(Exception):
    """A host has no address, or has an address that is not public."""


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to a public host; raise ValueError for a text that is no IP address."""
    parsed = ip_address(address)
    if not parsed.is_global or parsed.is_multicast or parsed.is_reserved:
        return False
    if any(parsed in network for network in SPECIAL_NETWORKS):
        return False
    return isinstance(parsed, IPv4Address) or parsed in GLOBAL_UNICAST


@dataclass(frozen=True)
class Addresses:
    """The rules for the addresses that webhooks may call.

    Attributes
    ----------
    allowed
        Names of hosts that webhooks may call by http or https, even if a host has no public address. ``host`` allows every port
        of a host. ``host:port`` allows only the stated port.
    """

    allowed: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the rules that follow from the operator's settings."""
        return cls(frozenset(filter(None, map(str.strip, settings.webhook_hosts.split(",")))))

    def check(self, address: str) -> None:
        """Raise ``webhook.address`` if the form, port or host of an address shows that a webhook is not allowed to call it.

        The check looks up no IP addresses. `resolve` looks up and checks the IP addresses of the host before each call.
        """
        expected = "an https:// address of a public host, without user name, password and fragment"
        if fault := self._fault(address):
            raise ProblemError.mismatch(
                "webhook.address",
                expected=expected,
                got=fault,
                hint="State an address that the server can reach, such as https://hooks.example.org/ldsboard.",
            )

    def _fault(self, address: str) -> str | None:
        """Return what is wrong with the address of a webhook, or None."""
        if len(address) > MAX_URL_LENGTH:
            return f"an address of {len(address)} characters; at most {MAX_URL_LENGTH} are allowed"
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL as error:
            return f"an address that cannot be read ({error})"
        if fault := _fault_of_form(url):
            return fault
        is_allowed = self.allows(url)
        if url.scheme not in (("https", "http") if is_allowed else ("https",)):
            return f"the scheme {url.scheme!r}"
        return None if is_allowed else _fault_of_host(url)

    def allows(self, url: httpx.URL) -> bool:
        """Return whether the operator allows the host of an address by name."""
        return bool({url.host, f"{url.host}:{port_of(url)}"} & self.allowed)

    async def resolve(self, url: httpx.URL) -> list[str]:
        """Look up the host that an address names, and return the IP addresses in the order in which to try them.

        Raises
        ------
        NotPublicError
            The host has no address; or one of its addresses is not public, and the operator does not allow the host by name.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(url.raw_host.decode(), port_of(url), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NotPublicError from None
        resolved = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # One address that is not public is enough to refuse: the host's name server may be hostile.
        if not resolved or not (self.allows(url) or all(map(is_public, resolved))):
            raise NotPublicError
        return resolved


def port_of(url: httpx.URL) -> int:
    """Return the port of an http or https address."""
    if url.port is not None:
        return url.port
    return HTTP_PORT if url.scheme == "http" else HTTPS_PORT


def _fault_of_form(url: httpx.URL) -> str | None:
    """Return what is wrong with the form of an address; None if nothing is wrong.

    An address needs a host and a valid port, and must have no user name, password or fragment. These rules hold for every
    address, whether or not the operator allows the host by name.
    """
    if not url.raw_host:
        return "an address without a host"
    try:
        _ = url.host  # decodes internationalised labels
    except UnicodeError:
        return _UNKNOWABLE
    if b":" not in url.raw_host and not _NAME.fullmatch(url.raw_host):  # only IPv6 addresses contain ":"
        return _UNKNOWABLE
    if url.userinfo or url.fragment:
        return "an address with a user name, a password or a fragment"
    return None if 0 < port_of(url) <= LAST_PORT else f"the port {port_of(url)}"


def _fault_of_host(url: httpx.URL) -> str | None:
    """Return what is wrong with the port or the host of an address; None if nothing is wrong.

    The port must be `HTTPS_PORT`, or `FIRST_FREE_PORT` or higher. The host must be a public IP address, or a name with a dot.
    Addresses whose host the operator allows by name need not obey these rules.
    """
    port = port_of(url)
    if port != HTTPS_PORT and port < FIRST_FREE_PORT:
        return f"the port {port}"
    try:
        can_be_public = is_public(url.host)
    except ValueError:
        can_be_public = "." in url.host.strip(".")  # a name without a dot belongs to the server's own network
    return None if can_be_public else f"the host {url.host[:80]!r}, which is not public"
