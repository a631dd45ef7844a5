"""How the engine bears a facility's year: 5,000 series of 61 tilts, nine steps.

Makes a project database of that size, then measures what users wait for (`status`, `results --json`), the
scheduling of everything when all is done already, and what the engine costs per item when steps cost nothing.

    python benchmarks/engine_scale.py [--series 5000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

import cryoloom.steps.discovery as discovery
from cryoloom.engine.executors import InProcessExecutor
from cryoloom.engine.project import Project
from cryoloom.engine.workflow import Workflow
from cryoloom.model import Ctf, Microscope, Pose, Tilt, TiltSeries
from cryoloom.steps import StepContext, StepParams, step

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
                3.0 * k - 90,
                3.0 * k,
                3.0 * k + 3.0,
                ctf=Ctf(34157.806, 33648.511, 31.5, 0.0),
                pose=Pose((1.25, -3.5), 85.3, 3.0 * k - 90.2, 0.1),
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
    options.add_argument("--series", type=int, default=5000)
    options.add_argument("--folder", type=Path)
    chosen = options.parse_args()
    discovery.all_steps = lambda: {s.name: s for s in (find_many.declaration, think.declaration)}
    folder = Path(tempfile.mkdtemp(prefix="engine_scale_", dir=chosen.folder))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {psutil.virtual_memory().total >> 30} GiB")
    try:
        project = Project.create(folder / "project")
        plan = workflow(chosen.series)
        n_items = chosen.series * N_STEPS
        seconds = timed(lambda: project.run_workflow(plan, executor=InProcessExecutor("cpu")))
        print(
            f"run of {n_items} items that cost nothing: {seconds:.1f} s, "
            f"{1e3 * seconds / n_items:.2f} ms an item"
        )
        size = (project.folder / "project.sqlite").stat().st_size
        print(f"database: {size / 2**20:.0f} MiB")
        seconds = timed(lambda: project.run_workflow(plan, executor=InProcessExecutor("cpu")))
        print(f"scheduling of {n_items} items when all is done: {seconds:.1f} s")
        seconds = timed(lambda: project.run_workflow(workflow(10), executor=InProcessExecutor("cpu")))
        print(f"ten series more, in a project of {n_items} items: {seconds:.2f} s")
        project.run_workflow(plan, executor=InProcessExecutor("cpu"))  # `status` shows the last request
        for command in (("status",), ("results", "--json"), ("log",)):
            print(f"cryoloom {' '.join(command)}: {timed(lambda c=command: shell(project.folder, c)):.2f} s")
        print(f"python alone, importing nothing: {timed(lambda: shell_python('pass')):.2f} s")
    finally:
        shutil.rmtree(folder)


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


_COMMAND = "from cryoloom.cli.entry import main; main()"


def shell(folder: Path, command: tuple[str, ...]) -> None:
    """Run a command as a user does; what it prints goes to a file."""
    program = [sys.executable, "-c", _COMMAND, *command, "--project", str(folder)]
    with (folder / "printed").open("wb") as out:
        subprocess.run(program, stdout=out, check=True)


def shell_python(code: str) -> None:
    """The interpreter's own share."""
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
