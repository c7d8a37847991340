"""Minting: the exchange of the verified identity of a CI run for a token that lives for some minutes."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from app.accounts import tokens
from app.accounts.audit import Action, Actor, record_action
from app.accounts.ci_identities import read_identity
from app.accounts.daily_quotas import Daily
from app.accounts.publishers import find_publisher
from app.db.accounts import Scope, SeenIdentity, Token
from app.db.base import now
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.accounts.identity_tokens import VerifiedToken
    from app.accounts.quotas import Quotas

LIFETIME = timedelta(minutes=15)
"""Lifetime of the token of a CI run."""

NAME_PREFIX = "ci-"
"""Prefix of the names of the tokens of CI runs."""


def mint(
    session: Session, verified: VerifiedToken, method: str, owner: str, quotas: Quotas, address: str
) -> tuple[Token, str]:
    """Exchange an identity token for a new token of the user who trusts the workflow.

    Return the database row of the new token, and the new token itself as a text. With the new token, the run can send and read
    submissions of `method`, and of no other method. Files that are sent with the new token get the provenance that the identity
    token states. The expired tokens of the user's CI runs are deleted, and the exchange is recorded in the audit log.

    If this function raises an error, the caller must roll the transaction back. The identity token then stays unused, and can be
    sent again once the cause of the error is removed.

    Parameters
    ----------
    owner
        Name of the user.
    address
        Network address of the caller, for the audit log.

    Raises
    ------
    QuotaError
        The CI workflows of the user have got as many tokens as the daily quota allows.
    ProblemError
        ``oidc.used``: the identity token was exchanged before.
        ``oidc.expired``: the identity token expired after its verification.
        Also the errors of `read_identity`, `find_publisher` and `app.accounts.standing.check_standing`.
    """
    identity = read_identity(verified.issuer, verified.claims)
    publisher = find_publisher(session, identity, method, owner)
    user = publisher.user
    quotas.daily.check(session, user.id, Daily.MINTS)
    _take(session, verified)
    session.execute(delete(Token).where(Token.user_id == user.id, Token.id.in_(ended_tokens())))
    token, value = tokens.create(
        session,
        user,
        name=f"{NAME_PREFIX}{secrets.token_hex(8)}",
        scopes=[Scope.SUBMIT],
        expires_at=now() + LIFETIME,
        method=method,
        claims=identity.as_dict() | {"publisher": publisher.id},
    )
    publisher.used_at, publisher.repository = now(), identity.repository
    publisher.offered_environment = identity.environment if publisher.environment is None else None
    actor, run = Actor(user.name, address), identity.url or identity.repository
    record_action(session, actor, Action.TOKEN_MINTED, user.name, token=token.name, method=method, run=run)
    session.flush()
    return token, value


def _take(session: Session, verified: VerifiedToken) -> None:
    """Record that an identity token is used now.

    Raises
    ------
    ProblemError
        ``oidc.used``: the identity token was used before.
        ``oidc.expired``: the identity token has expired.
    """
    try:
        with session.begin_nested():
            session.add(SeenIdentity(digest=verified.digest, expires_at=verified.expires_at))
    except IntegrityError:
        raise ProblemError(
            "oidc.used",
            "The identity token was exchanged for a token before, and can be exchanged once.",
            "Request a new identity token for every exchange. On GitLab, whose job has one identity token, use the first token, "
            "or give the job two id_tokens.",
        ) from None
    # The request may have waited. Retention may have deleted the mark of an earlier exchange once the token had expired.
    if verified.expires_at <= now():
        raise ProblemError(
            "oidc.expired",
            f"The identity token expired at {verified.expires_at:%Y-%m-%d %H:%M:%S} UTC, before its turn came.",
            "Request a new identity token from your CI provider, and exchange it at once.",
        )


def ended_tokens() -> Select[int]:
    """Return a query that selects the ids of all expired tokens that CI runs have got."""
    return select(Token.id).where(Token.claims.is_not(None), Token.expires_at <= now())


def outdated_identities() -> Select[str]:
    """Return a query that selects the digests of all used identity tokens that have expired."""
    return select(SeenIdentity.digest).where(SeenIdentity.expires_at <= now())
