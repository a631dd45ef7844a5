"""How the engine bears a facility's year: 5,000 series of 61 tilts, nine steps.

Makes a project database of that size, then measures what users wait for (`status`, `results --json`), the
scheduling of everything when all is done already, and what the engine costs per item when steps cost nothing.

    python benchmarks/engine_scale.py [--series 5000] [--worked 5000] [--folder DIR]

With ``--worked`` smaller, the rest of the database is filled with copies.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

import cryoloom.contract.discovery as discovery
from cryoloom.contract import StepContext, StepParams, step
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.model import Ctf, Microscope, Pose, Tilt, TiltSeries

N_TILTS = 61
N_STEPS = 9


class SourceParams(StepParams):
    """How many series."""

    n_series: int = 10


class NothingParams(StepParams):
    """Nothing to choose."""


@step("find_many", per="project", needs=None, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def find_many(params: SourceParams, context: StepContext):
    """Find many series."""
    for i in range(params.n_series):
        tilts = tuple(
            Tilt(
                k,
                2.0 * k - 60,
                3.0 * k,
                3.0 * k + 3.0,
                ctf=Ctf(34157.806, 33648.511, 31.5, 0.0),
                pose=Pose(85.3, 2.0 * k - 60.2, 0.1, (1.25, -3.5)),
            )
            for k in range(N_TILTS)
        )
        yield TiltSeries(f"TS_{i:05d}", Microscope(), 2.5, tilts)


@step("think", per="tilt_series", needs=TiltSeries, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def think(series: TiltSeries, params: NothingParams, context: StepContext) -> TiltSeries:
    """Look at a series and say something about it; costs nothing."""
    for name in ("defocus_median_angstrom", "residual_mean_angstrom", "n_tilts"):
        context.figure(name, float(len(series.tilts)))
    context.record("curve", [0.5] * 200)
    return replace(series, pixel_size_angstrom=series.pixel_size_angstrom)


def workflow(n_series: int) -> Workflow:
    """A source and eight steps in a row."""
    steps = [{"step": "find_many", "parameters": {"n_series": n_series}}]
    steps += [{"name": f"step_{i}", "step": "think"} for i in range(1, N_STEPS)]
    return Workflow.model_validate({"name": "many", "steps": steps})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--series", type=int, default=5000, help="Series of the database.")
    options.add_argument(
        "--worked", type=int, default=5000, help="Series of these that are really worked on."
    )
    options.add_argument("--folder", type=Path)
    chosen = options.parse_args()
    discovery.all_steps = lambda: {s.name: s for s in (find_many.declaration, think.declaration)}
    folder = Path(tempfile.mkdtemp(prefix="engine_scale_", dir=chosen.folder))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {psutil.virtual_memory().total >> 30} GiB")
    try:
        project = Project.create(folder / "project")
        plan, n_items = workflow(chosen.worked), chosen.worked * N_STEPS
        for what in ("run, steps that cost nothing", "scheduling when all is done"):
            wall, cpu = timed(lambda: project.run_workflow(plan, executor=InProcessExecutor("cpu")))
            print(
                f"{what}, {n_items} items: {wall:.1f} s, processor {cpu:.1f} s; "
                f"an item {1e3 * wall / n_items:.2f} and {1e3 * cpu / n_items:.2f} ms"
            )
        multiply(project.folder, chosen.series // chosen.worked)
        size = (project.folder / "project.sqlite").stat().st_size
        print(f"database of {chosen.series * N_STEPS} items: {size / 2**20:.0f} MiB")
        for command in (("status",), ("results", "--json")):
            wall, cpu = timed(lambda c=command: shell(project.folder, c))
            print(f"cryoloom {' '.join(command)}: {wall:.2f} s, processor {cpu:.2f} s")
    finally:
        shutil.rmtree(folder)


def multiply(project: Path, n_times: int) -> None:
    """Fill the database with copies of its series under other names."""
    if n_times < 2:
        return
    with sqlite3.connect(project / "project.sqlite") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(items)")]
        copied = ", ".join(c for c in columns if c not in {"id", "name", "key", "input_item_id"})
        highest = connection.execute("SELECT max(id) FROM items").fetchone()[0]
        for i in range(1, n_times):
            connection.execute(
                f"INSERT INTO items (id, name, key, {copied}) "
                f"SELECT id + {i * highest}, name || '_{i}', key || '_{i}', {copied} FROM items "
                f"WHERE id <= {highest}"
            )
            connection.execute(
                f"INSERT INTO contents SELECT item_id + {i * highest}, value, records FROM contents "
                f"WHERE item_id <= {highest}"
            )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of a call, its child processes included."""
    before, start = os.times(), time.perf_counter()
    work()
    after = os.times()
    return time.perf_counter() - start, sum(after[:4]) - sum(before[:4])


_COMMAND = "from cryoloom.cli.entry import main; main()"


def shell(folder: Path, command: tuple[str, ...]) -> None:
    """Run a command as a user does; what it prints goes to a file."""
    program = [sys.executable, "-c", _COMMAND, *command, "--project", str(folder)]
    with (folder / "printed").open("wb") as out:
        subprocess.run(program, stdout=out, check=True)


if __name__ == "__main__":
    main()
