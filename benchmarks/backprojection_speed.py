"""Voxel updates per second of back-projection, alone and with filtering, beside IMOD's `tilt` if installed.

An update is one tilt's share of one voxel. The last column divides by the CPU time of the threads instead
of the time on the clock: what the machine would give if nothing else ran on it.

The yardstick of how fast the machine is: back-projection in plain numba, four tilts a pass over blocks of 16
heights, one column a pixel, rows along the axis contiguous, which a machine of two cores did at 15 G updates
a second. It neither filters nor turns its volume into the order files have.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import mrcfile
import numba
import numpy as np
import torch

from cryoloom.algorithms.ctf.correction import Correction
from cryoloom.algorithms.images.radial_filter import RadialFilter
from cryoloom.algorithms.reconstruction.back_projection import plan_back_projection
from cryoloom.algorithms.reconstruction.depth_correction import plan_depth_correction
from cryoloom.algorithms.reconstruction.iterative_reconstruction import plan_iterations
from cryoloom.kernels.projection.backproject import STRIP_ROWS, back_project
from cryoloom.model import Ctf, Microscope, Pose

CASES = {"1024 x 1024 x 256": (256, 1024, 1024), "1440 x 1023 x 350": (350, 1440, 1023)}


def timed(work, repeats: int) -> tuple[list[float], list[float]]:
    clock, cpu = [], []
    work()
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return clock, cpu


def report(label: str, updates: float, clock: list[float], cpu: list[float], n_threads: int) -> None:
    median, best = statistics.median(clock), min(clock)
    by_cpu = updates / (statistics.median(cpu) / n_threads) / 1e9
    rates = f"{updates / median / 1e9:8.1f} {updates / best / 1e9:8.1f} {by_cpu:10.1f}"
    print(f"{label:<52} {median:8.2f} {rates}", flush=True)


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True)
def four_tilts_a_pass(images, columns, volume):
    """The yardstick. images (tilt, column, row), tilts a multiple of 4; volume (z, x, row), added to."""
    n_tilts, n_columns, n_rows = images.shape
    n_z, n_x, _ = volume.shape
    one, last = np.float32(1), np.float32(n_columns - 1.001)
    for block in numba.prange((n_z + 15) // 16):
        left, right = np.empty(4, np.int64), np.empty(4, np.float32)
        for tilt in range(0, n_tilts, 4):
            for x in range(n_x):
                for z in range(block * 16, min(n_z, block * 16 + 16)):
                    for i in range(4):
                        u0, ux, uz = columns[tilt + i]
                        u = min(max(u0 + np.float32(x) * ux + np.float32(z) * uz, np.float32(0)), last)
                        left[i] = int(u)
                        right[i] = u - np.float32(left[i])
                    a0, a1 = images[tilt, left[0]], images[tilt, left[0] + 1]
                    b0, b1 = images[tilt + 1, left[1]], images[tilt + 1, left[1] + 1]
                    c0, c1 = images[tilt + 2, left[2]], images[tilt + 2, left[2] + 1]
                    d0, d1 = images[tilt + 3, left[3]], images[tilt + 3, left[3] + 1]
                    wa, wb, wc, wd = right
                    out = volume[z, x]
                    for y in range(n_rows):
                        first = (one - wa) * a0[y] + wa * a1[y] + (one - wb) * b0[y] + wb * b1[y]
                        out[y] += first + (one - wc) * c0[y] + wc * c1[y] + (one - wd) * d0[y] + wd * d1[y]


def yardstick(label: str, shape: tuple[int, int, int], repeats: int, n_threads: int) -> None:
    """Of 40 tilts; 256 rows at a time where there are more, to spare memory."""
    n_z, n_y, n_x = shape
    n_rows, tilts = min(n_y, 256), list(np.linspace(-60, 60, 40))
    plan = plan_back_projection(shape, n_x, tilts, [0.0] * 40, RadialFilter(0.35, 0.05))
    columns = (plan.columns / 2).numpy()
    images = np.random.default_rng(1).standard_normal((40, n_x + 2, n_rows), dtype=np.float32)
    volume = np.zeros((n_z, n_x, n_rows), np.float32)
    clock, cpu = timed(lambda: four_tilts_a_pass(images, columns, volume), repeats)
    report(f"yardstick, 40 -> {label}", 40.0 * n_z * n_x * n_rows, clock, cpu, n_threads)


def ours(label: str, shape: tuple[int, int, int], n_tilts: int, repeats: int, n_threads: int) -> None:
    n_z, n_y, n_x = shape
    tilts = list(np.linspace(-60, 60, n_tilts))
    plan = plan_back_projection(shape, n_x, tilts, [0.0] * n_tilts, RadialFilter(0.35, 0.05))
    aligned = torch.randn((n_tilts, STRIP_ROWS, n_x))
    n_strips = -(-n_y // STRIP_ROWS)
    volume = torch.zeros((n_strips, n_z, STRIP_ROWS, n_x))
    updates = float(n_tilts * n_z * n_x * STRIP_ROWS * n_strips)
    for oversampling in (1, 2):
        geometry = plan.columns / (2 / oversampling)
        strips = [torch.randn((n_tilts, oversampling * n_x + 2, STRIP_ROWS)) for _ in range(n_strips)]

        def kernel(strips: list[torch.Tensor] = strips, geometry: torch.Tensor = geometry) -> None:
            for strip, images in enumerate(strips):
                back_project(images, geometry, volume[strip])

        name = f"kernel, {oversampling} column{'s' * (oversampling > 1)} a pixel, {n_tilts} -> {label}"
        report(name, updates, *timed(kernel, repeats), n_threads)
        del strips

    del volume
    # As the step does: strip after strip in the same memory.
    rows = aligned.repeat(1, n_strips, 1)

    def filtered() -> None:
        for _ in plan.strips(rows, 0):
            pass

    report(f"filter + 2 columns a pixel, {n_tilts} -> {label}", updates, *timed(filtered, repeats), n_threads)
    volume = torch.zeros((n_strips, n_z, STRIP_ROWS, n_x))

    def written() -> None:
        for strip, made in enumerate(plan.strips(rows, 0)):
            volume[strip] = made

    report(f"the same, and copied, {n_tilts} -> {label}", updates, *timed(written, repeats), n_threads)


def corrected_in_depth(
    label: str, shape: tuple[int, int, int], n_tilts: int, rows: int, n_threads: int
) -> None:
    """3D-CTF beside plain back-projection on some rows of the volume: 10 A voxels, 5 um of defocus."""
    tilts = list(np.linspace(-60, 60, n_tilts))
    plain = plan_back_projection(shape, shape[2], tilts, [0.0] * n_tilts, RadialFilter(0.35, 0.05))
    updates = float(n_tilts * shape[0] * shape[2] * rows)
    for step_angstrom in (None, 150.0):
        deep = plan_depth_correction(
            plain,
            [Pose(85.0, tilt) for tilt in tilts],
            [Ctf(50000.0, 49000.0, 20.0)] * n_tilts,
            Microscope(),
            Correction("multiply"),
            handedness=1.0,
            voxel_size_angstrom=10.0,
            resolution_angstrom=25.0,
            step_angstrom=step_angstrom,
        )
        seconds = {}
        for name, projection in (("plain", plain), ("3D-CTF", deep)):
            aligned = torch.randn((n_tilts, rows + 2 * projection.halo_rows, shape[2]))

            def work(projection: Any = projection, aligned: torch.Tensor = aligned) -> None:
                for _ in projection.strips(aligned, 0):
                    pass

            clock, cpu = timed(work, 2)
            seconds[name] = min(cpu)
            report(f"{name}, {rows} rows, {n_tilts} -> {label}", updates, clock, cpu, n_threads)
        slab = deep.slab_voxels * 10.0
        print(
            f"  slabs of {slab:.0f} A, {deep.n_nodes / n_tilts:.1f} corrections a tilt: "
            f"{seconds['3D-CTF'] / seconds['plain']:.2f} times the CPU time of plain"
        )


def iterations(label: str, shape: tuple[int, int, int], n_tilts: int, n_threads: int) -> None:
    """Three SIRT iterations of one strip beside its weighted back-projection."""
    n_z, _, n_x = shape
    tilts = list(np.linspace(-60, 60, n_tilts))
    plain = plan_back_projection(shape, n_x, tilts, [0.0] * n_tilts, RadialFilter(0.35, 0.05))
    sirt = plan_iterations(
        shape, n_x, tilts, [0.0] * n_tilts, n_subsets=1, n_iterations=3, relaxation=1.0, stop_change=0.0
    )
    aligned = torch.randn((n_tilts, STRIP_ROWS, n_x))
    updates = float(n_tilts * n_z * n_x * STRIP_ROWS)
    clock, once = timed(lambda: plain.strip(aligned, STRIP_ROWS), 3)
    report(f"plain, one strip, {n_tilts} -> {label}", updates, clock, once, n_threads)
    clock, cpu = timed(lambda: sirt.solve(aligned), 2)
    report(
        f"SIRT, 3 iterations and what they begin with, {n_tilts} -> {label}", updates, clock, cpu, n_threads
    )
    begin = timed(lambda: sirt.with_iterations(1).solve(aligned), 2)[1]
    each = (min(cpu) - min(begin)) / 2
    share = each / min(once)
    print(f"  an iteration is {share:.2f} weighted back-projections, 30 are {30 * share:.0f}")


def imod(label: str, shape: tuple[int, int, int], n_tilts: int) -> None:
    program = shutil.which("tilt")
    if program is None:
        print("IMOD's tilt: not installed")
        return
    n_z, n_y, n_x = shape
    with tempfile.TemporaryDirectory() as folder:
        stack, angles, out = (Path(folder) / name for name in ("in.mrc", "in.tlt", "out.mrc"))
        mrcfile.write(stack, np.random.default_rng(1).standard_normal((n_tilts, n_y, n_x), dtype=np.float32))
        angles.write_text("".join(f"{angle}\n" for angle in np.linspace(-60, 60, n_tilts)))
        start = time.perf_counter()
        command = [program, "-input", stack, "-output", out, "-TILTFILE", angles, "-THICKNESS", str(n_z)]
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    report(
        f"IMOD tilt (one process), {n_tilts} -> {label}", n_tilts * n_z * n_y * n_x, [seconds], [seconds], 1
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--methods", action="store_true", help="3D-CTF and SIRT beside plain, nothing else")
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads; load {os.getloadavg()[0]:.1f} from whatever else runs")
    print(f"{'':<52} {'seconds':>8} {'G/s':>8} {'G/s best':>8} {'G/s by CPU':>10}")
    if options.methods:
        name = "1440 x 1023 x 350"
        corrected_in_depth(name, CASES[name], options.tilts, 8 * STRIP_ROWS, options.threads)
        name = "1024 x 1024 x 256"
        iterations(name, CASES[name], options.tilts, options.threads)
        return
    for label, shape in CASES.items():
        yardstick(label, shape, options.repeats, options.threads)
        ours(label, shape, options.tilts, options.repeats, options.threads)
        imod(label, shape, options.tilts)


if __name__ == "__main__":
    main()
