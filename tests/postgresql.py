"""A PostgreSQL cluster for tests: started by a user other than root, without fsync, reached through a socket in its folder."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, create_engine

from app.db.migration import upgrade
from tests.app.service import until

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBC = ctypes.CDLL(None)

TEMPLATE = "template_migrated"
"""Name of the empty, migrated database that `Cluster.create` copies."""


class Cluster:
    """A running cluster. Each database of a test is a copy of one empty, migrated database."""

    def __init__(self, folder: Path, process: _Server) -> None:
        self._folder = folder
        self._process = process
        self._numbers = count(1)
        self._admin = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with self._admin.connect() as connection:
            # The rules of a language, as most clusters have them, so that tests notice an order that depends on the locale.
            locale = "LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C'"
            connection.exec_driver_sql(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 {locale}")
        upgrade(self.url(TEMPLATE))

    def url(self, name: str) -> str:
        """Return the URL of a database of the cluster."""
        url = URL.create("postgresql", username="ldsboard", database=name, query={"host": str(self._folder)})
        return url.render_as_string(hide_password=False)

    def create(self, template: str = TEMPLATE) -> str:
        """Create a database, and return its URL."""
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    @property
    def pid(self) -> int:
        """The process that has started all others of the cluster."""
        return self._process.pid

    def restart(self) -> None:
        """Kill PostgreSQL and all its processes, as a crash would, and start it again."""
        self._process.stop()
        self._process.start()
        self._admin.dispose()

    def close(self) -> None:
        """Close the connection that creates databases."""
        self._admin.dispose()


def _programs() -> Path:
    """Return the folder of the newest PostgreSQL programs."""
    found = shutil.which("postgres")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return installed[-1] if installed else Path(str(found)).parent


class _Server:
    """The process of PostgreSQL."""

    def __init__(self, command: list[str | Path], user: str | None, folder: Path) -> None:
        self._command, self._user, self._folder = command, user, folder
        self.start()

    def start(self) -> None:
        """Start PostgreSQL, and wait until it answers."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                user=self._user,
                cwd=self._folder,
                stdout=output,
                stderr=output,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 -- it calls one function of the C library, which takes no lock
            )
        ready: list[str | Path] = [_programs() / "pg_isready", "-h", self._folder, "-q"]
        until(lambda: subprocess.run(ready, check=False).returncode == 0, f"a cluster that answers; its log is {log}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Stop PostgreSQL at once, without a last checkpoint."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()


@contextmanager
def running_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """Start a cluster in a new folder; stop it and delete the folder at the end.

    Only a `durable` cluster has every commit after `Cluster.restart`.
    """
    programs, folder = _programs(), Path(tempfile.mkdtemp(prefix="ldsboard-pg-"))
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
        shutil.chown(folder, user)
    data = folder / "data"
    initdb: list[str | Path] = [programs / "initdb", "-D", data, "-U", "ldsboard", "-A", "trust", "-E", "UTF8"]
    initdb += ["--locale=C", "--no-sync"]
    postgres: list[str | Path] = [programs / "postgres", "-D", data, "-k", folder]
    for option in ("listen_addresses=", "fsync=off", "full_page_writes=off"):
        postgres += ["-c", option]
    postgres += ["-c", "max_connections=200", "-c", f"synchronous_commit={'on' if durable else 'off'}"]
    try:
        subprocess.run(initdb, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        server = _Server(postgres, user, folder)
        try:
            cluster = Cluster(folder, server)
            yield cluster
            cluster.close()
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _end_with_parent() -> None:
    """Have Linux end this process when the tests end, also if they are killed."""
    if sys.platform == "linux":
        LIBC.prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG
