"""What a benchmark must satisfy before it is published."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np

from app.benchmarks.catalog import has_kit
from ldsboard import GroundTruth
from ldsboard.core.ceiling import can_know_ceiling
from ldsboard.counts import count
from ldsboard.importing.sizes import Minimum, check_one_size
from ldsboard.invocation import program
from ldsboard.subsets import draw_reserve

if TYPE_CHECKING:
    from ldsboard.bundle import Bundle

MINIMUM = {"protected": Minimum(public=20, ranking=100), "open": Minimum(public=8, ranking=8)}
"""Minimum numbers of public and of ranking subsets, by split. With fewer public subsets, users could not tune a method."""

NAME_PATTERN = r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*"
"""Pattern of benchmark names, which are parts of URLs and file paths."""


class PublishError(ValueError):
    """A folder cannot be published; the message says why and what to do."""


def check_publishable(bundle: Bundle) -> int:
    """Check that a benchmark that `Bundle.open` has verified may be published; this reads the hidden part and all arrays.

    Returns
    -------
    int
        The number of hidden subsets in the reserve.

    Raises
    ------
    BundleError
        The hidden part is missing or damaged, or the subsets have several sizes.
    PublishError
        The name, version, split, subsets, reserve or noise ceiling is not allowed; or a number in the manifest contradicts the
        arrays, or the kit lacks labels, see `_check_numbers`.
    ProblemError
        The subsets cannot be ranked, for instance because a target has equal margins for all subsets.
    """
    manifest = bundle.manifest
    if not re.fullmatch(NAME_PATTERN, manifest.name) or manifest.version < 1:
        raise PublishError(
            f"{manifest.name!r} version {manifest.version} cannot be published: a name consists of at most 64 lower-case "
            "letters, digits and single dashes, and a version is at least 1. Write a benchmark folder with a valid name and "
            "version: change NAME in the recipe and train, or run python -m app benchmark import NAME --version VERSION."
        )
    if (manifest.split, manifest.ranking is None) not in {("protected", True), ("open", False)}:
        raise PublishError(
            f"The split is {manifest.split!r} and the ranking rows are {manifest.ranking}. A benchmark is either 'open' with "
            f"ranking rows, or 'protected' without ranking rows. {_rewrite_hint(bundle)}"
        )
    masks, margins_MRN, parts = bundle.scored_arrays()
    counts = {part: len(masks[rows]) for part, rows in parts.items()}
    reserve_subsets = counts.pop("reserve", 0)
    if counts != manifest.subsets:
        raise PublishError(
            f"The manifest states {manifest.subsets} subsets, but the arrays hold {counts}. {_rewrite_hint(bundle)}"
        )
    if reserve_subsets:
        hidden = bundle.hidden()
        if hidden.reserve != draw_reserve(hidden.seed, len(hidden.masks)):
            raise PublishError(
                f"The reserve differs from the {reserve_subsets} subsets that the hidden seed draws. {_rewrite_hint(bundle)}"
            )
    least = MINIMUM[manifest.split]
    if counts["ranking"] < least.ranking or counts["public"] < least.public:
        raise PublishError(
            f"Expected at least {least.public} public and {least.ranking} ranking subsets for split '{manifest.split}', "
            f"got {counts['public']} and {counts['ranking']}. Train models on more subsets."
        )
    if duplicates := masks.duplicates():
        raise PublishError(f"The subsets must differ. Found {count(duplicates, 'repetition')}. Draw different subsets.")
    check_one_size(bundle, masks.sizes(), least)
    needs_ceiling = can_know_ceiling(counts["ranking"], manifest.runs) or manifest.split == "protected"
    if needs_ceiling and not (manifest.ceiling is not None and manifest.ceiling > 0):
        raise PublishError(
            f"The noise ceiling is {manifest.ceiling} instead of a positive number: "
            "margins of different runs do not correlate. Train the models longer."
        )
    truth = GroundTruth(masks, margins_MRN)
    for rows in parts.values():
        truth.fingerprint(rows)  # raises an error for constant margins
    _check_numbers(bundle, truth, parts["ranking"])
    return reserve_subsets


def _check_numbers(bundle: Bundle, truth: GroundTruth, rows: slice) -> None:
    """Raise PublishError if the manifest's ceiling, null band or spectrum contradicts the arrays, or if a kit lacks labels."""
    manifest = bundle.manifest
    known = can_know_ceiling(manifest.subsets["ranking"], manifest.runs)
    ceiling, spectrum = truth.noise_ceiling(rows) if known else None, truth.margin_spectrum(rows)
    band = manifest.null_band
    stated = [manifest.ceiling, manifest.ceiling_std_error]
    stated += [band["unrelated"], band["shared"], manifest.attempts_spectrum]
    found = [ceiling and ceiling.value, ceiling and ceiling.std_error]
    found += [spectrum.unrelated, spectrum.shared, spectrum.attempts]
    # A value of None becomes nan in a float array.
    if not np.allclose(np.array(stated, float), np.array(found, float), rtol=1e-6, atol=1e-9, equal_nan=True):
        names = ("ceiling", "ceiling_std_error", "null_band.unrelated", "null_band.shared", "attempts_spectrum")
        pairs = zip(names, stated, found, strict=True)
        numbers = "; ".join(f"{name}: manifest {before}, arrays {computed}" for name, before, computed in pairs)
        raise PublishError(
            f"The manifest must state the numbers that the arrays give. {numbers}. {_rewrite_hint(bundle)}"
        )
    if has_kit(manifest.files) and not {"train_labels.npy", "target_labels.npy"} <= set(manifest.files):
        raise PublishError(
            "The kit needs train_labels.npy and target_labels.npy, but the manifest lists only "
            f"{', '.join(sorted(manifest.files))}. {_rewrite_hint(bundle)}"
        )


def _rewrite_hint(bundle: Bundle) -> str:
    """Return a hint that says how to write a benchmark folder again, from the trained models or from the imported files."""
    provenance = bundle.manifest.provenance
    if "imported" in provenance:
        return "Import the files again with python -m app benchmark import, with the options of the first import."
    partial = " --partial" if "planned" in provenance else ""
    folder = shlex.quote(str(bundle.folder))
    return f"Write the benchmark folder again from the trained models: {program('python')} -m worker gather {folder}{partial}"
