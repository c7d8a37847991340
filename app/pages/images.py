"""Images of training examples and of targets, as PNG."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response

from app.benchmarks.examples import Examples, ExampleSet
from app.pages.content import png
from app.pages.routing import Pages
from app.web.dependencies import SettingsDep, VersionDep, VersionNumber

router = Pages()


@router.get("/benchmarks/{name}/images/{part}/{index}.png")
def show_image(
    settings: SettingsDep,
    benchmark_version: VersionDep,
    part: ExampleSet,
    index: Annotated[int, Path(ge=0, lt=2**31)],
    version: VersionNumber = None,
) -> Response:
    """Return the image of a training example or of a target, as PNG.

    If the address names a version, browsers cache the image for a year, because the files of a version never change.
    """
    examples = Examples(settings.benchmarks_dir, benchmark_version)
    cache_control = "public, max-age=31536000, immutable" if version is not None else "no-cache"
    image = png.encode(examples.image(part, index))
    return Response(image, media_type="image/png", headers={"Cache-Control": cache_control})
