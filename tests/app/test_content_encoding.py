"""Compressed request bodies are inflated while they arrive, in bounded memory, up to the upload limit."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zstandard

from app.web.content_encoding import PIECE_BYTES, SLICE_BYTES, SMALL_MEMBER_BYTES, make_decoder
from ldsboard import ProblemError
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy
from tests.conftest import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.app.benchmarks import Example
    from tests.app.service import Service

    Compress = Callable[[bytes], bytes]


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


ENCODINGS: dict[str, Compress] = {"gzip": gzip.compress, "zstd": zstd}
EACH = pytest.mark.parametrize(("name", "compress"), ENCODINGS.items(), ids=ENCODINGS)


def send(service: Service, token: str, body: bytes, encoding: str, **query: str) -> httpx.Response:
    return service.client.put(
        "/benchmarks/toy/submissions",
        params={"method": "ours", "kind": "practice"} | query,
        content=body,
        headers={"Authorization": f"Bearer {token}", "Content-Encoding": encoding},
    )


@EACH
def test_compressed_upload_is_scored_like_the_file(
    service: Service, token: str, toy: Example, name: str, compress: Compress
) -> None:
    scores_nN = toy.scores(seed=50)
    response = send(service, token, compress(npy(scores_nN)), name, method=name)
    assert response.status_code == 202, response.text
    view = service.wait_until_final(response.json()["id"])
    assert view["public"]["lds"] == toy.offline(scores_nN)["public"].lds
    assert service.row(view["id"]).size == len(npy(scores_nN))


@EACH
def test_compressed_part_is_checked_and_accepted(
    service: Service, token: str, toy: Example, name: str, compress: Compress
) -> None:
    scores_nN = toy.scores(seed=51)
    upload = MultipartUpload(service, token, "toy", npy(scores_nN), method=f"part-{name}").started()
    for body, code in (
        (compress(upload.content[:-1]), "upload.part"),
        (compress(upload.content + b"x"), "upload.too_large"),
        (upload.content, "upload.encoding"),
    ):
        assert upload.put_part(0, body, **{"Content-Encoding": name}).json()["code"] == code
    assert upload.put_part(0, compress(upload.content), **{"Content-Encoding": name}).status_code == 200
    assert upload.complete().status_code == 202


@EACH
def test_decompression_bomb_is_rejected_and_leaves_no_file(
    service: Service, token: str, toy: Example, name: str, compress: Compress
) -> None:
    service.wait_until_idle()
    rows, files = service.rows(), service.files()
    bomb = compress(npy(toy.scores()) + bytes(64 * MAX_UPLOAD_BYTES))
    assert len(bomb) < MAX_UPLOAD_BYTES
    response = send(service, token, bomb, name)
    assert (response.status_code, response.json()["code"]) == (413, "upload.too_large")
    assert response.json()["expected"] == f"at most {len(npy(toy.scores()))} bytes"
    response = send(service, token, compress(bytes(64 * MAX_UPLOAD_BYTES)), name, dry_run="true")
    assert response.status_code in (413, 422)
    service.wait_until_idle()
    assert service.files() == files
    assert service.rows()["file"] == rows["file"]


@EACH
@pytest.mark.parametrize("change", ["shorter", "longer", "cut"])
def test_inflated_size_that_contradicts_the_header_is_rejected(
    service: Service, token: str, toy: Example, name: str, compress: Compress, change: str
) -> None:
    content = npy(toy.scores())
    body = {"shorter": compress(content[:-4]), "longer": compress(content + b"1234"), "cut": compress(content)[:-400]}
    files = service.files()
    response = send(service, token, body[change], name)
    assert response.status_code == 422
    # A truncated zstd block inflates to nothing.
    assert response.json()["code"] == ("scores.empty" if (name, change) == ("zstd", "cut") else "scores.truncated")
    assert service.files() == files


@EACH
@pytest.mark.parametrize("query", [{}, {"dry_run": "true"}], ids=["submission", "dry run"])
def test_body_may_inflate_to_no_more_than_its_header_states(
    service: Service, token: str, toy: Example, name: str, compress: Compress, query: dict[str, str]
) -> None:
    content = npy(toy.scores())
    refused = send(service, token, compress(content.ljust(MAX_UPLOAD_BYTES - 1, b"\0")), name, **query)
    assert (refused.status_code, refused.json()["code"]) == (413, "upload.too_large")
    assert refused.json()["expected"] == f"at most {len(content)} bytes"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("br", b"x"), ("gzip, gzip", b"x"), ("gzip", b"not gzip at all"), ("zstd", b"not zstd at all")],
)
def test_unsupported_or_invalid_encoding_is_rejected(service: Service, token: str, encoding: str, body: bytes) -> None:
    response = send(service, token, body, encoding)
    assert (response.status_code, response.json()["code"]) == (415, "upload.encoding")
    assert "gzip" in response.json()["expected"]


def test_identity_encoding_is_accepted(service: Service, token: str, toy: Example) -> None:
    assert send(service, token, npy(toy.scores(seed=52)), "identity").status_code == 202


@EACH
@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_chunks_of_any_size_and_several_members_are_inflated(name: str, compress: Compress, step: int) -> None:
    content = np.random.default_rng(1).integers(0, 4, 5000, dtype=np.uint8).tobytes()
    body = compress(content) + compress(b"") + compress(content)
    taken: list[bytes] = []
    take = make_decoder(name, taken.append)
    for start in range(0, len(body), step):
        take(body[start : start + step])
    assert b"".join(taken) == content * 2


@EACH
def test_inflating_uses_bounded_memory(name: str, compress: Compress) -> None:
    size = 200 * PIECE_BYTES
    body = compress(bytes(size))
    lengths: list[int] = []
    take = make_decoder(name, lambda piece: lengths.append(len(piece)))
    tracemalloc.start()
    take(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(lengths) == size
    assert max(lengths) <= PIECE_BYTES
    assert peak < 16 * PIECE_BYTES


def test_zstd_window_above_the_memory_limit_is_rejected() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = body.compress(bytes(1 << 25)) + body.flush()
    with pytest.raises(ProblemError, match="8 MiB"):
        make_decoder("zstd", lambda _: None)(frame)


@pytest.mark.parametrize("content", [b"", b"a", bytes(SMALL_MEMBER_BYTES - 1)])
def test_too_many_small_gzip_members_are_rejected(content: bytes) -> None:
    take = make_decoder("gzip", lambda _: None)
    take(gzip.compress(content) * 100)
    with pytest.raises(ProblemError, match="more than 100 members of less than 4096 bytes"):
        take(gzip.compress(content) * 10)


def test_many_large_gzip_members_are_inflated() -> None:
    lengths: list[int] = []
    make_decoder("gzip", lambda piece: lengths.append(len(piece)))(gzip.compress(bytes(SMALL_MEMBER_BYTES)) * 200)
    assert sum(lengths) == 200 * SMALL_MEMBER_BYTES


def test_zlib_copies_little_at_the_end_of_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    make = zlib.decompressobj

    class Counting:
        def __init__(self, window: int) -> None:
            self._member = make(window)

        def decompress(self, chunk: bytes, limit: int) -> bytes:
            given.append(len(chunk))
            return self._member.decompress(chunk, limit)

        def __getattr__(self, name: str) -> object:
            return getattr(self._member, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    make_decoder("gzip", lambda _: None)(gzip.compress(bytes(SMALL_MEMBER_BYTES)) * 2000)
    assert max(given) <= SLICE_BYTES
