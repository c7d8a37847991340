"""The page about a benchmark: data, recipe, meaning of its LDS values, versions and downloads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from app.benchmarks import catalog, perfect_scores
from app.benchmarks.margin_histogram import MarginHistogram, margin_histogram
from app.leaderboard.stored_snapshots import snapshot_links
from app.leaderboard.views import benchmark_view
from app.pages.content.charts import Bin
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.results import history
from app.web.dependencies import ReadSession, SettingsDep, VersionDep

router = Pages()

SHOWN_PROVENANCE = ("versions", "device", "instruction_set", "threads", "models", "seconds")
"""Keys of the manifest's provenance that the page shows; the kit contains the whole manifest."""


@router.get("/benchmarks/{name}/about")
def show_about(settings: SettingsDep, session: ReadSession, version: VersionDep) -> str:
    """Show the description of a benchmark version, by default the current version."""
    manifest = version.manifest
    folder = catalog.version_folder(settings.benchmarks_dir, version.benchmark.name, version.version)
    margins = margin_histogram(folder)
    before = history.previous_version(version)
    dataset = {key: value for key, value in manifest["dataset"].items() if key != "sha256"}
    provenance = {key: value for key, value in manifest["provenance"].items() if key in SHOWN_PROVENANCE}
    return render(
        "about.html",
        benchmark=benchmark_view(session, version),
        manifest={key: manifest[key] for key in ("alpha", "public_seed", "commitment", "unreliable_targets")},
        dataset=list(_labelled_values(dataset)),
        hashes=list(_labelled_values(_dataset_hashes(manifest["dataset"].get("sha256")))),
        recipe=list(_labelled_values(manifest["recipe"])),
        provenance=list(_labelled_values(provenance)),
        drawn=manifest["provenance"].get("subsets_drawn"),
        seeds=manifest["provenance"].get("seeds"),
        rescaled=manifest["provenance"].get("rescaled", False),
        accuracy=_accuracy(manifest, margins),
        bins=[
            Bin(low, high, count) for (low, high), count in zip(pairwise(margins.edges), margins.counts, strict=True)
        ],
        mean_margin=margins.mean,
        can_pass=perfect_scores.can_pass(settings.benchmarks_dir, version),
        version_summaries=history.version_summaries(session, version),
        before=before.version if before else None,
        moves=history.entry_changes(session, before, version) if before else [],
        snapshots=snapshot_links(settings.snapshots_dir, version.benchmark.name, version.version),
        kit=catalog.has_kit(manifest["files"]),
        sizes={name: (folder / "downloads" / name).stat().st_size for name in ("public.npz", "kit.zip")},
        public_url=settings.public_url,
    )


def _labelled_values(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each label and value of a JSON object as text. Labels within a nested object begin with the label of that object."""
    for name, value in values.items():
        label = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _labelled_values(value, f"{label}, ")
        elif isinstance(value, list):
            yield label, ", ".join(map(_formatted, value))
        elif value not in (None, ""):
            yield label, _formatted(value)


def _dataset_hashes(sha256: object) -> dict[str, Any]:
    """Return the hashes of the data set by array name.

    `sha256` is the manifest's entry: a dictionary of one hash for each array, or a single hash. A single hash is returned under
    the name ``all``. Without a hash, the result is empty.
    """
    if isinstance(sha256, dict):
        return sha256
    return {"all": sha256} if sha256 else {}


def _formatted(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _accuracy(manifest: dict[str, Any], margins: MarginHistogram) -> dict[str, float]:
    """Return how accurately the models that were trained on the public subsets classify the targets, as shares by name.

    If the training measured the accuracy, ``mean`` is the mean over the models, and ``lowest`` the accuracy of the worst model.
    Without a measurement, the result depends on the output function. For ``margin``, ``positive`` is the share of margins above
    0, which is a lower bound of the mean accuracy. For any other output function, and for rescaled margins, the result is empty.
    """
    provenance = manifest["provenance"]
    if provenance.get("rescaled"):
        return {}
    measured = {name: provenance[f"accuracy_{name}"] for name in ("mean", "lowest") if f"accuracy_{name}" in provenance}
    return measured or ({"positive": margins.positive} if manifest["output_function"] == "margin" else {})
