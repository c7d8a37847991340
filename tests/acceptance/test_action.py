"""The steps of action.yml, executed by bash against a running server, for the events of GitHub."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.ci.actions import SUMMARY_BYTES
from ldsboard.commands import exits
from tests.acceptance import ci_events
from tests.acceptance.action_runner import ActionRunner
from tests.acceptance.ci_job import Job
from tests.app.service import until
from tests.client.http_proxy import Hang, HttpProxy, page

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service

pytestmark = pytest.mark.slow  # installs ldsboard; tests/client/test_ci_jobs.py tests the same code faster


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ActionRunner:
    return ActionRunner(tmp_path_factory.mktemp("runner"))


@pytest.fixture
def job(runner: ActionRunner, service: Service, token: str, tmp_path: Path, toy: Example) -> Job:
    return Job(runner, service, token, tmp_path, toy)


def test_push_is_scored_and_compared_with_the_last_of_the_default_branch(job: Job) -> None:
    first = job.run(ci_events.push(job.folder))
    assert first.code == 0, first.log
    assert first.masked == [job.token]
    assert (first.outputs["status"], first.outputs["rank"], first.outputs["delta"]) == ("scored", "", "")
    assert "no baseline" in first.summary
    ((level, properties, message),) = first.annotations
    assert (level, properties["title"]) == ("notice", f"LDS {first.document['public']['lds']:.4f}")
    assert "public subsets" in message
    job.write(noise=3)
    second = job.run(ci_events.push(job.folder, "4" * 40))
    public, before = second.document["public"], first.document["public"]
    assert float(second.outputs["lds"]) == public["lds"]
    assert [float(second.outputs["ci-low"]), float(second.outputs["ci-high"])] == public["ci"]
    assert float(second.outputs["delta"]) == pytest.approx(public["lds"] - before["lds"])
    assert second.outputs["url"] == f"{job.service.url}/submissions/{second.outputs['submission-id']}"
    assert f"{public['lds']:.4f} | [{public['ci'][0]:.4f}, {public['ci'][1]:.4f}] | public | none |" in second.summary
    assert first.outputs["submission-id"] in second.summary
    assert second.outputs["url"] in second.summary
    assert second.outputs["json-path"] != first.outputs["json-path"]
    assert not first.created | second.created  # the workspace stays as it is
    assert job.token not in second.log.replace(f"::add-mask::{job.token}", "") + second.summary


def test_pull_request_states_head_commit_and_is_never_a_baseline(job: Job) -> None:
    pushed = job.run(ci_events.push(job.folder))
    job.write(noise=3)
    pulled = job.run(ci_events.pull_request(job.folder))
    assert pulled.code == 0, pulled.log
    origin = job.provenance(pulled)
    assert (origin["commit"], origin["number"], origin["branch"]) == (ci_events.HEAD, 7, "faster")
    job.write(noise=2)
    again = job.run(ci_events.push(job.folder, "5" * 40))
    for later in (pulled, again):
        assert later.document["gates"][0]["baseline"] == pushed.outputs["submission-id"]


@pytest.mark.parametrize("head", [ci_events.FORK, None])
def test_pull_request_from_fork_scores_the_public_part_and_says_so(job: Job, head: str | None) -> None:
    before = job.submissions()
    found = job.run(ci_events.pull_request(job.folder, head), token="", kind="ranked", no_regress_from="latest")
    assert found.code == 0, found.log
    assert job.submissions() == before
    assert (found.outputs["status"], found.outputs["submission-id"], found.outputs["delta"]) == ("public-only", "", "")
    ((level, _, message),) = found.annotations
    assert level == "warning"
    for text in (message, found.summary):
        assert "comes from a fork" in text
        assert "Nothing was submitted" in text
        assert "not compared" in text
    pushed = job.run(ci_events.push(job.folder))
    assert float(found.outputs["lds"]) == float(pushed.outputs["lds"])


def test_pull_request_from_fork_meets_the_gate_on_the_public_part_or_fails(job: Job) -> None:
    found = job.run(ci_events.pull_request(job.folder, ci_events.FORK), token="", min_lds="0.999")
    assert found.code == exits.GATE
    assert found.outputs["status"] == "gate-not-met"
    ((level, _, message),) = found.annotations
    assert level == "error"
    assert "at least 0.999 on the public subsets" in message


def test_pull_request_from_dependabot_is_treated_as_one_from_a_fork(job: Job) -> None:
    event = ci_events.pull_request(job.folder, GITHUB_ACTOR="dependabot[bot]")
    assert job.run(event, token="").outputs["status"] == "public-only"


def test_pull_request_from_fork_with_a_token_is_submitted(job: Job) -> None:
    found = job.run(ci_events.pull_request(job.folder, ci_events.FORK))
    assert job.provenance(found)["repository"] == ci_events.FORK


@pytest.mark.parametrize("event", [ci_events.push, ci_events.pull_request, ci_events.manual])
def test_missing_secret_is_no_green_job(job: Job, event: object) -> None:
    assert callable(event)
    found = job.run(event(job.folder), token="")
    assert found.code == exits.NOT_ALLOWED
    assert found.outputs["status"] == "not-allowed"
    ((level, _, message),) = found.annotations
    assert level == "error"
    assert "id-token: write" in message


def test_manual_run_of_a_reusable_workflow_can_be_ranked(job: Job) -> None:
    for place, event in enumerate((ci_events.manual, ci_events.reusable)):
        job.write(noise=place)
        found = job.run(event(job.folder), kind="ranked", description="A $HOME of `one's` own", min_lds="0.1")
        assert found.code == 0, found.log
        hidden = found.document["hidden"]
        assert float(found.outputs["lds"]) == hidden["lds"]
        low, high = hidden["rank"]
        assert found.outputs["rank"] == (str(low) if low == high else f"{low}-{high}")
        assert found.document["description"] == "A $HOME of `one's` own"
        assert "ranking" in found.summary
        assert "min-lds 0.1 on the ranking subsets: met" in found.summary


def test_token_and_server_can_be_variables_of_the_job(job: Job) -> None:
    variables = {"LDSBOARD_TOKEN": job.token, "LDSBOARD_SERVER": job.service.url}
    found = job.run(ci_events.push(job.folder) | variables, token="", server="")
    assert found.code == 0, found.log
    assert found.masked == [job.token]


@pytest.mark.parametrize("strict", ["true", "false"])
def test_rejected_file_is_annotated(job: Job, strict: str) -> None:
    scores = job.toy.scores()
    scores[3, 2] = np.nan
    np.save(job.folder / "scores.npy", scores)
    found = job.run(ci_events.push(job.folder), fail_on_error=strict)
    assert found.code == (exits.REJECTED if strict == "true" else 0)
    assert found.outputs["status"] == "rejected"
    ((level, properties, message),) = found.annotations
    assert (level, properties["file"]) == ("error", "scores.npy")
    assert "scores.nonfinite" in message
    assert "scores.nonfinite" in found.summary


@pytest.mark.parametrize("strict", ["true", "false"])
def test_unreachable_server_fails_the_job_by_default(job: Job, strict: str) -> None:
    found = job.run(ci_events.push(job.folder), server="http://127.0.0.1:1", fail_on_error=strict)
    assert found.code == (exits.UNREACHABLE if strict == "true" else 0)
    assert (found.outputs["status"], found.outputs["json-path"]) == ("unreachable", "")
    ((level, _, _),) = found.annotations
    assert level == ("error" if strict == "true" else "warning")
    assert "could not be reached" in found.summary


def test_page_of_a_proxy_is_no_result(job: Job) -> None:
    with HttpProxy(job.service.port, lambda *_: page(403, "No uploads here")) as proxy:
        found = job.run(ci_events.push(job.folder), server=proxy.url)
    assert found.code == exits.NOT_ALLOWED
    assert "No uploads here" in found.annotations[0][2]


def test_gate_that_is_not_met_fails_the_job_and_shows_the_difference(job: Job) -> None:
    baseline = job.run(ci_events.push(job.folder)).outputs["submission-id"]
    job.write(noise=8)
    found = job.run(ci_events.pull_request(job.folder), no_regress_from="latest", min_lds="0.99")
    assert found.code == exits.GATE
    assert found.outputs["status"] == "gate-not-met"
    assert float(found.outputs["delta"]) < -0.005
    ((level, _, message),) = found.annotations
    assert level == "error"
    for text in ("at least 0.99", "significantly worse", baseline):
        assert text in message
    assert "no-regress-from on the public subsets, tolerance 0.005: **not met**" in found.summary
    assert "min-lds 0.99 on the public subsets: **not met**" in found.summary


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"min_lds": ""}, "min-lds"),
        ({"min_lds": "nan"}, "min-lds"),
        ({"no_regress_from": ""}, "no-regress-from"),
        ({"no_regress_from": "0123456789abcdef"}, "--no-regress-from"),
        ({"fail_on_error": "maybe"}, "fail-on-error"),
        ({"file": "absent.npy"}, "absent.npy"),
        ({"method": ""}, "method"),
        ({"kind": "best"}, "input kind"),
    ],
)
def test_input_that_cannot_be_used_fails_before_anything_is_sent(job: Job, inputs: dict[str, str], named: str) -> None:
    before = job.submissions()
    found = job.run(ci_events.push(job.folder), **inputs)
    assert (found.code, found.outputs["status"]) == (exits.USAGE, "usage-error")
    assert job.submissions() == before
    ((level, _, message),) = found.annotations
    assert level == "error"
    assert named in message


def test_inputs_run_no_commands(job: Job) -> None:
    bad = '"; touch pwned; $(touch pwned) `touch pwned` ${{ inputs.token }}\n::error::injected\n'
    for name in ("description", "method", "benchmark", "file", "visibility", "kind", "no_regress_from"):
        found = job.run(ci_events.push(job.folder), **{name: bad})
        assert not found.created, name
        assert len(found.annotations) == 1, name
        assert found.annotations[0][2] != "injected"
        assert "::error" not in found.summary.replace("\\", "").partition("<pre>")[0] or name in ("method", "benchmark")


def test_files_of_the_repository_take_no_place_of_modules(job: Job) -> None:
    for name in ("ldsboard", "numpy", "httpx", "json", "pip", "venv"):
        (job.folder / f"{name}.py").write_text("raise SystemExit('taken')\n")
    found = job.run(ci_events.push(job.folder) | {"PYTHONPATH": str(job.folder)})
    assert found.code == 0, found.log


def test_cancelled_job_gives_its_upload_up(job: Job) -> None:
    def cancel(process: subprocess.Popen[str]) -> None:
        until(lambda: proxy.hanging, "an upload part on its way")
        process.send_signal(signal.SIGINT)

    rule = lambda method, path: Hang() if method == "PUT" and "/parts/" in path else None  # noqa: E731
    with HttpProxy(job.service.port, rule) as proxy:
        found = job.run_while(cancel, ci_events.push(job.folder), server=proxy.url, kind="ranked")
    assert found.code == 130
    assert found.outputs["status"] == "interrupted"
    assert "given up" in found.log
    assert proxy.count("DELETE", "/parts") == 1


def test_summary_of_a_long_message_is_small(job: Job) -> None:
    found = job.run(ci_events.push(job.folder), benchmark="b" * 100_000)
    assert found.code != 0
    assert len(found.summary.encode()) < SUMMARY_BYTES
    assert found.summary.startswith("###")
