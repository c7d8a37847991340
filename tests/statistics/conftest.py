"""The option `--full`, the number of draws of a simulation, and the table of figures.

    pytest tests/statistics            short form: 120 draws, bars widened by three Monte Carlo errors
    pytest tests/statistics --full     2,000 draws, bars without slack, and a table of all figures at the end

pytest accepts the option only if the command line names this folder. Each test also prints its figures; pytest shows them with
`-s` or `-rA`, and after a failure.
"""

from __future__ import annotations

import sys
from typing import Protocol

import pytest

from tests.statistics.figures import Draws

ROWS = pytest.StashKey[list[str]]()


class Report(Protocol):
    def __call__(self, setting: str, figure: object, bar: str = "") -> None: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="statistics: 2,000 draws of every simulation")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if is_full(config):
        terminalreporter.section("figures")
        for row in ["| rule | setting | figure ± Monte Carlo error | bar |", "|---|---|---|---|", *config.stash[ROWS]]:
            terminalreporter.write_line(row)


def is_full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full", default=False))


@pytest.fixture(scope="session")
def draws(pytestconfig: pytest.Config) -> Draws:
    """The number of draws, and the number of Monte Carlo errors by which bars are widened."""
    return Draws(2000, slack=0) if is_full(pytestconfig) else Draws(120, slack=3)


@pytest.fixture
def report(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Report:
    """Report a figure in the test's output, and as a row of the table."""
    rule = request.node.originalname.removeprefix("test_").replace("_", " ")

    def write(setting: str, figure: object, bar: str = "") -> None:
        row = f"| {rule} | {setting} | {figure} | {bar} |"
        pytestconfig.stash[ROWS].append(row)
        sys.stdout.write(row + "\n")

    return write
