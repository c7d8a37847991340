"""The plan and configuration of a training, and its hidden seed. Every shard stores the hash of the configuration.

A training folder holds ``training.json`` (the configuration), ``shards/`` and ``hidden/hidden.json`` (the hidden root seed,
written before the first model is trained). `worker.gathering` adds the benchmark.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldsboard.drafts import atomic_write
from ldsboard.retraining import device
from ldsboard.retraining.engines import ENGINES
from ldsboard.retraining.recipe import has_convolutions
from ldsboard.subsets import commitment
from worker.models import Model, list_models

if TYPE_CHECKING:
    from ldsboard.retraining.recipe import Recipe
    from worker.data import Dataset

CONFIGURATION = "training.json"
HIDDEN = Path("hidden", "hidden.json")


class ConfigurationError(ValueError):
    """The options of a training are invalid, or contradict what its folder already holds. The message says what to change."""


@dataclass(frozen=True)
class Plan:
    """The counts and choices of a benchmark that its recipe does not fix.

    An unknown split or engine, or a number that is too small, raises `ConfigurationError`.

    Attributes
    ----------
    recipe, version
        Name or path of the recipe; version of the benchmark.
    split
        ``protected``: a hidden seed draws the hidden subsets; ``open``: the public seed draws all subsets.
    public, ranking
        Number of public subsets for tuning; number of the other subsets: on a protected board the hidden subsets with the
        reserve, on an open board the ranking subsets.
    runs
        Models trained on each subset.
    group
        Number of models that train at once (K). These models have consecutive numbers.
    engine
        Name of the engine.
    public_seed
        Root seed of the public subsets, of the models trained on public subsets, and of the reference models.
    """

    recipe: str
    version: int = 1
    split: str = "protected"
    public: int = 200
    ranking: int = 800
    runs: int = 2
    group: int = 10
    engine: str = "batched"
    public_seed: int = 1

    def __post_init__(self) -> None:
        if self.split not in ("protected", "open"):
            raise ConfigurationError(f"expected the split 'protected' or 'open', got {self.split!r}")
        if self.engine not in ENGINES:
            raise ConfigurationError(f"expected one of the engines {', '.join(ENGINES)}, got {self.engine!r}")
        fewest = {"version": 1, "public": 4, "ranking": 4, "runs": 2, "group": 1, "public_seed": 0}
        for option, least in fewest.items():
            if (got := getattr(self, option)) < least:
                raise ConfigurationError(
                    f"expected a value of at least {least} for {option.replace('_', '-')}, got {got}"
                )

    @property
    def subsets(self) -> dict[str, int]:
        """Number of subsets in each part of the benchmark: ``public``, and on a protected board also ``hidden``."""
        if self.split == "open":
            return {"public": self.public + self.ranking}
        return {"public": self.public, "hidden": self.ranking}

    @property
    def models(self) -> list[Model]:
        """All models, in their fixed order."""
        return list_models(self.subsets, self.runs)


@dataclass(frozen=True)
class HiddenSeed:
    """Root seed of the hidden subsets and their models, and nonce of the commitment to this seed. The `repr` shows neither."""

    seed: int = field(repr=False)
    nonce: bytes = field(repr=False)

    @property
    def commitment(self) -> str:
        """The commitment to the seed, in hex, which the benchmark publishes."""
        return commitment(self.seed, self.nonce)

    @classmethod
    def read_or_create(cls, folder: Path, given: str | None, public_seed: int) -> HiddenSeed:
        """Return the hidden seed of a training folder. In a new folder, save the `given` seed (in hex) or a random seed first.

        Raises
        ------
        ConfigurationError
            The given seed does not have 32 digits, equals the public seed, or differs from the folder's seed. Or a file of the
            folder is damaged, or the folder's seed is missing although training has started.
        """
        if given is not None and not re.fullmatch("[0-9a-fA-F]{32}", given):
            # Anyone could find a shorter seed by exhaustive search.
            raise ConfigurationError(
                "The hidden seed must have 32 hexadecimal digits. Create one with `openssl rand -hex 16`, or leave it out to "
                "draw it at random."
            )
        seed = secrets.randbits(128) if given is None else int(given, 16)
        if seed == public_seed:
            raise ConfigurationError(
                "The hidden seed equals the public seed, which everyone knows. Choose another seed."
            )
        started = (folder / CONFIGURATION).exists() and Configuration.read(folder).commitment is not None
        # Do not replace a lost seed: a new seed would fit no existing shard, and its file would block restoring the backup.
        found = cls.read(folder / HIDDEN) if started else cls(seed, secrets.token_bytes(16)).save(folder)
        if given is not None and found.seed != seed:
            raise ConfigurationError(
                f"{folder / HIDDEN} holds a different hidden seed from the given seed. Choose another folder."
            )
        return found

    def save(self, folder: Path) -> HiddenSeed:
        """Write the seed into a training folder unless the folder has a seed; return the folder's seed."""
        path = folder / HIDDEN
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_once(path, {"seed": f"{self.seed:032x}", "nonce": self.nonce.hex()})
        return HiddenSeed.read(path)

    @classmethod
    def read(cls, path: Path) -> HiddenSeed:
        """Read the seed from a ``hidden.json``. Error messages never quote its content.

        Raises
        ------
        ConfigurationError
            The file is missing or damaged.
        """
        if not path.exists():
            raise ConfigurationError(f"The hidden seed {path} is missing. Restore it from a backup.")
        try:
            members = json.loads(path.read_text())
            found = cls(int(members["seed"], 16), bytes.fromhex(members["nonce"]))
            commitment(found.seed, found.nonce)  # raises on a wrong length
        except (ValueError, KeyError, TypeError, OverflowError):
            raise ConfigurationError(
                f"{path} must hold a seed and a nonce of 32 hexadecimal digits each. Restore it from a backup."
            ) from None
        return found


def write_once(path: Path, members: dict[str, Any]) -> None:
    """Write a JSON file that only its owner can read, unless the file exists. Of concurrent writers, one writes the file."""
    with atomic_write(path, keep_existing=True) as file:
        file.write((json.dumps(members, indent=2) + "\n").encode())


@dataclass(frozen=True)
class Configuration:
    """Everything that can change bits of the margins. Trainings with equal configurations give bitwise equal margins."""

    plan: Plan
    commitment: str | None
    recipe_sha256: str
    settings: dict[str, Any]
    dataset: dict[str, Any]
    arithmetic: dict[str, Any]

    @classmethod
    def of(
        cls, plan: Plan, recipe: Recipe, dataset: Dataset, hidden: HiddenSeed | None, kind: str = device.CPU
    ) -> Configuration:
        """Return the configuration with which this machine runs a plan on one kind of device, such as ``cpu``."""
        return cls(
            plan,
            hidden.commitment if hidden else None,
            sha256(recipe_file(recipe).read_bytes()).hexdigest(),
            json.loads(json.dumps(asdict(recipe.SETTINGS))),
            dataset.describe(),
            device.arithmetic(kind, has_convolutions=has_convolutions(recipe.build())),
        )

    @property
    def digest(self) -> str:
        """Sha256 of the configuration, in hex. Every shard stores this digest."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def save_or_check(self, folder: Path) -> None:
        """Write the configuration into a training folder, or check that the folder's configuration is equal.

        Raises
        ------
        ConfigurationError
            The folder has another configuration, and the message names the differences; or the folder's file is damaged.
        """
        write_once(folder / CONFIGURATION, asdict(self))
        saved = Configuration.read(folder)
        if saved != self:
            new, old = _flatten(asdict(self)), _flatten(asdict(saved))
            different = [
                f"{key}: {old.get(key)!r} in the folder, {new.get(key)!r} now"
                for key in sorted(new.keys() | old.keys())
                if new.get(key) != old.get(key)
            ]
            raise ConfigurationError(
                f"{folder} was started with another configuration ({'; '.join(different)}). "
                "Use the same options as before, or choose another folder."
            )

    @classmethod
    def read(cls, folder: Path) -> Configuration:
        """Read the configuration of a training folder.

        Raises
        ------
        ConfigurationError
            The file is missing or damaged.
        """
        path = folder / CONFIGURATION
        if not path.exists():
            raise ConfigurationError(f"{folder} is not a training folder: it has no {CONFIGURATION}. Train first.")
        try:
            members = json.loads(path.read_text())
            return cls(**members | {"plan": Plan(**members["plan"])})
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigurationError(
                f"{path} is not a valid configuration: {error}. Delete the file and train with the same options as before. The "
                "trainer then writes the file again. It refuses shards that were trained with other options."
            ) from error


def _flatten(members: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in members.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def recipe_file(recipe: Recipe) -> Path:
    """Return the path of a recipe's file, which the kit contains as ``recipe.py``."""
    return Path(str(vars(recipe)["__file__"]))
