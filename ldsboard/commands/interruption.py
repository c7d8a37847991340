"""Tell the user how to go on after an interruption: a failed call, or Ctrl-C. A second Ctrl-C gives the upload up."""

from __future__ import annotations

import shlex
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ldsboard.cache import default_server
from ldsboard.client import Client, ClientError, RefusedError
from ldsboard.commands.exits import errors
from ldsboard.problems import ProblemError
from ldsboard.reservations import GivenUp, give_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsboard.pending import PendingUpload

SECOND_CHANCE_SECONDS = 0.7
"""How long the program waits for a second Ctrl-C after the first."""

SECOND_CHANCE = "Press Ctrl-C again now to give the upload up."


class Sending:
    """The upload that a command sends.

    Attributes
    ----------
    upload
        The record of the upload; None until the upload is announced.
    """

    def __init__(self) -> None:
        self.upload: PendingUpload | None = None

    def opened(self, upload: PendingUpload) -> None:
        """Remember the record of the upload."""
        self.upload = upload


class Interrupts:
    """Handler of Ctrl-C: the second Ctrl-C sets the event `again`; every other one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.again = threading.Event()
        self._count = 0

    def __call__(self, *_: object) -> None:
        """Handle one Ctrl-C."""
        self._count += 1
        if self._count == 2:  # noqa: PLR2004 -- the second
            self.again.set()
        else:
            raise KeyboardInterrupt

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle Ctrl-C during a block, if Python handled it as usual until then."""
        usual = signal.getsignal(signal.SIGINT)
        if usual is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, self)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)


@contextmanager
def ways_on(client: Client) -> Iterator[Sending]:
    """Print how to go on if the block, which sends an upload, fails or is interrupted; then raise the error again.

    Parameters
    ----------
    client
        Client with the token of the user.

    Yields
    ------
    Sending
        Its method `Sending.opened` is for the parameter ``opened`` of `ldsboard.sending.submit` and `ldsboard.sending.resume`.
    """
    sending, interrupts = Sending(), Interrupts()
    with interrupts.handled():
        try:
            yield sending
        except KeyboardInterrupt:
            _after_interrupt(client, sending.upload, interrupts)
            raise
        except (ClientError, ProblemError) as error:
            _after_error(client, sending.upload, error)
            raise


@contextmanager
def ways_on_waiting(client: Client, submission_id: str) -> Iterator[None]:
    """Print how to go on if the block, which waits for the result of a submission, fails or is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, ClientError):
        command = f"ldsboard status --wait {submission_id}{_server_option(client)}"
        _print(f"The server has the file. Continue waiting with: {command}")
        raise


def _after_error(client: Client, upload: PendingUpload | None, error: Exception) -> None:
    if upload is None:
        return
    if upload.exists():
        kept = "The server keeps the uploaded parts. " if upload.id else ""
        _print(f"{kept}Resume with: {_resume_command(client, upload)}")
    elif upload.id and (isinstance(error, ProblemError) or (isinstance(error, RefusedError) and error.final)):
        _print("The upload was given up: it takes no place in your quota of submissions.")


def _after_interrupt(client: Client, upload: PendingUpload | None, interrupts: Interrupts) -> None:
    if upload is None:
        _print("Interrupted. Nothing was sent.")
        return
    if upload.exists():
        _print(f"Interrupted. Resume with: {_resume_command(client, upload)}")
    else:
        _print("Interrupted. The upload cannot be resumed, because the cache holds no record of it.")
    _print(SECOND_CHANCE)
    if not interrupts.again.wait(SECOND_CHANCE_SECONDS):
        return
    outcome = give_up(client, upload)
    if outcome is GivenUp.FREED:
        _print("The upload was given up: it takes no place in your quota of submissions.")
    elif outcome is GivenUp.ARRIVED:
        _print(
            f"The whole file had arrived: see the submission with: ldsboard status {upload.id}{_server_option(client)}"
        )
    else:
        _print(
            f"The server does not answer, so the upload was not given up. It expires by itself at {upload.expires_at}."
        )


def _resume_command(client: Client, upload: PendingUpload) -> str:
    return f"ldsboard submit --resume {shlex.quote(upload.named)}{_server_option(client)}"


def _server_option(client: Client) -> str:
    return "" if client.server == default_server() else f" --server {shlex.quote(client.server)}"


def _print(line: str) -> None:
    errors.print(line, markup=False)
