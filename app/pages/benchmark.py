"""A benchmark, described: what it is, how its models were trained, how its numbers are to be taken, and what changed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from app.benchmarks import catalog
from app.benchmarks.margin_histogram import MarginHistogram, margin_histogram
from app.leaderboard.views import benchmark_view
from app.pages.content.charts import Bin
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.results import history
from app.web.dependencies import ContextDep, ReadSession, VersionNumber

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

router = Pages()

DOWNLOADS = ("public.npz", "kit.zip")


@router.page("/benchmarks/{name}/about")
def show_about(
    context: ContextDep, session: ReadSession, public_url: PublicUrl, name: str, version: VersionNumber = None
) -> str:
    """Describe a version of a benchmark."""
    found = catalog.find_version(session, name, version)
    manifest = found.manifest
    folder = catalog.version_folder(context.settings.benchmarks_dir, name, found.version)
    seen = margin_histogram(folder)
    before = history.former(found)
    return render(
        "about.html",
        benchmark=benchmark_view(session, found),
        manifest={key: manifest[key] for key in ("alpha", "public_seed", "commitment", "unreliable_targets")},
        dataset=list(_told({key: value for key, value in manifest["dataset"].items() if key != "sha256"})),
        hashes=list(_told(_hashes(manifest["dataset"].get("sha256")))),
        recipe=list(_told(manifest["recipe"])),
        made=list(_told({key: value for key, value in manifest["provenance"].items() if key in MADE})),
        accuracy=_accuracy(manifest, seen),
        bins=_bins(seen),
        mean_margin=seen.mean,
        editions=history.editions(session, found),
        before=before.version if before else None,
        moves=history.moves(session, before, found) if before else [],
        kit=catalog.has_kit(manifest["files"]),
        sizes=_sizes(folder),
        public_url=public_url,
    )


MADE = ("versions", "device", "instruction_set", "threads", "models", "seconds")
"""What is shown of how a benchmark was made; the rest is in its manifest."""


def _told(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names and values of an object as people read them, those of objects in it under its name."""
    for name, value in values.items():
        label = f"{above}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _told(value, f"{label}, ")
        elif isinstance(value, list):
            yield label, ", ".join(map(_written, value))
        elif value not in (None, ""):
            yield label, _written(value)


def _hashes(told: object) -> dict[str, Any]:
    """Return what a manifest says of its data's hashes: one for each array, or one for all."""
    if isinstance(told, dict):
        return told
    return {"all": told} if told else {}


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _accuracy(manifest: dict[str, Any], seen: MarginHistogram) -> dict[str, float]:
    """Return the accuracy of the models on the targets: as it was measured, or what log-odds above 0 tell of it."""
    made = manifest["provenance"]
    known = {name: made[f"accuracy_{name}"] for name in ("mean", "lowest") if f"accuracy_{name}" in made}
    return known or ({"positive": seen.positive} if manifest["output_function"] == "margin" else {})


def _bins(seen: MarginHistogram) -> list[Bin]:
    ends = pairwise(seen.edges)
    return [Bin(low, high, count) for (low, high), count in zip(ends, seen.counts, strict=True)]


def _sizes(folder: Path) -> dict[str, int]:
    return {name: (folder / "downloads" / name).stat().st_size for name in DOWNLOADS}
