"""Small benchmarks with known effects, and their score files.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.management import publishing
from ldsboard import GroundTruth
from ldsboard.arrays.packed import PackedMasks
from ldsboard.bundle import Bundle, write_bundle
from ldsboard.hidden_file import HiddenPart
from ldsboard.subsets import draw_masks, draw_reserve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from app.db.models import Version
    from app.db.sessions import Database
    from ldsboard.core.result import Result

HIDDEN_SEED = 0x0F1E2D3C4B5A69788796A5B4C3D2E1F0
NONCE = bytes(range(100, 116))
ALPHA = 0.5


@dataclass(frozen=True)
class Example:
    """A benchmark folder, and the true effect of each training example on each target, float64 (n, N)."""

    folder: Path
    effects_nN: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The benchmark's name."""
        return self.bundle.manifest.name

    @property
    def bundle(self) -> Bundle:
        """The benchmark folder, opened."""
        return Bundle.open(self.folder)

    def scores(self, noise: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
        """Return the effects plus Gaussian noise of standard deviation `noise` (effects have 1), float32 (n, N)."""
        noise_nN = np.random.default_rng([99, seed]).normal(size=self.effects_nN.shape)
        return (self.effects_nN + noise * noise_nN).astype(np.float32)

    def offline(self, scores_nN: NDArray[np.float32]) -> dict[str, Result]:
        """Score an array with the library on all parts, public and hidden, that the server has."""
        masks_Mn, margins_MRN, parts = self.bundle.scored_arrays()
        return GroundTruth(masks_Mn, margins_MRN).score(scores_nN, parts)


def write_benchmark(
    folder: Path,
    name: str = "toy",
    *,
    version: int = 1,
    split: str = "protected",
    n: int = 60,
    N: int = 7,
    public: int = 40,
    ranking: int = 120,
    noise: float = 2.0,
    runs: int = 2,
    dataset: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    pictures: tuple[int, ...] = (),
    reserve: bool = False,
    recipe: str = "LAYERS = (64, 128, 10)\n",
) -> Example:
    """Write a benchmark whose margins are sums of known effects plus noise of each run; `pictures` is the shape of its images.

    With `reserve`, a protected benchmark has the reserve that the worker would give it. `recipe` is the text of the recipe.
    """
    rng = np.random.default_rng(0)
    effects_nN = rng.normal(size=(n, N))

    def margins(masks_Mn: NDArray[np.bool_]) -> NDArray[np.float32]:
        noise_MRN = noise * rng.normal(size=(len(masks_Mn), runs, N))
        margins_MRN: NDArray[np.float32] = ((masks_Mn @ effects_nN)[:, None, :] + noise_MRN).astype(np.float32)
        return margins_MRN

    protected = split == "protected"
    masks_Mn = draw_masks(1, public if protected else public + ranking, n, ALPHA)
    hidden_Mn = draw_masks(HIDDEN_SEED, ranking, n, ALPHA)
    rows = draw_reserve(HIDDEN_SEED, ranking) if reserve else ()
    kit = folder / "made" / "kit"
    kit.mkdir(parents=True)
    (kit / "recipe.py").write_text(recipe)
    description = {
        "name": name,
        "version": version,
        "title": f"The {name} benchmark",
        "description": "Sums of known effects.",
        "licence": "CC0-1.0",
        "dataset": dict(dataset or {"name": "none"}),
        "recipe": {"name": "sums"},
        "alpha": ALPHA,
        "output_function": "margin",
        "public_seed": 1,
        "split": split,
        "ranking": None if protected else (public, public + ranking),
        "provenance": dict(provenance or {}),
    }
    write_bundle(
        folder / name,
        description,
        masks_Mn=masks_Mn,
        margins_MRN=margins(masks_Mn),
        labels={"train": np.arange(n) % 10, "target": np.arange(N) % 10},
        images={
            part: np.random.default_rng(count).integers(0, 17, (count, *pictures), dtype=np.uint8)
            for part, count in (("train", n), ("target", N))
            if pictures
        },
        kit=kit,
        hidden=HiddenPart(HIDDEN_SEED, NONCE, PackedMasks.of(hidden_Mn), margins(hidden_Mn), rows)
        if protected
        else None,
    )
    return Example(folder / name, effects_nN)


def write_trainable(folder: Path, *, epochs: int = 1, group: int = 20) -> Example:
    """Write a benchmark with the name toy whose models can be trained, in milliseconds: that of the digits, but tiny."""
    recipe = (Path(__file__).parents[2] / "worker" / "recipes" / "digits_mlp.py").read_text()
    changes = {
        "(64, 128, 10)": "(64, 8, 10)",
        "epochs: int = 12": f"epochs: int = {epochs}",
        '"batched", 20': f'"batched", {group}',
    }
    for large, tiny in changes.items():
        assert large in recipe
        recipe = recipe.replace(large, tiny)
    return write_benchmark(folder, pictures=(8, 8), recipe=recipe)


def publish(database: Database, root: Path, folder: Path, images: Path | None = None) -> Version:
    """Publish a benchmark folder as the operator's command does."""
    with publishing.prepare(root, folder, images) as made, database.write() as session:
        return publishing.publish(session, made)
