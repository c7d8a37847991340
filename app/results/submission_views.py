"""Response models of submissions, restricted to what the viewer may see."""

from __future__ import annotations

import io
from dataclasses import asdict
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import func, select, tuple_

from app.db.models import Alias, Evaluation, Kind, State, Submission
from app.db.presence import count_workers
from app.leaderboard.attempts import count_attempts, count_user_attempts
from app.leaderboard.disclosure import public_numbers, ranking_numbers, reserve_numbers
from app.leaderboard.falls import counterfactual_view, fall_arrays
from app.leaderboard.schemas import RankingNumbers, TargetNumbers
from app.results.current_evaluation import current_evaluations, mean_seconds, scored_evaluations
from app.results.replicate_sets import find_replicates, replicates_view
from app.results.schemas import ProblemView, Queue, SubmissionView, SuspensionView
from app.scoring import queue
from app.submissions import provenance
from app.submissions.replicates import is_declared_fitted
from app.submissions.schemas import BenchmarkName
from app.submissions.visibility import may_know_owner, owns, visible_cost, visible_identity
from ldsboard.core.significance import spearman_p_values
from ldsboard.core.target_summary import summarise_targets
from ldsboard.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from app.accounts.users import Account
    from app.db.models import Version

API = "/api/v1"

RESTARTING = (
    "Scoring does not respond and is being restarted. The submission will be scored afterwards; no action is needed."
)

NO_WORKER = "Nothing is scored now, because no worker is running. The file waits; no action is needed."

WITHHELD_ERROR = (
    "Only the owner and admins may see the details of this error.",
    "If the submission is yours, send your token or sign in to see the details.",
)
"""Texts that replace detail and hint of an error for viewers who may not know the owner of the submission."""


class Progress(NamedTuple):
    """The state and queue position of a submission; waiting clients are notified when the state or the position changes."""

    state: State
    position: int | None
    """1-based queue position; None unless the submission is queued."""


def progress(session: Session, submission: Submission) -> Progress:
    """Return the state and queue position of a submission. The queries are few and small, because clients poll."""
    state = State(submission.state)
    return Progress(state, queue.position(session, submission) if state is State.QUEUED else None)


def scored_fraction(session: Session, submission: Submission) -> float | None:
    """Return the fraction of the targets that are scored, in steps of 0.01; None unless it is known and the state is scoring."""
    if submission.state != State.SCORING:
        return None
    running = select(func.max(Evaluation.percent)).where(
        Evaluation.submission_id == submission.id, Evaluation.claimed_at.is_not(None), Evaluation.scored_at.is_(None)
    )
    percent = session.scalar(running)
    return None if percent is None else percent / 100


def delay_notice(session: Session, state: str, *, restarting: bool, workers_score: bool) -> str | None:
    """Return a notice if scoring is delayed and the state is queued or scoring; otherwise return None.

    Scoring is delayed while the sandbox of the server is restarting, or while no worker is running where workers score.
    """
    if state not in (State.QUEUED, State.SCORING):
        return None
    if restarting:
        return RESTARTING
    return NO_WORKER if workers_score and not count_workers(session) else None


def submission_view(session: Session, submission: Submission, viewer: Account | None = None) -> SubmissionView:
    """Return the response model of a submission for a viewer; a `viewer` of None is a viewer who is not signed in.

    The caller checks that the viewer may see the submission. The field ``notice`` is left None.
    """
    evaluations = current_evaluations(session, [submission], arrays=True)
    (only,) = submission_views(session, [submission], viewer, evaluations)
    if only.public is not None:
        only.public.targets = target_numbers(evaluations[submission.id])
        only.replicates = replicates_view(find_replicates(session, [evaluations[submission.id]])[submission.id])
        only.counterfactual = counterfactual_view(session, evaluations[submission.id].version, submission.id)
    return only


def submission_views(
    session: Session,
    submissions: Sequence[Submission],
    viewer: Account | None,
    evaluations: dict[str, Evaluation] | None = None,
) -> list[SubmissionView]:
    """Return the response models of several submissions for a viewer, in the order of the submissions.

    The caller checks that the viewer may see the submissions. The fields ``notice``, ``replicates``, ``counterfactual`` and
    ``public.targets`` are left None. The data of all submissions are loaded together. Separate queries are needed only for the
    queue position of each queued submission, for the progress of each submission that is being scored, and for the attempts of
    each version.

    Parameters
    ----------
    viewer
        The viewer; None: a viewer who is not signed in.
    evaluations
        The result of `current_evaluations` for the submissions; None: call `current_evaluations`.
    """
    ids = [submission.id for submission in submissions]
    origins = provenance.newest_provenance(session, ids)
    if evaluations is None:
        evaluations = current_evaluations(session, submissions)
    _aliases = _load_aliases(session, submissions, viewer)  # held, because the session keeps only weak references
    versions = {submission.version for submission in submissions}
    if len(versions | {evaluation.version for evaluation in evaluations.values()}) == len(ids) == 1:
        attempts: Callable[[Version, int], int] = partial(count_user_attempts, session)
    else:  # one query for each version is faster than one query for each owner
        counts = cache(partial(count_attempts, session))
        attempts = lambda version, user_id: counts(version).by_user.get(user_id, 0)  # noqa: E731 -- the other branch is a partial
    return [
        _view(session, submission, viewer, evaluations.get(submission.id), origins.get(submission.id), attempts)
        for submission in submissions
    ]


def _load_aliases(session: Session, submissions: Sequence[Submission], viewer: Account | None) -> list[Alias]:
    """Return the aliases of the owners of `submissions` whose names must be hidden from the viewer, loaded with one query.

    The database session keeps a loaded alias only while another object refers to the alias. As long as the caller keeps the
    returned list, `visible_identity` therefore finds each alias in the session and sends no query.
    """
    anonymous = [submission for submission in submissions if not may_know_owner(viewer, submission)]
    keys = {(submission.version.benchmark_id, submission.user_id) for submission in anonymous}
    query = select(Alias).where(tuple_(Alias.benchmark_id, Alias.user_id).in_(keys))
    return list(session.scalars(query)) if keys else []


def _view(
    session: Session,
    submission: Submission,
    viewer: Account | None,
    evaluation: Evaluation | None,
    origin: dict[str, Any] | None,
    attempts: Callable[[Version, int], int],
) -> SubmissionView:
    version = submission.version if evaluation is None else evaluation.version
    parts = {} if evaluation is None else evaluation.parts
    public, ranking = parts.get("public"), parts.get("ranking")
    uses_subsets = is_declared_fitted(submission, version)
    name = version.benchmark.name
    shown = ranking or public
    identity = visible_identity(session, submission, viewer, origin)
    return SubmissionView(
        id=submission.id,
        state=State(submission.state).value,
        benchmark=BenchmarkName(name=name, version=version.version),
        **identity._asdict(),
        pinned=submission.pinned,
        kind=Kind(submission.kind).value,
        visibility=submission.visibility,  # type: ignore[arg-type]  # a check constraint of the table allows these values only
        uses_subsets=uses_subsets,
        created_at=submission.created_at,
        attempts=attempts(version, submission.user_id) if may_know_owner(viewer, submission) else None,
        queue=_queue(session, submission),
        progress=scored_fraction(session, submission),
        hidden=_ranking_numbers(evaluation, uses_subsets=uses_subsets) if evaluation and ranking else None,
        public=public_numbers(public) if public else None,
        replicate_of=submission.replicate_of if owns(viewer, submission) else None,
        reserve=reserve_numbers(parts.get("reserve"), version.benchmark),
        warnings=shown.warnings if shown else [],
        error=_visible_error(submission, viewer),
        suspension=SuspensionView.model_validate(submission.suspension) if submission.suspension else None,
        cost=visible_cost(submission.cost, named=may_know_owner(viewer, submission)),
        scorer_version=None if evaluation is None else evaluation.scorer_version,
        links={
            "self": f"{API}/submissions/{submission.id}",
            "page": f"/submissions/{submission.id}",
            "per_target": f"{API}/submissions/{submission.id}/per-target.npz",
            "leaderboard": f"{API}/benchmarks/{name}/leaderboard?version={version.version}",
        },
    )


def _ranking_numbers(evaluation: Evaluation, *, uses_subsets: bool) -> RankingNumbers:
    """Return the result of one file on the ranking subsets, and its place on the board of the evaluation's version."""
    version, rank = evaluation.version, None
    if evaluation.rank_low is not None and evaluation.rank_high is not None:
        rank = (evaluation.rank_low, evaluation.rank_high)
    is_current = version.ranked_revision >= version.board_revision  # otherwise another entry may be the first by now
    return ranking_numbers(
        evaluation.parts["ranking"],
        version.manifest,
        rank,
        in_family=evaluation.in_family,
        separable_from_first=evaluation.separable_from_first if is_current else None,
        uses_subsets=uses_subsets,
    )


def _visible_error(submission: Submission, viewer: Account | None) -> ProblemView | None:
    """Return the stored error of a submission as a viewer may see it.

    The texts of an error can quote the file, for instance the names of arrays, which can reveal the owner. A viewer who may not
    know the owner therefore sees only the code with its title and status.
    """
    if not submission.error:
        return None
    problem = Problem.from_dict(submission.error)
    return ProblemView.of(problem if may_know_owner(viewer, submission) else Problem(problem.code, *WITHHELD_ERROR))


def public_per_target(evaluation: Evaluation) -> NDArray[np.float64]:
    """Return rho of every target on the public subsets from a finished evaluation, float64 (N,), read-only."""
    return np.frombuffer(evaluation.parts["public"].per_target, dtype="<f8")


def public_p_values(evaluation: Evaluation) -> NDArray[np.float64]:
    """Return the two-sided p-value of rho of every target on the public subsets, float64 (N,)."""
    return spearman_p_values(public_per_target(evaluation), evaluation.version.manifest["subsets"]["public"])


def target_numbers(evaluation: Evaluation) -> TargetNumbers:
    """Return how rho varies over targets on the public subsets, from a finished evaluation whose arrays are loaded."""
    summary = summarise_targets(public_per_target(evaluation), public_p_values(evaluation))
    return TargetNumbers(**asdict(summary))


def per_target_npz(session: Session, submission: Submission) -> bytes:
    """Return the bytes of an ``.npz`` file with the array ``rho``: rho of every target on the public subsets, float64 (N,).

    Once the counterfactual evaluation has ended, the file has the arrays of `app.leaderboard.falls.fall_arrays` as well.

    Raises
    ------
    ProblemError
        ``submission.not_scored``: the submission has no result.
    """
    buffer = io.BytesIO()
    (evaluation,) = scored_evaluations(session, [submission])
    arrays: dict[str, Any] = {"rho": public_per_target(evaluation)}
    np.savez(buffer, **arrays | fall_arrays(session, evaluation.version, submission.id))
    return buffer.getvalue()


def _queue(session: Session, submission: Submission) -> Queue | None:
    position = progress(session, submission).position
    if position is None:
        return None
    seconds = mean_seconds(session)
    return Queue(position=position, seconds=None if seconds is None else round(position * seconds, 1))
