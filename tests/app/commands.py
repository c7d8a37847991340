"""The operator's commands, run inside the test process, because starting a new process takes most of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.testing import CliRunner

from app.__main__ import cli

if TYPE_CHECKING:
    from typer.testing import Result

    from tests.app.service import Service


def run_in_process(service: Service, *arguments: str) -> Result:
    """Run an operator's command in this process with the settings and data folder of a service."""
    settings = {name: value for name, value in service.environment.items() if name.startswith(("LDSBOARD_", "AWS_"))}
    settings.setdefault("LDSBOARD_PUBLIC_URL", service.settings.public_url)
    return CliRunner().invoke(cli, arguments, env=settings, catch_exceptions=False)
