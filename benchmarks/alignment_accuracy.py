"""Alignment against the truth: beads, patches and no markers, on easy and on hard series of two specimens.

1024 x 1024 pixels of 2.7 A, 41 tilts of 3 e/A^2. Easy: nominal axis 5 degrees wrong. Ten: 10 degrees. Hard: a
pretilt of 12 degrees, shifts up to a quarter of the field, three dark tilts and the nominal axis 90 degrees
wrong. Gold: 40 beads in the field. Crystals: 6 of ice, darker or lighter from tilt to tilt. Prints the axis
error, the rms error of 200 projected specimen points (one rigid motion removed) overall and as median over
tilts, the step's own figures, and seconds of the alignment alone.

Half a turn of the axis is the mirrored specimen, which images cannot tell: of the two the nearer is judged.
Simulated stacks are kept in --cache and taken from there the next time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.model import Sourced, TiltSeries
from cryoloom.simulate.assess import alignment_error_angstrom, axis_error_deg
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import Truth
from cryoloom.steps.align_series import AlignSeriesParams, align_series
from cryoloom.steps.select_tilts import SelectTiltsParams, select_tilts
from kept_series import kept_series

RIBOSOME = Path(__file__).resolve().parents[2] / "shared/data/models/4v5d.cif.gz"
EASY: dict[str, Any] = {"shift_rms_angstrom": 60.0}
HARD: dict[str, Any] = {
    "pretilt_y_deg": 12.0,
    "shift_rms_angstrom": 260.0,
    "dark_tilts": (9, 20, 33),
}
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "easy": (EASY, 5.0),
    "ten": (EASY, 10.0),
    "hard": (HARD, 90.0),
    "gold": (EASY | {"n_beads": 40}, 5.0),
    "crystals": (EASY | {"n_ice_crystals": 6}, 5.0),
}
BEADS_IN_FIELD = {"beads": 12, "patches": 0, "no_markers": 0, "auto": 0}


@dataclass
class QuietContext:
    """What the step says is kept for the table."""

    device: str = "cpu"
    n_threads: int = 2
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    figures: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def figure(self, name: str, value: float | None, *, reason: str = "") -> None:
        """Keep a figure for the table."""
        if value is not None:
            self.figures[name] = value

    def not_measurable(self, name: str, reason: str) -> None:
        """The table shows what has a value."""
        del name, reason

    def record(self, name: str, data: Any) -> None:
        """Tables are not printed."""
        del name, data

    def warn(self, message: str) -> None:
        """Warnings are printed under the row."""
        self.warnings.append(message)

    def progress(self, done: int, total: int) -> None:
        """Progress is not shown."""
        del done, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--specimens", nargs="+", default=["builtin"], help="builtin, ribosome or a model file"
    )
    parser.add_argument("--methods", nargs="+", default=["beads", "patches", "no_markers"])
    parser.add_argument("--cases", nargs="+", default=["easy", "hard"], choices=list(CASES))
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--beads", type=int, help="beads in the field; 12 for beads and none otherwise")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-alignment")
    parser.add_argument("--only-simulate", action="store_true")
    arguments = parser.parse_args()
    print(
        f"{'specimen':9s} {'method':10s} {'case':5s} {'seed':>4s} {'axis':>8s} {'rms A':>7s} {'median':>7s}"
        f" {'residual':>8s} {'left out':>8s} {'tracks':>6s} {'offset':>7s} {'seconds':>7s}  by"
    )
    for specimen in arguments.specimens:
        for method in arguments.methods:
            for case in arguments.cases:
                for seed in arguments.seeds:
                    changes, axis_error = CASES[case]
                    n_beads = BEADS_IN_FIELD[method] if arguments.beads is None else arguments.beads
                    params = SimulationParams(
                        seed=seed,
                        specimen=str(RIBOSOME) if specimen == "ribosome" else specimen,
                        image_shape_yx=(arguments.side, arguments.side),
                        pixel_size_angstrom=2.7,
                        **({"n_beads": n_beads} | changes),
                    )
                    series, truth = kept_series(params, arguments.cache)
                    if not arguments.only_simulate:
                        print(f"{specimen[-9:]:9s} {method:10s} {case:5s} {seed:4d}", end=" ")
                        _measure(series, truth, axis_error, method)


def _measure(series: TiltSeries, truth: Truth, axis_error: float, method: str) -> None:
    nominal_axis = Sourced.from_told(truth.tilt_axis_deg + axis_error, "mdoc")
    context = QuietContext()
    series = select_tilts(
        replace(series, tilt_axis_deg=nominal_axis), SelectTiltsParams(find_shifted=False), context
    )  # type: ignore[arg-type]
    excluded = {tilt.acquisition_index for tilt in series.tilts if tilt.is_excluded}
    dark = {tilt.acquisition_index for tilt in truth.tilts if tilt.flaw == "dark"}
    begin = time.perf_counter()
    aligned = align_series(series, AlignSeriesParams(method=method), context)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begin
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    error, per_tilt = min(_error(truth, twin, points) for twin in (aligned, _mirrored(aligned)))
    figures = context.figures
    offset = aligned.tilt_offset_deg.measured
    print(
        f"{axis_error_deg(truth, aligned):8.3f} {error:7.2f} {np.median(per_tilt):7.2f}"
        f" {figures['residual_mean_angstrom']:8.2f} {figures.get('left_out_error_angstrom', np.nan):8.2f}"
        f" {figures.get('n_tracks', np.nan):6.0f} {np.nan if offset is None else offset:7.2f} {seconds:7.1f} "
        f" {aligned.tilt_axis_deg.measured_by}",
        flush=True,
    )
    if excluded != dark:
        print(
            f"   dark tilts missed {sorted(dark - excluded)}, good tilts excluded {sorted(excluded - dark)}"
        )
    for warning in context.warnings:
        print("   warning:", warning)


def _error(truth: Truth, series: TiltSeries, points: np.ndarray) -> tuple[float, list[float]]:
    error = alignment_error_angstrom(truth, series, points)
    return error.rms_angstrom, list(error.per_tilt_angstrom.values())


def _mirrored(series: TiltSeries) -> TiltSeries:
    """The same images explained by the axis half a turn away: every point goes to its opposite."""
    return series.with_tilts(
        {
            tilt.acquisition_index: {"pose": replace(tilt.pose, axis_deg=tilt.pose.axis_deg + 180.0)}
            for tilt in series.tilts
            if tilt.pose is not None
        }
    )


if __name__ == "__main__":
    main()
