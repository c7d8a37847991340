"""The files that pages load: our own few and the vendored libraries, each asked for under its hash."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from functools import cache
from hashlib import sha384
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool
from markupsafe import Markup
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from app.web.caching import accepts_gzip

if TYPE_CHECKING:
    import os

    from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
VENDOR = "vendor"


@cache
def integrities() -> dict[str, str]:
    """Return the subresource integrity of every file that a page may load, by its path under ``static/``.

    Those of vendored files are the ones written down when they were taken, so that a browser refuses altered ones.
    """
    taken = json.loads((FOLDER / VENDOR / "vendor.json").read_text())
    found = {f"{VENDOR}/{path}": str(value) for package in taken for path, value in package["files"].items()}
    own = [path for path in FOLDER.rglob("*") if path.is_file() and FOLDER / VENDOR not in path.parents]
    return found | {path.relative_to(FOLDER).as_posix(): integrity(path.read_bytes()) for path in own}


def integrity(content: bytes) -> str:
    """Return the hash of a file as ``integrity`` attributes write it."""
    return f"sha384-{b64encode(sha384(content).digest()).decode()}"


def _tag(path: str) -> str:
    """Return what in an address changes with the content."""
    return sha384(integrities()[path].encode()).hexdigest()[:12]


def url(path: str) -> str:
    """Return the address of a file."""
    return f"/static/{path}?v={_tag(path)}"


def script(path: str) -> Markup:
    """Return the element that loads a script after the page was read."""
    return Markup('<script src="{}" integrity="{}" defer></script>').format(url(path), integrities()[path])


def stylesheet(path: str) -> Markup:
    """Return the element that loads a style sheet."""
    return Markup('<link rel="stylesheet" href="{}" integrity="{}">').format(url(path), integrities()[path])


@cache
def _compressed(path: str) -> bytes:
    """Return a file as gzip: made when it is first asked for, and held, less than a megabyte in all."""
    return gzip.compress(Path(path).read_bytes(), mtime=0)


class Assets(StaticFiles):
    """Serves the files; asked for under their present hash they may be kept for ever, otherwise not without asking."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file, compressed where that is welcome: all are text."""
        response = await super().get_response(path, scope)
        response.headers.add_vary_header("Accept-Encoding")
        asked = Headers(scope=scope)
        if not isinstance(response, FileResponse) or "range" in asked or not accepts_gzip(asked):
            return response
        body = await run_in_threadpool(_compressed, str(response.path))
        headers = {
            name: value for name, value in response.headers.items() if name not in ("accept-ranges", "content-length")
        }
        # Weak: the same file in other bytes.
        return Response(body, headers=headers | {"etag": f"W/{headers['etag']}", "content-encoding": "gzip"})

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Answer with a file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        path = Path(full_path).relative_to(FOLDER.resolve()).as_posix()
        kept = path in integrities() and scope["query_string"] == f"v={_tag(path)}".encode()
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        return response
