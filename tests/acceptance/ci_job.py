"""A job of a CI with a score file for the benchmark toy."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.action_runner import ActionRunner, Meanwhile, Run
    from tests.app.benchmarks import Example
    from tests.app.service import Service


class Job:
    """A job that runs the action, with the token of a user, and a method of its own."""

    def __init__(self, runner: ActionRunner, service: Service, token: str, folder: Path, toy: Example) -> None:
        self.runner, self.service, self.token, self.folder, self.toy = runner, service, token, folder, toy
        self.method = f"m-{secrets.token_hex(4)}"
        self.write()

    def write(self, noise: float = 0.0) -> None:
        """Write the score file; with more noise, its LDS is lower."""
        np.save(self.folder / "scores.npy", self.toy.scores(noise=noise))

    def run(self, environment: dict[str, str], **inputs: str) -> Run:
        """Run the action with the variables of an event, and with changed inputs."""
        return self.run_while(None, environment, **inputs)

    def run_while(self, meanwhile: Meanwhile | None, environment: dict[str, str], **inputs: str) -> Run:
        """Run the action as `run` does, and call a function with its process."""
        stated = {
            "file": "scores.npy",
            "benchmark": "toy",
            "method": self.method,
            "server": self.service.url,
            "token": self.token,
            "owner": "owner",
        }
        changed = {name.replace("_", "-"): value for name, value in inputs.items()}
        return self.runner.run(self.folder, stated | changed, environment, meanwhile)

    def submissions(self) -> int:
        """Return the number of submissions on the server."""
        return self.service.rows()["submission"]

    def provenance(self, run: Run) -> dict[str, object]:
        """Return the provenance of the submission of a run."""
        view = self.service.client.get(f"/submissions/{run.outputs['submission-id']}")
        found: dict[str, object] = view.json()["provenance"]
        return found
