"""Files that two revisions of the code write differently, and the time that either takes.

Two simulated sessions (TIFF and EER) and the real tilt series of `real_series.py` are processed by the code
of both revisions, each in a git worktree of its own, in the same project folder with one worker. Then every
file that `process` wrote is compared by its checksum, and every figure of `results --json` by its value.
Left out, because they contain times, paths or versions: the database, logs and the report.

``python benchmarks/same_bytes.py BEFORE [AFTER]``; AFTER is the working tree if it is not given, and the
movies are simulated with its code. ``--repeat N`` processes each session N times with either revision, in
turn, and prints medians of the time on the wall and of processors. The exit code is 1 if something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from real_series import SERIES

ROOT = Path(__file__).resolve().parents[1]
RUN = "from cryoloom.cli.entry import main; main()"
SESSIONS = {
    "tiff": ["seed=71", "tilt_step_deg=6"],
    "eer": ["seed=72", "tilt_step_deg=6", "camera=falcon_eer", "image_shape_yx=[512, 512]"],
}
"""Parameters of the simulated sessions: 21 tilts, small enough for a minute of one core."""
WITH_TIMES = ("project.sqlite*", "report*", "log.txt", ".*")
"""Names of files and folders that contain times, paths or versions."""


@dataclass(frozen=True)
class Made:
    """What one revision made of one session."""

    seconds: float
    processor_seconds: float
    """Of all its processes: unlike the time on the wall, hardly changed by other work on the machine."""
    files: dict[str, str]
    """Checksum of every file, by its path in the project."""
    figures: dict[str, Any]
    """Every figure, by "series step: figure"."""


def environment(tree: Path, scratch: Path) -> dict[str, str]:
    """Variables with which Python runs the code of a tree, and compiles it apart from others."""
    compiled = scratch / f"numba_{hashlib.sha1(str(tree).encode()).hexdigest()[:8]}"
    return os.environ | {"PYTHONPATH": str(tree / "src"), "NUMBA_CACHE_DIR": str(compiled)}


def cryoloom(tree: Path, scratch: Path, *arguments: str) -> str:
    """Standard output of a command of a tree's code. Raises SystemExit with its errors if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env=environment(tree, scratch), cwd=scratch, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{tree.name}: cryoloom {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def tree_of(revision: str | None, scratch: Path) -> Iterator[Path]:
    """Files of a revision in a worktree that is removed afterwards; the working tree itself for None."""
    if revision is None:
        yield ROOT
        return
    tree = scratch / revision.replace("^", "_parent").replace("~", "_").replace("/", "_")
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def processor_seconds() -> float:
    """Of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processed(tree: Path, raw: Path, scratch: Path) -> Made:
    """What the tree's code makes of raw data, in the folder that every revision uses."""
    project = scratch / "project"
    shutil.rmtree(project, ignore_errors=True)
    clock, busy = time.perf_counter(), processor_seconds()
    cryoloom(tree, scratch, "process", str(raw), "--project", str(project), "--workers", "1", "--json")
    seconds, busy = time.perf_counter() - clock, processor_seconds() - busy
    figures = {}
    for line in cryoloom(tree, scratch, "results", "--project", str(project), "--json").splitlines():
        entry = json.loads(line)
        name = entry.get("item", entry.get("series", entry.get("name")))
        for figure, value in (entry.get("figures") or {}).items():
            figures[f"{name} {entry['step']}: {figure}"] = value
    files = {
        str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(project.rglob("*"))
        if path.is_file()
        and not any(fnmatch(part, kind) for part in path.relative_to(project).parts for kind in WITH_TIMES)
    }
    if not files or not figures:
        sys.exit(f"{tree.name}: {len(files)} files and {len(figures)} figures of {raw.name}; expected some")
    return Made(seconds, busy, files, figures)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Lines for everything that is not equal in both."""
    found = [f"only before: {name}" for name in sorted(before.keys() - after.keys())]
    found += [f"only after: {name}" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name] and before[name] == before[name]:
            found.append(f"differs: {name} ({str(before[name])[:18]} -> {str(after[name])[:18]})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before")
    parser.add_argument("after", nargs="?")
    parser.add_argument("--sessions", default="tiff,eer,real", help="of tiff, eer, real")
    parser.add_argument("--series", type=Path, default=SERIES, help="stack of the real series")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--warm-up", action="store_true", help="first an untimed run, which compiles kernels")
    parser.add_argument("--folder", type=Path, help="scratch folder; simulated movies in it are used again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = (arguments.folder or Path(temporary)).resolve()
        scratch.mkdir(parents=True, exist_ok=True)
        with tree_of(arguments.before, scratch) as before, tree_of(arguments.after, scratch) as after:
            raw = {"real": arguments.series.resolve()}
            for name, values in SESSIONS.items():
                raw[name] = scratch / name
                if name in arguments.sessions and not raw[name].is_dir():
                    options = [part for value in values for part in ("--set", value)]
                    cryoloom(after, scratch, "simulate", str(raw[name]), *options)
            different = False
            for session in arguments.sessions.split(","):
                different |= compare(session, raw[session], before, after, scratch, arguments)
    sys.exit(int(different))


def compare(
    session: str, raw: Path, before: Path, after: Path, scratch: Path, arguments: argparse.Namespace
) -> bool:
    """Process one session with both trees and print what differs; whether anything does."""
    if arguments.warm_up:
        processed(before, raw, scratch), processed(after, raw, scratch)
    made: dict[str, list[Made]] = {"before": [], "after": []}
    for i in range(arguments.repeat):
        # The order alternates, so that a machine that becomes slower or faster favours neither.
        pair = [("before", before), ("after", after)]
        for label, tree in pair if i % 2 == 0 else reversed(pair):
            made[label].append(processed(tree, raw, scratch))
    one, other = made["before"][0], made["after"][0]
    files, figures = differences(one.files, other.files), differences(one.figures, other.figures)
    print(
        f"{session}: {len(files)} of {len(one.files)} files and "
        f"{len(figures)} of {len(one.figures)} figures differ"
    )
    for line in [*files, *figures]:
        print(f"  {line}")
    for kind in ("seconds", "processor_seconds"):
        times = {label: statistics.median(getattr(run, kind) for run in runs) for label, runs in made.items()}
        shown = ", ".join(f"{seconds:.1f} {label}" for label, seconds in times.items())
        print(f"  {kind}: {shown}, ratio {times['after'] / times['before']:.3f} (n = {arguments.repeat})")
    sys.stdout.flush()
    return bool(files or figures)


if __name__ == "__main__":
    main()
