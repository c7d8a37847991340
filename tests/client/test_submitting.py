"""`ldsboard.submit`, `submission` and `leaderboard` in a Python session, against a running server."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
import torch

import ldsboard
from ldsboard import config
from ldsboard.client import Client, RefusedError, UnreachableError
from ldsboard.pending import pending_uploads
from tests.app.ports import reserved_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(autouse=True)
def session(service: Service, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the environment of a Python session, and return the folder that it has for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("LDSBOARD_SERVER", service.url)
    monkeypatch.setenv("LDSBOARD_TOKEN", token)
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CI", "false")
    monkeypatch.setattr("ldsboard.client.PAUSE_SECONDS", 0)
    return folder


def test_submitted_array_is_scored(toy: Example, service: Service, session: Path) -> None:
    entry = ldsboard.submit(
        toy.scores(),
        benchmark="toy",
        method="python",
        title="From Python",
        tags=["a", "b"],
        cost={"seconds": 1.5},
        provenance={"repository": "me/it", "commit": "0123abc"},
    )
    offline = toy.offline(toy.scores())
    assert (entry.state, entry.kind, entry.visibility, entry.part) == ("scored", "ranked", "public", "ranking")
    assert (entry.benchmark, entry.version, entry.owner, entry.method) == ("toy", 1, "alice", "python")
    assert entry.lds == pytest.approx(offline["ranking"].lds, abs=5e-5)
    assert entry.details["public"]["lds"] == offline["public"].lds
    assert entry.url == f"{service.url}/submissions/{entry.id}"
    assert service.client.get(entry.url).status_code == 200
    assert entry.details["title"] == "From Python"
    assert entry.details["provenance"]["commit"] == "0123abc"
    assert list(session.iterdir()) == []
    assert ldsboard.submission(entry.id) == entry


def test_array_and_its_file_are_the_same_submission(toy: Example, tmp_path: Path) -> None:
    """Integers, transposed views and other layouts in memory are written as the file of the same numbers."""
    whole = np.rint(toy.scores() * 8)
    options: dict[str, Any] = {"benchmark": "toy", "method": "twice", "kind": "practice"}
    entry = ldsboard.submit(whole, **options)
    np.save(tmp_path / "scores.npy", whole)
    assert ldsboard.submit(tmp_path / "scores.npy", **options).id == entry.id
    assert ldsboard.submit(str(tmp_path / "scores.npy"), **options).id == entry.id
    view = ldsboard.submit(np.ascontiguousarray(whole.T).T, **options | {"method": "view"})
    integers = ldsboard.submit(whole.astype(np.int64), **options | {"method": "integers"})
    assert entry.lds == view.lds == integers.lds == toy.offline(whole)["public"].lds


def test_practice_submission_shows_public_numbers(toy: Example) -> None:
    entry = ldsboard.submit(toy.scores(), benchmark="toy", method="practised", kind="practice", visibility="private")
    assert (entry.part, entry.rank, entry.visibility) == ("public", None, "private")
    assert entry.lds == toy.offline(toy.scores())["public"].lds
    assert ldsboard.submission(entry.id, wait=True) == entry


def test_submission_can_be_looked_at_later(toy: Example) -> None:
    queued = ldsboard.submit(toy.scores(seed=5), benchmark="toy", method="later", kind="practice", wait=False)
    scored = ldsboard.submission(queued.id, wait=True)
    assert (scored.id, scored.state) == (queued.id, "scored")


def test_torch_file_is_converted_in_a_temporary_folder(toy: Example, tmp_path: Path, session: Path) -> None:
    folder = tmp_path / "scores"
    folder.mkdir()
    torch.save(torch.from_numpy(toy.scores()), folder / "scores.pt")
    entry = ldsboard.submit(folder / "scores.pt", benchmark="toy", method="tensor", kind="practice")
    tensor = torch.from_numpy(toy.scores())
    assert ldsboard.submit(tensor, benchmark="toy", method="tensor", kind="practice").id == entry.id
    assert [path.name for path in folder.iterdir()] == ["scores.pt"]
    assert list(session.iterdir()) == []


def test_ci_submits_practice_with_its_provenance(toy: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("CI", "true"),
        ("GITLAB_CI", "true"),
        ("CI_PROJECT_PATH", "me/it"),
        ("CI_COMMIT_SHA", "ab12" * 10),
    ):
        monkeypatch.setenv(name, value)
    entry = ldsboard.submit(toy.scores(), benchmark="toy", method="in-ci")
    assert entry.kind == "practice"
    assert (entry.details["provenance"]["repository"], entry.details["provenance"]["commit"]) == ("me/it", "ab12" * 10)
    stated = ldsboard.submit(
        toy.scores(), benchmark="toy", method="in-ci", kind="ranked", provenance={"commit": "cd34" * 10}
    )
    assert (stated.kind, stated.details["provenance"]["commit"]) == ("ranked", "cd34" * 10)
    assert "repository" not in stated.details["provenance"]


def test_token_comes_from_argument_variable_or_login(
    toy: Example, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.store_token(service.url, service.token("stored-name"))
    options: dict[str, Any] = {"benchmark": "toy", "method": "named", "kind": "practice"}
    given = service.token("given-name")
    assert ldsboard.submit(toy.scores(), **options).owner == "alice"
    assert ldsboard.submit(toy.scores(), **options, token=given).owner == "given-name"
    monkeypatch.setenv("LDSBOARD_TOKEN", " ")
    assert ldsboard.submit(toy.scores(), **options).owner == "stored-name"


def test_ci_run_without_a_token_uses_its_identity(toy: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LDSBOARD_TOKEN")
    monkeypatch.setenv("LDSBOARD_ID_TOKEN", "not.signed.here")
    monkeypatch.setenv("LDSBOARD_OWNER", "somebody")
    for ci, code in (("true", "oidc."), ("false", "auth.missing")):
        monkeypatch.setenv("CI", ci)
        with pytest.raises(RefusedError) as refused:
            ldsboard.submit(toy.scores(), benchmark="toy", method="identified", kind="practice")
        assert refused.value.problem.code.startswith(code)


def test_scores_that_cannot_be_used_are_refused_before_anything_is_sent(toy: Example, session: Path) -> None:
    scores = toy.scores()
    scores[3, 2] = np.nan
    with pytest.raises(ldsboard.ProblemError, match=r"\(3, 2\)"):
        ldsboard.submit(scores, benchmark="toy", method="ours", server="http://localhost:9")
    with pytest.raises(ldsboard.ProblemError, match="shape"):
        ldsboard.submit(scores[0], benchmark="toy", method="ours", server="http://localhost:9")
    assert list(session.iterdir()) == []


@pytest.mark.parametrize("code", ["scores.shape", "scores.transposed"])
def test_scores_of_another_shape_raise_the_error_for_scores(toy: Example, code: str) -> None:
    good = toy.scores()
    with pytest.raises(ldsboard.ProblemError) as refused:
        ldsboard.submit(good.T if code == "scores.transposed" else good[:, 1:], benchmark="toy", method="ours")
    assert refused.value.problem.code == code


def test_refusals_of_the_server_are_raised(toy: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, fields in (
        ("request.invalid", {"kind": "rankd"}),
        ("request.invalid", {"vizibility": "private"}),
        ("benchmark.unknown", {"benchmark": "toys"}),
    ):
        arguments: dict[str, Any] = {"benchmark": "toy", "method": "refused", "kind": "practice"} | fields
        with pytest.raises(RefusedError) as refused:
            ldsboard.submit(toy.scores(), **arguments)
        assert refused.value.problem.code == code
    monkeypatch.delenv("LDSBOARD_TOKEN")
    with pytest.raises(RefusedError) as refused:
        ldsboard.submit("absent.npy", benchmark="toy", method="refused")  # the file is not read before
    assert refused.value.problem.code == "auth.missing"
    with pytest.raises(RefusedError) as refused:
        ldsboard.submission("unknown")
    assert refused.value.problem.code == "submission.unknown"


@pytest.mark.parametrize("kind", ["array", "tensor in a file"])
def test_repeated_call_continues_a_broken_upload(
    toy: Example, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    scores: Any = toy.scores(seed=7)
    if kind != "array":
        scores = tmp_path / "scores.pt"
        torch.save(torch.from_numpy(toy.scores(seed=7)), scores)
    options: dict[str, Any] = {"benchmark": "toy", "method": f"broken-{kind[:5]}"}
    with monkeypatch.context() as patch:
        patch.setattr(Client, "send_part", lambda *_: broken())
        with pytest.raises(UnreachableError):
            ldsboard.submit(scores, **options)
    (left,) = pending_uploads(service.url)
    assert kind == "array" or left.source == str(scores)
    assert ldsboard.submit(scores, **options).id == left.id
    assert pending_uploads(service.url) == []


def broken() -> NoReturn:
    """Fail as a call without an answer does."""
    raise UnreachableError("The connection broke.")


def test_dead_server_is_unreachable(toy: Example) -> None:
    with reserved_port() as port:
        address = f"http://localhost:{port}"
        for call in (
            lambda: ldsboard.submit(toy.scores(), benchmark="toy", method="ours", server=address),
            lambda: ldsboard.submission("abc", server=address),
            lambda: ldsboard.leaderboard("toy", server=address),
        ):
            with pytest.raises(UnreachableError, match=f"No answer from {address}"):
                call()


ERROR = {
    "code": "scores.nonfinite",
    "title": "The scores are not all finite",
    "detail": "One is NaN.",
    "hint": "Replace it.",
}


@pytest.mark.parametrize(
    ("state", "error", "kind", "words"),
    [
        ("rejected", ERROR, ldsboard.ProblemError, "One is NaN. Replace it."),
        ("failed", ERROR | {"code": "internal.failed"}, ldsboard.SubmissionError, r"has failed\. .* Replace it\."),
        ("expired", None, ldsboard.SubmissionError, "is expired. Submit the scores again."),
        ("withdrawn", None, ldsboard.SubmissionError, "is withdrawn. Submit the scores again."),
        ("scoring", None, TimeoutError, r"still scoring after 0 s\. .*ldsboard\.submission\('.+', wait=True\)"),
    ],
)
def test_submission_without_result_is_an_error(
    toy: Example, monkeypatch: pytest.MonkeyPatch, state: str, error: Any, kind: type[Exception], words: str
) -> None:
    queued = ldsboard.submit(toy.scores(seed=6), benchmark="toy", method="stuck", kind="practice", wait=False)
    view = queued.details | {"state": state, "error": error}
    monkeypatch.setattr(
        Client, "submission", lambda *_, **__: view
    )  # states that a healthy server does not show on demand
    assert ldsboard.submission(queued.id).state == state
    with pytest.raises(kind, match=words):
        ldsboard.submission(queued.id, wait=True, timeout=0)


def test_leaderboard_is_a_list_of_flat_records(toy: Example) -> None:
    ranked: dict[str, Any] = {"benchmark": "open-toy", "method": "flat"}
    entry = ldsboard.submit(toy.scores(), **ranked, tags=["a", "b"], paper="https://example.org/p", cost={"seconds": 1})
    ldsboard.submit(toy.scores(seed=1), **ranked, visibility="anonymous")
    records = ldsboard.leaderboard("open-toy")
    assert all(list(record) == list(records[0]) for record in records)
    assert all(isinstance(value, str | int | float | None) for record in records for value in record.values())
    records = [record for record in records if not record["uses_subsets"]]  # other tests declare files
    for record in records:
        assert record["rank_low"] <= record["rank_high"]
        assert record["ci_low"] <= record["lds"] <= record["ci_high"]
        assert (record["benchmark"], record["version"]) == ("open-toy", 1)
        assert record["in_family"] is True
        assert (record["separable_from_first"] is None) == (record is records[0])
    assert [record["lds"] for record in records] == sorted((record["lds"] for record in records), reverse=True)
    (mine,) = (record for record in records if record["id"] == entry.id)
    assert (mine["owner"], mine["method"], mine["lds"], mine["std_error"]) == (
        "alice",
        "flat",
        entry.lds,
        entry.std_error,
    )
    assert (mine["tags"], mine["paper"], mine["code"], mine["seconds"]) == ("a, b", "https://example.org/p", None, 1)
    assert (mine["commit"], mine["verified"]) == (None, False)


def test_leaderboard_of_unknown_benchmark_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        ldsboard.leaderboard("toys")
    assert refused.value.problem.code == "benchmark.unknown"
