"""The pictures of training examples and targets."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.responses import Response

from app.dependencies import Reading, TheRooms, WhichVersion
from app.pages import png
from app.pages.routing import Pages
from app.services import benchmarks
from app.services.examples import Examples, Part

router = Pages()


@router.page("/benchmarks/{name}/images/{part}/{index}.png")
def show_picture(
    session: Reading,
    rooms: TheRooms,
    name: str,
    part: Part,
    index: Annotated[int, Path(ge=0, lt=2**31)],
    version: WhichVersion = None,
) -> Response:
    """Draw an example. Versions never change, so that a picture of a stated one may be kept for ever."""
    examples = Examples(rooms.settings.benchmarks_dir, benchmarks.find(session, name, version))
    kept = "public, max-age=31536000, immutable" if version is not None else "no-cache"
    picture = png.encode(examples.picture(part, index))
    return Response(picture, media_type="image/png", headers={"Cache-Control": kept})
