"""The operator's commands without a process of their own, which would take most of its time to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.testing import CliRunner

from app.__main__ import cli

if TYPE_CHECKING:
    from typer.testing import Result

    from tests.app.service import Service


def run_here(service: Service, *arguments: str) -> Result:
    """Run a command in this process, on the data folder of a service and with its settings."""
    settings = {name: value for name, value in service.environment.items() if name.startswith("LDSBOARD_")}
    return CliRunner().invoke(cli, arguments, env=settings, catch_exceptions=False)
