"""What the command ``python -m app move`` was asked for, and how to ask for something else."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.bucket import check_access, parse_bucket
from app.database_url import database_url, with_placeholder
from ldsboard.invocation import program

if TYPE_CHECKING:
    from sqlalchemy import URL

    from app.settings import Settings


class MoveError(RuntimeError):
    """The installation cannot be moved; the message says why, and what to do. Nothing at the source was changed."""


@dataclass(frozen=True)
class MoveOptions:
    """The options of the command, each as the operator wrote it.

    ``database`` is the address of the new database, ``storage`` the new folder or bucket of the score files. What is None stays
    where it is.
    """

    database: str | None = None
    storage: str | None = None
    replace_nul: bool = False

    def target_url(self) -> URL | None:
        """Return the address of the new database; raise ValueError if it names none."""
        if self.database is None:
            return None
        url = database_url(self.database, "--database")
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise MoveError("--database must name an SQLite file, as sqlite:///PATH; this address names none.")
        return url

    def target_settings(self, settings: Settings) -> Settings:
        """Return the settings of the source, but with the new place of the score files.

        Raises
        ------
        ValueError
            ``storage`` names neither a folder nor a bucket, or the settings lack the access key of the bucket.
        """
        if self.storage is None:
            return settings
        if not self.storage:
            raise MoveError("--storage must name a folder, or a bucket as s3://BUCKET/PREFIX.")
        bucket = parse_bucket(self.storage, "--storage")
        if bucket is not None:
            keys = settings.aws_access_key_id, settings.aws_secret_access_key
            check_access(settings.aws_endpoint_url, *keys, name="--storage")
        place = self.storage.rstrip("/") if bucket else str(Path(self.storage).absolute())
        return settings.model_copy(update={"storage_url": place})

    def command(self, *, database: str = "", storage: str = "", unset: tuple[str, ...] = ()) -> str:
        """Return the command with another database or storage, both quoted for a shell, and without some variables.

        ``PASSWORD`` stands for a password.
        """
        if self.database and not database:
            database = shlex.quote(with_placeholder(database_url(self.database, "--database")))
        if self.storage and not storage:
            storage = shlex.quote(self.storage)
        words = [*(["env", *(f"-u {name}" for name in unset)] if unset else []), f"{program('python')} -m app move"]
        words += [f"--database {database}"] if database else []
        words += [f"--storage {storage}"] if storage else []
        words += ["--replace-nul"] if self.replace_nul else []
        return " ".join(words)
