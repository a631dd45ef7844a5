"""find_plane against the truth of simulated series: the slopes of the specimen's middle about either axis.

Pretilts of 0, 8 and 12 degrees about x and about the tilt axis, two specimens, no gold; true poses, and with
--matched those that projection matching finds (seconds are then those of matching too).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alignment_accuracy import RIBOSOME
from cryoloom.algorithms.alignment.alignment_methods import PLANE_PIXELS, match_images
from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.algorithms.series.tilt_images import load_tilt_images, shrink_images
from cryoloom.algorithms.specimen.specimen_plane import find_plane
from cryoloom.simulate.parameters import SimulationParams
from kept_series import kept_series

PRETILTS = ((0.0, 0.0), (0.0, 8.0), (0.0, -12.0), (-8.0, 0.0), (12.0, 0.0))
"""About x and about the tilt axis, degrees."""
WORKING_PIXEL_ANGSTROM = 11.0  # as align_series takes it


def slopes_deg(slope_x: float, slope_y: float) -> NDArray[np.float64]:
    """Angles of a plane ``z = b x + c y`` about the tilt axis and about x, as pretilts are given."""
    about_y = -np.arctan(slope_x)
    about_x = np.arctan(slope_y / np.hypot(1.0, slope_x))
    return np.rad2deg([about_y, about_x])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12])
    parser.add_argument("--specimens", nargs="+", default=["builtin", "ribosome"])
    parser.add_argument("--matched", action="store_true", help="poses by projection matching, not the true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-alignment")
    parser.add_argument("--only-simulate", action="store_true")
    arguments = parser.parse_args()
    print(f"{'specimen':9s} seed  pretilt y, x   found y, x     error y, x  height      s")
    errors = []
    for seed in arguments.seeds:
        for pretilt_x, pretilt_y in PRETILTS:
            for specimen in arguments.specimens:
                params = SimulationParams(
                    seed=seed,
                    specimen=str(RIBOSOME) if specimen == "ribosome" else specimen,
                    image_shape_yx=(512, 720),
                    pixel_size_angstrom=5.4,
                    n_beads=0,
                    pretilt_x_deg=pretilt_x,
                    pretilt_y_deg=pretilt_y,
                )
                series, truth = kept_series(params, arguments.cache)
                if arguments.only_simulate:
                    continue
                images = load_tilt_images(
                    series.unweighted_stack.images, series.pixel_size_angstrom, WORKING_PIXEL_ANGSTROM
                )
                poses = [tilt.pose for tilt in truth.with_true_poses(series).tilts if tilt.pose is not None]
                geometry = geometry_of_poses(poses)
                usable, rng = np.ones(len(poses), dtype=bool), np.random.default_rng(1)
                begin = time.perf_counter()
                if arguments.matched:
                    start = SeriesGeometry.start(
                        np.array([tilt.nominal_tilt_deg for tilt in series.tilts]),
                        truth.tilt_axis_deg,
                        geometry.shift_xy_angstrom,
                    )
                    plane = match_images(images, start, usable, rng).plane
                else:
                    plane = find_plane(shrink_images(images, PLANE_PIXELS), geometry, usable, rng)
                seconds = time.perf_counter() - begin
                true = np.array([pretilt_y, pretilt_x])
                found = slopes_deg(plane[1], plane[2])
                errors.append(found - true)
                print(
                    f"{specimen[-9:]:9s} {seed:4d} {_pair(true)} {_pair(found)} {_pair(found - true)}"
                    f" {plane[0]:8.0f} {seconds:6.2f}",
                    flush=True,
                )
    if errors:
        rms = np.sqrt(np.mean(np.square(errors), axis=0))
        worst = np.abs(errors).max(axis=0)
        print(f"rms {rms[0]:.2f} and {rms[1]:.2f} deg, worst {worst[0]:.2f} and {worst[1]:.2f} deg")


def _pair(values: NDArray[np.float64]) -> str:
    return f"{values[0]:6.1f},{values[1]:6.1f} "


if __name__ == "__main__":
    main()
