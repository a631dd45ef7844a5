"""Defocus at the origin of the poses against the truth, wherever the alignment puts that origin.

Simulated series of 31 tilts to 60 degrees, 512 x 512 pixels of 4 A: gold on the upper or lower surface, on
both, none, a lamella with a pretilt of 10 degrees; both hands; --mirrored: the axis told half a turn off,
which gives the mirrored specimen and the other hand. estimate_ctf first, then align_series, as usual.

Prints, in angstrom: error of the defocus the rings show (median and mean over tilts), error at the origin
(median, mean, 90 %), true and found thickness, height of the middle above the tracks with its error.

    python benchmarks/defocus_at_origin.py [--cases top1500 ...] [--seeds 1 2] [--mirrored]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alignment_accuracy import QuietContext
from cryoloom.model import Sourced
from cryoloom.simulate.assess import defocus_errors_at_origin_angstrom
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.steps.align_series import AlignSeriesParams, align_series
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf
from kept_series import kept_series

FIELD: dict[str, Any] = {
    "image_shape_yx": (512, 512),
    "pixel_size_angstrom": 4.0,
    "tilt_step_deg": 4.0,
    "n_particles": 60,
    "n_vesicles": 5,
}
CASES: dict[str, dict[str, Any]] = {
    "top1500": {
        "n_beads": 14,
        "beads_lie": "on_top",
        "thickness_angstrom": 1500.0,
        "z_offset_angstrom": -750.0,
    },
    "both1400": {
        "n_beads": 14,
        "beads_lie": "on_both",
        "thickness_angstrom": 1400.0,
        "z_offset_angstrom": 300.0,
        "handedness": -1,
    },
    "none1200": {"n_beads": 0, "z_offset_angstrom": 200.0, "pretilt_y_deg": 2.0},
    "lamella1800": {
        "n_beads": 0,
        "thickness_angstrom": 1800.0,
        "z_offset_angstrom": 0.0,
        "pretilt_y_deg": 10.0,
        "handedness": -1,
    },
    "below900": {"n_beads": 8, "beads_lie": "below", "thickness_angstrom": 900.0, "z_offset_angstrom": -60.0},
    "top600": {
        "n_beads": 10,
        "beads_lie": "on_top",
        "thickness_angstrom": 600.0,
        "z_offset_angstrom": 100.0,
        "handedness": -1,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--mirrored", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-defocus")
    arguments = parser.parse_args()
    print(
        f"{'case':12s}{'seed':>5s}{'hand':>5s}{'found':>6s}{'rings':>7s}{'mean':>6s}{'origin':>8s}{'mean':>6s}"
        f"{'90 %':>6s}{'thick':>7s}{'found':>7s}{'height':>8s}{'±':>5s}{'s':>6s}  by"
    )
    for case in arguments.cases:
        for seed in arguments.seeds:
            measure(case, seed, arguments.cache, mirrored=arguments.mirrored)


def measure(case: str, seed: int, cache: Path, *, mirrored: bool) -> None:
    """Process one series and print its line."""
    series, truth = kept_series(SimulationParams(**(FIELD | CASES[case] | {"seed": seed})), cache)
    told = truth.told_axis_deg + (180.0 if mirrored else 0.0)
    series = replace(series, tilt_axis_deg=Sourced.from_told(told, "mdoc"))
    begin = time.process_time()
    seen = estimate_ctf(series, EstimateCtfParams(), QuietContext())  # type: ignore[arg-type]
    context = QuietContext()
    aligned = align_series(seen, AlignSeriesParams(), context)  # type: ignore[arg-type]
    rings = np.array(
        [
            tilt.ctf.defocus_angstrom - truth.defocus_of_ice_angstrom(tilt.acquisition_index)
            for tilt in seen.included
            if tilt.ctf is not None
        ]
    )
    errors = np.array(list(defocus_errors_at_origin_angstrom(truth, aligned).values()) or [np.nan])
    figures = context.figures
    print(
        f"{case:12s}{seed:5d}{truth.handedness:+5d}{aligned.handedness.applied or 0:+6.0f}"
        f"{np.median(np.abs(rings)):7.0f}{rings.mean():+6.0f}{np.median(np.abs(errors)):8.0f}"
        f"{errors.mean():+6.0f}{np.percentile(np.abs(errors), 90):6.0f}{truth.thickness_angstrom:7.0f}"
        f"{figures['thickness_angstrom']:7.0f}{figures['middle_height_angstrom']:8.0f}"
        f"{figures['middle_error_angstrom']:5.0f}{time.process_time() - begin:6.0f}"
        f"  {aligned.tilt_axis_deg.measured_by}",
        flush=True,
    )
    for warning in context.warnings:
        print("   warning:", warning)


if __name__ == "__main__":
    main()
