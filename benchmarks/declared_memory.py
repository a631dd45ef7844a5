"""Peak memory of the steps from movies to tomogram against what they declare, on two sizes.

Each step runs in a process of its own, on data in files. Counted is the growth of the resident set from just
before the step to its peak, after a small run of the same step: the interpreter, its libraries and compiled
code (printed as "before") are left out, as they are in the declarations.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from cryoloom.contract.discovery import find_step
from cryoloom.engine.worker.context import EngineContext
from cryoloom.formats.pixels.movie import describe_movie
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.geometry.projection import project, projection_matrices
from cryoloom.model import Microscope, Pose, Sourced, Stack, Tilt, TiltSeries

STEPS = (
    "align_frames", "erase_xrays", "select_tilts", "estimate_ctf", "weight_dose", "align_series",
    "reconstruct",
)  # fmt: skip
N_TILTS, N_FRAMES, AXIS_DEG = 13, 8, 85.0
SIZES = {"small": (64 * 5, 64 * 6), "one": (1023, 1440), "two": (2046, 2880)}
# The same field of view, so that what depends on it stays the same.
FIELD_ANGSTROM = 5400.0


def make_data(folder: Path, shape_yx: tuple[int, int]) -> None:
    """Movies, and a stack with halves, of a cloud of discs seen at every tilt."""
    pixel = FIELD_ANGSTROM / shape_yx[0]
    rng = np.random.default_rng(3)
    points = rng.uniform(-1, 1, (250, 3)) * (0.7 * FIELD_ANGSTROM, 0.7 * FIELD_ANGSTROM, 400.0)
    reach = max(2, round(50.0 / pixel))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(y, x) < reach
    roles = ("images", "even", "odd")
    sinks = {role: MrcSink(folder / f"{role}.mrc", (N_TILTS, *shape_yx), pixel) for role in roles}
    for i, angle in enumerate(np.linspace(-60, 60, N_TILTS)):
        level = np.full(shape_yx, 1.0, np.float32)
        where = project(points, projection_matrices(AXIS_DEG, [angle]), rng.normal(0, 40, (1, 2)))[0]
        for cx, cy in np.rint(where / pixel + np.array(shape_yx[::-1]) // 2).astype(int):
            if reach <= cy < shape_yx[0] - reach and reach <= cx < shape_yx[1] - reach:
                level[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1][disc] *= 0.5
        frames = rng.poisson(level, (N_FRAMES, *shape_yx)).astype(np.uint8)
        tifffile.imwrite(folder / f"{i:03d}.tif", frames)
        even, odd = (frames[k::2].sum(axis=0, dtype=np.float32) for k in (0, 1))
        for role, image in zip(roles, (even + odd, even, odd), strict=True):
            sinks[role][i] = image
    for sink in sinks.values():
        sink.commit()


def load_series(folder: Path) -> TiltSeries:
    """The data as a series that any step takes."""
    found = {role: MrcPixels(folder / f"{role}.mrc") for role in ("images", "even", "odd")}
    pixel = found["images"].pixel_size_angstrom
    tilts = tuple(
        Tilt(
            i, float(t), 3.0 * i, 3.0 * i + 3, describe_movie(folder / f"{i:03d}.tif"),
            nominal_defocus_angstrom=35000.0, section=i, pose=Pose(AXIS_DEG, float(t)),
        )
        for i, t in enumerate(np.linspace(-60, 60, N_TILTS))
    )  # fmt: skip
    stack = Stack(found["images"], pixel, found["even"], found["odd"])
    axis = Sourced.from_told(AXIS_DEG, "mdoc")
    return TiltSeries("TS", Microscope(), pixel, tilts, axis, stack=stack)


def resident_bytes(kind: str) -> int:
    """VmRSS or VmHWM of this process."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit("no /proc/self/status: this benchmark needs Linux")
    return 1024 * int(found.group(1))


def measure(name: str, folder: Path, size: str) -> None:
    """Run a step and print what it took and what it declared, as JSON."""
    step = find_step(name)
    params = step.params(**({"binning": 2.0} if name == "reconstruct" else {}))
    for which in ("small", size):
        series = load_series(folder / which)
        if name in ("align_frames", "align_series"):
            series = replace(series, tilts=tuple(replace(tilt, pose=None) for tilt in series.tilts))
        context = EngineContext(folder, folder / "out", "cpu", 2, 6 << 30, 1)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_bytes("VmRSS")
        step.run(series, params, context)
        peak = resident_bytes("VmHWM")
        context.discard()
        del context
    declared = step.bytes_needed(series, params)
    print(json.dumps({"before": before, "measured": peak - before, "declared": declared}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", nargs="+", default=list(STEPS))
    parser.add_argument("--folder", type=Path, help="scratch folder with 5 GB free")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(arguments.child[0], Path(arguments.child[1]), arguments.child[2])
        return
    folder = Path(tempfile.mkdtemp(prefix="cryoloom-declared-", dir=arguments.folder))
    try:
        for size, shape_yx in SIZES.items():
            (folder / size).mkdir()
            make_data(folder / size, shape_yx)
        print(f"{N_TILTS} tilts of {N_FRAMES} frames; MB")
        print(f"{'step':14s} {'size':>12s} {'before':>7s} {'measured':>9s} {'declared':>9s} {'ratio':>6s}")
        for name in arguments.steps:
            for size in ("one", "two"):
                command = [sys.executable, __file__, "--child", name, str(folder), size]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                label = "{1} x {0}".format(*SIZES[size])
                if done.returncode:
                    print(f"{name:14s} {label:>12s} failed: {done.stderr.strip().splitlines()[-1]}")
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                mb = {key: value / 1e6 for key, value in found.items()}
                print(
                    f"{name:14s} {label:>12s} {mb['before']:7.0f} {mb['measured']:9.0f} {mb['declared']:9.0f}"
                    f" {mb['declared'] / mb['measured']:6.2f}",
                    flush=True,
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
