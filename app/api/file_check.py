"""A check of the first bytes of a score file, before the file is sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from app.benchmarks import catalog
from app.context import AppContext
from app.submissions.lifecycle import check_header
from app.submissions.schemas import BenchmarkName
from app.web.dependencies import ContextDep
from app.web.request_body import check_limit, is_compressed, read_body
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.problems import ProblemError

router = APIRouter(tags=["uploads"])


class FileCheckView(BaseModel):
    """The header of a score file that fits a benchmark."""

    benchmark: BenchmarkName
    dtype: str = Field(description="of the scores, such as float32")
    shape: tuple[int, int] = Field(description="training examples and targets")
    transposed: bool = Field(description="whether the file has targets as rows, so that scoring will transpose it")


@router.post(
    "/benchmarks/{name}/check",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def check_file(
    request: Request,
    context: ContextDep,
    name: str,
    size: Annotated[int, Query(ge=0, lt=2**63, description="bytes of the whole file")],
) -> FileCheckView:
    """Check size, format, type and shape of a score file. The raw body is the first 64 KiB of the file, or all of a smaller file.

    The call needs no token, saves nothing and uses no quota. The call does not check that all scores are finite; a dry run and
    the scoring check this.
    """
    check_limit(size, context.settings.max_upload_bytes)
    if is_compressed(request):
        raise ProblemError(
            "upload.encoding", "The body of this call must not be compressed.", "Send the bytes uncompressed."
        )
    start = await read_body(request, HEADER_LIMIT)
    if len(start) != min(size, HEADER_LIMIT):
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"the first {min(size, HEADER_LIMIT)} bytes of a file of {size} bytes",
            got=f"{len(start)} bytes",
            hint=f"Send the first {HEADER_LIMIT} bytes, or all of a smaller file: head -c {HEADER_LIMIT} scores.npy.",
        )
    return await run_in_threadpool(_check, context, name, start, size)


def _check(context: AppContext, name: str, start: bytes, size: int) -> FileCheckView:
    with context.database.read() as session:
        version = catalog.find_open_version(session, name)
    header = check_header(version, start, size)
    n, N = version.manifest["n_train"], version.manifest["n_targets"]
    checked = BenchmarkName(name=name, version=version.version)
    return FileCheckView(benchmark=checked, dtype=str(header.dtype), shape=(n, N), transposed=header.shape != (n, N))
