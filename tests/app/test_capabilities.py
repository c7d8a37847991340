"""What an upload's capability opens: its parts and its state while it comes, and later nothing but what everybody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.db.models import State
from tests.app.sending import Sending
from tests.app.service import npy

if TYPE_CHECKING:
    import httpx

    from tests.app.benchmarks import Example
    from tests.app.service import Service


def _as_owner(sending: Sending, method: str, path: str, **options: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {sending.token}"}
    return sending.service.client.request(method, f"/submissions/{sending.id}{path}", headers=headers, **options)  # type: ignore[arg-type]


def test_a_capability_shows_nothing_of_what_became_private(service: Service, toy: Example) -> None:
    sending = Sending(service, service.token("closed"), "toy", npy(toy.scores(seed=70)))
    sending.scored()
    assert sending.complete().json()["id"] == sending.id
    assert sending.parts()["state"] == "scored"
    assert _as_owner(sending, "PATCH", "", json={"visibility": "private"}).status_code == 200
    for refused in (
        sending.complete(),
        sending.put(0),
        service.client.get(f"/submissions/{sending.id}/parts", headers=sending.capability),
    ):
        assert (refused.status_code, refused.json()["code"]) == (404, "submission.unknown")
        assert "scored" not in refused.text
    assert _as_owner(sending, "POST", "/complete").json()["hidden"]["lds"] > 0


def test_a_private_file_is_ended_by_its_capability_and_shown_to_its_owner_alone(service: Service, toy: Example) -> None:
    sending = Sending(service, service.token("secret"), "toy", npy(toy.scores(seed=71)), visibility="private").started()
    sending.put_all()
    ended = sending.complete()
    assert (ended.status_code, ended.json()["id"], ended.json()["visibility"]) == (202, sending.id, "private")
    assert sending.complete().status_code == 404
    service.idle()
    assert _as_owner(sending, "POST", "/complete").json()["state"] == "scored"
    assert service.client.get(f"/submissions/{sending.id}").status_code == 404


def test_a_capability_never_tells_results_of_a_file_that_was_there(service: Service, toy: Example) -> None:
    token, content = service.token("hoarder"), npy(toy.scores(seed=72))
    first = service.scored(token, "toy", content, method="ours", title="A secret title")
    client = service.client
    headers = {"Authorization": f"Bearer {token}"}
    assert client.patch(f"/submissions/{first['id']}", headers=headers, json={"visibility": "private"}).is_success
    sending = Sending(service, token, "toy", content).started()
    sending.put_all()
    told = sending.complete().json()
    assert (told["id"], told["hidden"], told["public"]) == (first["id"], None, None)
    assert "secret" not in str(told)
    assert told["attempts"] is None
    refused = sending.complete()
    assert refused.status_code == 404
    assert first["id"] not in refused.text


def test_an_upload_can_be_given_up_by_its_owner_and_frees_its_place_and_its_parts(
    service: Service, toy: Example
) -> None:
    token = service.token("quitter", ranked_per_day=1)
    sending = Sending(service, token, "toy", npy(toy.scores(seed=73))).started()
    sending.put_all()
    assert service.submit(token, "toy", npy(toy.scores(seed=74))).status_code == 429
    assert service.client.delete(f"/submissions/{sending.id}", headers=sending.capability).status_code == 401
    assert _as_owner(sending, "DELETE", "").status_code == 204
    assert service.row(sending.id).state == State.EXPIRED
    assert not (service.settings.storage_dir / "arriving" / sending.id).exists()
    assert sending.complete().json()["code"] == "upload.expired"
    assert service.submit(token, "toy", npy(toy.scores(seed=74))).status_code == 202
    again = _as_owner(sending, "DELETE", "")
    assert (again.status_code, again.json()["code"]) == (409, "submission.gone")


def test_a_capability_where_a_token_is_asked_for_is_told_as_what_it_is(service: Service, toy: Example) -> None:
    sending = Sending(service, service.token("lost"), "toy", npy(toy.scores())).started()
    for path in (f"/submissions/{sending.id}", "/users/me", "/users/me/submissions", "/tokens"):
        refused = service.client.get(path, headers=sending.capability)
        assert (refused.status_code, refused.json()["code"]) == (401, "auth.invalid")
        assert "capability of an upload" in refused.json()["got"]
        assert "begins with ldsb_" in refused.json()["hint"]
