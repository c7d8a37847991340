"""The templates for CIs and their guide: they are valid, agree with each other and with action.yml, and GitLab's script works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from ldsboard.ci.inputs import read_inputs, variable
from ldsboard.ci.outcome import INTERRUPTED, PUBLIC_ONLY, STATUSES
from tests.acceptance import ci_events
from tests.acceptance.action_runner import ActionRunner, copied_project
from tests.acceptance.offline_index import write_index

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = {path.stem: path for path in (ROOT / "templates/ci").glob("*.yml")}
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GUIDE = (ROOT / "docs/how-to/submit-from-ci.md").read_text(encoding="utf-8")
BLOCKS = [
    re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)
    for indent, block in re.findall(r"^( *)```yaml\n(.*?)^ *```$", GUIDE, re.DOTALL | re.MULTILINE)
]
TOOLS = Path(sys.executable).parent


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    """Return all steps of a workflow, or of the action."""
    content = load(path)
    jobs = content["jobs"].values() if "jobs" in content else [content["runs"]]
    return [step for job in jobs for step in job["steps"]]


def check_schema(path: Path, schema: str) -> None:
    command = [str(TOOLS / "check-jsonschema"), "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path",
    [ROOT / "action.yml", *WORKFLOWS, *(TEMPLATES[n] for n in ("github", "forgejo"))],
    ids=lambda path: path.name,
)
def test_scripts_of_steps_are_sound_and_have_no_inputs(path: Path) -> None:
    scripts = [step["run"] for step in steps(path) if "run" in step]
    assert scripts
    for script in scripts:
        assert not re.search(r"\$\{\{\s*(inputs|github|env|steps|secrets|vars)\b", script), script
        done = subprocess.run(
            [TOOLS / "shellcheck", "--shell=bash", "--exclude=SC2154", "-"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"


def test_action_installs_itself_and_nothing_by_name() -> None:
    script = steps(ROOT / "action.yml")[0]["run"]
    (line,) = [line for line in script.splitlines() if "pip install" in line]
    arguments = line.partition("pip install ")[2].split()
    packages = [
        word for place, word in enumerate(arguments) if word[0] != "-" and arguments[place - 1] != "--constraint"
    ]
    assert packages == ['"$GITHUB_ACTION_PATH"']


def test_action_has_every_input_that_the_program_reads() -> None:
    stated = steps(ROOT / "action.yml")[1]["env"]
    assert set(stated) == {"LDSBOARD_PYTHON", *map(variable, ACTION["inputs"])}
    defaults = {variable(name): entry.get("default", "x") for name, entry in ACTION["inputs"].items()}
    inputs = read_inputs(defaults | {"LDSBOARD_SERVER": "https://board.example"})
    assert (inputs.min_lds, inputs.no_regress_from, inputs.kind) == (None, None, "practice")


@pytest.mark.parametrize(("strict", "code"), [("true", 1), ("false", 0)])
def test_action_that_cannot_be_installed_has_a_status_and_fails_unless_errors_may_pass(
    tmp_path: Path, strict: str, code: int
) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")  # what a Python that is too old answers
    python.chmod(0o700)
    required = {name: "x" for name, entry in ACTION["inputs"].items() if entry["required"]}
    variables = ci_events.push(tmp_path) | {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}"}
    found = ActionRunner(tmp_path).run(tmp_path, required | {"fail-on-error": strict}, variables)
    assert (found.code, found.outputs["status"], found.outputs["lds"]) == (code, "error", "")
    ((level, properties, _),) = found.annotations
    assert (level, properties["title"]) == ("error", "Python is missing or too old")


def test_forgejo_workflow_is_one_of_github_with_one_key_more(tmp_path: Path) -> None:
    content = load(TEMPLATES["forgejo"])
    assert content.pop("enable-openid-connect") is True
    content["on"] = content.pop(True)  # YAML 1.1 reads the key "on" as true
    path = tmp_path / "forgejo.json"
    path.write_text(json.dumps(content))
    check_schema(path, "github-workflows")


def test_guide_shows_the_template_for_github_and_links_to_the_others() -> None:
    assert TEMPLATES["github"].read_text(encoding="utf-8") in BLOCKS
    links = set(re.findall(r"\]\(\.\./\.\./templates/ci/([\w-]+)\.yml\)", GUIDE))
    assert links == TEMPLATES.keys() - {"github"}


def test_other_yaml_of_the_guide_is_valid(tmp_path: Path) -> None:
    shown = {path.read_text(encoding="utf-8") for path in TEMPLATES.values()}
    step, gitlab = (block for block in BLOCKS if block not in shown)
    assert yaml.safe_load(step)[0]["with"] == {"name": "scores", "path": "scores.npy"}
    path = tmp_path / ".gitlab-ci.yml"
    path.write_text(gitlab)
    check_schema(path, "gitlab-ci")
    content = load(path)
    variables = load(TEMPLATES["gitlab"])[".ldsboard"]["variables"] | content["variables"] | content["lds"]["variables"]
    assert read_inputs(variables).no_regress_from == "latest"
    used = set(re.findall(r"\$\{?(LDSBOARD_\w+)", TEMPLATES["gitlab"].read_text(encoding="utf-8")))
    assert used == {"LDSBOARD_SOURCE", "LDSBOARD_SERVER"}
    assert used <= set(variables)
    started = [rule["if"] for rule in content["workflow"]["rules"]]
    assert started == ['$CI_PIPELINE_SOURCE == "merge_request_event"', "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"]
    assert "workflow" not in load(
        TEMPLATES["gitlab"]
    )  # it would replace the rules of the file that includes the template


def test_placeholders_are_explained_where_they_stand() -> None:
    """What a reader replaces is marked "yours", or named in the comment at the top of the file or on the page before it."""
    for block in [*BLOCKS, *(path.read_text(encoding="utf-8") for path in TEMPLATES.values())]:
        lines = block.splitlines()
        head = "\n".join(line for line in lines if line.startswith("#")) or GUIDE.partition("```")[0]
        for line in (line for line in lines if not line.startswith("#")):
            if "OWNER/" in line or "0" * 40 in line:
                assert "OWNER is the GitHub account" in head, line
                assert "zeros are a commit" in head, line
            elif re.search(r"\bYOU\b|fashion5k-mlp|my-method|ldsboard\.example|attribute\.py", line):
                assert "# yours" in line, line


def test_curl_call_of_the_guide_trusts_the_workflow_or_shows_why_not(service: Service) -> None:
    (call,) = re.findall(r"^ *(curl .*?)$\n^ *```$", GUIDE, re.DOTALL | re.MULTILINE)
    call = call.replace("https://ldsboard.example", service.url)
    for command in re.findall(r"python -m app (.*)$", GUIDE, re.MULTILINE):  # add the user, and create the token
        created = service.run(*command.replace("YOU", "trusting").split())
        assert created.returncode == 0, created.stderr

    def run(command: str) -> tuple[int, Any]:
        environment = {"LDSBOARD_TOKEN": created.stdout.strip(), "PATH": os.defpath}
        done = subprocess.run(
            ["/bin/bash", "-c", command], env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, json.loads(done.stdout)

    code, refusal = run(call)
    assert code != 0
    assert "repository_id" in refusal["expected"]
    code, trusted = run(call.replace('"ID"', '"74"').replace('"OWNER_ID"', '"65"'))
    assert (code, trusted["repository_id"], trusted["owner_id"]) == (0, "74", "65")


def test_templates_use_inputs_of_the_action_and_pinned_actions() -> None:
    known = {step["uses"] for path in WORKFLOWS for step in steps(path) if "uses" in step}
    used = [step["uses"] for block in BLOCKS[:2] for step in steps_of(block) if "uses" in step]
    assert {name for name in used if name.startswith("actions/")} <= known
    for path in (TEMPLATES["github"], TEMPLATES["github-fork"], TEMPLATES["forgejo"]):
        (step,) = [step for step in steps(path) if "OWNER/ldsboard@" in step.get("uses", "")]
        assert set(step["with"]) <= set(ACTION["inputs"])
        required = {name for name, entry in ACTION["inputs"].items() if entry["required"]}
        assert required <= set(step["with"])


def steps_of(block: str) -> list[dict[str, Any]]:
    """Return the steps in a block of the guide: of a workflow, or a list of steps."""
    content = yaml.safe_load(block)
    return content if isinstance(content, list) else [step for job in content["jobs"].values() for step in job["steps"]]


def test_workflow_for_forks_runs_no_code_of_the_fork() -> None:
    workflow = load(TEMPLATES["github-fork"])
    assert set(workflow[True]) == {"workflow_dispatch"}
    assert [step["uses"].partition("@")[0] for step in steps(TEMPLATES["github-fork"])] == [
        "actions/download-artifact",
        "OWNER/ldsboard",
    ]


def table(heading: str) -> list[list[str]]:
    """Return the names in the first column of each row of the table under a heading."""
    section = GUIDE.split(f"# {heading}\n")[1].partition("\n#")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [re.findall(r"`([^`]+)`", row) for row in rows]


def test_guide_lists_inputs_outputs_and_statuses() -> None:
    assert {name for row in table("Inputs") for name in row} == set(ACTION["inputs"])
    assert {name for row in table("Outputs") for name in row} == set(ACTION["outputs"])
    listed = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", GUIDE.split("# When the job fails\n")[1], re.MULTILINE)
    wanted = {name: str(code) for code, name in STATUSES.items()} | {PUBLIC_ONLY: "0", INTERRUPTED: "130"}
    assert dict(listed) == wanted
    assert all(name in ACTION["outputs"]["status"]["description"] for name in wanted)


@pytest.mark.slow  # installs ldsboard
def test_script_for_gitlab_submits_a_file(service: Service, token: str, toy: Example, tmp_path: Path) -> None:
    job = load(TEMPLATES["gitlab"])[".ldsboard"]
    np.save(tmp_path / "scores.npy", toy.scores())
    environment = job["variables"] | {
        "PATH": f"{Path(sys.base_prefix, 'bin')}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(write_index(tmp_path / "index")),
        "LDSBOARD_SOURCE": str(copied_project(tmp_path / "source")),
        "LDSBOARD_SERVER": service.url,
        "LDSBOARD_TOKEN": token,
        "LDSBOARD_FILE": "scores.npy",
        "LDSBOARD_BENCHMARK": "toy",
        "LDSBOARD_METHOD": "from-gitlab",
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_COMMIT_BRANCH": "main",
        "CI_COMMIT_SHA": "7" * 40,
        "CI_DEFAULT_BRANCH": "main",
        "CI_PROJECT_PATH": "lab/attribution",
    }
    script = "\n".join(job["script"])
    command = ["/bin/bash", "-eo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = [tmp_path / path for path in job["artifacts"]["reports"].values()]
    assert all(path.is_file() for path in reports)
    submission = json.loads((tmp_path / "ldsboard-report/submission.json").read_text())
    assert submission["provenance"]["provider"] == "gitlab"
    assert f"LDSBOARD_SUBMISSION_ID={submission['id']}" in (tmp_path / "ldsboard-report/variables.env").read_text()
