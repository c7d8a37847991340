"""Verification of identity tokens: signature, issuer, key, audience and times."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ldsboard.problems import PROBLEMS, ProblemError
from tests.app.oidc.exchange import AUDIENCE, Exchange

if TYPE_CHECKING:
    from tests.app.oidc.provider import CiProvider

NOW = int(time.time())


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _refused(exchange: Exchange, token: str, code: str) -> str:
    """Check that a token is refused with a code and the status 422; return the text of the problem."""
    with pytest.raises(ProblemError) as raised:
        exchange.verify(token)
    problem = raised.value.problem
    assert (problem.code, PROBLEMS[problem.code].status) == (code, 422), str(problem)
    return str(problem)


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_token_of_a_trusted_issuer_is_accepted(exchange: Exchange, provider: CiProvider, key: str) -> None:
    claims = provider.github_claims()
    verified = exchange.verify(provider.sign(claims, key))
    assert (verified.claims, verified.issuer.address) == (claims, provider.github)


def test_thirty_more_claims_do_not_matter(exchange: Exchange, provider: CiProvider) -> None:
    more = {f"claim_{number}": [number, {"deep": None}] for number in range(30)}
    assert exchange.verify(provider.sign(provider.github_claims() | more)).claims["claim_29"] == [29, {"deep": None}]


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"aud": "https://other.example"}, "oidc.audience", "the claim aud"),
        ({"aud": [AUDIENCE, "https://other.example"]}, "oidc.audience", "the claim aud"),
        ({"aud": [AUDIENCE, AUDIENCE]}, "oidc.audience", "the claim aud"),
        ({"aud": []}, "oidc.audience", "the claim aud"),
        ({"aud": None}, "oidc.audience", "the claim aud"),
        ({"aud": AUDIENCE + "/"}, "oidc.audience", "the claim aud"),
        ({"iss": "https://evil.example"}, "oidc.issuer", "the claim iss"),
        ({"iss": None}, "oidc.issuer", "the claim iss"),
        ({"exp": NOW - 31}, "oidc.expired", "the claim exp"),
        ({"exp": None}, "oidc.claim", "the claim exp"),
        ({"exp": NOW + 32 * 86400}, "oidc.claim", "the claim exp"),
        ({"exp": 1e400}, "oidc.claim", "the claim exp"),
        ({"exp": 10**30}, "oidc.claim", "the claim exp"),
        ({"exp": True}, "oidc.claim", "the claim exp"),
        ({"iat": str(NOW)}, "oidc.claim", "the claim iat"),
        ({"iat": None}, "oidc.claim", "the claim iat"),
        ({"iat": NOW + 3600, "exp": NOW + 7200}, "oidc.early", "the claim iat"),
        ({"nbf": NOW + 3600}, "oidc.early", "the claim nbf"),
        ({"nbf": None}, "oidc.claim", "the claim nbf"),
        ({"jti": None}, "oidc.claim", "no claim jti"),
        ({"jti": ""}, "oidc.claim", "the claim jti"),
        ({"jti": 7}, "oidc.claim", "the claim jti"),
        ({"jti": "\ud800"}, "oidc.claim", "the claim jti"),
        ({"jti": "a\n"}, "oidc.claim", "the claim jti"),
        ({"jti": "a\0"}, "oidc.claim", "the claim jti"),
        ({"jti": "\u202ea"}, "oidc.claim", "the claim jti"),
        ({"jti": "x" * 201}, "oidc.claim", "the claim jti"),
    ],
)
def test_token_with_a_wrong_claim_is_refused_and_the_claim_is_named(
    exchange: Exchange, provider: CiProvider, changes: dict[str, Any], code: str, named: str
) -> None:
    header, claims = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}, provider.github_claims() | changes
    if claims["iss"] is None:
        del claims["iss"]
    signed = f"{_encoded(header)}.{_encoded(claims)}"
    signature = provider.rsa.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    token = f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert named in _refused(exchange, token, code)


@pytest.mark.parametrize(("name", "offset"), [("exp", -20), ("iat", 20), ("nbf", 20)])
def test_clocks_may_differ_by_half_a_minute(exchange: Exchange, provider: CiProvider, name: str, offset: int) -> None:
    moment = int(time.time())
    verified = exchange.verify(provider.sign(provider.github_claims() | {name: moment + offset}))
    assert verified.expires_at.timestamp() == verified.claims["exp"] + 30


def test_token_without_nbf_is_accepted(exchange: Exchange, provider: CiProvider) -> None:
    assert "nbf" not in exchange.verify(provider.sign(provider.github_claims(nbf=None))).claims


def test_single_audience_may_be_a_list(exchange: Exchange, provider: CiProvider) -> None:
    assert exchange.verify(provider.sign(provider.github_claims(aud=[AUDIENCE]))).claims["aud"] == [AUDIENCE]


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS512", "PS256", "", None, ["RS256"]])
def test_other_algorithms_are_refused(exchange: Exchange, provider: CiProvider, algorithm: Any) -> None:
    token = f"{_encoded({'alg': algorithm, 'kid': 'rsa'})}.{_encoded(provider.github_claims())}."
    assert "RS256 or ES256" in _refused(exchange, token, "oidc.algorithm")


@pytest.mark.parametrize("form", ["pem", "der"])
def test_public_key_as_the_secret_of_an_hmac_is_refused(exchange: Exchange, provider: CiProvider, form: str) -> None:
    encoding = serialization.Encoding.PEM if form == "pem" else serialization.Encoding.DER
    secret = provider.rsa.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{_encoded({'alg': 'HS256', 'kid': 'rsa'})}.{_encoded(provider.github_claims())}"
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode().rstrip("=")
    _refused(exchange, f"{signed}.{signature}", "oidc.algorithm")


def test_algorithm_belongs_to_the_key(exchange: Exchange, provider: CiProvider) -> None:
    _refused(exchange, provider.sign(provider.github_claims(), "rsa", kid="ec"), "oidc.algorithm")


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_signature_of_another_key_is_refused(exchange: Exchange, provider: CiProvider, key: str) -> None:
    other: Any = rsa.generate_private_key(65537, 2048) if key == "rsa" else ec.generate_private_key(ec.SECP256R1())
    provider.signing_keys["other"] = other
    token = provider.sign(provider.github_claims(), "other", kid=key)
    del provider.signing_keys["other"]
    _refused(exchange, token, "oidc.signature")


def test_changed_claims_are_refused(exchange: Exchange, provider: CiProvider) -> None:
    header, _, signature = provider.sign(provider.github_claims()).split(".")
    _refused(exchange, f"{header}.{_encoded(provider.github_claims(repository_id='1'))}.{signature}", "oidc.signature")


@pytest.mark.parametrize("key_id", [None, "", 7, "x" * 201])
def test_token_without_the_id_of_its_key_is_refused(exchange: Exchange, provider: CiProvider, key_id: Any) -> None:
    header = {"alg": "RS256", "typ": "JWT"} | ({} if key_id is None else {"kid": key_id})
    token = f"{_encoded(header)}.{_encoded(provider.github_claims())}.{_encoded({})}"
    # PyJWT itself refuses an id that is no text.
    _refused(exchange, token, "oidc.invalid" if key_id == 7 else "oidc.key")
    assert exchange.key_sets._sets == {}


def test_addresses_in_the_token_are_not_used(exchange: Exchange, provider: CiProvider) -> None:
    own = rsa.generate_private_key(65537, 2048)
    provider.signing_keys["own"] = own
    headers = {"jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/", "jwk": {"kty": "RSA", "n": "AQAB"}}
    token = provider.sign(provider.github_claims(), "own", kid="rsa", **headers)
    del provider.signing_keys["own"]
    _refused(exchange, token, "oidc.signature")


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "....", "e30.e30.", "W10.W10.W10", "eyJhbGciOiJSUzI1NiJ9.W10.W10", "é.é.é"]
)
def test_text_that_is_no_token_is_refused(exchange: Exchange, token: str) -> None:
    with pytest.raises(ProblemError) as raised:
        exchange.verify(token)
    assert raised.value.problem.code in ("oidc.invalid", "oidc.algorithm", "oidc.key")


def test_deeply_nested_claims_are_refused(exchange: Exchange) -> None:
    payload = base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=")
    _refused(exchange, f"{_encoded({'alg': 'RS256', 'kid': 'rsa'})}.{payload}.AA", "oidc.invalid")


def test_second_signature_of_a_token_is_recognised(exchange: Exchange, provider: CiProvider) -> None:
    claims = provider.forgejo_claims()
    token = provider.sign(claims, "ec")
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    second = f"{signed}.{base64.urlsafe_b64encode(other).decode().rstrip('=')}"
    assert second != token
    assert exchange.verify(second).digest == exchange.verify(token).digest


def test_digest_depends_on_issuer_and_jti_alone(exchange: Exchange, provider: CiProvider) -> None:
    def digest(claims: dict[str, Any]) -> str:
        return exchange.verify(provider.sign(claims)).digest

    assert digest(provider.github_claims(jti="a", sha="1")) == digest(provider.github_claims(jti="a", sha="2"))
    assert digest(provider.github_claims(jti="a")) != digest(provider.gitlab_claims(jti="a"))
    assert digest(provider.forgejo_claims(sha="1")) != digest(provider.forgejo_claims(sha="2"))
