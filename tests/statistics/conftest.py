"""The option `--full`, the number of draws of a simulation, and two tables: of levels by number of subsets, and of all figures.

    pytest tests/statistics            short form: 120 draws, bars widened by three Monte Carlo errors
    pytest tests/statistics --full     1,000 draws (or --draws), bars widened by two Monte Carlo errors, and the tables at the end

The tables are also printed with `--numprocesses`. pytest accepts the option only if the command line names this folder. Each test
also prints its figures; pytest shows them with `-s` or `-rA`, and after a failure.
"""

from __future__ import annotations

import sys
from typing import Protocol

import pytest

from ldsboard.core.chance import ChanceSpread
from tests.statistics.figures import Draws
from tests.statistics.levels import Level, level_table

SHORT = 120
"""Number of draws of the short form."""

ROW, LEVEL = "row of figures", "level"
"""Names of the properties in which test reports carry figures; pytest-xdist sends reports between processes."""


class Report(Protocol):
    def __call__(self, setting: str, figure: object, bar: str = "") -> None: ...


class ReportLevel(Protocol):
    def __call__(self, statistic: str, setting: str, M: int, figure: object, bar: str = "") -> None: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="statistics: 1,000 draws of every simulation, and tables")
    parser.addoption("--draws", type=int, default=1000, help="statistics: another number of draws, with --full")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not is_full(config):
        return
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    properties = [pair for report in reports if report.when == "call" for pair in report.user_properties]
    levels = [Level(*value) for name, value in properties if name == LEVEL]
    rows = [value for name, value in properties if name == ROW]
    terminalreporter.section("levels by number of subsets")
    for row in level_table(levels):
        terminalreporter.write_line(row)
    terminalreporter.section("figures")
    for row in ["| rule | setting | figure ± Monte Carlo error | bar |", "|---|---|---|---|", *rows]:
        terminalreporter.write_line(row)


def is_full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full", default=False))


@pytest.fixture(scope="session")
def draws(pytestconfig: pytest.Config) -> Draws:
    """The number of draws, and the number of Monte Carlo errors by which bars are widened."""
    return Draws(pytestconfig.getoption("--draws"), slack=2) if is_full(pytestconfig) else Draws(SHORT, slack=3)


@pytest.fixture
def few(draws: Draws) -> Draws:
    """As `draws`, with a short form that is short enough for the fast tests."""
    return Draws(30, slack=4) if draws.count == SHORT else draws


@pytest.fixture
def without_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the permutations of `p_random`, which take most of the time with few subsets, in tests that do not examine it."""
    monkeypatch.setattr(ChanceSpread, "p_value", lambda spread, z: 1.0)  # noqa: ARG005


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Report a figure in the test's output, and as a row of the table of figures."""
    rule = request.node.originalname.removeprefix("test_").replace("_", " ")

    def write(setting: str, figure: object, bar: str = "") -> None:
        row = f"| {rule} | {setting} | {figure} | {bar} |"
        request.node.user_properties.append((ROW, row))
        sys.stdout.write(row + "\n")

    return write


@pytest.fixture
def report_level(request: pytest.FixtureRequest) -> ReportLevel:
    """Report the level of a displayed statistic with M subsets, in the test's output and in the table of levels."""

    def write(statistic: str, setting: str, M: int, figure: object, bar: str = "") -> None:
        level = Level(statistic, setting, M, str(figure), bar)
        request.node.user_properties.append((LEVEL, tuple(level)))
        sys.stdout.write(f"{level}\n")

    return write
