"""Requests are counted by address and by user; an address is believed only from those who are trusted to tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import RateError
from app.rates import Rates, Waits
from tests.app.service import Service

if TYPE_CHECKING:
    from pathlib import Path


def test_one_request_too_many_is_told_when_to_come_again() -> None:
    rates = Rates(3)
    for _ in range(3):
        rates.count("address", "192.0.2.1")
    with pytest.raises(RateError) as refused:
        rates.count("address", "192.0.2.1")
    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= 60
    rates.count("address", "192.0.2.2")
    rates.count("user", "192.0.2.1")


def test_a_whole_network_of_ipv6_is_one_caller() -> None:
    rates = Rates(2)
    rates.count("address", "2001:db8:0:1::1")
    rates.count("address", "2001:db8:0:1:ffff::2")
    with pytest.raises(RateError):
        rates.count("address", "2001:db8:0:1::3")
    rates.count("address", "2001:db8:0:2::1")


def test_so_many_of_an_address_wait_at_a_time() -> None:
    waits = Waits(2)
    with waits.one("192.0.2.1") as first, waits.one("192.0.2.1") as second, waits.one("192.0.2.1") as third:
        assert (first, second, third) == (True, True, False)
        with waits.one("192.0.2.1") as fourth, waits.one("192.0.2.2") as other:
            assert (fourth, other) == (False, True)
    with waits.one("2001:db8:0:1::1"), waits.one("2001:db8:0:1::2"), waits.one("2001:db8:0:1::3") as third:
        assert not third


def test_a_wait_that_ends_in_an_error_makes_room() -> None:
    waits = Waits(1)
    with pytest.raises(RateError), waits.one("192.0.2.1"):
        raise RateError("anything", 1)
    with waits.one("192.0.2.1") as allowed:
        assert allowed


def test_the_server_refuses_one_request_too_many_on_the_api_and_the_pages(tmp_path: Path) -> None:
    with Service(tmp_path, requests_per_minute=4) as service:
        codes = [service.client.get("/benchmarks").status_code for _ in range(6)]
        assert codes == [200] * 4 + [429] * 2
        refused = service.client.get("/benchmarks")
        assert refused.json()["code"] == "rate.exceeded"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        page = service.client.get(f"{service.url}/")
        assert page.status_code == 429
        assert "Too many requests" in page.text
        assert service.client.get(f"{service.url}/healthz").status_code == 200


@pytest.mark.parametrize(("trusted", "believed"), [("", False), ("10.0.0.0/8", False), ("10.0.0.1, 127.0.0.0/8", True)])
def test_a_forwarded_address_is_believed_from_trusted_proxies_only(
    tmp_path: Path, trusted: str, *, believed: bool
) -> None:
    with Service(tmp_path, requests_per_minute=2, trusted_proxies=trusted) as service:
        codes = [
            service.client.get("/benchmarks", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
            for number in range(4)
        ]
    assert codes == ([200] * 4 if believed else [200, 200, 429, 429])


def test_a_user_is_counted_wherever_the_requests_come_from(tmp_path: Path) -> None:
    with Service(tmp_path, requests_per_minute=2, trusted_proxies="127.0.0.1") as service:
        headers = {"Authorization": f"Bearer {service.token('ann')}"}
        codes = [
            service.client.get("/users/me", headers=headers | {"X-Forwarded-For": f"192.0.2.{number}"}).status_code
            for number in range(3)
        ]
    assert codes == [200, 200, 429]
