"""Rate limits by address and by user; forwarded addresses count only from trusted proxies."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.accounts.rate_limits import RateLimiter, WaitLimiter
from app.db.accounts import Audit
from app.errors import RateError
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANY = 10
"""A number of requests above every limit of these tests."""


def _count_allowed(answers: Iterable[bool]) -> int:
    """Return the number of allowed requests before the first rejection; fail if there is none.

    The number may exceed the limit by 1: the limiter weights the requests of the previous clock minute and rounds down, so
    one request becomes free when a clock minute begins.
    """
    answers = iter(answers)
    allowed = sum(1 for _ in takewhile(bool, answers))
    assert allowed < MANY
    return allowed


def _is_allowed(rates: RateLimiter, kind: str, who: str) -> bool:
    try:
        rates.count(kind, who)
    except RateError:
        return False
    return True


def _count_many(rates: RateLimiter, kind: str, who: str) -> None:
    for _ in range(MANY):
        rates.count(kind, who)


def test_excess_request_is_rejected_with_retry_after() -> None:
    rates = RateLimiter(3)
    assert _count_allowed(_is_allowed(rates, "address", "192.0.2.1") for _ in range(MANY)) in {3, 4}
    with pytest.raises(RateError) as refused:
        _count_many(rates, "address", "192.0.2.1")
    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= 60
    rates.count("address", "192.0.2.2")
    rates.count("user", "192.0.2.1")


def test_two_servers_together_keep_to_a_limit_that_a_caller_tries_to_exceed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, limit = [600.0], 600
    monkeypatch.setattr("time.time", lambda: clock[0])
    servers = RateLimiter(limit), RateLimiter(limit)
    for server in servers:
        server.share()
    accepted = [0, 0, 0, 0]
    for second in range(60 * len(accepted)):
        for _ in range(2):  # the servers tell each other their counts every half second
            for server in servers:
                accepted[second // 60] += sum(_is_allowed(server, "user", "ann") for _ in range(20))
            told = [server.take_counts() for server in servers]
            for server, others in zip(servers, reversed(told), strict=True):
                for (kind, caller), number in others.items():
                    server.add(kind, caller, number)
            clock[0] += 0.5
    assert limit <= accepted[0] <= limit + 40
    assert all(0.8 * limit <= number <= limit + 40 for number in accepted[1:])


def test_ipv6_network_counts_as_one_caller() -> None:
    rates = RateLimiter(2)
    assert _count_allowed(_is_allowed(rates, "address", f"2001:db8:0:1::{number}") for number in range(MANY)) in {2, 3}
    rates.count("address", "2001:db8:0:2::1")


def test_waiting_requests_are_limited_for_each_address() -> None:
    waits = WaitLimiter(2)
    with waits.slot("192.0.2.1") as first, waits.slot("192.0.2.1") as second, waits.slot("192.0.2.1") as third:
        assert (first, second, third) == (True, True, False)
        with waits.slot("192.0.2.1") as fourth, waits.slot("192.0.2.2") as other:
            assert (fourth, other) == (False, True)
    with waits.slot("2001:db8:0:1::1"), waits.slot("2001:db8:0:1::2"), waits.slot("2001:db8:0:1::3") as third:
        assert not third


def test_failed_wait_frees_its_place() -> None:
    waits = WaitLimiter(1)
    with pytest.raises(RateError), waits.slot("192.0.2.1"):
        raise RateError("anything", 1)
    with waits.slot("192.0.2.1") as allowed:
        assert allowed


def _forwarded_from(number: int) -> dict[str, str]:
    """Return the header of a forwarded request from another address."""
    return {"X-Forwarded-For": f"192.0.2.{number}"}


@pytest.mark.serial  # the requests must be sent within 15 s
def test_server_limits_api_and_page_requests_despite_forged_addresses(
    tmp_path: Path,
) -> None:
    with Service(tmp_path, requests_per_minute=4, trusted_proxies="10.0.0.0/8") as service:
        answers = [service.client.get("/benchmarks", headers=_forwarded_from(number)) for number in range(MANY)]
        assert _count_allowed(answer.status_code == 200 for answer in answers) in {4, 5}
        refused = next(answer for answer in answers if answer.status_code != 200)
        assert refused.status_code == 429
        assert refused.json()["code"] == "rate.exceeded"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        pages = [service.client.get(f"{service.url}/") for _ in range(2)]  # two, since a new minute may allow one
        assert pages[-1].status_code == 429
        assert "Too many requests" in pages[-1].text
        assert service.client.get(f"{service.url}/healthz").status_code == 200


def test_forwarded_address_is_ignored_by_default(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.token('masquerading')}"} | _forwarded_from(1)
    created = service.client.post("/tokens", headers=headers, json={"name": "ci", "scopes": ["submit"]})
    assert created.status_code == 201
    with service.database.read() as session:
        addresses = session.scalars(select(Audit.address).where(Audit.actor == "masquerading")).all()
    assert addresses == ["127.0.0.1"]


@pytest.mark.serial
def test_trusted_proxy_address_is_used_and_users_are_limited_across_addresses(
    tmp_path: Path,
) -> None:
    with Service(tmp_path, requests_per_minute=2, trusted_proxies="10.0.0.1, 127.0.0.0/8") as service:
        codes = [service.client.get("/benchmarks", headers=_forwarded_from(number)).status_code for number in range(4)]
        assert codes == [200] * 4
        user = {"Authorization": f"Bearer {service.token('ann')}"}
        answers = (
            service.client.get("/users/me", headers=user | _forwarded_from(4 + number)) for number in range(MANY)
        )
        assert _count_allowed(answer.status_code == 200 for answer in answers) in {2, 3}
