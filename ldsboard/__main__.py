"""The program ``ldsboard``, also as ``python -m ldsboard``: handle Ctrl-C, and then import the command line."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C during the imports, which take half a second, exits with 130 and prints nothing."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from ldsboard import cli  # noqa: PLC0415 -- imports are slow

    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, usual)
    cli.main()


if __name__ == "__main__":
    main()
