"""Key sets of issuers: fetched once, kept, renewed when keys change, and never empty."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.accounts import identity_tokens, key_sets
from app.accounts.key_sets import IssuerUnavailableError, usable_keys
from ldsboard.problems import ProblemError
from tests.app.event_loop import run_in_loop
from tests.app.oidc.exchange import AUDIENCE, Exchange
from tests.app.oidc.provider import MOVED_PATH, CiProvider, public_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def rotated_key(provider: CiProvider) -> Iterator[None]:
    """A key with which the provider can sign, and which it does not publish yet."""
    provider.signing_keys["next"] = ec.generate_private_key(ec.SECP256R1())
    provider.fetches = 0
    yield
    del provider.signing_keys["next"]


def _code(exchange: Exchange, key: str = "rsa", **headers: Any) -> str:
    """Return the code with which a token is refused, or an empty text if it is accepted."""
    try:
        exchange.verify(exchange.provider.sign(exchange.provider.github_claims(), key, **headers))
    except ProblemError as error:
        return error.problem.code
    return ""


def test_key_set_is_fetched_once_an_hour(exchange: Exchange, provider: CiProvider) -> None:
    assert [_code(exchange), _code(exchange), provider.fetches] == ["", "", 1]
    exchange.time += key_sets.FRESH_SECONDS + 1
    assert [_code(exchange), _code(exchange), provider.fetches] == ["", "", 2]


def test_unknown_key_renews_the_key_set_at_most_once_a_minute(exchange: Exchange, provider: CiProvider) -> None:
    assert _code(exchange) == ""
    assert [_code(exchange, "next"), provider.fetches] == ["oidc.key", 1]  # within the cool-down
    exchange.time += key_sets.COOL_DOWN_SECONDS
    assert [_code(exchange, kid="unknown"), _code(exchange, kid="other"), provider.fetches] == [
        "oidc.key",
        "oidc.key",
        2,
    ]


def test_rotated_keys_are_found(exchange: Exchange, provider: CiProvider) -> None:
    assert [_code(exchange), _code(exchange, "next")] == ["", "oidc.key"]
    provider.keys = [public_key(provider.signing_keys["next"], "next")]
    exchange.time += key_sets.COOL_DOWN_SECONDS
    assert [_code(exchange, "next"), provider.fetches] == ["", 2]
    assert _code(exchange) == "oidc.key"  # the old key is gone


NO_KEYS = [
    b'{"keys": []}',
    b"{}",
    b"[]",
    b"<html>",
    b"",
    b"\xff",
    b'{"keys": {}}',
    b"[" * 100_000,
    b'{"keys": [7, {}]}',
]


@pytest.mark.parametrize("answer", NO_KEYS)
def test_answer_without_keys_is_never_kept(exchange: Exchange, provider: CiProvider, answer: bytes) -> None:
    provider.answer = answer
    assert [_code(exchange), _code(exchange), provider.fetches] == ["oidc.unavailable", "oidc.unavailable", 1]
    provider.answer = None
    exchange.time += key_sets.RETRY_SECONDS
    assert [_code(exchange), provider.fetches] == ["", 2]


@pytest.mark.parametrize("fault", ["empty", "status", "redirect", "large", "closed"])
def test_keys_stay_for_a_day_if_they_cannot_be_renewed(exchange: Exchange, provider: CiProvider, fault: str) -> None:
    assert _code(exchange) == ""
    if fault == "closed":
        issuer = exchange.issuers[provider.github]
        exchange.issuers[provider.github] = type(issuer)(
            issuer.address, "github", "http://127.0.0.1:1/keys", issuer.site
        )
    elif fault == "redirect":
        provider.status, provider.location = 302, provider.address + MOVED_PATH
    else:
        provider.answer = {"empty": b'{"keys": []}', "large": b" " * key_sets.MAX_BYTES + b"{}"}.get(fault)
        provider.status = 503 if fault == "status" else 200
    exchange.time += key_sets.FRESH_SECONDS + 1
    assert [_code(exchange), _code(exchange, "ec")] == ["", ""]
    exchange.time += key_sets.KEPT_SECONDS
    assert _code(exchange) == "oidc.unavailable"


def test_new_key_is_not_called_unknown_while_the_key_set_cannot_be_renewed(
    exchange: Exchange, provider: CiProvider
) -> None:
    assert _code(exchange) == ""
    provider.answer = b'{"keys": []}'
    exchange.time += key_sets.COOL_DOWN_SECONDS
    assert [_code(exchange, "next"), _code(exchange, "next"), provider.fetches] == [
        "oidc.unavailable",
        "oidc.unavailable",
        2,
    ]


def test_unavailable_issuer_says_when_to_try_again(exchange: Exchange, provider: CiProvider) -> None:
    provider.status = 500
    with pytest.raises(IssuerUnavailableError, match=r"cannot be fetched.*Try again in 5 seconds") as raised:
        exchange.verify(provider.sign(provider.github_claims()))
    assert raised.value.retry_after == 5


def test_simultaneous_requests_share_one_fetch(exchange: Exchange, provider: CiProvider) -> None:
    tokens = [provider.sign(provider.github_claims()) for _ in range(30)]

    async def verify_all() -> list[Any]:
        calls = [identity_tokens.verify(token, exchange.issuers, exchange.key_sets, AUDIENCE) for token in tokens]
        return await asyncio.gather(*calls)

    assert len(run_in_loop(verify_all())) == 30
    assert provider.fetches == 1


def test_issuers_have_separate_keys(exchange: Exchange, provider: CiProvider) -> None:
    assert _code(exchange) == ""
    provider.keys = [public_key(provider.signing_keys["next"], "rsa")]
    with pytest.raises(ProblemError) as raised:
        exchange.verify(provider.sign(provider.gitlab_claims()))
    assert raised.value.problem.code == "oidc.algorithm"  # GitLab publishes an EC key under the same id
    assert _code(exchange) == ""


def _unusable(provider: CiProvider) -> dict[str, dict[str, Any]]:
    key = public_key(provider.rsa, "rsa")
    return {
        "no id": {name: value for name, value in key.items() if name != "kid"},
        "empty id": key | {"kid": ""},
        "id of another type": key | {"kid": 7},
        "other purpose": key | {"use": "enc"},
        "other algorithm": key | {"alg": "RS512"},
        "symmetric": {"kty": "oct", "k": "AQAB", "kid": "rsa", "alg": "HS256"},
        "private": key | {"d": "AQAB"},
        "broken number": key | {"n": "*"},
        "without number": {name: value for name, value in key.items() if name != "n"},
        "short": public_key(rsa.generate_private_key(65537, 1024), "rsa"),  # noqa: S505 -- must be refused
        "other curve": public_key(ec.generate_private_key(ec.SECP384R1()), "rsa"),
        "type of another type": key | {"kty": ["RSA"]},
    }


UNUSABLE = [
    "no id",
    "empty id",
    "id of another type",
    "other purpose",
    "other algorithm",
    "symmetric",
    "private",
    "broken number",
    "without number",
    "short",
    "other curve",
    "type of another type",
]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_keys_are_skipped(provider: CiProvider, kind: str) -> None:
    entries = [_unusable(provider)[kind], public_key(provider.ec, "good")]
    assert usable_keys(json.dumps({"keys": entries}).encode()).keys() == {"good"}


def test_key_without_purpose_and_algorithm_is_usable(provider: CiProvider) -> None:
    key = {name: value for name, value in public_key(provider.rsa, "rsa").items() if name not in ("use", "alg")}
    assert usable_keys(json.dumps({"keys": [key]}).encode())["rsa"].algorithm_name == "RS256"
