"""A benchmark made again from what it published and what its operator kept: the plan to train, and what is different now."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ldsboard.manifest import MANIFEST, BundleError, Manifest
from worker import data, device
from worker.gathering import COUNTS
from worker.models import convolves
from worker.plan import HIDDEN, ConfigurationError, HiddenSeed, Plan, recipe_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.models import Recipe


class Remake(NamedTuple):
    """What is to be trained again, and on which kind of device; `differences` names what is another here: bytes may differ."""

    plan: Plan
    hidden: HiddenSeed | None
    differences: list[str]
    kind: str


def remake(
    benchmark: Path, load: Callable[[str], Recipe], hidden_file: Path | None = None, own: str | None = None
) -> Remake:
    """Read how a benchmark was made, from ``public/benchmark.json`` and the hidden seed.

    Parameters
    ----------
    benchmark
        Its folder, of which nothing but the manifest is read.
    hidden_file
        The operator's ``hidden.json``; the folder's own when None.
    own
        Path of the recipe, where it is one's own; what the manifest calls it when None.

    Raises
    ------
    BundleError
        The manifest is missing, or does not tell how the benchmark was made.
    ConfigurationError
        The hidden seed is missing or another one, or recipe or data are no longer what they were.
    """
    path = benchmark / "public" / MANIFEST
    manifest = Manifest.read(path)
    plan = _plan(manifest, path, own)
    recipe = load(plan.recipe)
    if sha256(recipe_file(recipe).read_bytes()).hexdigest() != manifest.files.get("kit/recipe.py"):
        raise ConfigurationError(
            f"expected the recipe {plan.recipe} of the kit of {path}, got another. Use the version that made it."
        )
    if json.loads(json.dumps(data.load(recipe.DATASET).for_manifest())) != manifest.dataset:
        raise ConfigurationError(f"expected the data set that {path} describes, got another of that name")
    hidden = None
    if plan.split == "protected":
        file = hidden_file or benchmark / HIDDEN
        hidden = HiddenSeed.read(file)
        if hidden.commitment != manifest.commitment:
            raise ConfigurationError(f"{file} does not open the commitment in {path}: it belongs to another benchmark")
    kind = device.same(manifest.provenance)
    now = device.arithmetic(kind, convolves=convolves(recipe.build()))
    return Remake(plan, hidden, _differences(manifest.provenance, now), kind)


def _plan(manifest: Manifest, path: Path, own: str | None) -> Plan:
    made = manifest.provenance
    if manifest.public_seed is None:
        raise BundleError(f"expected a public seed in {path}, got none: its subsets were not drawn here")
    try:
        return Plan(
            recipe=own or manifest.recipe["name"],
            version=manifest.version,
            split=manifest.split,
            **made.get("planned", {name: manifest.subsets[name] for name in COUNTS}),
            runs=manifest.runs,
            group=made["models_at_once"],
            engine=made["engine"],
            public_seed=manifest.public_seed,
        )
    except KeyError as error:
        raise BundleError(f"expected {error} in {path}; without it nobody can tell how it was trained") from error


def _differences(made: dict[str, Any], arithmetic: dict[str, Any]) -> list[str]:
    now = arithmetic | device.versions() | {"torch": torch.__version__}
    if "gpu" in made:
        now = {"gpu": "none"} | now
    then = made | made.get("versions", {})
    differences = [
        f"{name} {then[name]} then, {value} now" for name, value in now.items() if then.get(name, value) != value
    ]
    if planned := made.get("planned"):
        differences.append(f"a part of the planned {planned['public']} and {planned['ranking']} subsets then, all now")
    return differences
