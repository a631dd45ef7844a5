"""What gathering costs: many series become one item and go on as single ones, with work in parts between.

    python benchmarks/gathering_scale.py [--series 1000] [--executor threads|local] [--workers 2]

Steps cost nothing, so that the seconds are those of the engine. Prints the seconds of each stage and the peak
memory of the coordinator.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import cryoloom.contract.discovery as discovery
from cryoloom.contract import Outputs, StepContext, StepParams, step
from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.executors.workplace import Workplace
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.model import Average, Ctf, Microscope, Pose, Sourced, Tilt, TiltSeries

N_TILTS, N_PARTS, N_PX = 61, 8, 64


class SourceParams(StepParams):
    """How many series."""

    n_series: int = 10


class NothingParams(StepParams):
    """Nothing to choose."""


@step("find_many", per="project", needs=None, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def find_many(params: SourceParams, context: StepContext):
    """Find many series of full size, without images."""
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
    for i in range(params.n_series):
        yield TiltSeries(f"TS_{i:05d}", Microscope(), 2.5, tilts)


def part_of(part, context):
    """One volume."""
    return {"volume": context.rng.normal(0, 1, (N_PX, N_PX, N_PX)).astype(np.float32)}


@step(
    "average_many",
    per="particle_set",
    needs=TiltSeries,
    gives=Average,
    also_gives={"series": TiltSeries},
    gathers=True,
    bytes_needed=lambda items, params: 1 << 20,
    bytes_per_part=lambda items, params: 1 << 20,
)
def average_many(items: tuple[TiltSeries, ...], params: NothingParams, context: StepContext) -> Outputs:
    """Add the volumes of some parts, and give every series on."""
    total = np.zeros((N_PX, N_PX, N_PX))
    for result in context.imap(part_of, list(range(N_PARTS))):
        total += result["volume"]
    volume = context.new_pixels("map", total.shape, 2.5, kind="volume")
    volume[:] = total.astype(np.float32)
    given = tuple(replace(series, tilt_axis_deg=Sourced(measured=85.0)) for series in items)
    return Outputs(Average(context.item_name, volume, 2.5, n_particles=len(items)), {"series": given})


@step("look", per="tilt_series", needs=TiltSeries, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def look(series: TiltSeries, params: NothingParams, context: StepContext) -> TiltSeries:
    """Give a series on."""
    return series


_STEPS = {f.declaration.name: f.declaration for f in (find_many, average_many, look)}
discovery.all_steps = lambda: _STEPS


class Clock(NullListener):
    """When the first and the last item of every step was recorded."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def finished(self, node, item):
        """An item is recorded."""
        self.first.setdefault(node, time.perf_counter())
        self.last[node] = time.perf_counter()


def main() -> None:
    """Run it, and run it again with everything there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--executor", default="threads")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    os.environ["DASK_DISTRIBUTED__WORKER__PRELOAD"] = f'["{Path(__file__).resolve()}"]'
    steps = [
        {"step": "find_many", "parameters": {"n_series": chosen.series}},
        {"step": "average_many"},
        {"step": "look", "input": "average_many.series"},
    ]
    plan = Workflow.model_validate({"name": "many", "steps": steps})
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "project")
        for what in ("made", "taken over"):
            clock, began = Clock(), time.perf_counter()
            workplace = Workplace(chosen.executor, "cpu", workers=chosen.workers)
            summary = project.run_workflow(plan, executor=workplace, listener=clock)
            assert not summary.failed  # noqa: S101 - a benchmark of what failed means nothing
            found, averaged = clock.last["find_many"], clock.last["average_many"]
            print(
                f"{what}: find {found - began:.1f} s, gather {averaged - found:.1f} s, fan out "
                f"{clock.last['look'] - averaged:.1f} s for {chosen.series} series on {chosen.executor}"
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory of the coordinator {peak:.0f} MiB; load {os.getloadavg()[0]:.1f}")
        project.database.close()


if __name__ == "__main__":
    main()
