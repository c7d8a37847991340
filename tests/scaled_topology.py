"""The servers and workers of ``docker/compose.scaled.yaml``: how many, with which commands and settings."""

from __future__ import annotations

import sys

import yaml

from tests.app.service import ROOT

_services = yaml.safe_load((ROOT / "docker/compose.scaled.yaml").read_text())["services"]

SERVERS, WORKERS = (int(_services[name]["deploy"]["replicas"]) for name in ("server", "worker"))

WORK = [sys.executable, "-u", "-m", "app", *_services["worker"]["command"]]
"""Command of a worker."""

SCALED = {"scoring_processes": int(_services["server"]["environment"]["LDSBOARD_SCORING_PROCESSES"])}
"""Settings of the servers, besides those of the store and of the database."""
