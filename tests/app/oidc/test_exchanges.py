"""Exchanges of identity tokens: each works once and counts; and what ends publishers, tokens and marks of used tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete

from app.accounts import publishers, tokens, users
from app.accounts.audit import OPERATOR
from app.accounts.daily_quotas import DailyQuotas
from app.accounts.quotas import Quotas, count_tokens
from app.api.single_upload import _Upload
from app.db.accounts import SeenIdentity, Token, User
from app.db.base import now
from app.errors import QuotaError
from app.management import moderation, trust
from app.management.retention import Periods, sweep
from app.settings import Settings
from app.submissions.folder_storage import FolderStorage
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.oidc.exchange import Exchange
    from tests.app.oidc.provider import CiProvider


@pytest.mark.parametrize("issuer", ["github", "forgejo"])
def test_identity_token_is_exchanged_once(exchange: Exchange, provider: CiProvider, issuer: str) -> None:
    exchange.register()
    forgejo = {"issuer": provider.forgejo, "repository_id": "84", "owner_id": "9"}
    exchange.register(**forgejo, workflow=".forgejo/workflows/lds.yml")
    verified = exchange.verify(provider.sign(getattr(provider, f"{issuer}_claims")()))
    exchange.mint_verified(verified)
    with pytest.raises(ProblemError, match="was exchanged for a token before"):
        exchange.mint_verified(verified)


def test_identity_that_expires_while_it_waits_is_refused(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register()
    verified = exchange.verify(provider.sign(provider.github_claims()))
    exchange.mint_verified(verified)
    with exchange.database.write() as session:  # as retention does after the expiry
        session.execute(delete(SeenIdentity))
    with pytest.raises(ProblemError) as refused:
        exchange.mint_verified(replace(verified, expires_at=now()))
    assert refused.value.problem.code == "oidc.expired"
    assert exchange.rows() == (1, 0)


def test_refused_identity_token_can_be_sent_again(exchange: Exchange, provider: CiProvider) -> None:
    verified = exchange.verify(provider.sign(provider.github_claims()))
    with pytest.raises(ProblemError, match="trusts for the method"):
        exchange.mint_verified(verified)
    exchange.register()
    assert exchange.mint_verified(verified)


def test_banned_owner_gets_no_token(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register()
    _, value = exchange.mint(provider.github_claims())
    with exchange.database.write() as session:
        moderation.ban(session, "alice", "spam", "the operator", OPERATOR)
    assert exchange.refusal(provider.github_claims()).code == "auth.banned"
    with exchange.database.read() as session, pytest.raises(ProblemError, match="banned"):
        users.authenticate(session, f"Bearer {value}")


def test_daily_quota_counts_exchanges(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register()
    exchange.quotas = Quotas(5, 30, daily=DailyQuotas(mints=2, tokens=1))
    exchange.mint(provider.github_claims())
    exchange.mint(provider.github_claims())
    with pytest.raises(QuotaError, match="2 CI tokens") as raised:
        exchange.mint(provider.github_claims())
    assert raised.value.retry_after is not None


def test_tokens_of_runs_are_neither_listed_nor_counted_and_expired_ones_go(
    exchange: Exchange, provider: CiProvider
) -> None:
    publisher = exchange.register()
    first, _ = exchange.mint(provider.github_claims())
    with exchange.database.write() as session:
        own, _ = tokens.create(session, session.get_one(User, publisher.user_id), name="ci-own", expires_at=now())
        session.get_one(Token, first.id).expires_at = now() - timedelta(seconds=1)
    second, _ = exchange.mint(provider.github_claims())
    with exchange.database.read() as session:
        assert [token.id for token in tokens.list_tokens(session, publisher.user_id)] == [own.id]
        assert count_tokens(session, publisher.user_id) == 1
        assert {token.name for token in session.query(Token)} == {"ci-own", second.name}


def test_removal_ends_the_tokens_of_the_publisher_alone(exchange: Exchange, provider: CiProvider) -> None:
    first, second = exchange.register(), exchange.register(method="theirs")
    exchange.mint(provider.github_claims())
    kept, _ = exchange.mint(provider.github_claims(), method="theirs")
    with exchange.database.write() as session:
        tokens.create(session, session.get_one(User, first.user_id), name="own")
        publishers.remove(session, first.user_id, first.id)
        assert [row.id for row in publishers.list_publishers(session, first.user_id)] == [second.id]
        assert {token.name for token in session.query(Token)} == {"own", kept.name}
    assert exchange.refusal(provider.github_claims()).code == "oidc.publisher"


def test_removal_stops_an_upload_that_was_admitted_before_and_begins_after(
    exchange: Exchange, provider: CiProvider
) -> None:
    publisher = exchange.register()
    _, value = exchange.mint(provider.github_claims())
    with exchange.database.write() as session:
        account = users.authenticate(session, f"Bearer {value}")
        trust.remove_publisher(session, publisher.user_id, OPERATOR, publisher.id)
    context: Any = SimpleNamespace(database=exchange.database)
    request: Any = None
    with pytest.raises(ProblemError, match="revoked during this call"):
        _Upload(context, account, request, request, None).reserve()


def test_publisher_of_another_user_is_unknown(exchange: Exchange) -> None:
    publisher, other = exchange.register(), exchange.register("bob")
    with exchange.database.write() as session, pytest.raises(ProblemError, match="You have no trusted workflow"):
        publishers.remove(session, other.user_id, publisher.id)


def test_retention_deletes_expired_tokens_of_runs_and_used_identities(
    exchange: Exchange, provider: CiProvider, tmp_path: Path
) -> None:
    publisher = exchange.register()
    periods, storage = Periods.of(Settings()), FolderStorage(tmp_path / "files")
    for _ in range(3):
        exchange.mint(provider.github_claims())
    with exchange.database.write() as session:
        tokens.create(session, session.get_one(User, publisher.user_id), name="own", expires_at=now())
    assert not any(sweep(exchange.database, storage, periods))
    with exchange.database.write() as session:
        first, second, _ = session.query(Token).filter(Token.claims.is_not(None))
        first.expires_at = second.expires_at = now()
        used, *_ = session.query(SeenIdentity)
        used.expires_at = now()
    deleted = sweep(exchange.database, storage, periods)
    assert (deleted.ended_tokens, deleted.used_identities) == (2, 1)
    assert exchange.rows() == (2, 2)


def test_mark_of_a_used_identity_lasts_as_long_as_the_identity(exchange: Exchange, provider: CiProvider) -> None:
    exchange.register()
    claims = provider.github_claims()
    exchange.mint(claims)
    with exchange.database.read() as session:
        (used,) = session.query(SeenIdentity)
    assert used.expires_at.timestamp() == claims["exp"] + 30
