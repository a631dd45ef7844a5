"""Runs a program that ends with the process that started it.

``python supervise.py STDIN_FILE PROGRAM ARGUMENTS...`` stands alone and imports nothing of cryoloom. Standard
input is a pipe from the calling process. When it closes, because that process closed it or died, the program
and all processes it started are stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_SECONDS = 2.0
"""Chosen: for a program to end by itself before it is killed."""


def main() -> int:
    """Exit code of the program; 128 and the signal's number where a signal ended it."""
    stdin_file, *command = sys.argv[1:]
    with open(stdin_file, "rb") as given:
        try:
            program = subprocess.Popen(command, stdin=given, start_new_session=True)
        except OSError as error:
            sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
            return 126
    threading.Thread(target=_end_without_parent, args=(program,), daemon=True).start()
    code = program.wait()
    _signal(program, signal.SIGKILL)  # processes that it started and left behind
    return code if code >= 0 else 128 - code


def _end_without_parent(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    _signal(program, signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    _signal(program, signal.SIGKILL)


def _signal(program: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(program.pid, number)  # the program started its own process group
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    sys.exit(main())
