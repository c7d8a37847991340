"""Compressed bodies: inflated as they come, in bounded memory, up to the limit that is stated."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zstandard

from app.web.content_encoding import PIECE_BYTES, inflating
from ldsboard import ProblemError
from tests.app.sending import Sending
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
def test_a_compressed_file_is_the_file(
    service: Service, token: str, toy: Example, name: str, compress: Compress
) -> None:
    scores_nN = toy.scores(seed=50)
    response = send(service, token, compress(npy(scores_nN)), name, method=name)
    assert response.status_code == 202, response.text
    view = service.settled(response.json()["id"])
    assert view["public"]["lds"] == toy.offline(scores_nN)["public"].lds
    assert service.row(view["id"]).size == len(npy(scores_nN))


@EACH
def test_a_compressed_part_is_the_part(
    service: Service, token: str, toy: Example, name: str, compress: Compress
) -> None:
    scores_nN = toy.scores(seed=51)
    sending = Sending(service, token, "toy", npy(scores_nN), method=f"part-{name}").started()
    for body, code in (
        (compress(sending.content[:-1]), "upload.part"),
        (compress(sending.content + b"x"), "upload.too_large"),
        (sending.content, "upload.encoding"),
    ):
        assert sending.put(0, body, **{"Content-Encoding": name}).json()["code"] == code
    assert sending.put(0, compress(sending.content), **{"Content-Encoding": name}).status_code == 200
    assert sending.complete().status_code == 202


@EACH
def test_a_bomb_is_refused_and_leaves_nothing(
    service: Service, token: str, toy: Example, name: str, compress: Compress
) -> None:
    service.idle()
    rows, files = service.rows(), service.files()
    bomb = compress(npy(toy.scores()) + bytes(64 * MAX_UPLOAD_BYTES))
    assert len(bomb) < MAX_UPLOAD_BYTES
    response = send(service, token, bomb, name)
    assert (response.status_code, response.json()["code"]) == (413, "upload.too_large")
    assert f"{MAX_UPLOAD_BYTES} bytes" in response.json()["expected"]
    response = send(service, token, compress(bytes(64 * MAX_UPLOAD_BYTES)), name, dry_run="true")
    assert response.status_code in (413, 422)
    service.idle()
    assert service.files() == files
    assert service.rows()["file"] == rows["file"]


@EACH
@pytest.mark.parametrize("change", ["shorter", "longer", "cut"])
def test_what_inflates_to_another_size_than_the_header_says_is_refused(
    service: Service, token: str, toy: Example, name: str, compress: Compress, change: str
) -> None:
    content = npy(toy.scores())
    body = {"shorter": compress(content[:-4]), "longer": compress(content + b"1234"), "cut": compress(content)[:-400]}
    files = service.files()
    response = send(service, token, body[change], name)
    assert response.status_code == 422
    # A block of zstd that is cut gives nothing at all.
    assert response.json()["code"] == ("scores.empty" if (name, change) == ("zstd", "cut") else "scores.truncated")
    assert service.files() == files


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("br", b"x"), ("gzip, gzip", b"x"), ("gzip", b"not gzip at all"), ("zstd", b"not zstd at all")],
)
def test_an_encoding_that_cannot_be_read_is_named(service: Service, token: str, encoding: str, body: bytes) -> None:
    response = send(service, token, body, encoding)
    assert (response.status_code, response.json()["code"]) == (415, "upload.encoding")
    assert "gzip" in response.json()["expected"]


def test_a_body_that_is_as_it_is_may_say_so(service: Service, token: str, toy: Example) -> None:
    assert send(service, token, npy(toy.scores(seed=52)), "identity").status_code == 202


@EACH
@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_pieces_of_any_size_and_several_members_inflate_to_the_whole(name: str, compress: Compress, step: int) -> None:
    content = np.random.default_rng(1).integers(0, 4, 5000, dtype=np.uint8).tobytes()
    body = compress(content) + compress(b"") + compress(content)
    taken: list[bytes] = []
    take = inflating(name, taken.append)
    for start in range(0, len(body), step):
        take(body[start : start + step])
    assert b"".join(taken) == content * 2


@EACH
def test_inflating_takes_little_memory_whatever_it_inflates_to(name: str, compress: Compress) -> None:
    size = 200 * PIECE_BYTES
    body = compress(bytes(size))
    lengths: list[int] = []
    take = inflating(name, lambda piece: lengths.append(len(piece)))
    tracemalloc.start()
    take(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(lengths) == size
    assert max(lengths) <= PIECE_BYTES
    assert peak < 16 * PIECE_BYTES


def test_a_frame_that_asks_for_more_memory_than_is_allowed_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = body.compress(bytes(1 << 25)) + body.flush()
    with pytest.raises(ProblemError, match="8 MiB"):
        inflating("zstd", lambda _: None)(frame)


def test_a_body_of_empty_members_is_not_read_for_ever() -> None:
    take = inflating("gzip", lambda _: None)
    take(gzip.compress(b"") * 100)
    with pytest.raises(ProblemError, match="members of a gzip file with nothing in them"):
        take(gzip.compress(b"") * 10)
