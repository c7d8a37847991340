"""Tell the user how to go on after a command was interrupted by a failed call, by Ctrl-C or by SIGTERM.

After Ctrl-C during an upload, a second Ctrl-C within `SECOND_CHANCE_SECONDS` gives the upload up. SIGTERM gives the upload up at
once, because nobody is at a terminal.
"""

from __future__ import annotations

import shlex
import signal
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ldsboard.cache import default_server
from ldsboard.client import Client, ClientError, RefusedError
from ldsboard.commands.exits import TERMINATED, errors
from ldsboard.invocation import program
from ldsboard.problems import ProblemError
from ldsboard.reservations import GivenUp, give_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsboard.pending import PendingUpload

SECOND_CHANCE_SECONDS = 0.7
"""How long the program waits for a second Ctrl-C after the first."""

SECOND_CHANCE = "Press Ctrl-C again now to give the upload up."


class Sending:
    """Keeps the record of the upload that a command sends, for the messages after an interruption.

    Attributes
    ----------
    upload
        The record of the upload; None before the first call of `opened`.
    """

    def __init__(self) -> None:
        self.upload: PendingUpload | None = None

    def opened(self, upload: PendingUpload) -> None:
        """Remember the record of the upload."""
        self.upload = upload


class Interrupts:
    """Handler of Ctrl-C and SIGTERM: the second signal sets `again`; all others raise KeyboardInterrupt.

    Attributes
    ----------
    again
        Whether the second signal has come. No `threading.Event`: its lock would never be free for a handler that interrupts the
        thread's own wait for it.
    terminated
        Whether one of the signals was SIGTERM.
    """

    def __init__(self) -> None:
        self.again, self.terminated = False, False
        self._count = 0

    def __call__(self, number: int, _: object) -> None:
        """Handle one signal."""
        self._count += 1
        self.terminated |= number == signal.SIGTERM
        if self._count == 2:  # noqa: PLR2004 -- the second
            self.again = True
        else:
            raise KeyboardInterrupt

    def come_again_within(self, seconds: float) -> bool:
        """Wait for the second signal, and return whether it has come."""
        end = time.monotonic() + seconds
        while not self.again and time.monotonic() < end:
            time.sleep(0.02)
        return self.again

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Use this handler during a block, restore the default handlers at the end of the block, and exit with 143 after SIGTERM.

        A signal whose handler is not the default keeps its handler. Nothing changes if the block does not run in the main thread.
        """
        defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        replaced = {number: usual for number, usual in defaults.items() if signal.getsignal(number) == usual}
        if threading.current_thread() is not threading.main_thread():
            replaced = {}
        for number in replaced:
            signal.signal(number, self)
        try:
            yield
        except KeyboardInterrupt:
            if self.terminated:
                raise SystemExit(TERMINATED) from None
            raise
        finally:
            for number, usual in replaced.items():
                signal.signal(number, usual)


@contextmanager
def ways_on(client: Client) -> Iterator[Sending]:
    """Run a block that sends an upload; after an error or a signal, print what the user can do next, and raise the error again.

    After a first Ctrl-C, a second Ctrl-C within `SECOND_CHANCE_SECONDS` gives the upload up. SIGTERM gives the upload up at once.

    Parameters
    ----------
    client
        Client with the token of the user.

    Yields
    ------
    Sending
        The block must pass the method `Sending.opened` as ``opened`` to `ldsboard.sending.submit` or `ldsboard.sending.resume`.
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
    """Run a block that waits for the result of a submission; print how to continue waiting if a call fails or after a signal.

    The error is then raised again.
    """
    with Interrupts().handled():
        try:
            yield
        except (KeyboardInterrupt, ClientError):
            command = f"{program('ldsboard')} status --wait {submission_id}{_server_option(client)}"
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
        _print(f"{'Terminated' if interrupts.terminated else 'Interrupted'}. Nothing was sent.")
        return
    if not interrupts.terminated:
        if upload.exists():
            _print(f"Interrupted. Resume with: {_resume_command(client, upload)}")
        else:
            _print("Interrupted. The upload cannot be resumed, because the cache holds no record of it.")
        _print(SECOND_CHANCE)
        if not interrupts.come_again_within(SECOND_CHANCE_SECONDS):
            return
    outcome = give_up(client, upload)
    if outcome is GivenUp.FREED:
        _print("The upload was given up: it takes no place in your quota of submissions.")
    elif outcome is GivenUp.ARRIVED:
        _print(
            "The whole file had arrived: see the submission with: "
            f"{program('ldsboard')} status {upload.id}{_server_option(client)}"
        )
    else:
        _print("The server did not confirm that the upload was given up, so the upload may take a place in your quota.")
        if upload.id:
            _print(
                f"It expires by itself at {datetime.fromisoformat(upload.expires_at).astimezone(UTC):%Y-%m-%d %H:%M} UTC."
            )
        if upload.exists():
            _print(f"To go on with it, resume with: {_resume_command(client, upload)}")


def _resume_command(client: Client, upload: PendingUpload) -> str:
    return f"{program('ldsboard')} submit --resume {shlex.quote(upload.named)}{_server_option(client)}"


def _server_option(client: Client) -> str:
    return "" if client.server == default_server() else f" --server {shlex.quote(client.server)}"


def _print(line: str) -> None:
    errors.print(line, markup=False)
