"""Seconds of alignment, wall and processor: the coarse pass, beads, patches and no markers.

On a simulated series of 41 x 1023 x 1440 (5.4 A/px, 12 beads in the field), and on EMPIAR-10499 00254
(41 x 630 x 652, 10 A/px) where it lies beside the checkout. For the real series it also tells what the gold
beads, tracked on their own, leave of the poses found without them: the residual of the same tracks.

A first run on a small series, not counted, lets numba read what it compiled before. On a machine that others
use, wall times say little; for processor times set OMP_NUM_THREADS=1 and NUMBA_NUM_THREADS=1, as threads that
wait are counted too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alignment_accuracy import QuietContext
from cryoloom.algorithms.alignment.alignment_methods import align_by_beads
from cryoloom.algorithms.alignment.coarse_alignment import align_coarsely
from cryoloom.algorithms.alignment.first_alignment import COARSE_PIXELS
from cryoloom.algorithms.alignment.tracks import residuals, triangulate
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.algorithms.series.tilt_images import load_tilt_images, shrink_images
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Microscope, Sourced, Stack, Tilt, TiltSeries
from cryoloom.simulate.assess import alignment_error_angstrom, axis_error_deg
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.steps.align_series import AlignSeriesParams, align_series
from kept_series import kept_series

REAL = Path(__file__).resolve().parents[2] / "shared/data/tilt-series/empiar-10499"
METHODS = ("beads", "patches", "no_markers")


def real_series() -> TiltSeries:
    """The series as in its files; no axis is given."""
    pixels = MrcPixels(REAL / "00254.mrc")
    tilts = [float(word) for word in (REAL / "00254.rawtlt").read_text().split()]
    return TiltSeries(
        name="00254",
        microscope=Microscope(300.0, 2.7, 0.1),
        pixel_size_angstrom=pixels.pixel_size_angstrom,
        tilts=tuple(Tilt(i, tilt, 3.0 * i, 3.0 * i + 3.0, section=i) for i, tilt in enumerate(tilts)),
        stack=Stack(pixels[:], pixels.pixel_size_angstrom),
    )


def timed(name: str, function: Callable[[], Any]) -> Any:
    """What a function returns, after its seconds are printed."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{name:24s} {wall:7.1f} s wall {processor:7.1f} s processor", flush=True)
    return result


def measure(series: TiltSeries, methods: list[str]) -> dict[str, TiltSeries]:
    """Print the seconds of the coarse pass and of each method; the aligned series by method."""
    stack, tilt_deg = series.best_stack, np.array([tilt.nominal_tilt_deg for tilt in series.tilts])
    usable = np.ones(len(tilt_deg), bool)
    images = timed("binning to 11 A", lambda: load_tilt_images(stack.images, stack.pixel_size_angstrom, 11.0))
    axis = series.tilt_axis_deg.applied or 0.0
    timed(
        "coarse pass",
        lambda: align_coarsely(shrink_images(images, COARSE_PIXELS), tilt_deg, axis, usable),
    )
    return {
        method: timed(
            f"align_series {method}",
            lambda method=method: align_series(series, AlignSeriesParams(method=method), QuietContext()),  # type: ignore[misc, arg-type]
        )
        for method in methods
    }


def bead_residual_angstrom(series: TiltSeries, poses: TiltSeries) -> float:
    """Mean residual of the beads' own tracks under other poses, places of the beads solved anew."""
    geometry = geometry_of_poses([tilt.pose for tilt in poses.tilts if tilt.pose is not None])
    stack = series.best_stack
    images = load_tilt_images(stack.images, stack.pixel_size_angstrom, 11.0)
    start = SeriesGeometry.start(geometry.tilt_deg, geometry.mean_axis_deg, geometry.shift_xy_angstrom)
    beads = align_by_beads(
        images, start, np.ones(len(series.tilts), bool), DegreesOfFreedom(), None, doubted=False
    )
    if beads is None:
        raise SystemExit("the beads of this series could not be tracked")
    weight = beads.solution.robust_weight * beads.tracks.weight
    left = residuals(beads.tracks, geometry, triangulate(beads.tracks, geometry, weight))
    counts = (weight > 0.02) & np.isfinite(left).all(axis=1)
    return float(np.hypot(left[counts, 0], left[counts, 1]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", nargs="+", default=["simulated", "real"], choices=["simulated", "real"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-alignment")
    arguments = parser.parse_args()
    threads = os.environ.get("NUMBA_NUM_THREADS", "all")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, threads {threads}")
    small = SimulationParams(image_shape_yx=(256, 256), pixel_size_angstrom=8.0)
    warm, _ = kept_series(small, arguments.cache)
    align_series(warm, AlignSeriesParams(method="no_markers"), QuietContext())  # type: ignore[arg-type]
    if "simulated" in arguments.series:
        large = SimulationParams(image_shape_yx=(1023, 1440), pixel_size_angstrom=5.4)
        series, truth = kept_series(large, arguments.cache)
        print("simulated, 41 x 1023 x 1440, 5.4 A/px")
        nominal_axis = Sourced.from_told(truth.tilt_axis_deg + 2.0, "mdoc")
        points = truth.random_specimen_points(np.random.default_rng(0), 200)
        for method, aligned in measure(
            replace(series, tilt_axis_deg=nominal_axis), arguments.methods
        ).items():
            error = alignment_error_angstrom(truth, aligned, points).rms_angstrom
            print(f"{method}: rms {error:.2f} A, axis {axis_error_deg(truth, aligned):.3f} deg", flush=True)
    if "real" in arguments.series:
        if not REAL.is_dir():
            print(f"no series at {REAL}: left out")
            return
        series = real_series()
        print("EMPIAR-10499 00254, 41 x 630 x 652, 10 A/px")
        for method, aligned in measure(series, arguments.methods).items():
            residual = bead_residual_angstrom(series, aligned)
            print(f"beads' mean residual under the poses of {method}: {residual:.1f} A", flush=True)


if __name__ == "__main__":
    main()
