"""Commands of the command line, run in the process of the test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from ldsboard import cli


@dataclass
class CommandResult:
    """Exit code and output of a finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands of the command line in this process, with a user's environment variables."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.environment, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> CommandResult:
        self.environment.setattr("sys.argv", ["ldsboard", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = self._capsys.readouterr()
        code = ended.value.code
        return CommandResult(code if isinstance(code, int) else 0, printed.out, printed.err)
