"""The counterfactual evaluations of the entries of a board: falls of the margin without 1 % of the examples, and their ranks.

Legend: k entries, T targets, K numbers of removed examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from sqlalchemy import select

from app.benchmarks.catalog import current_versions
from app.db.counterfactuals import Counterfactual
from app.leaderboard.entries import Entry, Fall, list_entries
from app.leaderboard.schemas import CounterfactualView, FallNumbers, HeadlineFall
from ldsboard.core.board import rank_board
from ldsboard.counterfactual.plan import CODE_VERSION
from ldsboard.counterfactual.removals import PROPONENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.db.models import Version


def add_falls(session: Session, version: Version, entries: Sequence[Entry]) -> list[Entry]:
    """Return all entries of a board with the `Fall` of those that were evaluated; rank 1 has the largest fall.

    The paired tests are over targets, with Holm's correction over all pairs of the family, as for the LDS. Entries that are
    declared as fitted to the ranking subsets have no rank, and with one target no entry has one.
    """
    query = _of(version, [entry.id for entry in entries], Counterfactual.submission_id, Counterfactual.headline)
    found: dict[str, bytes] = dict(session.execute(query).all())
    if not found:
        return list(entries)
    evaluated = [entry for entry in entries if entry.id in found]
    falls_kT = np.stack([np.frombuffer(found[entry.id], dtype="<f8") for entry in evaluated])
    mean_k, T = falls_kT.mean(axis=1), falls_kT.shape[1]
    ranked = [index for index, entry in enumerate(evaluated) if not entry.uses_subsets]
    ranks: dict[int, tuple[int, int]] = {}
    if ranked and T > 1:
        influence_kT = falls_kT[ranked] - mean_k[ranked, None]
        in_family_k = np.array([evaluated[index].in_family is not False for index in ranked])
        standings = rank_board(mean_k[ranked], influence_kT, in_family_k, int(np.argmax(mean_k[ranked])))
        ranks = {index: standing[:2] for index, standing in zip(ranked, standings, strict=True)}
    made = {
        entry.id: Fall(mean, ranks.get(index))
        for index, (entry, mean) in enumerate(zip(evaluated, mean_k.tolist(), strict=True))
    }
    return [entry._replace(fall=made.get(entry.id)) for entry in entries]


def headline_falls(session: Session, version: Version, entries: Collection[Entry]) -> dict[str, HeadlineFall]:
    """Return the response models of the falls of entries, by id; the entries come from `add_falls`."""
    ranks = {entry.id: entry.fall.rank for entry in entries if entry.fall is not None}
    if not ranks:
        return {}
    query = _of(version, list(ranks), Counterfactual.submission_id, Counterfactual.numbers)
    return {name: _headline(numbers, ranks[name]) for name, numbers in session.execute(query)}


def deletion_curves(session: Session, version: Version, ids: Collection[str]) -> dict[str, list[FallNumbers]]:
    """Return the numbers of evaluated entries for each number of removed proponents, in ascending order, by id."""
    query = _of(version, ids, Counterfactual.submission_id, Counterfactual.numbers)
    return {
        name: [_numbers(row) for row in numbers["rows"] if row["direction"] == PROPONENTS]
        for name, numbers in session.execute(query)
    }


def counterfactual_view(session: Session, version: Version, submission_id: str) -> CounterfactualView | None:
    """Return the counterfactual evaluation of a submission; None if none has begun, or if it would never end.

    Only what the current version lists is evaluated, so an evaluation of anything else that has not ended does not go on.
    """
    query = select(Counterfactual).where(
        Counterfactual.version_id == version.id,
        Counterfactual.code == CODE_VERSION,
        Counterfactual.submission_id == submission_id,
    )
    row = session.scalar(query)
    if row is None or (row.ended_at is None and not _is_waiting(session, version, submission_id)):
        return None
    if row.numbers is None:
        state: Literal["impossible", "interrupted", "running"]
        state = "impossible" if row.ended_at else "interrupted" if row.claimed_at is None else "running"
        return CounterfactualView(state=state, percent=row.percent, reason=row.reason)
    numbers = row.numbers
    return CounterfactualView(
        state="done",
        percent=None,
        reason=None,
        targets=numbers["targets"],
        runs=numbers["runs"],
        headline=numbers["headline"],
        before=float(np.mean(numbers["before"])),
        seconds=numbers["seconds"],
        rows=[_numbers(row) for row in numbers["rows"]],
    )


class TargetFalls(NamedTuple):
    """The falls of one target.

    Attributes
    ----------
    before
        Mean margin by models trained on all examples.
    sizes, headline
        Ascending numbers of removed examples, and the one of the headline.
    runs
        Number of models that each mean is over.
    proponents, opponents
        Mean fall of the margin for each of the sizes; falls of opponents are negative if the margin rises.
    """

    before: float
    sizes: list[int]
    headline: int
    runs: int
    proponents: list[float]
    opponents: list[float]

    @property
    def curve(self) -> list[tuple[int, float, float]]:
        """For each of the sizes: the size, and the mean margin without as many proponents and without as many opponents."""
        falls = zip(self.sizes, self.proponents, self.opponents, strict=True)
        return [(size, self.before - high, self.before - low) for size, high, low in falls]


def target_falls(session: Session, version: Version, submission_id: str, target: int) -> TargetFalls | None:
    """Return the falls of a target by the file of a submission; None unless the evaluation has ended and has the target."""
    query = _of(version, [submission_id], Counterfactual.numbers, Counterfactual.falls)
    found = session.execute(query).one_or_none()
    if found is None or target not in found.numbers["targets"]:
        return None
    numbers = found.numbers
    place, shape = numbers["targets"].index(target), (2, len(numbers["sizes"]), len(numbers["targets"]))
    proponents, opponents = np.frombuffer(found.falls, dtype="<f8").reshape(shape)[:, :, place].tolist()
    return TargetFalls(
        numbers["before"][place], numbers["sizes"], numbers["headline"], numbers["runs"], proponents, opponents
    )


def fall_arrays(session: Session, version: Version, submission_id: str) -> dict[str, NDArray[Any]]:
    """Return the falls of all single targets by the file of a submission, as named arrays; none unless the evaluation has ended.

    ``fall_targets`` holds the indices of the targets, int64 (T,); ``fall_sizes`` the numbers of removed examples, int64 (K,);
    ``fall_before`` the margins by models trained on all examples, float64 (T,); and ``falls`` the falls without proponents, then
    without opponents, float64 (2, K, T).
    """
    query = _of(version, [submission_id], Counterfactual.numbers, Counterfactual.falls)
    found = session.execute(query).one_or_none()
    if found is None:
        return {}
    targets_T = np.array(found.numbers["targets"], dtype=np.int64)
    sizes_K = np.array(found.numbers["sizes"], dtype=np.int64)
    return {
        "fall_targets": targets_T,
        "fall_sizes": sizes_K,
        "fall_before": np.array(found.numbers["before"], dtype=np.float64),
        "falls": np.frombuffer(found.falls, dtype="<f8").reshape(2, sizes_K.size, targets_T.size),
    }


def _is_waiting(session: Session, version: Version, submission_id: str) -> bool:
    return version in current_versions(session) and submission_id in {
        each.id for each in list_entries(session, version)
    }


def _of(version: Version, ids: Collection[str], *columns: Any) -> Select[Any]:
    return select(*columns).where(
        Counterfactual.version_id == version.id,
        Counterfactual.code == CODE_VERSION,
        Counterfactual.submission_id.in_(ids),
        Counterfactual.headline.is_not(None),
    )


def _headline(numbers: dict[str, Any], rank: tuple[int, int] | None) -> HeadlineFall:
    wanted = (PROPONENTS, numbers["headline"])
    row = next(row for row in numbers["rows"] if (row["direction"], row["removed"]) == wanted)
    return HeadlineFall(
        **_numbers(row).model_dump(), rank=rank, target_count=len(numbers["targets"]), runs=numbers["runs"]
    )


def _numbers(row: dict[str, Any]) -> FallNumbers:
    return FallNumbers(**row | {"ci": row["confidence_interval"]})
