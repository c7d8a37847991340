"""History of a method: the LDS of every commit that sent a file, each compared with one baseline.

A history has one row for each provenance of a submission, because several commits can send the same file: the submission of the
file then has several provenances. A submission without provenance has one row. A history contains no anonymous submission, not
even for the owner: a program of the owner can print the ids of a history in a public log of CI, which would reveal the owner.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, func, null, or_, select

from app.db.accounts import Role, User
from app.db.base import CodePointOrder
from app.db.models import Evaluation, Kind, Measurement, State, Submission, Visibility
from app.db.uploads import Provenance
from app.leaderboard.averages import mean_of
from app.leaderboard.disclosure import round_for_publication
from app.results.baselines import find_baseline
from app.results.comparison import paired_difference, part_split
from app.results.schemas import DifferenceView, HistoryRow, HistoryView
from app.submissions import provenance
from app.submissions.replicates import counts_as_fitted
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

    from app.accounts.users import Account
    from app.db.models import Version
    from app.results.baselines import Baseline

MARK_LEVEL = 1e-3
"""A row is marked only if its p-value is smaller. At 5 %, a hundred commits without any effect would give five marks."""

MARK_DIFFERENCE = 0.005
"""A row is marked only if its difference from the baseline is larger, in either direction."""

MAX_ROWS = 200
"""Largest number of rows on one page of a history."""

MAX_BRANCHES = 100
"""Largest number of branches that a page offers."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PLACE = re.compile(r"([0-9]{1,16})-([0-9a-f]{16})")
"""A place in a history: the time of a row in microseconds since `EPOCH`, and the id of the row's submission."""


class Wanted(NamedTuple):
    """The rows of a history that a caller asks for: those of one owner and method.

    If ``kind`` or ``branch`` is given, only rows of this kind, or of this branch, are wanted.
    """

    owner: str
    method: str
    kind: Kind | None = None
    branch: str | None = None

    @property
    def part(self) -> str:
        """The subsets on which the LDS of every row is measured: ``ranking`` or ``public``.

        The ranking subsets are used if only ranked submissions are wanted. Practice submissions have an LDS only on the public
        subsets.
        """
        return "ranking" if self.kind is Kind.RANKED else "public"


def method_history(
    session: Session,
    version: Version,
    viewer: Account | None,
    wanted: Wanted,
    *,
    limit: int = 100,
    before: str | None = None,
) -> HistoryView:
    """Return the history of a method on a version of a benchmark, as a viewer may see it, newest row first.

    The owner and admins see all scored submissions except anonymous ones, unless their token is for another method. Everybody
    else sees the public ranked submissions that are not suspended. The history is empty if the owner or the method is unknown, or
    if the viewer may not see any submission.

    Parameters
    ----------
    before
        The field ``next`` of the previous page, to return the page that follows it. None: return the first page.

    Raises
    ------
    ProblemError
        ``request.invalid``: `before` does not have the form of the field ``next``.
    """
    found = _rows(version, viewer, wanted)
    sent_at = _sent_at()
    page = found.order_by(sent_at.desc(), Submission.id.desc(), Provenance.id.desc())
    if before is not None:
        moment, submission_id = _parse_place(before)
        page = page.where(or_(sent_at < moment, and_(sent_at == moment, Submission.id < submission_id)))
    rows = session.execute(page.limit(limit + 1)).all()
    rows, further = rows[:limit], rows[limit:]
    oldest_first = found.order_by("uses_subsets", sent_at, Submission.id, Provenance.id)
    baseline = find_baseline(session, version, wanted.owner, wanted.method, oldest_first)
    measured = _load_psi(session, wanted.part, rows, baseline)
    split = part_split(version, wanted.part)
    view = HistoryView(
        benchmark=version.benchmark.name,
        version=version.version,
        owner=wanted.owner,
        method=wanted.method,
        part="ranking" if wanted.part == "ranking" else "public",
        baseline=None,
        baseline_lds=None,
        baseline_listed=baseline is not None and baseline.is_listed,
        rows=[_row(row, baseline, measured, split) for row in rows],
        next=_format_place(rows[-1]) if further else None,
    )
    if baseline is not None:
        lds = round_for_publication({"lds": measured[baseline.evaluation_id].lds}, split)["lds"]
        view.baseline, view.baseline_lds = baseline.id, lds
    return view


def branches(session: Session, version: Version, viewer: Account | None, wanted: Wanted) -> list[str]:
    """Return the names of all branches in the rows of a method's history that a viewer may see.

    The names are sorted by code points and without repetition. If there are more than `MAX_BRANCHES` names, the result holds only
    the first `MAX_BRANCHES`.
    """
    names = _rows(version, viewer, wanted._replace(branch=None)).with_only_columns(Provenance.branch)
    # GROUP BY instead of DISTINCT, with which PostgreSQL would sort by nothing but the column itself.
    names = names.where(Provenance.branch.is_not(None)).group_by(Provenance.branch)
    query = names.order_by(CodePointOrder(Provenance.branch)).limit(MAX_BRANCHES)
    return list(session.scalars(query))


def _sent_at() -> ColumnElement[datetime]:
    """Return the SQL expression for the time of a row of a history.

    The time of a row is when its provenance was stated. Without provenance, it is the time at which the submission was created.
    """
    return func.coalesce(Provenance.at, Submission.created_at)


def _rows(version: Version, viewer: Account | None, wanted: Wanted) -> Select[*tuple[Any, ...]]:
    """Return a query for the rows of a history that the viewer may see, in no order."""
    query = (
        select(
            Submission.id,
            Submission.title,
            Submission.kind,
            Submission.visibility,
            _sent_at().label("sent_at"),
            counts_as_fitted(version).label("uses_subsets"),
            *provenance.COLUMNS,
            Evaluation.id.label("evaluation_id"),
            Measurement.lds,
            Measurement.std_error,
            Measurement.ci_low,
            Measurement.ci_high,
        )
        .select_from(Submission)
        .join(User, User.id == Submission.user_id)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .outerjoin(Provenance, Provenance.submission_id == Submission.id)
        .where(
            User.name == wanted.owner,
            Submission.method == wanted.method,
            Submission.state == State.SCORED,
            Evaluation.version_id == version.id,
            Evaluation.scorer_version == version.scorer_version,
            Measurement.part == wanted.part,
            _is_visible_to(viewer, wanted.method),
        )
    )
    if wanted.kind is not None:
        query = query.where(Submission.kind == wanted.kind)
    if wanted.branch is not None:
        query = query.where(Provenance.branch == wanted.branch)
    return query


def _is_visible_to(viewer: Account | None, method: str) -> ColumnElement[bool]:
    """Return the SQL condition for the submissions that the history of a method may show to a viewer.

    Anonymous submissions are never among them, because a history names its owner.
    """
    is_open = and_(
        Submission.kind == Kind.RANKED, Submission.visibility == Visibility.PUBLIC, Submission.suspension.is_(null())
    )
    if viewer is None or not viewer.allows_method(method):
        return is_open
    is_named = Submission.visibility != Visibility.ANONYMOUS
    if viewer.role is Role.ADMIN:
        return is_named
    return and_(is_named, or_(is_open, Submission.user_id == viewer.id))


def _load_psi(session: Session, part: str, rows: Iterable[Any], baseline: Baseline | None) -> dict[int, Any]:
    """Return the LDS and psi of each row and of the baseline, as a dictionary by evaluation id.

    Parameters
    ----------
    part
        The subsets on which LDS and psi are measured: ``ranking`` or ``public``.
    """
    ids = {row.evaluation_id for row in rows} | ({baseline.evaluation_id} if baseline else set())
    columns = (Measurement.evaluation_id, Measurement.lds, Measurement.influence)
    query = select(*columns).where(Measurement.part == part, Measurement.evaluation_id.in_(ids))
    return {row.evaluation_id: row for row in session.execute(query)}


def _row(row: Any, baseline: Baseline | None, measured: dict[int, Any], split: str) -> HistoryRow:
    numbers = {name: getattr(row, name) for name in ("lds", "std_error", "ci_low", "ci_high")}
    numbers = round_for_publication(numbers, split)
    difference = None
    if baseline is not None and baseline.id != row.id and baseline.uses_subsets == row.uses_subsets:
        file, other = (mean_of([measured[number]], split) for number in (row.evaluation_id, baseline.evaluation_id))
        paired = paired_difference(file, other, split)
        difference = DifferenceView(**paired, ci=(paired["low"], paired["high"]))
    return HistoryRow(
        id=row.id,
        title=row.title,
        kind=row.kind,
        visibility=row.visibility,
        created_at=row.sent_at,
        uses_subsets=row.uses_subsets,
        provenance=provenance.as_dict(row) or None,
        lds=numbers["lds"],
        std_error=numbers["std_error"],
        ci=(numbers["ci_low"], numbers["ci_high"]),
        difference=difference,
        marked=difference is not None and is_marked(difference),
    )


def is_marked(difference: DifferenceView) -> bool:
    """Return whether a difference from the baseline is both significant at `MARK_LEVEL` and larger than `MARK_DIFFERENCE`."""
    return difference.p_value < MARK_LEVEL and abs(difference.difference) > MARK_DIFFERENCE


def _format_place(row: Any) -> str:
    return f"{(row.sent_at - EPOCH) // MICROSECOND}-{row.id}"


def _parse_place(text: str) -> tuple[datetime, str]:
    match = PLACE.fullmatch(text)
    if match is None:
        raise ProblemError.mismatch(
            "request.invalid",
            expected="before: the field next of a page of this history",
            got=repr(text[:80]),
            hint="Leave out 'before' to get the newest rows.",
        )
    return EPOCH + int(match[1]) * MICROSECOND, match[2]
