"""Every exit code of the installed command, run as a process against a running server, also through a proxy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import text

from ldsboard.commands import exits
from tests.app.benchmarks import write_benchmark
from tests.app.service import PATIENCE_SECONDS, Service, until
from tests.client.http_proxy import Cut, Hang, HttpProxy, Rule, page
from tests.client.uploads import states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("ldsboard")
INTERRUPTED = 130


class Terminal:
    """A shell with the environment variables of one user, in which the installed command runs as a process."""

    def __init__(self, service: Service, folder: Path, name: str) -> None:
        self.service, self.name, self.scores = service, name, folder / "scores.npy"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LDSBOARD_SERVER": service.url,
            "LDSBOARD_TOKEN": service.token(name, ranked_per_day=1, ranked_per_version=9),
            "LDSBOARD_CACHE": str(folder / "cache"),
        }

    def start(self, *options: str, benchmark: str = "toy") -> subprocess.Popen[str]:
        """Start ``ldsboard submit`` for the score file of the user; the options come after the benchmark."""
        arguments = ("submit", str(self.scores), benchmark, "--method", "ours", *options)
        return subprocess.Popen(
            [str(COMMAND), *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def submit(self, *options: str, benchmark: str = "toy") -> tuple[int, str]:
        """Run ``ldsboard submit`` to its end, and return its exit code and what it printed on standard error."""
        with self.start(*options, benchmark=benchmark) as process:
            _, printed = process.communicate(timeout=PATIENCE_SECONDS)
        assert "Traceback" not in printed
        return process.returncode, printed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    """A running server with the benchmark toy and with the benchmark fragile, whose hidden margins are lost."""
    fragile = write_benchmark(tmp_path_factory.mktemp("fragile"), "fragile")
    with Service(tmp_path_factory.mktemp("exits")) as running:
        running.publish(toy.folder)
        running.publish(fragile.folder)
        (margins,) = running.settings.benchmarks_dir.glob("fragile/*/hidden/margins.npy")
        margins.unlink()
        yield running


@pytest.fixture
def terminal(server: Service, toy: Example, tmp_path: Path) -> Terminal:
    made = Terminal(server, tmp_path, tmp_path.name.replace("_", "-"))
    np.save(made.scores, toy.scores())
    return made


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--practice",), 0),
        (("--practice", "--min-lds", "nan"), exits.USAGE),
        (("--practice", "--no-wait", "--min-lds", "0"), exits.USAGE),
        (("--practice", "--no-regress-from", ""), exits.USAGE),
        (("--practice", "--benchmark", "other"), exits.USAGE),
        (("--practice", "--token", "ldsb_wrong"), exits.NOT_ALLOWED),
        (("--practice", "--server", "http://localhost:9"), exits.UNREACHABLE),
        (("--practice", "--min-lds", "0.9999"), exits.GATE),
    ],
)
def test_options_decide_the_exit_code(terminal: Terminal, options: tuple[str, ...], code: int) -> None:
    assert terminal.submit(*options)[0] == code


def test_file_that_is_not_finite_exits_with_the_code_for_rejected(terminal: Terminal) -> None:
    scores = np.load(terminal.scores)
    scores[3, 2] = np.inf
    np.save(terminal.scores, scores)
    code, printed = terminal.submit("--practice")
    assert code == exits.REJECTED
    assert "(3, 2)" in printed


def test_file_of_another_shape_exits_with_the_code_for_rejected(terminal: Terminal) -> None:
    np.save(terminal.scores, np.load(terminal.scores)[1:])
    assert terminal.submit("--practice")[0] == exits.REJECTED
    assert states(terminal.service, terminal.name) == ["expired"]  # it takes no place in a quota


def test_second_ranked_submission_exits_with_the_code_for_quota(terminal: Terminal) -> None:
    assert terminal.submit("--ranked")[0] == 0
    np.save(terminal.scores, 1 - np.load(terminal.scores))
    code, printed = terminal.submit("--ranked")
    assert code == exits.QUOTA
    assert "The quota resets at" in printed


def test_evaluation_that_fails_on_the_server_exits_with_its_code(terminal: Terminal) -> None:
    # The server tries several times, with pauses. Until then, the submission has no result.
    assert terminal.submit("--ranked", "--timeout", "0", benchmark="fragile")[0] == exits.TIMED_OUT
    code, printed = terminal.submit("--ranked", benchmark="fragile")
    assert code == exits.FAILED, printed
    assert states(terminal.service, terminal.name).count("failed") == 1


def test_broken_database_of_the_server_exits_with_the_code_for_unexpected(toy: Example, tmp_path: Path) -> None:
    with Service(tmp_path) as broken:
        broken.publish(toy.folder)
        terminal = Terminal(broken, tmp_path, "alice")
        np.save(terminal.scores, toy.scores())
        with broken.database.write() as session:
            session.execute(text("ALTER TABLE submission RENAME TO lost"))
        assert terminal.submit("--practice")[0] == exits.UNEXPECTED


def test_interrupted_command_exits_with_130(terminal: Terminal) -> None:
    with HttpProxy(terminal.service.port, lambda method, _: Hang() if method == "PUT" else None) as proxy:
        terminal.environment["LDSBOARD_SERVER"] = proxy.url
        with terminal.start("--ranked") as process:
            until(lambda: proxy.hanging, "a part without an answer")
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == INTERRUPTED
    assert "submit --resume" in printed


@pytest.mark.parametrize(
    ("options", "redirection", "code"),
    [
        ("--json", "> /dev/full", exits.UNEXPECTED),
        ("--json --min-lds 0.9999", "> /dev/full", exits.GATE),
        ("", ">&-", 0),
    ],
)
def test_output_that_cannot_be_written_hides_no_gate(
    terminal: Terminal, options: str, redirection: str, code: int
) -> None:
    command = f'"{COMMAND}" submit "{terminal.scores}" toy --method ours --practice {options} {redirection}'
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=terminal.environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert ("The result could not be written" in done.stderr) == ("full" in redirection)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (Cut(0.19), exits.UNREACHABLE),
        (page(413, "Request Entity Too Large"), exits.NOT_ALLOWED),
        (page(403, "Forbidden"), exits.NOT_ALLOWED),
        (page(200, "Sign in to continue"), exits.UNREACHABLE),
        (page(429, "Slow down", Retry_After="3600"), exits.TIMED_OUT),
    ],
)
def test_proxy_decides_the_exit_code_until_it_lets_the_file_through(terminal: Terminal, rule: Rule, code: int) -> None:
    with HttpProxy(terminal.service.port, lambda method, _: rule if method == "PUT" else None) as proxy:
        terminal.environment["LDSBOARD_SERVER"] = proxy.url
        assert terminal.submit("--ranked")[0] == code
        proxy.rule = lambda *_: None  # the quota allows one ranked submission
        assert terminal.submit("--ranked")[0] == 0
    assert states(terminal.service, terminal.name).count("scored") == 1
