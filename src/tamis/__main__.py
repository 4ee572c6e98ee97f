"""The process of the command line: the script ``tamis`` and ``python -m tamis``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

__all__ = ["entry"]

_INTERRUPTED = 130


def entry() -> NoReturn:
    """Run the command line of this process and end it.

    The process ends without tearing down the interpreter. By then every file is written, but threads of
    compiled libraries are still alive, and their teardown was seen to abort a finished audit once.
    """
    try:
        # Here, and not above: Ctrl-C while modules are loaded gets words too.
        from tamis.cli import main

        code = main()
    except KeyboardInterrupt:
        print("tamis: interrupted before anything began", file=sys.stderr)
        code = _INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    entry()
