"""Upload tokens: before completion they show parts and state of the upload, afterwards only what every visitor sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api import multipart_upload
from app.db.models import State
from app.results.schemas import SubmissionView
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy

if TYPE_CHECKING:
    import httpx

    from tests.app.benchmarks import Example
    from tests.app.service import Service


def _as_owner(upload: MultipartUpload, method: str, path: str, **options: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {upload.token}"}
    return upload.service.client.request(method, f"/submissions/{upload.id}{path}", headers=headers, **options)  # type: ignore[arg-type]


def test_upload_token_cannot_read_a_submission_made_private(service: Service, toy: Example) -> None:
    upload = MultipartUpload(service, service.token("closed"), "toy", npy(toy.scores(seed=70)))
    upload.submit_and_score()
    assert upload.complete().json()["id"] == upload.id
    assert upload.status()["state"] == "scored"
    assert _as_owner(upload, "PATCH", "", json={"visibility": "private"}).status_code == 200
    for refused in (
        upload.complete(),
        upload.put_part(0),
        service.client.get(f"/submissions/{upload.id}/parts", headers=upload.authorization),
    ):
        assert (refused.status_code, refused.json()["code"]) == (404, "submission.unknown")
        assert "scored" not in refused.text
    assert _as_owner(upload, "POST", "/complete").json()["hidden"]["lds"] > 0


def test_upload_token_completes_a_private_upload_that_only_its_owner_reads(service: Service, toy: Example) -> None:
    upload = MultipartUpload(
        service, service.token("secret"), "toy", npy(toy.scores(seed=71)), visibility="private"
    ).started()
    upload.put_all_parts()
    ended = upload.complete()
    assert (ended.status_code, ended.json()["id"], ended.json()["visibility"]) == (202, upload.id, "private")
    assert upload.complete().status_code == 404
    service.wait_until_idle()
    assert _as_owner(upload, "POST", "/complete").json()["state"] == "scored"
    assert service.client.get(f"/submissions/{upload.id}").status_code == 404


def test_upload_token_shows_no_results_of_a_private_duplicate(service: Service, toy: Example) -> None:
    token, content = service.token("hoarder"), npy(toy.scores(seed=72))
    first = service.submit_and_score(token, "toy", content, method="ours", title="A secret title")
    client = service.client
    headers = {"Authorization": f"Bearer {token}"}
    assert client.patch(f"/submissions/{first['id']}", headers=headers, json={"visibility": "private"}).is_success
    upload = MultipartUpload(service, token, "toy", content).started()
    upload.put_all_parts()
    view = upload.complete().json()
    assert (view["id"], view["hidden"], view["public"]) == (first["id"], None, None)
    assert "secret" not in str(view)
    assert view["attempts"] is None
    refused = upload.complete()
    assert refused.status_code == 404
    assert first["id"] not in refused.text


def test_every_field_of_a_submission_is_shown_to_upload_tokens_or_withheld() -> None:
    """A new field of `SubmissionView` belongs to one of the two groups; without this test, upload tokens would show it."""
    withheld = multipart_upload.WITHHELD_RESULTS | multipart_upload.WITHHELD_DETAILS
    assert multipart_upload.UPLOAD_FIELDS.isdisjoint(withheld)
    assert multipart_upload.UPLOAD_FIELDS | withheld.keys() == SubmissionView.model_fields.keys()


def test_upload_token_shows_no_replicates_of_a_private_duplicate(service: Service, toy: Example) -> None:
    token = service.token("three-seeds")
    files = [npy(toy.scores(seed=seed)) for seed in range(73, 76)]
    root = service.submit_and_score(token, "toy", files[0], method="seeds")["id"]
    others = {"method": "seeds", "replicate_of": root}
    seeds = [service.submit_and_score(token, "toy", file, **others)["id"] for file in files[1:]]
    headers = {"Authorization": f"Bearer {token}"}
    for name in (root, *seeds):
        hide = {"visibility": "private"}
        assert service.client.patch(f"/submissions/{name}", headers=headers, json=hide).is_success
    assert len(service.client.get(f"/submissions/{root}", headers=headers).json()["replicates"]["ids"]) == 3
    upload = MultipartUpload(service, token, "toy", files[0], method="seeds").started()
    upload.put_all_parts()
    completed = upload.complete()
    view = completed.json()
    assert (view["id"], view["replicates"], view["replicate_of"], view["scorer_version"]) == (root, None, None, None)
    assert [name for name in seeds if name in completed.text] == []


def test_cancelled_upload_frees_its_quota_and_deletes_its_parts(service: Service, toy: Example) -> None:
    token = service.token("quitter", ranked_per_day=1)
    upload = MultipartUpload(service, token, "toy", npy(toy.scores(seed=73))).started()
    upload.put_all_parts()
    assert service.submit(token, "toy", npy(toy.scores(seed=74))).status_code == 429
    assert service.client.delete(f"/submissions/{upload.id}", headers=upload.authorization).status_code == 401
    assert _as_owner(upload, "DELETE", "").status_code == 204
    assert service.row(upload.id).state == State.EXPIRED
    assert not (service.settings.storage_dir / "arriving" / upload.id).exists()
    assert upload.complete().json()["code"] == "upload.expired"
    assert service.submit(token, "toy", npy(toy.scores(seed=74))).status_code == 202
    again = _as_owner(upload, "DELETE", "")
    assert (again.status_code, again.json()["code"]) == (409, "submission.gone")


def test_upload_token_used_as_account_token_is_named_in_the_error(service: Service, toy: Example) -> None:
    upload = MultipartUpload(service, service.token("lost"), "toy", npy(toy.scores())).started()
    for path in (f"/submissions/{upload.id}", "/users/me", "/users/me/submissions", "/tokens"):
        refused = service.client.get(path, headers=upload.authorization)
        assert (refused.status_code, refused.json()["code"]) == (401, "auth.invalid")
        assert "upload token" in refused.json()["detail"]
        assert "begins with ldsb_" in refused.json()["hint"]
