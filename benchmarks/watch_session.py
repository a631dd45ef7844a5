"""How soon a live series is done: from its last movie to its stack, beside the same series as a batch run.

A simulated session is played at a given pace and watched; then the finished folder is processed anew.
Also: how long a look takes at a folder of many series.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.history.results import final_items
from cryoloom.engine.live.watch import WatchOptions, watch
from cryoloom.engine.live.watch_status import SeriesStatus
from cryoloom.engine.live.watched_folder import WatchedFolder
from cryoloom.engine.project import Project
from cryoloom.formats.pixels.movie_writer import write_movie_tiff
from cryoloom.simulate.live import LivePlan, play_session
from cryoloom.simulate.session import SimulationParams, simulate_session
from cryoloom.steps.import_movies import ImportMoviesParams
from cryoloom.store.records import ItemRecord

WORKFLOW = "name: stack\nsteps:\n  - step: import_movies\n  - step: prepare_gain\n  - step: align_frames\n"
SETTLE_SECONDS = 1.0


class Clock(NullListener):
    """Keeps when the series was closed and when its stack was recorded."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def finished(self, node: str, item: ItemRecord) -> None:
        """Keep the time."""
        self.at.setdefault(node, time.perf_counter())

    def watching(self, series: Sequence[SeriesStatus], trouble: str) -> None:
        """Nothing."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--size", type=int, default=2048, help="pixels along an edge of a movie")
    arguments.add_argument("--tilt-step", type=float, default=12.0, help="degrees")
    arguments.add_argument("--seconds-per-tilt", type=float, default=4.0)
    arguments.add_argument("--n-series", type=int, default=200, help="series of the folder that is looked at")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure_latency(Path(temporary) / "latency", options)
        measure_look(Path(temporary) / "look", options.n_series)


def measure_latency(folder: Path, options: argparse.Namespace) -> None:
    """Print the time from closing a series to its stack, live and as a batch run, and compare the pixels."""
    params = SimulationParams(
        image_shape_yx=(options.size, options.size), pixel_size_angstrom=1.5, tilt_step_deg=options.tilt_step
    )
    simulate_session(params, folder / "raw")
    (folder / "stack.yaml").write_text(WORKFLOW)
    n_tilts = len(list((folder / "raw" / "frames").iterdir()))
    live, gain = folder / "live", folder / "raw" / "gain.mrc"
    live.mkdir()
    plan = LivePlan(options.seconds_per_tilt)
    player = threading.Thread(target=play_session, args=(folder / "raw", live, plan))
    clock = Clock()
    ends = WatchOptions(
        tilts=n_tilts, idle_minutes=4 * options.seconds_per_tilt / 60, settle_seconds=SETTLE_SECONDS,
        look_seconds=0.5,
    )  # fmt: skip
    player.start()
    watched = Project.create(folder / "watched")
    watch(watched, live, clock, ends, workflow=str(folder / "stack.yaml"), gain=gain)
    player.join()
    batch_clock = Clock()
    batch = Project.create(folder / "batch")
    batch.process(live, workflow=folder / "stack.yaml", gain=gain, listener=batch_clock)
    pixels = [
        project.value(final_items(project.database)[0]).stack.images[:]  # type: ignore[union-attr]
        for project in (watched, batch)
    ]
    same = np.array_equal(*pixels)
    seconds = [c.at["align_frames"] - c.at["import_movies"] for c in (clock, batch_clock)]
    print(
        f"{n_tilts} movies of {options.size} x {options.size} x {params.n_frames}: from the import of the "
        f"whole series to its stack {seconds[0]:.1f} s live, {seconds[1]:.1f} s as a batch run; "
        f"pixels {'equal to the bit' if same else 'DIFFER'}"
    )


def measure_look(folder: Path, n_series: int, n_tilts: int = 41) -> None:
    """Print how long the first look and one later take."""
    frames = np.ones((8, 16, 16), np.uint8)
    (folder / "frames").mkdir(parents=True)
    write_movie_tiff(folder / "movie.tif", frames)
    raw = (folder / "movie.tif").read_bytes()
    (folder / "movie.tif").unlink()
    for i in range(n_series):
        sections = ["PixelSpacing = 2\nVoltage = 300\n\n"]
        for k in range(n_tilts):
            name = f"TS_{i:04d}_{k:03d}_{3 * k - 60}.0.tif"
            (folder / "frames" / name).write_bytes(raw)
            sections.append(
                f"[ZValue = {k}]\nTiltAngle = {3 * k - 60}\nExposureDose = 3\nSubFramePath = {name}\n"
                f"NumSubFrames = 8\nDateTime = 24-Mar-2023 12:{k:02d}:00\n\n"
            )
        (folder / f"TS_{i:04d}.mdoc").write_text("".join(sections))
    watched = WatchedFolder(ImportMoviesParams(directory=folder), SETTLE_SECONDS)
    took = []
    for now in (0.0, 10.0, 20.0):
        began = time.process_time()
        series = watched.look(now)
        took.append(time.process_time() - began)
    n_whole = sum(len(one.whole) for one in series)
    print(
        f"{n_series} series, {n_whole} movies on a local disk: a look takes {took[0]:.2f} s of a core, "
        f"{took[1]:.2f} s where every header is read, {took[2]:.2f} s later"
    )


if __name__ == "__main__":
    main()
