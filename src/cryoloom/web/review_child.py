"""Flags the tilts of series in a separate process, so that the server's interpreter stays responsive.

Started as ``python -m cryoloom.web.review_child PROJECT``. Lines of JSON: names in, lists of `JudgedSeries`
out, until the input ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryoloom.errors import CryoloomError
from cryoloom.web.judged_series import JudgedSeries, judged_series
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.project_view import ProjectView
from cryoloom.web.tilt_flags import QUALITY_RECORD

__all__ = ["judged_elsewhere"]

_BATCH = 50
_NICENESS = 10
"""Chosen: series in one message, and a low priority, because the server's work comes first."""


def judged_elsewhere(project: Path, names: Sequence[str]) -> Iterator[list[JudgedSeries]]:
    """Series of a project, flagged in another process in batches, without series that cannot be read.

    Ends early if the process ends.
    """
    command = [sys.executable, "-m", "cryoloom.web.review_child", str(project)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        if process.stdin is None or process.stdout is None:
            return
        try:
            for first in range(0, len(names), _BATCH):
                process.stdin.write(json.dumps(names[first : first + _BATCH]).encode() + b"\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line.endswith(b"\n"):
                    return
                yield [JudgedSeries.of_json(facts) for facts in json.loads(line)]
        except BrokenPipeError:
            return
        finally:
            process.terminate()


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C; we end with the input
    os.nice(_NICENESS)
    project = ProjectView(Path(sys.argv[1]), "review", ImageShelf())
    for line in sys.stdin:
        made = []
        for name in json.loads(line):
            try:
                made.append(judged_series(project.series_with_record(name, QUALITY_RECORD)).as_json())
            except (CryoloomError, KeyError):
                continue
        print(json.dumps(made), flush=True)  # noqa: T201 - read by the parent process
    project.close()


if __name__ == "__main__":
    _main()
