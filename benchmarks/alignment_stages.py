"""What each stage of alignment without markers is off by, on the series of alignment_accuracy.

Prints rms and median over tilts of 200 projected specimen points, axis error and processor time after the
coarse pass, focus alone, matching with focus, patches, and features begun on the patches. For processor times
set OMP_NUM_THREADS=1 and NUMBA_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from alignment_accuracy import CASES
from cryoloom.algorithms.alignment.alignment_methods import align_by_features, align_by_patches, match_images
from cryoloom.algorithms.alignment.first_alignment import align_first
from cryoloom.algorithms.alignment.focus import focus_series
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.model import Exclusion, Pose, TiltSeries
from cryoloom.simulate.assess import alignment_error_angstrom, axis_error_deg
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import Truth
from kept_series import kept_series


def posed(series: TiltSeries, geometry: SeriesGeometry, turn_deg: float) -> TiltSeries:
    """The series with the poses of a geometry, axis turned."""
    return series.with_tilts(
        {
            tilt.acquisition_index: {
                "pose": Pose(
                    axis_deg=float(geometry.axis_deg[i]) + turn_deg,
                    tilt_deg=float(geometry.tilt_deg[i]),
                    x_tilt_deg=0.0,
                    shift_xy_angstrom=(
                        float(geometry.shift_xy_angstrom[i, 0]),
                        float(geometry.shift_xy_angstrom[i, 1]),
                    ),
                    magnification=1.0,
                )
            }
            for i, tilt in enumerate(series.tilts)
        }
    )


def tell(stage: str, began: float, series: TiltSeries, truth: Truth, geometry: SeriesGeometry) -> None:
    """Print a stage's error; of the axis and the same half a turn on the nearer is judged."""
    seconds = time.process_time() - began
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    twins = [posed(series, geometry, turn) for turn in (0.0, 180.0)]
    errors = [alignment_error_angstrom(truth, twin, points) for twin in twins]
    best = min(errors, key=lambda error: error.rms_angstrom)
    median = np.median(list(best.per_tilt_angstrom.values()))
    print(
        f"  {stage:10s} rms {best.rms_angstrom:7.2f} median {median:7.2f}"
        f" axis {axis_error_deg(truth, twins[0]):7.3f} {seconds:6.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cases", nargs="+", default=["easy", "hard"], choices=list(CASES))
    parser.add_argument("--beads", type=int, default=0, help="beads in the field; nothing tracks them here")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-alignment")
    arguments = parser.parse_args()
    for case in arguments.cases:
        for seed in arguments.seeds:
            changes, axis_error = CASES[case]
            params = SimulationParams(
                seed=seed,
                n_beads=arguments.beads,
                image_shape_yx=(1024, 1024),
                pixel_size_angstrom=2.7,
                **changes,
            )
            series, truth = kept_series(params, arguments.cache)
            print(f"{case}, seed {seed}", flush=True)
            dark = {tilt.acquisition_index for tilt in truth.tilts if tilt.flaw == "dark"}
            _measure(series, truth, truth.tilt_axis_deg + axis_error, dark)


def _measure(series: TiltSeries, truth: Truth, nominal_axis_deg: float, dark: set[int]) -> None:
    usable = np.array([tilt.acquisition_index not in dark for tilt in series.tilts])
    tilt_deg = np.array([tilt.nominal_tilt_deg for tilt in series.tilts])
    judged = series.with_tilts({i: {"exclusion": Exclusion.by_step("dark", "truth", 0.0)} for i in dark})
    began = time.process_time()
    images = load_tilt_images(series.best_stack.images, series.best_stack.pixel_size_angstrom, 11.0)
    coarse = align_first(images, tilt_deg, usable, nominal_axis_deg).coarse
    start = SeriesGeometry.start(tilt_deg, coarse.axis_deg, coarse.shift_xy_angstrom)
    tell("coarse", began, judged, truth, start)
    began = time.process_time()
    tell("focus", began, judged, truth, focus_series(images, start, usable))
    began = time.process_time()
    matched = match_images(images, start, usable, np.random.default_rng(1))
    tell("matched", began, judged, truth, matched.geometry)
    began = time.process_time()
    patches = align_by_patches(
        images, matched, usable, DegreesOfFreedom(), patch_angstrom=700.0, spacing_angstrom=350.0
    )
    if patches is not None:
        tell("patches", began, judged, truth, patches.solution.geometry)
    began = time.process_time()
    first = patches.solution.geometry if patches is not None else matched.geometry
    features = align_by_features(images, first, usable, DegreesOfFreedom())
    if features is not None:
        tell("features", began, judged, truth, features.solution.geometry)


if __name__ == "__main__":
    main()
