"""Static files of the pages, written here or vendored. A page loads each file from an address with the file's content hash."""

from __future__ import annotations

import gzip
import json
import os
from base64 import b64encode
from functools import cache
from hashlib import sha384
from pathlib import Path

from fastapi.concurrency import run_in_threadpool
from markupsafe import Markup
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.web.caching import accepts_gzip

FOLDER = Path(__file__).parent / "static"
VENDOR = "vendor"


@cache
def integrities() -> dict[str, str]:
    """Return the subresource integrity of every static file, by its path under ``static/``.

    For vendored files, the values come from ``vendor.json``, so browsers reject a vendored file that was changed here. The result
    is cached: a file that changes while the server runs keeps its old value.
    """
    packages = json.loads((FOLDER / VENDOR / "vendor.json").read_text())
    vendored = {f"{VENDOR}/{path}": str(value) for package in packages for path, value in package["files"].items()}
    own = [path for path in FOLDER.rglob("*") if path.is_file() and FOLDER / VENDOR not in path.parents]
    return vendored | {path.relative_to(FOLDER).as_posix(): integrity(path.read_bytes()) for path in own}


def integrity(content: bytes) -> str:
    """Return the SHA-384 of a file in the form of an HTML ``integrity`` attribute."""
    return f"sha384-{b64encode(sha384(content).digest()).decode()}"


def _content_hash(path: str) -> str:
    """Return the content hash in a file's address: 12 hexadecimal digits that change with the content of the file."""
    return sha384(integrities()[path].encode()).hexdigest()[:12]


def url(path: str) -> str:
    """Return the address of a file, with its content hash.

    Raises
    ------
    KeyError
        The folder ``static/`` has no file with this relative path.
    """
    return f"/static/{path}?v={_content_hash(path)}"


def script(path: str) -> Markup:
    """Return the ``script`` element for a file; browsers run the script after parsing the page."""
    return Markup('<script src="{}" integrity="{}" defer></script>').format(url(path), integrities()[path])


def stylesheet(path: str) -> Markup:
    """Return the ``link`` element for a style sheet."""
    return Markup('<link rel="stylesheet" href="{}" integrity="{}">').format(url(path), integrities()[path])


@cache
def _compressed(path: str) -> bytes:
    """Return the content of a file, compressed with gzip. Results are cached: less than a megabyte for all files together."""
    return gzip.compress(Path(path).read_bytes(), mtime=0)


class Assets(StaticFiles):
    """Serves static files. Browsers cache an address with the current content hash for a year, and revalidate other addresses."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, compressed if the client accepts gzip and requests no range. All files are text, which gzip shrinks."""
        response = await super().get_response(path, scope)
        response.headers.add_vary_header("Accept-Encoding")
        request_headers = Headers(scope=scope)
        if not isinstance(response, FileResponse) or "range" in request_headers or not accepts_gzip(request_headers):
            return response
        body = await run_in_threadpool(_compressed, str(response.path))
        headers = {
            name: value for name, value in response.headers.items() if name not in ("accept-ranges", "content-length")
        }
        # Make the ETag weak, because the body has the same content as the uncompressed file but other bytes.
        return Response(body, headers=headers | {"etag": f"W/{headers['etag']}", "content-encoding": "gzip"})

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file, or status 304 if the client's copy is current. Both responses have a Cache-Control header."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        path = Path(full_path).relative_to(FOLDER.resolve()).as_posix()
        immutable = path in integrities() and scope["query_string"] == f"v={_content_hash(path)}".encode()
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if immutable else "no-cache"
        return response
