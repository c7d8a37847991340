"""What is to be trained, and with what: the configuration that every shard carries the hash of, and the secret seed.

A training folder holds ``training.json`` (the configuration), ``shards/`` and ``hidden/hidden.json`` (the hidden root seed, from
before the first model is trained); `worker.gathering` adds the benchmark.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldsboard.drafts import drafted
from ldsboard.subsets import commitment
from worker import device
from worker.engines import ENGINES
from worker.models import Model, convolves, list_models

if TYPE_CHECKING:
    from worker.data import Dataset
    from worker.models import Recipe

CONFIGURATION = "training.json"
HIDDEN = Path("hidden", "hidden.json")


class ConfigurationError(ValueError):
    """What was asked for cannot be trained, or not in this folder; the message says what to change."""


@dataclass(frozen=True)
class Plan:
    """The counts and choices that a benchmark is made by, beside its recipe.

    Attributes
    ----------
    recipe, version
        Name of the recipe; version of the benchmark.
    split
        ``protected``: the subsets that rank come from a hidden seed; ``open``: all come from the public one.
    public, ranking
        How many subsets are there to tune on, and how many rank.
    runs
        How often every subset is trained.
    group
        How many models train together (K); consecutive ones, always the same.
    engine
        Name of the engine.
    public_seed
        Root seed of whatever is public.
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
                raise ConfigurationError(f"expected {option.replace('_', '-')} of at least {least}, got {got}")

    @property
    def subsets(self) -> dict[str, int]:
        """How many subsets each part of the benchmark has."""
        if self.split == "open":
            return {"public": self.public + self.ranking}
        return {"public": self.public, "hidden": self.ranking}

    @property
    def models(self) -> list[Model]:
        """All models, in their one order."""
        return list_models(self.subsets, self.runs)


@dataclass(frozen=True)
class HiddenSeed:
    """The root seed of the subsets that rank, and the nonce of its commitment. Neither is ever printed."""

    seed: int = field(repr=False)
    nonce: bytes = field(repr=False)

    @property
    def commitment(self) -> str:
        """The published commitment, in hex."""
        return commitment(self.seed, self.nonce)

    @classmethod
    def obtain(cls, folder: Path, given: str | None, public_seed: int) -> HiddenSeed:
        """Read the seed of a training folder; the first time, draw it, or take the one given in hex.

        Raises
        ------
        ConfigurationError
            The seed given is not one of 32 digits, is the public one, or is not the one that the folder has; or the folder has
            lost the one that it was begun with.
        """
        if given is not None and not re.fullmatch("[0-9a-fA-F]{32}", given):
            # A shorter one could be found by trying.
            raise ConfigurationError(
                "expected the hidden seed as 32 hexadecimal digits, got something else (not repeated here). "
                "`openssl rand -hex 16` makes one; without it the seed is drawn."
            )
        seed = secrets.randbits(128) if given is None else int(given, 16)
        if seed == public_seed:
            raise ConfigurationError("expected a hidden seed other than the public one, which everyone can draw from")
        begun = (folder / CONFIGURATION).exists() and Configuration.read(folder).commitment is not None
        # Another seed in the place of a lost one would fit no shard there, and be in the way of the copy.
        found = cls.read(folder / HIDDEN) if begun else cls(seed, secrets.token_bytes(16)).keep(folder)
        if given is not None and found.seed != seed:
            raise ConfigurationError(
                f"{folder / HIDDEN} holds another hidden seed than the one given. Choose another folder."
            )
        return found

    def keep(self, folder: Path) -> HiddenSeed:
        """Write the seed into a training folder unless that has one; return the one that it has now."""
        path = folder / HIDDEN
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_once(path, {"seed": f"{self.seed:032x}", "nonce": self.nonce.hex()})
        return HiddenSeed.read(path)

    @classmethod
    def read(cls, path: Path) -> HiddenSeed:
        """Read the seed from a ``hidden.json``; nothing of its content is ever repeated in an error.

        Raises
        ------
        ConfigurationError
            It is missing or damaged.
        """
        if not path.exists():
            raise ConfigurationError(f"expected the hidden seed at {path}; it is missing. Put it back from a copy.")
        try:
            members = json.loads(path.read_text())
            found = cls(int(members["seed"], 16), bytes.fromhex(members["nonce"]))
            commitment(found.seed, found.nonce)  # refuses what is too long or too short
        except (ValueError, KeyError, TypeError, OverflowError):
            raise ConfigurationError(
                f"expected seed and nonce of 32 hexadecimal digits in {path}. Put it back from a copy."
            ) from None
        return found


def write_once(path: Path, members: dict[str, Any]) -> None:
    """Write a JSON file, readable by its owner alone, unless it exists; of several writers at once one wins, whole."""
    with drafted(path, once=True) as file:
        file.write((json.dumps(members, indent=2) + "\n").encode())


@dataclass(frozen=True)
class Configuration:
    """Everything that can change a bit of the margins. Two runs with equal configurations give equal bytes."""

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
        """Return the configuration of a plan on this machine, on a kind of device."""
        return cls(
            plan,
            hidden.commitment if hidden else None,
            sha256(recipe_file(recipe).read_bytes()).hexdigest(),
            json.loads(json.dumps(asdict(recipe.SETTINGS))),
            dataset.describe(),
            device.arithmetic(kind, convolves=convolves(recipe.build())),
        )

    @property
    def digest(self) -> str:
        """The hash that every shard carries."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def keep(self, folder: Path) -> None:
        """Write the configuration into a training folder, or check that the folder has this very one.

        Raises
        ------
        ConfigurationError
            The folder has another one; the message names what differs.
        """
        write_once(folder / CONFIGURATION, asdict(self))
        kept = Configuration.read(folder)
        if kept != self:
            ours, theirs = _flat(asdict(self)), _flat(asdict(kept))
            different = [
                f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} now"
                for key in sorted(ours.keys() | theirs.keys())
                if ours.get(key) != theirs.get(key)
            ]
            raise ConfigurationError(
                f"{folder} was begun with another configuration ({'; '.join(different)}). "
                "Continue it as it was begun, or choose another folder."
            )

    @classmethod
    def read(cls, folder: Path) -> Configuration:
        """Read the configuration of a training folder.

        Raises
        ------
        ConfigurationError
            There is none, or it is damaged.
        """
        path = folder / CONFIGURATION
        if not path.exists():
            raise ConfigurationError(f"expected a training folder with a {CONFIGURATION}, got {folder}. Train first.")
        try:
            members = json.loads(path.read_text())
            return cls(**members | {"plan": Plan(**members["plan"])})
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigurationError(
                f"expected the configuration of a training folder in {path}, got: {error}. Delete the file and train with the "
                "same options as before: it is written again, and shards of other options are refused."
            ) from error


def _flat(members: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in members.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def recipe_file(recipe: Recipe) -> Path:
    """Return the file that a recipe is, as it will ship in the kit."""
    return Path(str(vars(recipe)["__file__"]))
