"""Outside programs, run for a step: no shell, output to the item's log, stopped with the task."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryoloom.contract.step import ProgramOutput
from cryoloom.engine.worker import supervise
from cryoloom.engine.worker.item_log import ItemLog
from cryoloom.engine.worker.program_errors import first_error, known_failure, last_lines
from cryoloom.errors import DataUnfitError, TransientError, UserInputError

__all__ = ["RunsPrograms", "run_program"]

_LOOK_SECONDS = 0.1
"""Chosen: between two looks whether the task was stopped."""
_LEAST_FREE_BYTES = 1 << 20
"""With less room the failure of a program is that of the disk."""
# Signals by which a machine ends a program: out of memory, end of a job's time, shutdown. Others are its own.
_OF_THE_MACHINE = {
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGXCPU,
    signal.SIGXFSZ,
}


class RunsPrograms(ABC):
    """A context that runs outside programs in its scratch folder."""

    n_threads: int
    look: Callable[[], None]
    """Raises StepInterrupted if the task is no longer wanted."""

    @abstractmethod
    def scratch(self) -> Path:
        """Folder that the programs run in."""

    @abstractmethod
    def program_log(self) -> ItemLog:
        """Log that gets what the programs print."""

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_s: float | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> ProgramOutput:
        """Run an outside program in `scratch`, as `StepContext.run` says."""
        return run_program(
            command,
            folder=self.scratch(),
            log=self.program_log(),
            look=self.look,
            n_threads=self.n_threads,
            timeout_s=timeout_s,
            environment=environment,
            stdin=stdin,
        )


def run_program(
    command: Sequence[str | Path],
    *,
    folder: Path,
    log: ItemLog,
    look: Callable[[], None],
    n_threads: int,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    name: str = "",
    errors: Sequence[str] = (),
) -> ProgramOutput:
    """Run a program in a folder and wait for it. Errors as `StepContext.run` says.

    look : raises where the task is not wanted any more; the program is ended then. name : what people call
    the program; else the first word. errors : patterns of lines by which it says what failed.
    """
    if isinstance(command, str) or not command:
        raise TypeError(
            f"a command is a list of words, such as ['newstack', 'a.mrc', 'b.mrc']; got {command!r}"
        )
    words = [str(word) for word in command]
    name = name or words[0]
    variables = {**os.environ, "OMP_NUM_THREADS": str(n_threads), **(environment or {})}
    program = shutil.which(words[0], path=variables.get("PATH"))
    if program is None:
        raise UserInputError(
            f"there is no program {words[0]} on this machine; install it, or put its folder on the PATH of "
            "the workers"
        )
    given = folder / f".stdin.{uuid.uuid4().hex[:8]}"
    given.write_text(stdin)
    log.line(f"$ {' '.join(words)}")
    start = log.size()
    with log.opened() as printed:
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", supervise.__file__, str(given), program, *words[1:]],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = _wait(supervisor, look, timeout_s)
    finally:
        if supervisor.stdin is not None:
            supervisor.stdin.close()  # ends the program, if it still runs
        supervisor.wait()
        given.unlink(missing_ok=True)
    output = ProgramOutput(log.tail(start))
    if code is None:
        log.line(f"{name} was ended after {timeout_s:g} s")
        raise TransientError(
            f"{name} did not end within {timeout_s:g} s, and was ended; look into the item's log",
            last_lines=last_lines(output.text),
        )
    if code:
        log.line(f"{name} ended with code {code}")
        _raise_for(name, code, output.text, folder, errors)
    return output


def _wait(process: subprocess.Popen[bytes], look: Callable[[], None], timeout_s: float | None) -> int | None:
    """Exit code; None after the time limit."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        try:
            return process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            look()
        if end is not None and time.monotonic() > end:
            return None


def _raise_for(name: str, code: int, text: str, folder: Path, errors: Sequence[str]) -> None:
    """The error class that a program's end means."""
    last = last_lines(text)
    known = known_failure(name, text)
    if code > 128 and code - 128 in _OF_THE_MACHINE:
        ended_by = signal.Signals(code - 128).name
        raise TransientError(
            f"{name} was ended by the machine ({ended_by}): out of memory, or at the end of a job's time; "
            "give workers more memory or time, then resume",
            last_lines=last,
        )
    if shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
        raise TransientError(f"{name} failed and the disk of {folder} is full; free space, then resume")
    if known is not None:
        raise known
    why = first_error(text, errors) or last or "it printed nothing"
    raise DataUnfitError(f"{name} ended with code {code}: {why}", exit_code=code)
