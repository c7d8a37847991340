"""Verification of identity tokens: the JSON Web Tokens with which CI providers name a run.

A token is trusted only after its signature was verified with a key of an issuer in the settings. The header of the token never
selects an algorithm or an address.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt

from app.accounts.key_sets import ALGORITHMS, MAX_ID_LENGTH, KeySets
from app.db.base import now
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.issuers import Issuer

LEEWAY = timedelta(seconds=30)
"""Accepted difference between the clocks of the issuer and of this server."""

MAX_LIFETIME = timedelta(days=31)
"""Longest lifetime of an accepted token. GitLab's tokens live as long as a job may run, at most a month."""

MAX_LENGTH = 32768
"""Maximum number of characters of an identity token."""

_RENEW = "Request a new identity token from your CI provider, and exchange it at once."


@dataclass(frozen=True)
class VerifiedToken:
    """An identity token whose signature, issuer, audience and times are valid.

    Attributes
    ----------
    digest
        The SHA-256 by which the server recognises a token that is sent again.
    expires_at
        Time after which the token is refused, including the leeway.
    """

    issuer: Issuer
    claims: dict[str, Any]
    digest: str
    expires_at: datetime


async def verify(token: str, issuers: Mapping[str, Issuer], key_sets: KeySets, audience: str) -> VerifiedToken:
    """Return an identity token with its claims and issuer, after a check of the signature, the audience and the times.

    The keys of the issuer are fetched if necessary. An identity token that was exchanged before is not refused here;
    `app.accounts.minting.mint` refuses it.

    Parameters
    ----------
    issuers
        The issuers that the server trusts, by address.
    audience
        The only audience that is accepted.

    Raises
    ------
    ProblemError
        ``oidc.invalid``: the token is no JSON Web Token. ``oidc.algorithm``: the algorithm is not accepted.
        ``oidc.issuer``: the server does not trust the issuer. ``oidc.key``: the issuer has no such key, or none is named.
        ``oidc.signature``: the signature is wrong. ``oidc.audience``: the token is for another audience.
        ``oidc.expired``, ``oidc.early``: the token has expired, or is not valid yet.
        ``oidc.claim``: a time or ``jti`` is missing or malformed, or the lifetime exceeds `MAX_LIFETIME`.
        ``oidc.unavailable``: the keys of the issuer cannot be fetched now (IssuerUnavailableError).
    """
    key_id = _key_id(token)
    issuer = _find_issuer(token, issuers)
    key = await key_sets.find(issuer, key_id)
    try:
        # The algorithm belongs to the key, so a public key can never be used as the secret of an HMAC.
        decoded = jwt.decode_complete(token, key, algorithms=[key.algorithm_name], options=_SIGNATURE_ONLY)
    except jwt.InvalidAlgorithmError as error:
        raise _wrong_algorithm(f"another algorithm than {key.algorithm_name}, to which the key belongs") from error
    except jwt.PyJWTError as error:
        raise ProblemError(
            "oidc.signature", "The signature of the identity token does not match its content.", _RENEW
        ) from error
    claims: dict[str, Any] = decoded["payload"]
    _check_audience(claims, audience)
    expires_at = _check_times(claims)
    return VerifiedToken(issuer, claims, _digest(token, issuer, claims), expires_at + LEEWAY)


_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""Options of PyJWT: `verify` checks the claims itself, because its errors name the claim, what was expected, and what came."""

_UNVERIFIED: Any = _SIGNATURE_ONLY | {"verify_signature": False}
"""Options of PyJWT for a look at the issuer, before the key of its signature is known."""


def _key_id(token: str) -> str:
    """Return the id of the key with which a token claims to be signed; nothing is verified yet.

    Raises
    ------
    ProblemError
        ``oidc.invalid``: the token is no JSON Web Token. ``oidc.algorithm``: the algorithm is not accepted.
        ``oidc.key``: the token names no key.
    """
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise _unreadable() from error
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS.values():
        raise _wrong_algorithm(repr(algorithm)[:40])
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_ID_LENGTH:
        raise ProblemError(
            "oidc.key", "The header of the identity token has no 'kid', which names the key of its signature.", _RENEW
        )
    return key_id


def _find_issuer(token: str, issuers: Mapping[str, Issuer]) -> Issuer:
    """Return the issuer that a token names. The signature of the token is not verified yet.

    Raises
    ------
    ProblemError
        ``oidc.invalid``: the token is no JSON Web Token.
        ``oidc.issuer``: the server does not trust the issuer.
    """
    try:
        claims = jwt.decode_complete(token, options=_UNVERIFIED)["payload"]
    except jwt.PyJWTError as error:
        raise _unreadable() from error
    address = claims.get("iss")
    issuer = issuers.get(address) if isinstance(address, str) else None
    if issuer is None:
        raise ProblemError.mismatch(
            "oidc.issuer",
            expected=f"the claim iss: one of {', '.join(issuers)}",
            got=repr(address)[:200],
            hint="The operator of this server can add an issuer with the setting LDSBOARD_CI_ISSUERS.",
        )
    return issuer


def _check_audience(claims: Mapping[str, Any], audience: str) -> None:
    """Raise ``oidc.audience`` unless a token is for this server and for nobody else."""
    if claims.get("aud") not in (audience, [audience]):
        raise ProblemError.mismatch(
            "oidc.audience",
            expected=f"the claim aud: {audience} alone",
            got=repr(claims.get("aud"))[:200],
            hint="Request an identity token for the audience that GET /api/v1/oidc/audience names.",
        )


def _check_times(claims: Mapping[str, Any]) -> datetime:
    """Return the time at which a token expires, after a check that the token is valid now.

    Raises
    ------
    ProblemError
        ``oidc.claim``: a time is missing or is no valid number, or the lifetime exceeds `MAX_LIFETIME`.
        ``oidc.expired``: the token has expired.
        ``oidc.early``: the token is not valid yet.
    """
    moment = now()
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    valid_from = _time(claims, "nbf") if "nbf" in claims else issued_at
    for name, start in (("iat", issued_at), ("nbf", valid_from)):
        if start > moment + LEEWAY:
            raise ProblemError.mismatch(
                "oidc.early",
                expected=f"the claim {name}: a time that has come",
                got=f"{start:%Y-%m-%d %H:%M:%S} UTC, and it is {moment:%Y-%m-%d %H:%M:%S} UTC",
                hint="Compare the clocks of the issuer and of this server.",
            )
    if expires_at <= moment - LEEWAY:
        raise ProblemError.mismatch(
            "oidc.expired",
            expected="the claim exp: a time to come",
            got=f"{expires_at:%Y-%m-%d %H:%M:%S} UTC, and it is {moment:%Y-%m-%d %H:%M:%S} UTC",
            hint=_RENEW,
        )
    if expires_at - issued_at > MAX_LIFETIME:
        raise ProblemError.mismatch(
            "oidc.claim",
            expected=f"the claim exp: at most {MAX_LIFETIME.days} days after iat",
            got=f"{expires_at:%Y-%m-%d}",
            hint="Request an identity token with a shorter lifetime.",
        )
    return expires_at


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        pass
    raise ProblemError.mismatch(
        "oidc.claim", expected=f"the claim {name}: a number of seconds", got=repr(value)[:80], hint=_RENEW
    )


def _digest(token: str, issuer: Issuer, claims: Mapping[str, Any]) -> str:
    """Return the SHA-256 by which the server recognises a token that is sent again.

    The issuer and the token's id, the claim ``jti``, are hashed. Forgejo's tokens have no ``jti``, so for such a token the issuer
    and the signed part, which is the token without the signature, are hashed. The signature is not hashed, because anybody can
    compute a second valid ECDSA signature of the same token from the first signature.

    Raises
    ------
    ProblemError
        ``oidc.claim``: ``jti`` is malformed, or is missing although the provider is not Forgejo.
    """
    token_id = claims.get("jti")
    if token_id is not None and not (
        isinstance(token_id, str) and 0 < len(token_id) <= MAX_ID_LENGTH and token_id.isprintable()
    ):
        raise ProblemError.mismatch(
            "oidc.claim",
            expected=f"the claim jti: a text of at most {MAX_ID_LENGTH} printable characters",
            got=repr(token_id)[:80],
            hint=_RENEW,
        )
    if token_id is None and issuer.provider != "forgejo":
        raise ProblemError(
            "oidc.claim", "The identity token has no claim jti, so it could be used several times.", _RENEW
        )
    identity = f"jti\n{token_id}" if token_id is not None else f"token\n{token.rpartition('.')[0]}"
    return hashlib.sha256(f"{issuer.address}\n{identity}".encode()).hexdigest()


def _unreadable() -> ProblemError:
    return ProblemError("oidc.invalid", "The identity token is no signed JSON Web Token.", _RENEW)


def _wrong_algorithm(got: str) -> ProblemError:
    return ProblemError.mismatch(
        "oidc.algorithm", expected=f"a token signed with {' or '.join(ALGORITHMS.values())}", got=got, hint=_RENEW
    )
