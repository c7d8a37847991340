"""The lifecycle of a submission: reservation before its file arrives, acceptance of the file, and state transitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from app.accounts import webhooks
from app.accounts.daily_quotas import Daily
from app.accounts.standing import check_standing
from app.benchmarks.catalog import check_not_retired, has_hidden_subsets
from app.db.accounts import User
from app.db.changes import note_change
from app.db.models import TRANSITIONS, Evaluation, Event, Kind, State, Submission, Version, Visibility
from app.db.tickets import Queue, note_ticket
from app.db.uploads import Upload
from app.submissions import files, provenance, replicates
from app.submissions.fields import stated
from app.submissions.repeats import check_repeat
from app.submissions.visibility import set_visibility
from ldsboard.arrays.scores import check_shape, is_turned
from ldsboard.core import result
from ldsboard.formats.score_files import read_header
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Container

    from sqlalchemy.orm import Session

    from app.accounts.quotas import Quotas
    from app.submissions.arrivals import Arrival
    from app.submissions.fields import SubmissionRequest
    from app.submissions.storage import Storage
    from ldsboard.formats.headers import Header


def check_header(version: Version, start: bytes, size: int | None) -> Header:
    """Return the header of a score file; reject a file that cannot be scored against `version`.

    A file of which only the transpose fits is accepted: the scoring process transposes it.

    Parameters
    ----------
    start
        The first bytes of the file: `HEADER_LIMIT` bytes, or all bytes of a shorter file.
    size
        Size of the whole file in bytes; None if unknown.

    Raises
    ------
    ProblemError
        A code that begins with ``scores.``: the errors of `read_header`, and ``scores.shape`` for another shape.
    """
    header = read_header(start, size)
    n, N = version.manifest["n_train"], version.manifest["n_targets"]
    if not is_turned(header.shape, n, N):
        check_shape(header.shape, n, N)
    return header


def check_declaration(version: Version, *, uses_subsets: bool) -> None:
    """Raise ``request.invalid`` if `uses_subsets` declares scores as fitted to the ranking subsets, and these are hidden."""
    if uses_subsets and has_hidden_subsets(version.manifest):
        raise ProblemError.mismatch(
            "request.invalid",
            expected="uses_subsets false: no method can be fitted to the hidden ranking subsets of a protected benchmark",
            got="uses_subsets true",
            hint="Leave uses_subsets out. Scores may be fitted to the public subsets of this benchmark, and are ranked.",
        )


def check_quotas(session: Session, user_id: int, version: Version, request: SubmissionRequest, quotas: Quotas) -> bool:
    """Check that a user's quotas allow a new submission; return False if the announced file is a duplicate, otherwise True.

    A duplicate is checked against the quotas of uploads only, and counts towards these quotas only. If the file that arrives is
    no duplicate any more, `accept` checks the other quotas, and the submission counts towards them.

    Raises
    ------
    ProblemError
        ``quota.exceeded``: nothing is left of the quotas of ranked or practice submissions, or of the daily quota of uploads.
        ``quota.approval``: the operator has to approve the user first.
        ``quota.bytes``: the file is too large for the quota of stored bytes.
        ``quota.uploads``: too many uploads of the user are under way.
    """
    quotas.check_uploads(session, user_id)
    quotas.daily.check(session, user_id, Daily.UPLOADS)
    if request.sha256 and provenance.find_duplicate(session, user_id, version, request, request.sha256) is not None:
        return False
    _check_kind(session, user_id, version, request.kind, quotas)
    quotas.check_bytes(session, user_id, request.size or 0)
    return True


def _check_kind(session: Session, user_id: int, version: Version, kind: str, quotas: Quotas) -> None:
    """Raise ProblemError, ``quota.exceeded`` or ``quota.approval``, if the user may not send another of this kind now."""
    if kind == Kind.RANKED:
        quotas.check_ranked(session, user_id, version)
    else:
        quotas.daily.check(session, user_id, Daily.PRACTICE)


def reserve(
    session: Session,
    user_id: int,
    version: Version,
    request: SubmissionRequest,
    quotas: Quotas,
    verified_origin: dict[str, Any] | None = None,
) -> Submission:
    """Create a submission in the state `State.UPLOADING`, before its file arrives, and return the submission.

    Parameters
    ----------
    version
        The version to submit to. This function does not check that the benchmark still takes submissions.
    verified_origin
        The provenance from the identity of the CI run that sends the file, which replaces the provenance that `request` states;
        None if the sender is no CI run with an identity.

    Raises
    ------
    ProblemError
        ``quota.exceeded``, ``quota.approval``, ``quota.bytes`` or ``quota.uploads``: the errors of `check_quotas`.
        ``auth.banned`` or ``auth.deleted``: the user may not act any more.
        ``request.invalid``: the error of `check_declaration`. ``replicate.different``: the error of `replicates.find_root`.
    """
    check_standing(session.get_one(User, user_id))  # may have changed since the authentication
    check_declaration(version, uses_subsets=request.uses_subsets)
    root = replicates.find_root(session, user_id, version, request)
    origin = stated(request.provenance) if verified_origin is None else verified_origin
    submission = Submission(
        counted=check_quotas(session, user_id, version, request, quotas),
        user_id=user_id,
        version_id=version.id,
        size=request.size or 0,
        replicate_of=root,
        rerun_key=replicates.rerun_key(user_id, (origin or {}).get("commit")),
        **request.columns(),
    )
    session.add(submission)
    session.flush()
    set_visibility(session, submission, request.visibility)
    session.add(Event(submission_id=submission.id, before=None, after=State.UPLOADING))
    provenance.add_provenance(session, submission.id, origin, verified=verified_origin is not None)
    return submission


def accept(session: Session, storage: Storage, submission_id: str, arrival: Arrival, quotas: Quotas) -> str:
    """Accept a complete file and queue its evaluation; return the id of the resulting submission.

    Call this function in a write session, after `Arrival.flush`.

    For a duplicate, the result is the id of the owner's earlier submission. The new submission expires, and uses only the daily
    quota of uploads. The provenance of the new submission is added to the earlier one if the new submission is public, or if both
    have the same visibility.

    `reserve` has checked the quotas already. `accept` checks quotas again, for two reasons. A file that was a duplicate before is
    no duplicate any more if the earlier submission was withdrawn, rejected or failed meanwhile. The size of a file that was sent
    compressed is known only now.

    Raises
    ------
    ProblemError
        ``benchmark.retired``: the benchmark was retired while the file arrived.
        ``upload.interrupted``: the submission has expired, or was deleted with its owner's account.
        ``quota.exceeded``, ``quota.approval``: the file is no duplicate any more, and the user may not send another of this kind.
        ``quota.bytes``: the file is no duplicate any more or was sent compressed, and is too large for the quota of stored bytes.
        ``internal.full``: the disk is full.
        Also the errors of `check_header` and `check_standing`, and for a duplicate those of `check_repeat`.
    """
    submission = session.get(Submission, submission_id)
    if submission is None:
        raise ProblemError(
            "upload.interrupted",
            "The account was deleted before the file was complete.",
            "Nothing was stored or counted.",
        )
    check_standing(submission.user)
    check_not_retired(submission.version.benchmark)
    duplicate = provenance.find_duplicate(session, submission.user_id, submission.version, submission, arrival.sha256)
    if duplicate is not None:
        check_repeat(session, duplicate, submission)
    elif not submission.counted:
        _check_kind(session, submission.user_id, submission.version, submission.kind, quotas)
        submission.counted = True
    after = State.QUEUED if duplicate is None else State.EXPIRED
    detail = None if duplicate is None else f"duplicate of {duplicate.id}"
    if not transition(session, submission_id, State.UPLOADING, after, detail=detail):
        raise ProblemError(
            "upload.interrupted", "The submission expired before its file was complete.", "Send the file again."
        )
    check_header(submission.version, arrival.start, arrival.size)
    if duplicate is not None:
        # The provenance of a private or anonymous submission must not appear on a public one.
        if submission.visibility in (Visibility.PUBLIC, duplicate.visibility):
            provenance.copy_provenance(session, submission_id, duplicate.id)
        return duplicate.id
    quotas.check_bytes(session, submission.user_id, arrival.size)
    files.store_file(session, storage, submission, arrival)
    session.add(
        Evaluation(submission_id=submission_id, version_id=submission.version_id, scorer_version=result.SCORER_VERSION)
    )
    note_ticket(session, Queue.SCORING)
    return submission_id


def transition(
    session: Session, submission_id: str, before: State, after: State, *, detail: str | None = None, **values: Any
) -> bool:
    """Move a submission from state `before` to `after`; if the state is no longer `before`, only return False.

    The same transaction stores `values` in the columns of the submission, records an event with `detail`, and queues the calls of
    the owner's webhooks.

    Raises
    ------
    ValueError
        `TRANSITIONS` has no transition from `before` to `after`.
    """
    if after not in TRANSITIONS[before]:
        raise ValueError(f"A submission cannot move from {before} to {after}.")
    moved = session.execute(
        update(Submission)
        .where(Submission.id == submission_id, Submission.state == before)
        .values(state=after, **values)
        .execution_options(synchronize_session="fetch")
    )
    if moved.rowcount != 1:  # type: ignore[attr-defined]  # an update has a row count
        return False
    session.add(Event(submission_id=submission_id, before=before, after=after, detail=detail))
    webhooks.queue_calls(session, submission_id, after)
    note_change(session, submission_id)
    return True


def expire(session: Session, submission_id: str, detail: str) -> bool:
    """Expire a submission whose file has not arrived; return False if the state is no longer `State.UPLOADING`."""
    return transition(session, submission_id, State.UPLOADING, State.EXPIRED, detail=detail)


def expire_single_uploads(session: Session, arriving: Container[str] = ()) -> None:
    """Expire all submissions that wait for a single upload, except those in `arriving`, whose file is still arriving."""
    interrupted = select(Submission.id).where(
        Submission.state == State.UPLOADING,
        Submission.id.not_in(select(Upload.submission_id)),
    )
    for submission_id in session.scalars(interrupted).all():
        if submission_id not in arriving:
            expire(session, submission_id, "upload interrupted")
