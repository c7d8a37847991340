"""The parts of a CI report that need no server: inputs, escaping, sizes, and what every exit code is called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ldsboard.ci import actions
from ldsboard.ci.gitlab import write_reports
from ldsboard.ci.inputs import FORK_NOTE, InputError, fails_on_error, is_unprivileged, read_inputs, variable
from ldsboard.ci.outcome import STATUSES, Outcome, error_message
from ldsboard.ci.process import Finished
from ldsboard.ci.summary import TITLES, Annotation, annotation, escape, summary
from ldsboard.environment import Origin

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = {
    "LDSBOARD_FILE": "scores.npy",
    "LDSBOARD_BENCHMARK": "toy",
    "LDSBOARD_METHOD": "ours",
    "LDSBOARD_SERVER": "https://board.example/",
}
NUMBERS = {"lds": 0.5, "ci": [0.4, 0.6]}


def submission(**changes: Any) -> dict[str, Any]:
    links = {"page": "/submissions/0123456789abcdef"}
    view: dict[str, Any] = {
        "id": "0123456789abcdef",
        "kind": "practice",
        "links": links,
        "public": NUMBERS,
        "hidden": None,
        "warnings": [],
    }
    return view | changes


def of_submission(code: int = 0, messages: list[str] | None = None, **changes: Any) -> Outcome:
    return Outcome.of_submission(Finished(code, json.dumps(submission(**changes)), messages or []), {}, "token")


def in_markdown(outcome: Outcome, method: str = "ours") -> str:
    return summary(outcome, method=method, benchmark="toy", server="https://board.example/")


def test_replicate_is_an_option_of_the_command() -> None:
    stated = read_inputs(REQUIRED | {"LDSBOARD_REPLICATE_OF": " 0123456789abcdef "})
    assert "--replicate-of=0123456789abcdef" in stated.submit(Origin())
    assert not any("replicate" in option for option in read_inputs(REQUIRED).submit(Origin()))


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_missing_input_is_named(name: str) -> None:
    with pytest.raises(InputError, match=name.removeprefix("LDSBOARD_").lower()):
        read_inputs(REQUIRED | {name: " "})


@pytest.mark.parametrize("value", ["", " ", "nan", "inf", "high", "-inf"])
def test_min_lds_is_a_finite_number_or_none(value: str) -> None:
    with pytest.raises(InputError, match="min-lds"):
        read_inputs(REQUIRED | {"LDSBOARD_MIN_LDS": value})


def test_gate_is_absent_if_it_is_not_stated_or_none() -> None:
    for stated in ({}, {"LDSBOARD_MIN_LDS": "none", "LDSBOARD_NO_REGRESS_FROM": "none"}):
        inputs = read_inputs(REQUIRED | stated)
        assert (inputs.min_lds, inputs.no_regress_from) == (None, None)
    with pytest.raises(InputError, match="no-regress-from"):
        read_inputs(REQUIRED | {"LDSBOARD_NO_REGRESS_FROM": ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("visibility", ""),
        ("visibility", "Private"),
        ("kind", ""),
        ("kind", "rankd"),
        ("min-lds", "None"),
        ("fail-on-error", ""),
        ("fail-on-error", "False"),
    ],
)
def test_input_with_another_value_than_the_allowed_ones_is_an_error(name: str, value: str) -> None:
    with pytest.raises(InputError, match=name):
        read_inputs(REQUIRED | {variable(name): value})


@pytest.mark.parametrize(
    ("value", "strict"), [("", True), ("true", True), ("FALSE", True), ("false", False), ("no", True), ("0", True)]
)
def test_only_false_keeps_a_failed_job_green(value: str, *, strict: bool) -> None:
    assert fails_on_error({"LDSBOARD_FAIL_ON_ERROR": value}) is strict


def test_difference_without_gate_is_asked_for_where_it_can_be_known() -> None:
    inputs = read_inputs(REQUIRED)
    known = Origin(default_branch="main")
    assert "--no-regress-from=latest" in inputs.submit(known)
    assert "--tolerance=2" in inputs.submit(known)
    assert "--no-regress-from=latest" not in inputs.submit(Origin())
    anonymous = read_inputs(REQUIRED | {"LDSBOARD_VISIBILITY": "anonymous"})
    assert "--no-regress-from=latest" not in anonymous.submit(known)
    gated = read_inputs(REQUIRED | {"LDSBOARD_NO_REGRESS_FROM": "latest"})
    assert [option for option in gated.submit(known) if "tolerance" in option] == []


def test_token_is_a_variable_and_no_argument() -> None:
    inputs = read_inputs(REQUIRED | {"LDSBOARD_TOKEN": "ldsb_secret"})
    assert "ldsb_secret" not in " ".join(inputs.submit(Origin())) + repr(inputs)
    assert inputs.variables({"FORCE_COLOR": "1"})["LDSBOARD_TOKEN"] == "ldsb_secret"
    assert "FORCE_COLOR" not in inputs.variables({"FORCE_COLOR": "1"})


GITHUB = {"GITHUB_REPOSITORY": "lab/attribution"}
ONLY_URL = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://vstoken.example"}
IDENTITY = ONLY_URL | {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"}
GITLAB = {"GITLAB_CI": "true", "CI_MERGE_REQUEST_PROJECT_PATH": "lab/a"}


@pytest.mark.parametrize(
    ("origin", "environ", "token", "expected"),
    [
        (Origin(repository="fork/attribution", number=7), GITHUB, "", True),
        (Origin(repository=None, number=7), GITHUB, "", True),
        (Origin(repository=None, number=7, problem="the event cannot be read"), GITHUB, "", False),
        (Origin(repository="lab/attribution", number=7), GITHUB, "", False),
        (Origin(repository="lab/attribution", number=7), GITHUB | {"GITHUB_ACTOR": "dependabot[bot]"}, "", True),
        (Origin(repository="fork/attribution", number=7), GITHUB | IDENTITY, "", False),
        (Origin(repository="fork/attribution", number=7), GITHUB | ONLY_URL, "", True),
        (Origin(repository="fork/attribution", number=7), GITHUB, "ldsb_x", False),
        (Origin(repository="fork/attribution"), GITHUB, "", False),
        (Origin(repository="fork/a", number=7), GITLAB | {"CI_PROJECT_PATH": "fork/a"}, "", True),
        (Origin(repository="fork/a", number=7), GITLAB | {"CI_PROJECT_PATH": "lab/a"}, "", False),
        (Origin(repository="lab/a", number=7), GITLAB | {"CI_PROJECT_PATH": "lab/a"}, "", False),
        (Origin(repository="fork/a", number=7), {"GITLAB_CI": "true", "CI_PROJECT_PATH": "lab/a"}, "", False),
        (Origin(repository="lab/a", number=7), {"CI": "woodpecker", "CI_REPO": "lab/a"}, "", False),
    ],
)
def test_only_foreign_pull_requests_without_secret_are_scored_offline(
    origin: Origin, environ: dict[str, str], token: str, *, expected: bool
) -> None:
    assert is_unprivileged(origin, environ, token) is expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, False), (ONLY_URL, False), (IDENTITY, True), ({"LDSBOARD_ID_TOKEN_2": "a.b.c"}, True)],
)
def test_job_with_an_identity_is_not_told_that_it_has_none(environ: dict[str, str], *, expected: bool) -> None:
    outcome = Outcome.of_submission(Finished(4, "", ["Error: no."]), environ, "")
    assert ("neither a token nor an identity" not in outcome.message) is expected


@pytest.mark.parametrize("code", [*STATUSES, 130, -9])
def test_every_exit_code_has_a_status_a_title_and_a_message(code: int) -> None:
    outcome = Outcome.of_submission(Finished(code, "", ["Submitted", "Error: it went wrong."]), {}, "token")
    assert (outcome.code == 0) is False  # code 0 without a result is an error, too
    assert outcome.status in {*STATUSES.values(), "interrupted"}
    shown = annotation(outcome, "scores.npy", fails=True)
    assert shown.level == "error"
    assert shown.message
    assert escape(shown.title) in in_markdown(outcome)


def test_all_statuses_have_a_title() -> None:
    assert set(STATUSES.values()) - set(TITLES) == {"error"}


def test_outputs_of_a_ranked_submission() -> None:
    gates = [
        {
            "gate": "no-regress-from",
            "met": True,
            "baseline": "fedcba9876543210",
            "difference": -0.01,
            "ci": [-0.03, 0.01],
            "p_value": 0.3,
            "part": "public",
            "tolerance": 2,
        }
    ]
    outcome = of_submission(kind="ranked", hidden={"lds": 0.25, "ci": [0.2, 0.3], "rank": [3, 5]}, gates=gates)
    assert outcome.outputs("https://board.example/", "x.json") == {
        "submission-id": "0123456789abcdef",
        "url": "https://board.example/submissions/0123456789abcdef",
        "status": "scored",
        "lds": "0.25",
        "ci-low": "0.2",
        "ci-high": "0.3",
        "rank": "3-5",
        "delta": "-0.01",
        "json-path": "x.json",
    }
    text = in_markdown(outcome)
    assert "| 0.2500 | [0.2000, 0.3000] | ranking | 3-5 | -0.0100 [-0.0300, +0.0100], p 0.3 (" in text
    assert "(these two files; how much a rerun moves is not known) from [" in text
    assert "(https://board.example/submissions/fedcba9876543210) (public subsets) |" in text


def test_rejected_file_is_an_error_also_if_the_job_goes_on() -> None:
    shown = annotation(of_submission(3, ["Error: bad [scores.dtype]"], public=None), "scores.npy", fails=False)
    assert (shown.level, shown.file, shown.message) == ("error", "scores.npy", "bad [scores.dtype]")
    assert annotation(of_submission(9, ["Error: low"]), "scores.npy", fails=False).level == "warning"


def test_message_begins_with_the_error() -> None:
    assert error_message(["Submitted as x", "Error: a", "b", ""]) == "a\nb"
    assert error_message(["Usage: ...", "", "Try --help"]) == "Usage: ...\nTry --help"
    assert error_message([]) == "The command ended without a message."
    assert len(error_message(["Error: " + "x" * 10**6])) == 10_000


def test_workflow_commands_are_escaped() -> None:
    shown = Annotation("error", "50 %: a, b", "one\r\ntwo 100%0A", "a,b:c.npy")
    assert actions.annotate(shown) == "::error file=a%2Cb%3Ac.npy,title=50 %25%3A a%2C b::one%0D%0Atwo 100%250A"
    assert "\n" not in actions.mask("a\nb")
    assert len(actions.annotate(Annotation("notice", "t", "x" * 10**6))) < 5000


def test_printed_texts_of_others_are_no_commands() -> None:
    lines: list[str] = []
    with actions.commands_stopped(lines.append):
        lines.append("::error::injected")
    start, _, end = lines
    assert end == f"::{start.removeprefix('::stop-commands::')}::"
    assert len(end) > 32


@pytest.mark.parametrize(
    ("least", "code", "status"), [(None, 0, "public-only"), (0.5, 0, "public-only"), (0.51, 9, "gate-not-met")]
)
def test_gate_is_looked_at_offline(least: float | None, code: int, status: str) -> None:
    stated = {} if least is None else {"LDSBOARD_MIN_LDS": str(least)}
    done = Finished(0, json.dumps(NUMBERS | {"warnings": ["scores.sign_flipped"]}), [])
    outcome = Outcome.of_public_part(done, read_inputs(REQUIRED | stated), FORK_NOTE)
    assert (outcome.code, outcome.status, outcome.submission) == (code, status, None)
    text = in_markdown(outcome)
    assert "Nothing was submitted" in text
    assert "- Warning:" in text
    assert ("**not met**" in text) is (code == 9)


@pytest.mark.parametrize(("code", "out"), [(0, "no JSON"), (0, "[]"), (8, "{}"), (3, "")])
def test_offline_result_that_cannot_be_read_is_an_error(code: int, out: str) -> None:
    outcome = Outcome.of_public_part(Finished(code, out, []), read_inputs(REQUIRED), FORK_NOTE)
    assert outcome.code == (code or 1)
    assert outcome.part is None


def test_texts_have_no_meaning_in_markdown() -> None:
    assert escape("a|b\n<img src=x> [x](y) `c` *d* # e") == (r"a\|b &lt;img src=x&gt; \[x\]\(y\) \`c\` \*d\* \# e")
    assert [escape(start) for start in ("1. a", "12) a", "+ a", "- a")] == [r"1\. a", r"12\) a", r"\+ a", r"\- a"]
    assert escape("see https://evil.example, www.evil.example, @octo") == (
        "see https:&#8203;//evil.example, www&#8203;.evil.example, @&#8203;octo"
    )
    text = in_markdown(of_submission(3, ["Error: </pre><script>"], public=None), method="<b>|x")
    assert "<script>" not in text
    assert "<b>" not in text


def test_output_cannot_add_another_output(tmp_path: Path) -> None:
    path = tmp_path / "outputs"
    actions.write_outputs(path, {"a": "1\nEOF\nb=2", "c": "3"})
    lines = path.read_text().splitlines()
    delimiter = lines[0].removeprefix("a<<")
    assert lines[1:5] == ["1", "EOF", "b=2", delimiter]
    assert lines[5].startswith("c<<")
    assert delimiter not in lines[5]


def test_summary_is_never_too_large(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_text("x" * (actions.SUMMARY_BYTES - 300))
    actions.write_summary(path, "### Title\n" + "ü" * 1000)
    assert path.stat().st_size <= actions.SUMMARY_BYTES
    assert "xx### Title\n\nThe rest of the report is in the log.\n" in path.read_text()
    written = [actions.write_summary(path, "### Title\n" + "ü" * 1000) for _ in range(9)]
    assert written == sorted(written, reverse=True)
    assert written[-1] is False
    assert path.stat().st_size <= actions.SUMMARY_BYTES
    actions.write_summary(tmp_path / "other", "### Title\n" + "ü" * actions.SUMMARY_BYTES)
    assert (tmp_path / "other").stat().st_size < 1000


def test_reports_of_gitlab_hold_any_message(tmp_path: Path) -> None:
    outcome = of_submission(3, ["Error: <b>&\x00\x1b\ufffe ü"], public=None)
    outputs = outcome.outputs("https://board.example", "a path")
    write_reports(tmp_path, outcome, outputs, method='"<&>', benchmark="toy")
    report = (tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;    ü" in report
    assert "a path" not in (tmp_path / "variables.env").read_text()  # a value with a space is no variable of GitLab
    assert (tmp_path / "metrics.txt").read_text() == ""
