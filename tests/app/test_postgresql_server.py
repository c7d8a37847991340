"""A server whose database is PostgreSQL: uploads, edits, a killed server, the operator's commands, and a secret password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.database_url import database_url
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

PASSWORD = "s3cret@:/%"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, toy: Example, open_toy: Example
) -> Iterator[Service]:
    url = database_url(cluster.create()).set(password=PASSWORD).render_as_string(hide_password=False)
    with Service(tmp_path_factory.mktemp("postgresql"), database_url=url) as service:
        service.publish(toy.folder)
        service.publish(open_toy.folder)
        yield service


def test_submissions_are_scored_and_listed_as_offline(served: Service, toy: Example) -> None:
    token = served.token("ada")
    sent = [served.submit_and_score(token, "toy", npy(toy.scores(noise)), method=f"m{noise}") for noise in (0.3, 0.9)]
    for noise, view in zip((0.3, 0.9), sent, strict=True):
        offline = toy.offline(toy.scores(noise))
        assert view["public"]["lds"] == offline["public"].lds
        assert view["hidden"]["lds"] == round(offline["ranking"].lds, 4)
    rows = served.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    assert [row["id"] for row in rows] == [view["id"] for view in sent]
    assert rows[0]["rank"] == [1, 1]
    headers = {"Authorization": f"Bearer {token}"}
    assert served.client.patch(f"/submissions/{sent[0]['id']}", json={"tags": ["a", "b"]}, headers=headers).is_success
    assert "by ada" in " ".join(served.client.get(f"{served.url}/submissions/{sent[0]['id']}").text.split())
    assert served.client.delete(f"/submissions/{sent[1]['id']}", headers=headers).is_success
    assert [row["id"] for row in served.client.get("/benchmarks/toy/leaderboard").json()["rows"]] == [sent[0]["id"]]


def test_killed_server_scores_what_it_had_accepted(served: Service, open_toy: Example) -> None:
    token = served.token("bob")
    response = served.submit(token, "open-toy", npy(open_toy.scores(0.4)), method="killed")
    assert response.status_code == 202
    served.process.kill()
    served.process.wait()
    served.start()
    served.wait_until_idle()
    headers = {"Authorization": f"Bearer {token}"}
    assert served.client.get(f"/submissions/{response.json()['id']}", headers=headers).json()["state"] == "scored"


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/benchmarks/a%00", 422),
        ("/submissions/%ff%00", 422),
        ("/compare?a=%00&b=2", 422),
        ("/benchmarks/toy/history?owner=%00&method=x", 422),
        ("/submissions/0123456789abcdef", 404),
    ],
)
def test_text_that_postgresql_refuses_is_no_failure_of_the_server(served: Service, address: str, status: int) -> None:
    assert served.client.get(address).status_code == status


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, 2**63])
def test_number_that_no_row_has_is_no_failure_of_the_server(served: Service, number: int) -> None:
    headers = {"Authorization": f"Bearer {served.token('ada')}"}
    refused = served.client.delete(f"/tokens/{number}", headers=headers)
    assert refused.status_code == (404 if number < 2**31 else 422)


def test_second_server_with_another_data_folder_is_refused(served: Service, tmp_path: Path) -> None:
    done = served.run("serve", "--port", "0", environment=served.environment | {"LDSBOARD_DATA_DIR": str(tmp_path)})
    assert done.returncode != 0
    assert "use the database in LDSBOARD_DATABASE_URL with another data folder" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_commands_work_and_do_not_print_the_password(served: Service) -> None:
    for command in (("migrate",), ("doctor",)):
        done = served.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD not in served.log.read_text()


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["user", "add", "bob"], ["doctor"], ["migrate"]])
def test_command_says_that_the_database_is_away(served: Service, command: list[str]) -> None:
    away = "postgresql://ada@127.0.0.1:1/board"
    done = served.run(*command, environment=served.environment | {"LDSBOARD_DATABASE_URL": away})
    message = done.stderr.splitlines()[-1]
    assert message.startswith("Error: the data folder or the database cannot be used: connection failed: ")
    assert message.endswith("Connection refused. Check that PostgreSQL takes connections, and LDSBOARD_DATABASE_URL.")
    assert (done.returncode, done.stdout) == (2, "")


def test_address_that_postgresql_refuses_is_no_damage(served: Service) -> None:
    address = served.environment["LDSBOARD_DATABASE_URL"] + "&foo=bar"
    done = served.run("doctor", environment=served.environment | {"LDSBOARD_DATABASE_URL": address})
    message = done.stderr.splitlines()[-1]
    assert message == 'Error: the data folder or the database cannot be used: invalid connection option "foo"'
    assert (done.returncode, done.stdout) == (2, "")
