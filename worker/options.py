"""Options that several commands of the trainer have, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ldsboard.retraining import device
from worker import data, recipes
from worker.choice import candidates, fastest
from worker.plan import ConfigurationError

if TYPE_CHECKING:
    from worker.plan import Plan

console = Console(stderr=True, markup=False, highlight=False)

Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: cuda if this machine has a GPU, else cpu.")]


def device_kind(on: str, ray: str = "", gpus: int = 0) -> str:
    """Return the kind of device that the options ask for; raise ConfigurationError if it is unknown or not there."""
    if on not in (device.AUTO, *device.KINDS):
        raise ConfigurationError(f"expected the device {device.AUTO}, {' or '.join(device.KINDS)}, got {on!r}")
    if on == device.GPU and device.best_kind() != device.GPU:
        raise ConfigurationError("torch finds no GPU. Train on the CPU, or install torch with CUDA.")
    if on == device.GPU and ray and not gpus:
        raise ConfigurationError("With --ray and --device cuda, set --gpus-per-shard to at least 1.")
    if on == device.AUTO and ray and gpus and device.best_kind() != device.GPU:
        raise ConfigurationError(
            "This machine has no GPU, but the configuration must name the cluster's GPU. Start from a machine with the same GPU "
            "as the cluster's, or train on CPU cores with --gpus-per-shard 0."
        )
    if on == device.AUTO:
        return device.CPU if ray and not gpus else device.best_kind()
    return on


def choose_engine(plan: Plan, kind: str, group: int | None) -> Plan:
    """Time every engine for a few steps, print the times, and return the plan with the fastest engine and its K."""
    recipe_module = recipes.load(plan.recipe)
    tried = []
    for candidate in candidates(plan, recipe_module, data.load(recipe_module.DATASET), kind, group):
        console.print(f"  {candidate}", soft_wrap=True)
        tried.append(candidate)
    chosen = fastest(tried)
    console.print(f"The fastest is {chosen.engine}, K = {chosen.group}.", soft_wrap=True)
    return replace(plan, engine=chosen.engine, group=chosen.group)
