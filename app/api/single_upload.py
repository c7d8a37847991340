"""API call for single uploads: a score file is sent in one request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import anyio
import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from app.accounts.tokens import find_token
from app.accounts.users import Account
from app.api.responses import accept_file, respond_with_submission
from app.benchmarks import catalog
from app.context import AppContext
from app.db.models import Submission, Version
from app.results.schemas import SubmissionView
from app.submissions import idempotency, lifecycle, replicates
from app.submissions.arrivals import Arrival
from app.submissions.fields import SubmissionQuery, SubmissionRequest
from app.submissions.schemas import BenchmarkName, DryRunView
from app.web.dependencies import ContextDep, SubmittingUser
from app.web.open_bodies import OpenBodies
from app.web.request_body import Body, content_length, is_compressed
from ldsboard.arrays.scores import check_finite
from ldsboard.formats.score_files import HEADER_LIMIT, open_scores
from ldsboard.problems import ProblemError

router = APIRouter(tags=["uploads"])
log = structlog.get_logger()


@router.put(
    "/benchmarks/{name}/submissions",
    status_code=202,
    response_model=SubmissionView,
    responses={200: {"model": DryRunView, "description": "With dry_run: the file would be accepted"}},
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def submit(
    request: Request,
    response: Response,
    context: ContextDep,
    account: SubmittingUser,
    name: str,
    query: Annotated[SubmissionQuery, Query()],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> SubmissionView | Response:
    """Submit a score file.

    The raw body is a .npy, .safetensors or .npz file with one n x N array of type float16, float32 or float64.

    With `dry_run`, the response is 200 if the file would be accepted. Nothing is saved or counted, and no quota is checked.
    """
    account.require_method(query.method)
    limit = context.settings.max_upload_bytes
    length = content_length(request, limit)
    route = f"PUT /benchmarks/{name}/submissions"
    key = idempotency.Key(account.id, route, idempotency_key) if idempotency_key else None
    bodies: OpenBodies = request.app.state.open_bodies
    async with bodies.slot(account.id, compressed=is_compressed(request)):
        with context.storage.receive() as arrival:
            body = Body(request, arrival, length, limit, bodies)
            wanted = query.request(name, None if body.encoded else length)
            upload = _Upload(context, account, wanted, arrival, key)
            if query.dry_run:
                return JSONResponse((await _dry_run(upload, body)).model_dump(mode="json"))
            body.largest_size = partial(_largest_size, await run_in_threadpool(upload.check))
            await body.receive(HEADER_LIMIT)
            submission_id, known = await run_in_threadpool(upload.reserve)
            if known:
                await body.receive()
                await run_in_threadpool(upload.check_same_file)
            else:
                submission_id = await _receive_reserved(upload, body, submission_id)
    return await run_in_threadpool(respond_with_submission, context, submission_id, account, response)


def _largest_size(version: Version, start: bytes) -> int:
    return lifecycle.check_header(version, start, None).largest_file_size


async def _dry_run(upload: _Upload, body: Body) -> DryRunView:
    """Receive the file, check its header, values and announced SHA-256, and return the response. The caller deletes the file.

    Quotas and the idempotency key are not checked.
    """
    version = await run_in_threadpool(upload.find_version)
    body.largest_size = partial(_largest_size, version)
    await body.receive(HEADER_LIMIT)
    lifecycle.check_header(version, upload.arrival.start, upload.wanted.size)
    await body.receive()
    return await run_in_threadpool(upload.check_whole_file, version)


async def _receive_reserved(upload: _Upload, body: Body, submission_id: str) -> str:
    """Receive the rest of the file and call `_Upload.accept`; return the id that `_Upload.accept` returns.

    After any error, the reserved submission expires. If the owner has sent the same file before, the reserved submission expires
    too, and the returned id is that of the earlier submission.
    """
    try:
        await body.receive()
        return await run_in_threadpool(upload.accept, submission_id)
    except BaseException:
        # After any error, cancellation included, the reserved submission must not count towards the quota.
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(upload.expire, submission_id)
        raise
    finally:
        upload.context.presence.discard(submission_id)


@dataclass(frozen=True)
class _Upload:
    """The steps of a single upload that use the database or the disk.

    ``account`` is the sender. ``wanted`` describes the submission that the request asks for. ``arrival`` is the file, which may
    still be arriving. ``key`` is None if the request has no idempotency key.
    """

    context: AppContext
    account: Account
    wanted: SubmissionRequest
    arrival: Arrival
    key: idempotency.Key | None

    def find_version(self) -> Version:
        """Check disk space, `uses_subsets` and `replicate_of`; return the current version of the benchmark that is asked for.

        Raises
        ------
        ProblemError
            ``internal.full``: the disk has no space for the file.
            ``benchmark.unknown``, ``benchmark.retired``: the benchmark does not exist, or is retired.
            ``request.invalid``: `uses_subsets` is true, and the ranking subsets are hidden.
            ``replicate.different``: `replicate_of` names no submission that the file can replicate.
        """
        self.context.storage.check_free_space(self.wanted.size or 0)
        with self.context.database.read() as session:
            version = catalog.find_open_version(session, self.wanted.benchmark)
            lifecycle.check_declaration(version, uses_subsets=self.wanted.uses_subsets)
            replicates.find_root(session, self.account.id, version, self.wanted)
            return version

    def check_whole_file(self, version: Version) -> DryRunView:
        """Check header, values and announced SHA-256 of the received file; return the response to a dry run.

        Raises
        ------
        ProblemError
            ``upload.hash``: the file does not have the announced SHA-256.
            Also the errors of `lifecycle.check_header` and `check_finite`, with codes that begin with ``scores.``.
        """
        wanted, arrival = self.wanted, self.arrival
        arrival.flush()
        self._check_sha256()
        lifecycle.check_header(version, arrival.start, arrival.size)
        check_finite(open_scores(arrival.path))
        return DryRunView(
            benchmark=BenchmarkName(name=wanted.benchmark, version=version.version),
            method=wanted.method,
            kind=wanted.kind.value,
            size=arrival.size,
            sha256=arrival.sha256,
        )

    def check(self) -> Version:
        """Check what is known before the file arrives, and preload the ground truth; return the version from `find_version`.

        The checks are those of `find_version`, the idempotency key and the quotas. The early checks spare a client from sending a
        file that the server would refuse. `reserve` checks key and quotas again, because other requests of the user can change
        both meanwhile.

        If an earlier call with the same key created a submission, `check` does not check the quotas, because `reserve` possibly
        creates no new submission. If `reserve` does create a new submission, `reserve` checks the quotas.

        Raises
        ------
        ProblemError
            The errors of `find_version`, `idempotency.find_by_key` and `lifecycle.check_quotas`.
        """
        version = self.find_version()
        with self.context.database.read() as session:
            if idempotency.find_by_key(session, self.key, self.wanted) is None:
                lifecycle.check_quotas(session, self.account.id, version, self.wanted, self.context.quotas)
        self.context.preload(self.wanted.benchmark, version.version)
        return version

    def reserve(self) -> tuple[str, bool]:
        """Check the header of the file, then create the submission, or find the one that an earlier call with the key created.

        If the file of the earlier submission has not arrived, that submission expires, and a new one is created.

        Returns
        -------
        str
            The id of the submission.
        bool
            Whether an earlier call with the same idempotency key created the submission.

        Raises
        ------
        ProblemError
            The errors of `find_version`, `lifecycle.check_header`, `idempotency.find_by_key` and `lifecycle.reserve`.
        """
        with self.context.database.write() as session:
            if self.account.verified_origin is not None:
                find_token(
                    session, self.account.token_id
                )  # the user may have ended the trust in the CI workflow meanwhile
            version = catalog.find_open_version(session, self.wanted.benchmark)
            lifecycle.check_header(version, self.arrival.start, self.wanted.size)
            known = idempotency.find_by_key(session, self.key, self.wanted)
            # A client sends a file again only after it has lost the first connection, so an unfinished upload is replaced.
            if known is not None and not lifecycle.expire(session, known.id, "replaced by a retry"):
                return known.id, True
            submission = lifecycle.reserve(
                session, self.account.id, version, self.wanted, self.context.quotas, self.account.verified_origin
            )
            idempotency.store_key(session, self.key, submission)
            self.context.presence.add(submission.id)  # before the commit, or recovery could expire the submission
        return submission.id, False

    def check_same_file(self) -> None:
        """Raise ``request.conflict`` if the earlier call with the same idempotency key sent a different file."""
        self.arrival.flush()
        with self.context.database.read() as session:
            idempotency.check_same_file(session, self.key, self.arrival.sha256)

    def accept(self, submission_id: str) -> str:
        """Store the received file, queue its evaluation, and return the id of the submission.

        If the file is a duplicate, nothing is queued: the returned id is that of the owner's earlier submission, and the reserved
        submission expires.

        Raises
        ------
        ProblemError
            ``upload.hash``: the file does not have the announced SHA-256. Also the errors of `lifecycle.accept`.
        """
        arrival, context = self.arrival, self.context
        arrival.flush()
        self._check_sha256()
        with accept_file(context, arrival) as session:
            accepted_id = lifecycle.accept(session, context.storage, submission_id, arrival, context.quotas)
            idempotency.store_key(session, self.key, session.get_one(Submission, accepted_id))
        log.info(
            "submission.accepted" if accepted_id == submission_id else "submission.repeated", submission=accepted_id
        )
        return accepted_id

    def _check_sha256(self) -> None:
        if self.wanted.sha256 not in (None, self.arrival.sha256):
            raise ProblemError.mismatch(
                "upload.hash",
                expected=f"a file with sha256 {self.wanted.sha256}",
                got=f"a file with sha256 {self.arrival.sha256}",
                hint="Send the intended file, or omit 'sha256'.",
            )

    def expire(self, submission_id: str) -> None:
        """Expire a reserved submission whose file did not arrive."""
        with self.context.database.write() as session:
            lifecycle.expire(session, submission_id, "the upload ended early")
