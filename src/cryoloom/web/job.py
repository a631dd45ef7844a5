"""Commands started from the browser: each is a separate process that continues without browser and server.

`python -m cryoloom.web.job FILE` runs the command of a job file, writes the output to a log beside it, and
adds the return code to the file. The browser sends no command line: it is made from checked values.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryoloom.errors import TransientError, UserInputError

__all__ = ["Job", "jobs_of", "log_part", "main", "start_job"]

_FOLDER = Path("logs", "web")
_MOST_LOG_BYTES = 65_536
"""Chosen: size of one answer."""
_LOOK_AGAIN_S = 0.5
"""Chosen: seconds between checks whether a command has ended."""


@dataclass(frozen=True, slots=True)
class Job:
    """A started command; ``returncode`` is None while it runs."""

    number: int
    title: str
    command: tuple[str, ...]
    who: str
    started: str
    pid: int = 0
    ended: str = ""
    returncode: int | None = None
    after: int = 0
    """Number of the job that must succeed before this one starts; 0 for none."""
    is_waiting: bool = False

    @property
    def as_typed(self) -> str:
        """The command line."""
        return shlex.join(["cryoloom", *self.command])

    @property
    def state(self) -> str:
        """queued, running, done, failed, or lost if the process ended without a return code."""
        if self.returncode is not None:
            return "done" if self.returncode == 0 else "failed"
        if not _is_alive(self.pid):
            return "lost"
        return "queued" if self.is_waiting else "running"


def start_job(project: Path, title: str, command: Sequence[str], who: str, after: int = 0) -> Job:
    """Start `cryoloom` with these arguments; after : number of a job that must succeed first.

    Raises UserInputError if there is no such job, TransientError if the project cannot be written.
    """
    if after and after not in {job.number for job in jobs_of(project)}:
        raise UserInputError(f"no job {after} was started from the browser, so none can be awaited")
    folder = project / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = max((job.number for job in jobs_of(project)), default=0) + 1
        while True:
            try:
                (folder / f"{number:04d}.json").touch(exist_ok=False)
                break
            except FileExistsError:
                number += 1  # another server of the same project took this number
        job = Job(number, title, tuple(command), who, _now(), after=after, is_waiting=after > 0)
        path = folder / f"{number:04d}.json"
        _keep(path, job)
        process = subprocess.Popen(
            [sys.executable, "-m", "cryoloom.web.job", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=project,
        )
    except OSError as error:
        raise TransientError(f"nothing can be started in {project}: {error.strerror}") from error
    threading.Thread(target=process.wait, daemon=True).start()  # else it stays a zombie
    return replace(job, pid=process.pid)


def jobs_of(project: Path) -> list[Job]:
    """All jobs of a project, oldest first."""
    found = []
    for path in sorted((project / _FOLDER).glob("[0-9]*.json")):
        try:
            facts = json.loads(path.read_text())
            found.append(Job(**{**facts, "command": tuple(facts["command"])}))
        except (OSError, ValueError, TypeError):
            continue  # incomplete, or of another version
    return found


def log_part(project: Path, number: int, offset: int) -> tuple[str, int, int]:
    """Text of a job's log from an offset, the next offset, and the length of the log; at most 64 kB.

    A negative offset counts from the end, so that the end of a log of 10 GB is available at once.
    """
    path = project / _FOLDER / f"{int(number):04d}.log"
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size + offset) if offset < 0 else min(offset, size)
            file.seek(start)
            data = file.read(_MOST_LOG_BYTES)
    except FileNotFoundError:
        if not path.with_suffix(".json").exists():
            raise UserInputError(f"nothing of number {number} was started from the browser") from None
        return "", 0, 0
    return data.decode("utf-8", "replace"), start + len(data), size


def main() -> None:
    """Run the job of the file on the command line."""
    path = Path(sys.argv[1])
    facts = json.loads(path.read_text())
    job = replace(Job(**{**facts, "command": tuple(facts["command"])}), pid=os.getpid())
    _keep(path, job)
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160", "PYTHONUNBUFFERED": "1"}
    with path.with_suffix(".log").open("ab") as log:
        if job.after:
            code = _wait_for(path.with_name(f"{job.after:04d}.json"))
            if code:
                log.write(f"not started: number {job.after} did not end well\n".encode())
                _keep(path, replace(job, ended=_now(), returncode=code, is_waiting=False))
                return
            job = replace(job, is_waiting=False)
            _keep(path, job)
        code = subprocess.run(
            [sys.executable, "-c", "from cryoloom.cli.entry import main; main()", *job.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        ).returncode
    _keep(path, replace(job, ended=_now(), returncode=code))


def _wait_for(path: Path) -> int:
    """Return code of another job when it has ended; 1 if its process is gone."""
    while True:
        facts = json.loads(path.read_text())
        other = Job(**{**facts, "command": tuple(facts["command"])})
        if other.returncode is not None:
            return other.returncode
        if other.state == "lost":
            return 1
        time.sleep(_LOOK_AGAIN_S)


def _keep(path: Path, job: Job) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(asdict(job)))
    os.replace(part, path)


def _is_alive(pid: int) -> bool:
    if pid == 0:
        return True  # before it has written its number
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    main()
