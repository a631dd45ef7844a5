"""Alignment against the truth: three seeds of two specimens, with gold beads and without.

Axis told 5 degrees wrong, 1024 x 1024 pixels of 2.7 A, 41 tilts of 3 e/A^2. Prints axis error, rms error of
200 projected specimen points (one rigid motion removed) overall and as median over tilts, and seconds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cryoloom.simulate.assess import alignment_error_angstrom, axis_error_deg
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series
from cryoloom.steps.align_series import AlignSeriesParams, align_series


@dataclass
class QuietContext:
    """What the step says is kept for the table."""

    device: str = "cpu"
    figures: dict[str, float] = field(default_factory=dict)

    def figure(self, name: str, value: float) -> None:
        """Keep a figure for the table."""
        self.figures[name] = value

    def record(self, name: str, data: Any) -> None:
        """Tables are not printed."""
        del name, data

    def warn(self, message: str) -> None:
        """Warnings are printed."""
        print("   warning:", message)

    def progress(self, done: int, total: int) -> None:
        """Progress is not shown."""
        del done, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--specimens", nargs="+", default=["builtin"], help="builtin or atomic model files")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--beads", type=int, nargs="+", default=[12, 0])
    arguments = parser.parse_args()
    print(
        f"{'specimen':24s} {'seed':>4s} {'beads':>5s} {'axis deg':>9s} {'rms A':>7s} {'median A':>9s}",
        end=" ",
    )
    print(f"{'residual A':>10s} {'tracks':>6s} {'seconds':>8s}")
    for specimen in arguments.specimens:
        for n_beads in arguments.beads:
            for seed in arguments.seeds:
                params = SimulationParams(
                    seed=seed,
                    specimen=specimen,
                    n_beads=n_beads,
                    image_shape_yx=(arguments.side, arguments.side),
                    pixel_size_angstrom=2.7,
                    axis_error_deg=5.0,
                )
                _measure(params)


def _measure(params: SimulationParams) -> None:
    series, truth = simulate_tilt_series(params)
    context = QuietContext()
    begin = time.perf_counter()
    aligned = align_series(series, AlignSeriesParams(), context)  # type: ignore[arg-type]
    seconds = time.perf_counter() - begin
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    error = alignment_error_angstrom(truth, aligned, points)
    median = np.median(list(error.per_tilt_angstrom.values()))
    print(
        f"{params.specimen[-24:]:24s} {params.seed:4d} {params.n_beads:5d}"
        f" {axis_error_deg(truth, aligned):9.3f}"
        f" {error.rms_angstrom:7.2f} {median:9.2f} {context.figures['residual_mean_angstrom']:10.2f}"
        f" {context.figures['n_tracks']:6.0f} {seconds:8.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
