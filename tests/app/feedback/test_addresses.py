"""Which addresses webhooks may call: public hosts by https, and hosts that the operator allows by name."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import ValidationError

from app.feedback.addresses import Addresses, NotPublicError, is_public
from app.settings import Settings
from ldsboard import ProblemError
from tests.app.event_loop import run_in_loop

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC_ONLY = Addresses(frozenset())
LONGEST_NAME = ".".join(["x" * 63] * 3 + ["x" * 61])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_addresses_of_public_hosts_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 -- no server listens
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",  # metadata of Alibaba's cloud
        "127.0.0.1",
        "127.8.8.8",
        "168.63.129.16",  # Azure
        "169.254.169.254",  # metadata of most clouds
        "172.16.0.1",
        "192.0.0.192",  # metadata of Oracle's cloud
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "fc00::1",
        "fd00:ec2::254",  # metadata of AWS
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.example.org/ldsboard?key=1",
        "https://hooks.example.org:8443/",
        "https://8.8.8.8/x",
        "https://[2606:4700::1111]/x",
        "https://bücher.example/x",
        "https://xn--bcher-kva.example./x",
        "https://my_host.example.org/x",
        f"https://{LONGEST_NAME}./x",
    ],
)
def test_addresses_of_public_hosts_are_accepted(address: str) -> None:
    PUBLIC_ONLY.check(address)


@pytest.mark.parametrize(
    ("address", "got"),
    [
        ("http://hooks.example.org/x", "the scheme 'http'"),
        ("ftp://hooks.example.org/x", "the scheme 'ftp'"),
        ("hooks.example.org/x", "an address without a host"),
        ("https:///x", "an address without a host"),
        ("https://user@hooks.example.org/", "an address with a user name, a password or a fragment"),
        ("https://:word@hooks.example.org/", "an address with a user name, a password or a fragment"),
        ("https://hooks.example.org/#part", "an address with a user name, a password or a fragment"),
        ("https://hooks.example.org:25/", "the port 25"),
        ("https://hooks.example.org:80/", "the port 80"),
        ("https://hooks.example.org:0/", "the port 0"),
        ("https://hooks.example.org:99999/", "the port 99999"),
        ("https://hooks.example.org/\n", "an address that cannot be read"),
        ("https://xn--/", "a host that no name server can know"),
        ("https://xn--a/", "a host that no name server can know"),
        ("https://a..b/", "a host that no name server can know"),
        ("https://.a.b/", "a host that no name server can know"),
        ("https://a.b../", "a host that no name server can know"),
        ("https://a%00.b/", "a host that no name server can know"),
        ("https://a b.c/", "a host that no name server can know"),
        (f"https://{'x' * 64}.example.org/", "a host that no name server can know"),
        (f"https://{'x' * 300}/", "a host that no name server can know"),
        (f"https://x{LONGEST_NAME}/", "a host that no name server can know"),
        ("https://0177.0.0.1/", "an address that cannot be read"),
        ("https://127.0.0.1/", "the host '127.0.0.1', which is not public"),
        ("https://169.254.169.254/latest", "the host '169.254.169.254', which is not public"),
        ("https://[::1]/", "the host '::1', which is not public"),
        ("https://[::ffff:10.0.0.1]/", "which is not public"),
        ("https://localhost/", "the host 'localhost', which is not public"),
        ("https://intranet/", "the host 'intranet', which is not public"),
        ("https://2130706433/", "the host '2130706433', which is not public"),
        (f"https://hooks.example.org/{'x' * 500}", "an address of 526 characters"),
    ],
)
def test_other_addresses_are_refused_at_registration(address: str, got: str) -> None:
    with pytest.raises(ProblemError) as refused:
        PUBLIC_ONLY.check(address)
    problem = refused.value.problem
    assert problem.code == "webhook.address"
    assert got in str(problem.got)
    PUBLIC_ONLY.check(problem.hint.rsplit(" ", 1)[1].rstrip("."))  # the hint names an address that is accepted


def test_allowed_hosts_may_be_private_and_may_use_http() -> None:
    addresses = Addresses(frozenset({"hooks.intranet", "localhost:8080"}))
    for accepted in ("http://hooks.intranet/x", "https://hooks.intranet:99/", "http://localhost:8080/"):
        addresses.check(accepted)
    for refused in ("http://localhost:8081/", "http://localhost/", "http://other.intranet/", "ftp://hooks.intranet/"):
        with pytest.raises(ProblemError):
            addresses.check(refused)


def _resolve(
    monkeypatch: pytest.MonkeyPatch, found: list[str] | Exception, url: str, addresses: Addresses = PUBLIC_ONLY
) -> list[str]:
    """Resolve the host of an address, with the answers of a name server that the test chooses."""

    async def answer(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        assert (host, port) == (httpx.URL(url).raw_host.decode(), httpx.URL(url).port or 443)
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    async def resolve() -> list[str]:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
        return await addresses.resolve(httpx.URL(url))

    return run_in_loop(resolve())


def test_every_address_of_a_host_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://hooks.example.org/x"
    assert _resolve(monkeypatch, ["8.8.8.8", "8.8.8.8", "1.1.1.1"], url) == ["8.8.8.8", "1.1.1.1"]
    for found in (["10.0.0.1"], ["8.8.8.8", "169.254.169.254"], ["8.8.8.8", "::1"], []):
        with pytest.raises(NotPublicError):
            _resolve(monkeypatch, found, url)


@pytest.mark.parametrize("error", [socket.gaierror(), OSError(), UnicodeError()])
def test_host_without_an_address_is_refused_like_a_private_host(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(NotPublicError):
        _resolve(monkeypatch, error, "https://hooks.example.org/x")


def test_allowed_host_may_have_any_address(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = Addresses(frozenset({"hooks.intranet:8443"}))
    assert _resolve(monkeypatch, ["10.0.0.1"], "https://hooks.intranet:8443/", allowed) == ["10.0.0.1"]
    with pytest.raises(NotPublicError):
        _resolve(monkeypatch, ["10.0.0.1"], "https://hooks.intranet:9443/", allowed)


@pytest.mark.parametrize("address", ["https://127.1/", "https://0x7f.1/"])
def test_unusual_spellings_of_a_private_address_are_refused_before_a_call(address: str) -> None:
    with pytest.raises(NotPublicError):
        run_in_loop(PUBLIC_ONLY.resolve(httpx.URL(address)))


def test_settings_name_the_allowed_hosts(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, webhook_hosts="localhost:8080, hooks.intranet,")
    assert Addresses.of(settings).allowed == {"localhost:8080", "hooks.intranet"}
    assert Addresses.of(Settings(data_dir=tmp_path)).allowed == frozenset()
    for refused in ("https://hooks.intranet", "Hooks.intranet", "a b", "host:port", "*"):
        with pytest.raises(ValidationError, match="each as host or host:port"):
            Settings(data_dir=tmp_path, webhook_hosts=refused)
