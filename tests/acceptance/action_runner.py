"""A runner of GitHub Actions for tests: it executes the steps of action.yml with bash, as the real one does for an action.

It evaluates the expressions of action.yml, gives each step the files for outputs and summary, and reads the workflow commands in
what a step prints.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.acceptance.offline_index import write_index
from tests.app.service import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Meanwhile = Callable[[subprocess.Popen[str]], object]

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Run:
    """What a run of the action left: exit code, log, annotations as (command, properties, message), outputs, and summary."""

    code: int
    log: str
    annotations: list[tuple[str, dict[str, str], str]]
    masked: list[str]
    outputs: dict[str, str]
    summary: str
    created: set[str] = field(default_factory=set)

    @property
    def document(self) -> Any:
        return json.loads(Path(self.outputs["json-path"]).read_text())


class ActionRunner:
    """A machine of a CI with a copy of this repository as the action, and a package index on its disk."""

    def __init__(self, folder: Path, action_file: Path = ROOT / "action.yml") -> None:
        self.folder, self.temporary = folder, folder / "temporary"
        self.temporary.mkdir()
        self.source = copied_project(folder / "action")
        self.action = yaml.safe_load(action_file.read_text(encoding="utf-8"))
        interpreter = Path(sys.base_prefix, "bin")
        self.environment = {
            "PATH": f"{interpreter}{os.pathsep}{os.defpath}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(write_index(folder / "index")),
            "RUNNER_TEMP": str(self.temporary),
        }
        self._installed: Run | None = None

    def run(
        self,
        workspace: Path,
        inputs: Mapping[str, str],
        environment: Mapping[str, str],
        meanwhile: Meanwhile | None = None,
    ) -> Run:
        """Run the action once. After a successful installation, later runs skip it, because it is the same for all."""
        values = {name: entry.get("default", "") for name, entry in self.action["inputs"].items()} | dict(inputs)
        assert set(values) == set(self.action["inputs"]), "unknown input"
        environment = self.environment | {"GITHUB_ACTION_PATH": str(self.source)} | dict(environment)
        before = {path.name for path in workspace.iterdir()}
        install, submit = self.action["runs"]["steps"]
        contexts: dict[str, Any] = {"inputs": values, "env": environment, "steps": {}}
        done = self._installed or self._step(install, workspace, environment, contexts)
        succeeded = done.code == 0
        if succeeded:
            self._installed = done
        outcome = "success" if succeeded else "failure"
        contexts["steps"]["install"] = {"outputs": done.outputs, "outcome": outcome}
        if succeeded or evaluate(install["continue-on-error"], contexts) == "true":
            if evaluate(f"${{{{ {submit['if']} }}}}", contexts) == "true":
                done = self._step(submit, workspace, environment, contexts, meanwhile)
                contexts["steps"]["submit"] = {"outputs": done.outputs}
            else:
                done = replace(done, code=0)
        done.outputs = {name: evaluate(entry["value"], contexts) for name, entry in self.action["outputs"].items()}
        done.created = {path.name for path in workspace.iterdir()} - before
        return done

    def _step(
        self,
        step: dict[str, Any],
        workspace: Path,
        environment: Mapping[str, str],
        contexts: Mapping[str, Any],
        meanwhile: Meanwhile | None = None,
    ) -> Run:
        assert step["shell"] == "bash"
        files = {name: self.folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        stated = {name: evaluate(value, contexts) for name, value in step.get("env", {}).items()}
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        process = subprocess.Popen(
            ["/bin/bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=workspace,
            env={**environment, **stated, **{name: str(file) for name, file in files.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if meanwhile is not None:
            meanwhile(process)
        try:
            log = process.communicate(timeout=PATIENCE_SECONDS)[0]
        finally:
            process.kill()  # a step that hangs
        annotations, masked = read_commands(log)
        return Run(
            process.returncode,
            log,
            annotations,
            masked,
            read_outputs(files["GITHUB_OUTPUT"].read_text()),
            files["GITHUB_STEP_SUMMARY"].read_text(),
        )


def copied_project(folder: Path) -> Path:
    """Copy the files that are needed to install ldsboard, since an installation writes into the folder that it installs."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "action.yml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "ldsboard", folder / "ldsboard", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def evaluate(text: str, contexts: Mapping[str, Any]) -> str:
    """Evaluate the expressions in a value of action.yml: places in contexts and texts, with the operators ``==`` and ``||``."""

    def value(term: str) -> str:
        if "==" in term:
            left, right = (value(side) for side in term.split("=="))
            return str(left == right).lower()
        if quoted := re.fullmatch(r"\s*'(.*)'\s*", term):
            return quoted[1]
        found: Any = contexts
        for name in term.strip().split("."):
            found = found.get(name, "") if isinstance(found, dict) else ""
        return str(found)

    def look(match: re.Match[str]) -> str:
        return next(filter(None, map(value, match[1].split("||"))), "")

    return re.sub(r"\$\{\{(.*?)\}\}", look, str(text))


def read_outputs(text: str) -> dict[str, str]:
    """Read a file of outputs: ``name=value``, or ``name<<delimiter``, lines, and the delimiter."""
    outputs, lines = {}, iter(text.splitlines())
    for line in lines:
        name, separator, delimiter = line.partition("<<")
        if separator and "=" not in name:
            value = []
            while (following := next(lines)) != delimiter:
                value.append(following)
            outputs[name] = "\n".join(value)
        else:
            name, separator, value_text = line.partition("=")
            assert separator, line
            outputs[name] = value_text
    return outputs


def read_commands(log: str) -> tuple[list[tuple[str, dict[str, str], str]], list[str]]:
    """Return the annotations and the masks of a log, as the runner of GitHub reads them."""
    annotations, masked, stopped = [], [], None
    for line in log.splitlines():
        command = re.fullmatch(r"\s*::([\w-]+)( [^:]*)?::(.*)", line)
        if stopped is not None:
            stopped = None if line.strip() == f"::{stopped}::" else stopped
        elif command is None:
            continue
        elif command[1] == "stop-commands":
            stopped = command[3]
        elif command[1] == "add-mask":
            masked.append(_unescape(command[3]))
        else:
            properties = dict(pair.split("=", 1) for pair in (command[2] or "").strip().split(",") if pair)
            shown = {name: _unescape(value) for name, value in properties.items()}
            annotations.append((command[1], shown, _unescape(command[3])))
    return annotations, masked


def _unescape(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text
