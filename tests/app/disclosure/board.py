"""A protected benchmark with submissions of every kind, state and visibility; the texts and the numbers that it must hide."""

from __future__ import annotations

import io
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import undefer

from app.accounts.audit import OPERATOR
from app.db.models import FINAL, Benchmark, Evaluation, Measurement, State, Version, Visibility
from app.leaderboard.ranking import Ranker
from app.management import moderation, snapshots
from ldsboard.core.ceiling import attempt_gain
from ldsboard.core.comparison import compare_influences
from ldsboard.core.reserve import check_reserve
from tests.app.benchmarks import HIDDEN_SEED, NONCE, write_benchmark
from tests.app.disclosure.hidden_numbers import HiddenNumbers
from tests.app.multipart_upload import MultipartUpload
from tests.app.roles import Roles, create_roles, identifying_fields, identifying_texts, provenance_texts
from tests.app.service import npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.app.service import Service

NAME = "seen"
SNAPSHOT_FILES = (
    "benchmark.json",
    "CITATION.cff",
    "leaderboard.csv",
    "leaderboard.json",
    "per-target.npz",
    "README.txt",
    "SHA256SUMS",
    "snapshot.json",
)
MEMBERS = {visibility: f"member-of-{visibility}" for visibility in Visibility}
"""The name of an array in a rejected archive of each owner; the error of the rejection quotes the name."""


RESERVE_DIGITS = 3
"""Significant digits in which a published number may agree with the LDS on the reserve by chance."""

SUSPENDED, REASON, CONTACT = "suspended ranked, public", "A copy of another entry.", "moderator@example.org"


class Board(NamedTuple):
    """A server with the benchmark `NAME` in two versions, its submissions, and an unfinished upload of the private owner."""

    service: Service
    roles: Roles
    examples: list[Example]
    further: dict[str, str]
    """Ids of submissions with a result, or with an error of the scorer, by a description."""
    upload: MultipartUpload
    snapshots: list[str]
    """The end of the address of each snapshot: ``versions/NUMBER/DAY``; nobody took the last one."""
    review_links: dict[Visibility, str]
    """The address, without the host, of a review link of one submission of each visibility."""

    @property
    def ids(self) -> list[str]:
        """The ids of all submissions, and an id that no submission has."""
        return [*self.roles.ids.values(), *self.further.values(), self.roles.rival_id, self.upload.id, "0" * 16]

    @property
    def scored_ids(self) -> list[str]:
        """The ids of submissions with a result."""
        scored = [self.roles.ids[visibility, State.SCORED] for visibility in Visibility]
        return [
            *scored,
            self.roles.rival_id,
            *(self.further[name] for name in self.further if name.startswith("practice")),
        ]

    def shown_to_reviewers(self, address: str) -> set[str]:
        """Return the texts that the page of a review link shows on purpose: name of the method and id of the submission."""
        linked = {link: visibility for visibility, link in self.review_links.items()}
        if (visibility := linked.get(address)) is None:
            return set()
        return {str(identifying_fields(visibility)["method"]), self.roles.ids[visibility, State.SCORED]}

    def owners_texts(self, visibility: Visibility) -> list[str]:
        """Return the texts that only the owner of the submissions with this visibility, and admins, may see.

        The ids of private and suspended submissions are among them: nobody else may learn that these submissions exist.
        """
        if visibility is Visibility.PUBLIC:
            return [self.further[SUSPENDED], REASON, CONTACT]
        texts = [*identifying_texts(visibility), *provenance_texts(visibility), MEMBERS[visibility]]
        if visibility is Visibility.PRIVATE:
            texts += [submission_id for (kept, _), submission_id in self.roles.ids.items() if kept is visibility]
            texts += [self.further[name] for name in self.further if str(visibility) in name] + [self.upload.id]
        return texts


def create_board(service: Service, folder: Path) -> Board:
    """Publish the benchmark, send and insert the submissions, then publish the second version and wait for its board."""
    roles = create_roles(service, folder)
    first = write_benchmark(folder / "again", NAME)  # the same arrays as `create_roles` has published
    further = {}
    for visibility, token in roles.owners.items():
        spoiled, several = first.scores(0.4), io.BytesIO()
        spoiled[0, 0] = np.nan
        np.savez(several, scores=first.scores(), **{MEMBERS[visibility]: np.zeros(1)})  # type: ignore[arg-type]  # allow_pickle
        files = {
            "practice": (npy(first.scores(0.6)), "practice"),
            "withdrawn ranked": (npy(first.scores(0.9)), "ranked"),
            "rejected ranked": (npy(spoiled), "ranked"),
            "rejected practice archive": (several.getvalue(), "practice"),
        }
        for description, (content, kind) in files.items():
            fields = {"method": f"method-of-{visibility}", "kind": kind, "visibility": str(visibility)}
            sent = service.submit(token, NAME, content, **fields)
            assert sent.status_code == 202, sent.text
            further[f"{description}, {visibility}"] = sent.json()["id"]
        withdrawn = further[f"withdrawn ranked, {visibility}"]
        for submission_id in further.values():
            _wait_until_final(service, submission_id)
        answer = service.client.delete(f"/submissions/{withdrawn}", headers={"Authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text
    further[SUSPENDED] = service.submit_and_score(roles.owners[Visibility.PUBLIC], NAME, npy(first.scores(1.2)))["id"]
    with service.database.write() as session:
        moderation.suspend(session, further[SUSPENDED], REASON, CONTACT, OPERATOR)
    Ranker(service.database).renew_all()
    upload = MultipartUpload(
        service, roles.owners[Visibility.PRIVATE], NAME, npy(first.scores(0.8)), visibility="private"
    )
    upload.started()
    second = write_benchmark(folder / "second", NAME, version=2, ranking=160, pictures=(8, 8), reserve=True)
    service.publish(second.folder)
    until(lambda: service.client.get(f"/benchmarks/{NAME}").json()["version"] == 2, "the board of the second version")
    taken = [_take_snapshot(service, number) for number in (1, 2)]
    links = {visibility: _review_link(roles, visibility) for visibility in Visibility}
    return Board(service, roles, [first, second], further, upload, [*taken, "versions/2/2026-01-01"], links)


def _take_snapshot(service: Service, number: int) -> str:
    """Take a snapshot of a version, and return the end of its address."""
    settings = service.settings
    taken = snapshots.take(service.database, settings.snapshots_dir, settings.public_url, NAME, number)
    assert {path.name for path in taken.folder.iterdir()} == set(SNAPSHOT_FILES)
    return f"versions/{number}/{taken.folder.name}"


def _review_link(roles: Roles, visibility: Visibility) -> str:
    made = roles.service.client.post(
        f"/submissions/{roles.ids[visibility, State.SCORED]}/review-link",
        headers={"Authorization": f"Bearer {roles.owners[visibility]}"},
    )
    return str(made.json()["url"]).removeprefix(roles.service.url)


def _wait_until_final(service: Service, submission_id: str) -> None:
    until(lambda: service.row(submission_id).state in FINAL, "a final state")


def hidden_numbers(database: Database, examples: Sequence[Example]) -> HiddenNumbers:
    """Return all hidden numbers and hidden data of the published versions of protected benchmarks."""
    numbers = HiddenNumbers()
    with database.read() as session:
        names = {example.name for example in examples}
        versions = select(Version).join(Benchmark).where(Benchmark.name.in_(names))
        for version in session.scalars(versions).all():
            _add_version(numbers, session, version)
    for example in examples:
        numbers.add_bytes(_hidden_bytes(example))
        means_MN = example.bundle.hidden().margins_MRN.mean(axis=1, dtype=np.float64)
        numbers.add_digits(means_MN.ravel().tolist(), 8)
    numbers.finish()
    return numbers


def _add_version(numbers: HiddenNumbers, session: Session, version: Version) -> None:
    """Add the numbers of a version's manifest and of all results, and everything that pages and calls compute from them."""
    manifest = version.manifest
    names = ("ceiling", "ceiling_std_error", "attempts_spectrum")
    # The null band of unrelated scores depends only on the numbers of subsets and targets, which are public.
    numbers.add_decimals([*(manifest[name] for name in names), manifest["null_band"]["shared"]], 4)
    of_version = select(Measurement).join(Evaluation).where(Evaluation.version_id == version.id)
    measured = session.scalars(of_version.where(Measurement.part == "ranking").options(undefer("*"))).all()
    for measurement in measured:
        _add_measurement(numbers, measurement)
        numbers.add_decimals([measurement.lds / manifest["ceiling"]], 4)
        spectrum, M = manifest["attempts_spectrum"], manifest["subsets"]["ranking"]
        numbers.add_decimals([attempt_gain(measurement.lds, attempts, spectrum, M) for attempts in range(1, 6)], 4)
    reserve = {
        found.evaluation_id: found
        for found in session.scalars(of_version.where(Measurement.part == "reserve").options(undefer("*")))
    }
    for measurement in measured:
        if (held := reserve.get(measurement.evaluation_id)) is not None:
            _add_reserve(numbers, measurement, held)
    for a, b in combinations(measured, 2):
        influences = (np.frombuffer(each.influence, "<f8") for each in (a, b))
        compared = compare_influences(a.lds - b.lds, *influences)
        numbers.add_decimals([compared.difference, compared.std_error], 4)
        numbers.add_digits([compared.z, compared.p_value], 4)


def _add_reserve(numbers: HiddenNumbers, answered: Measurement, reserve: Measurement) -> None:
    """Add the numbers of a result on the reserve; not even the rounded LDS may appear."""
    _add_measurement(numbers, reserve)
    numbers.add_digits([reserve.lds], RESERVE_DIGITS)
    M, M_r = len(answered.influence) // 8, len(reserve.influence) // 8
    check = check_reserve((answered.lds, answered.std_error, M), (reserve.lds, reserve.std_error, M_r))
    numbers.add_decimals([check.difference, check.std_error], 4)
    numbers.add_digits([check.z, check.p_value], 4)


def reserve_lds(database: Database, submission_id: str) -> float:
    """Return the LDS of a submission on the reserve of the second version."""
    query = select(Measurement.lds).join(Evaluation).where(Measurement.part == "reserve")
    with database.read() as session:
        return session.scalars(query.where(Evaluation.submission_id == submission_id)).one()


def _add_measurement(numbers: HiddenNumbers, measurement: Measurement) -> None:
    names = ("lds", "std_error", "ci_low", "ci_high", "std_error_new_targets")
    numbers.add_decimals([value for name in names if (value := getattr(measurement, name)) is not None], 4)
    numbers.add_digits([measurement.z_random, measurement.p_random, measurement.mean_p], 4)
    for array in (measurement.influence, measurement.per_target):
        numbers.add_digits(np.frombuffer(array, "<f8").tolist(), 6)


def _hidden_bytes(example: Example) -> Iterator[bytes]:
    hidden = example.bundle.hidden()
    yield from (HIDDEN_SEED.to_bytes(16, order) for order in ("big", "little"))
    yield from (f"{HIDDEN_SEED:032x}".encode(), str(HIDDEN_SEED).encode(), NONCE, NONCE.hex().encode())
    for masks in (np.load(example.folder / "hidden" / "masks.npy"), hidden.masks_Mn):
        yield from (row.tobytes() for row in masks)
    yield from (row.tobytes() for row in hidden.margins_MRN)
