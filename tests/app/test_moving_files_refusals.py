"""A move of score files that is refused or cannot be made changes nothing, and the hints of the refusals work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.data_lock import lock_data_folder
from app.submissions.opened_storage import open_storage
from tests.app.moving import dump, is_empty
from tests.app.moving_files import Installation, hinted, state
from tests.openstack_swift import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.openstack_swift import Swift
    from tests.postgresql import Cluster

CONTENTS = [b"", b"scores", b"x" * 1000]


@pytest.fixture
def installation(tmp_path: Path, migrated: Path, swift: Swift) -> Iterator[Installation]:
    """An installation whose files are in a folder."""
    found = Installation(tmp_path, migrated, swift)
    found.fill(*CONTENTS)
    yield found
    swift.start()


def test_move_to_nowhere_is_refused(installation: Installation) -> None:
    assert "Name what is to be moved, and where to: --database" in installation.refusal()
    assert "--storage must name a folder, or a bucket" in installation.refusal("--storage", "")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("gs://bucket/board", "--storage must be the path of a folder, or the address of a bucket"),
        ("s3://UPPER/board", "--storage needs the name of a bucket after s3://"),
        ("s3://scores/../board", "The prefix in --storage may hold only letters"),
        ("s3://missing-bucket/board", "The bucket 'missing-bucket' cannot be used (NoSuchBucket)"),
    ],
)
def test_place_that_cannot_be_used_is_refused(installation: Installation, place: str, said: str) -> None:
    assert said in installation.refusal("--storage", place)


def test_wrong_or_missing_key_is_refused_without_being_shown(installation: Installation) -> None:
    place = installation.place("target")
    for secret, said in (("", "A bucket in --storage needs AWS_ACCESS_KEY_ID"), ("wrong-secret", "cannot be used (")):
        message = installation.refusal("--storage", place, AWS_SECRET_ACCESS_KEY=secret)
        assert said in message
        assert not any(each in message for each in ("wrong-secret", ACCESS_KEY, SECRET_KEY))


def test_store_that_is_away_is_named_before_rows_are_moved(installation: Installation, cluster: Cluster) -> None:
    database = cluster.create()
    installation.swift.kill()
    message = installation.refusal("--storage", installation.place("target"), "--database", database)
    assert "The bucket 'scores' cannot be used (no answer)" in message
    assert is_empty(database)


def test_running_server_of_either_folder_is_refused(installation: Installation) -> None:
    other = installation.folder / "other"
    other.mkdir()
    for folder in (installation.folder / "data", other):
        with lock_data_folder(folder):
            message = installation.refusal("--storage", str(other / "files"))
            assert message.startswith(
                f"A server or a worker uses the data folder {folder}. Stop all servers and workers, "
            )
    assert not (other / "files").exists()


@pytest.mark.parametrize("kind", ["folder", "bucket"])
@pytest.mark.parametrize("unknown", ["file", "upload"])
def test_target_of_another_database_is_refused_until_the_hint_is_followed(
    installation: Installation, kind: str, unknown: str
) -> None:
    place = installation.place("target", kind)
    storage = open_storage(installation.settings(place))
    key = "ab/ab" + 62 * "0" if unknown == "file" else storage.part_key("0000000000000abc", 0, "0" * 64)
    storage.write(key, iter([b"others"]), 6)
    message = installation.refusal("--storage", place)
    name = key.split("/")[1]
    assert f"holds 1 file or upload that no row of this database knows, such as {name}." in message
    assert b"".join(storage.read(key)) == b"others"
    assert (len(storage.stored_hashes()), len(storage.upload_ids())) == ((1, 0) if unknown == "file" else (0, 1))
    done = installation.paste(hinted(message))
    assert done.returncode == 0, done.stderr
    installation.assert_complete(f"{place}-2")


def test_hint_keeps_the_other_options_and_hides_the_password(installation: Installation, cluster: Cluster) -> None:
    place, database = installation.place("target"), cluster.create()
    storage = open_storage(installation.settings(place))
    storage.write("ab/ab" + 62 * "0", iter([b"others"]), 6)
    address = database.replace("ldsboard@", "ldsboard:s3cret@")
    message = installation.refusal("--storage", place, "--database", address, "--replace-nul")
    assert "s3cret" not in message
    assert "PASSWORD" in message
    done = installation.paste(hinted(message))  # this cluster asks for no password
    assert done.returncode == 0, done.stderr
    assert dump(database) == dump(installation.url)
    installation.assert_complete(f"{place}-2")


def test_hint_for_the_database_keeps_the_storage(installation: Installation) -> None:
    place = installation.place("target")
    other = installation.folder / "other.sqlite3"
    installation.moved("--database", f"sqlite:///{other}")
    message = installation.refusal("--storage", place, "--database", f"sqlite:///{other}")
    assert "A target must be empty." in message
    assert installation.paste(hinted(message)).returncode == 0
    assert dump(f"sqlite:///{installation.folder / 'other-2.sqlite3'}") == dump(installation.url)
    installation.assert_complete(place)


def test_folder_with_other_content_is_left_alone(installation: Installation) -> None:
    home = installation.folder / "home"
    home.mkdir()
    (home / "notes.txt").write_text("mine")
    message = installation.refusal("--storage", str(home))
    assert f"The folder {home} holds other files, such as notes.txt." in message
    assert f"{home / 'notes.txt'} is a file." in installation.refusal("--storage", str(home / "notes.txt"))
    assert [path.name for path in home.iterdir()] == ["notes.txt"]
    assert installation.paste(hinted(message)).returncode == 0
    installation.assert_complete(str(installation.folder / "home-2"))


def test_missing_parent_is_refused_until_it_is_created(installation: Installation) -> None:
    place = str(installation.folder / "a folder/files")
    message = installation.refusal("--storage", place)
    assert installation.paste(hinted(message)).returncode == 0
    installation.moved("--storage", place)
    installation.assert_complete(place)


@pytest.mark.parametrize("place", ["data/files", "data/../data/files/", "data/files/ab", "data"])
def test_place_of_the_files_is_no_target(installation: Installation, place: str) -> None:
    before = state(installation.folder / "data")
    message = installation.refusal("--storage", f"{installation.folder}/{place}")
    assert message == "--storage names the place of the files that are to be moved, or a folder within it."
    assert state(installation.folder / "data") == before


def test_variables_that_are_set_too_early_are_named(installation: Installation, cluster: Cluster) -> None:
    place, database = installation.place("target"), cluster.create()
    early = {"LDSBOARD_STORAGE_URL": place, "LDSBOARD_DATABASE_URL": database}
    message = installation.refusal("--storage", place, LDSBOARD_STORAGE_URL=place)
    assert "LDSBOARD_STORAGE_URL names the target, and must name what is to be moved." in message
    message = installation.refusal("--storage", place, "--database", database, **early)
    assert "LDSBOARD_DATABASE_URL and LDSBOARD_STORAGE_URL name the target" in message
    done = installation.paste(hinted(message), **early)
    assert done.returncode == 0, done.stderr
    installation.assert_complete(place)
    assert dump(database) == dump(installation.url)


def test_source_without_any_of_its_files_is_refused(installation: Installation) -> None:
    place = installation.place("target")
    for folder in ("empty", "missing"):
        source = installation.folder / folder
        if folder == "empty":
            source.mkdir()
        message = installation.refusal("--storage", place, LDSBOARD_STORAGE_URL=str(source))
        assert "None of 3 score files is where the settings say." in message
    assert not (installation.folder / "missing").exists()
    other = installation.place("nowhere")
    message = installation.refusal("--storage", place, LDSBOARD_STORAGE_URL=other)
    assert "None of 3 score files is where the settings say." in message
    assert open_storage(installation.settings(place)).stored_hashes() == []


def test_file_that_cannot_be_read_stops_the_move(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    # A test that runs as root could read any file.
    def refuse(_storage: object, key: str) -> Iterator[bytes]:
        raise PermissionError(13, "Permission denied", key)

    monkeypatch.setattr("app.submissions.folder_storage.FolderStorage.read", refuse)
    with pytest.raises(PermissionError):
        installation.move("--storage", installation.place("target"))
