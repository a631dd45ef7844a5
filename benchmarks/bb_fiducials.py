"""Bundle adjustment of IMOD's BB fiducials: mean and left-out residual for several sets of variables.

Needs the folder ``imod/BB`` of the real data (default: ../shared/data beside the checkout). IMOD's own mean
residual is that of the numbers in BBa.resid (rotation and magnification per view, tilt grouped, X stretch
and skew grouped). Every run here starts from tilts that are multiples of 2 degrees.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import left_out_errors
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.formats.imod.fiducials import read_resid, read_xyz

SETS = {
    "one axis, tilts and magnification fixed": DegreesOfFreedom(),
    "one axis, magnification per view": DegreesOfFreedom(magnification="per_view"),
    "axis grouped, magn. per view, tilt grouped": DegreesOfFreedom(
        "grouped", "grouped", magnification="per_view"
    ),
    "axis, magn. per view, tilt grouped": DegreesOfFreedom("per_view", "grouped", magnification="per_view"),
    "the same, stretch and skew grouped (IMOD's)": DegreesOfFreedom(
        "per_view", "grouped", "fixed", "per_view", "grouped", "grouped"
    ),
    "the same and a beam tilt": DegreesOfFreedom(
        "per_view", "grouped", "fixed", "per_view", "grouped", "grouped", beam_tilt="one"
    ),
    "all per view": DegreesOfFreedom("per_view", "per_view", "fixed", "per_view", "per_view", "per_view"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).resolve().parents[2] / "shared/data/imod/BB"
    parser.add_argument("--folder", type=Path, default=default)
    folder = parser.parse_args().folder
    residuals, solved = read_resid(folder / "BBa.resid"), read_xyz(folder / "BBafid.xyz")
    pixel = solved.pixel_size_angstrom
    centre = np.array(solved.shape_yx[::-1]) / 2
    n = len(residuals.view)
    tracks = Tracks(
        residuals.view,
        residuals.track,
        (residuals.position_xy_px - centre) * pixel,
        np.ones(n),
        int(residuals.view.max()) + 1,
        int(residuals.track.max()) + 1,
    )
    start = SeriesGeometry.start(65.0 - 2.0 * np.arange(tracks.n_views), -12.5)
    print(f"IMOD's mean residual {residuals.mean_residual_px:.4f} px of {pixel} A; {n} positions")
    print(f"{'variables':46s} {'mean px':>8s} {'robust':>8s} {'left out':>9s} {'axis':>8s} {'seconds':>8s}")
    for name, free in SETS.items():
        begin = time.perf_counter()
        plain = adjust_bundle(tracks, start, free, robust=False)
        seconds = time.perf_counter() - begin
        robust = adjust_bundle(tracks, start, free)
        left_out = left_out_errors(tracks, start, free, robust=False)
        print(
            f"{name:46s} {plain.residual_angstrom.mean() / pixel:8.4f}"
            f" {robust.residual_angstrom.mean() / pixel:8.4f}"
            f" {np.nanmean(left_out) / pixel:9.4f} {plain.geometry.mean_axis_deg:8.3f} {seconds:8.2f}"
        )


if __name__ == "__main__":
    main()
