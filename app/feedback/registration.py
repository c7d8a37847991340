"""Registration and removal of webhooks by their owner, with quotas and audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts import webhooks
from app.accounts.audit import Action, record_action
from app.accounts.daily_quotas import Daily

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor
    from app.accounts.daily_quotas import DailyQuotas
    from app.db.webhooks import Webhook
    from app.feedback.addresses import Addresses


def register(
    session: Session, user_id: int, actor: Actor, url: str, addresses: Addresses, limit: int, quotas: DailyQuotas
) -> Webhook:
    """Register a webhook of a user, and record this in the audit log, without the address: an address can hold a secret.

    Parameters
    ----------
    limit
        Maximum number of webhooks of one user.

    Raises
    ------
    ProblemError
        ``webhook.address``: webhooks are not allowed to call this address.
        ``quota.exceeded``: the daily quota of new webhooks is used up.
        ``quota.webhooks``: the user has `limit` webhooks.
        ``request.conflict``: the user already has a webhook with this address.
        ``auth.banned``, ``auth.deleted``: the account was banned or deleted.
    """
    addresses.check(url)
    quotas.check(session, user_id, Daily.WEBHOOKS)
    webhook = webhooks.register(session, user_id, url, limit)
    record_action(session, actor, Action.WEBHOOK_CREATED, actor.name, webhook=webhook.id)
    return webhook


def remove(session: Session, user_id: int, actor: Actor, webhook_id: int) -> None:
    """Delete a webhook of a user and its calls, and record this in the audit log.

    Raises
    ------
    ProblemError
        ``webhook.unknown``: the user has no such webhook.
    """
    webhooks.remove(session, user_id, webhook_id)
    record_action(session, actor, Action.WEBHOOK_REMOVED, actor.name, webhook=webhook_id)
