"""Export of everything that the service stores about a user, as one JSON object in pieces of bounded size.

The results in the export come from `submission_views`, which rounds numbers from hidden subsets.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, inspect, or_, select
from sqlalchemy.orm import joinedload

from app.accounts.audit import OPERATOR
from app.accounts.users import read_only_account
from app.db.accounts import Audit, Identity, Publisher, Token, User
from app.db.base import CodePointOrder
from app.db.models import Alias, Benchmark, Event, Submission, Version
from app.db.review_links import ReviewLink
from app.db.uploads import Idempotency, Provenance, Upload
from app.db.webhooks import Webhook, WebhookCall
from app.leaderboard.falls import counterfactual_view
from app.results.current_evaluation import current_evaluations
from app.results.submission_views import submission_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.accounts.users import Account
    from app.db.base import Base
    from app.db.sessions import Database

BATCH = 100
"""Number of submissions or audit rows that are read from the database at once."""

OTHERS = "(another user)"
"""Text that stands for another user in the audit log."""

OTHER_SUBMISSION = "(another or a deleted submission)"
"""Text that stands for a submission in the audit log that is not, or no longer, a submission of the user."""

WITHHELD_COLUMNS = {
    "id",
    "user_id",
    "submission_id",
    "digest",
    "secret",
    "session_generation",
    "served_at",
    "retired_name",
}
"""Columns that the export leaves out: secrets, hashes of tokens, and values without a meaning outside the database."""


ACCOUNT_ACTIONS = ("user.", "token.", "publisher.", "webhook.")
"""First characters of the actions whose subject in the audit log is a user name."""


def export_account(database: Database, user_id: int) -> Iterator[str]:
    """Yield the JSON text of everything that is stored about a user, in pieces; `WITHHELD_COLUMNS` are left out.

    No database session is open between two pieces, so that a slow download does not keep a transaction open.
    """
    with database.read() as session:
        user = session.get_one(User, user_id)
        account = read_only_account(user)
        text = json.dumps(_account_parts(session, user), default=_timestamp, ensure_ascii=False)
        submission_ids = session.scalars(
            select(Submission.id).where(Submission.user_id == user_id).order_by(Submission.created_at, Submission.id)
        ).all()
        audit_ids = session.scalars(select(Audit.id).where(_concerns(user)).order_by(Audit.id)).all()
    yield text.removesuffix("}")
    yield from _list(database, account, "submissions", submission_ids, _submissions)
    yield from _list(database, account, "audit", audit_ids, _audit_rows)
    yield "}\n"


def _list(
    database: Database,
    account: Account,
    name: str,
    ids: Sequence[Any],
    read: Callable[[Session, Sequence[Any], Account], list[dict[str, Any]]],
) -> Iterator[str]:
    """Yield, in pieces, the text of one member of the JSON object: the name and a list.

    Parameters
    ----------
    ids
        Ids of the rows to export, in the order of the list.
    read
        Function that returns the elements of the list for at most `BATCH` ids.
    """
    yield f', "{name}": ['
    separator = ""
    for start in range(0, len(ids), BATCH):
        with database.read() as session:
            rows = read(session, ids[start : start + BATCH], account)
        for row in rows:
            yield separator + json.dumps(row, default=_timestamp, ensure_ascii=False)
            separator = ",\n"
    yield "]"


def _account_parts(session: Session, user: User) -> dict[str, Any]:
    """Return the members of the export that come before ``submissions`` and ``audit``, without `WITHHELD_COLUMNS`.

    The members are the account of the user and lists of the user's identities, tokens, publishers, webhooks and aliases.
    """
    aliases = (
        select(Benchmark.name, Alias.number)
        .join(Alias)
        .where(Alias.user_id == user.id)
        .order_by(CodePointOrder(Benchmark.name))
    )
    return {
        "account": _values(user),
        "identities": [_values(row) for row in session.scalars(select(Identity).where(Identity.user_id == user.id))],
        "tokens": [_values(row) for row in session.scalars(select(Token).where(Token.user_id == user.id))],
        "publishers": [_values(row) for row in session.scalars(select(Publisher).where(Publisher.user_id == user.id))],
        "webhooks": [
            {"id": row.id} | _values(row) for row in session.scalars(select(Webhook).where(Webhook.user_id == user.id))
        ],
        "aliases": [{"benchmark": name, "number": number} for name, number in session.execute(aliases)],
    }


def _submissions(session: Session, ids: Sequence[str], account: Account) -> list[dict[str, Any]]:
    """Return submissions as their owner sees them, each with the rows of other tables that belong to the submission."""
    with_benchmark = joinedload(Submission.version).joinedload(Version.benchmark)
    query = select(Submission).where(Submission.id.in_(ids)).order_by(Submission.created_at, Submission.id)
    rows = session.scalars(query.options(with_benchmark)).all()
    events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    # The detail of an event is left out: it can quote an error of the server.
    for event in session.scalars(select(Event).where(Event.submission_id.in_(ids)).order_by(Event.id)):
        events[event.submission_id].append({"at": event.at, "before": event.before, "after": event.after})
    provenances = _by_submission(session, Provenance, ids)
    keys, uploads = _by_submission(session, Idempotency, ids), _by_submission(session, Upload, ids)
    calls, links = _by_submission(session, WebhookCall, ids), _by_submission(session, ReviewLink, ids)
    evaluations = current_evaluations(session, rows)
    views = submission_views(session, rows, account, evaluations)
    for view in views:
        if (evaluation := evaluations.get(view.id)) is not None:
            view.counterfactual = counterfactual_view(session, evaluation.version, view.id)
    return [
        view.model_dump(mode="json")
        | {
            "size": row.size,
            "counted": row.counted,
            "events": events[row.id],
            "provenances": provenances[row.id],
            "idempotency_keys": keys[row.id],
            "uploads": uploads[row.id],
            "webhook_calls": calls[row.id],
            "review_links": links[row.id],
        }
        for row, view in zip(rows, views, strict=True)
    ]


def _by_submission(
    session: Session, table: type[Provenance | Idempotency | Upload | WebhookCall | ReviewLink], ids: Sequence[str]
) -> defaultdict[str, list[dict[str, Any]]]:
    """Return, for each submission id, the rows of a table that belong to the submission, each as a dictionary from `_values`."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    row: Any  # mypy infers the common base class of the tables, which has no submission_id
    for row in session.scalars(select(table).where(table.submission_id.in_(ids))):
        found[row.submission_id].append(_values(row))
    return found


def _concerns(user: User) -> Any:
    """Return the SQL condition that selects the audit rows by a user, about the user, or about a submission of the user.

    The subject of a row is a user name or a submission id, depending on the action. The condition checks the action too, because
    a user name can equal a submission id.
    """
    is_about_submission = Audit.action.startswith("submission.")
    own_ids = select(Submission.id).where(Submission.user_id == user.id)
    return or_(
        Audit.actor == user.name,
        and_(Audit.subject == user.name, or_(*map(Audit.action.startswith, ACCOUNT_ACTIONS))),
        and_(Audit.subject.in_(own_ids), is_about_submission),
    )


def _audit_rows(session: Session, ids: Sequence[int], account: Account) -> list[dict[str, Any]]:
    """Return the audit rows with these ids as dictionaries, without data about users other than `account`.

    If another user acted, such as an admin, the actor is `OTHERS` and the address is None. `_masked_subject` hides the subject
    and the detail of a row about another user or about a submission that is deleted or belongs to another user.
    """
    rows = session.scalars(select(Audit).where(Audit.id.in_(ids)).order_by(Audit.id)).all()
    own_ids = select(Submission.id).where(
        Submission.user_id == account.id, Submission.id.in_([row.subject for row in rows])
    )
    own = set(session.scalars(own_ids))
    return [
        _values(row)
        | ({} if row.actor in (account.name, OPERATOR.name) else {"actor": OTHERS, "address": None})
        | _masked_subject(row, account, own)
        for row in rows
    ]


def _masked_subject(row: Audit, account: Account, own: set[str]) -> dict[str, Any]:
    """Return values that hide the subject and the detail of an audit row.

    The result is empty if the row is about `account` or about a submission in `own`, the ids of the account's submissions.
    """
    is_about_submission = row.action.startswith("submission.")
    if row.subject in own if is_about_submission else row.subject == account.name:
        return {}
    return {"subject": OTHER_SUBMISSION if is_about_submission else OTHERS, "detail": None}


def _timestamp(value: datetime) -> str:
    """Return a time as ISO 8601 text, for `json.dumps`; times are the only exported values that JSON cannot represent."""
    return value.isoformat()


def _values(row: Base) -> dict[str, Any]:
    """Return the values of a row by column, without `WITHHELD_COLUMNS`."""
    columns = inspect(type(row)).column_attrs.keys()
    return {name: getattr(row, name) for name in columns if name not in WITHHELD_COLUMNS}
