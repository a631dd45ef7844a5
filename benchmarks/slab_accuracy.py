"""estimate_slab against the truth of simulated series: thickness, height and pretilt of the ice.

Poses are the true ones. Every series has other ice: thickness, height, pretilt, beads or none, another
specimen. Prints truth and error of each, and the worst.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alignment_accuracy import RIBOSOME, QuietContext
from cryoloom.model import TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import Truth
from cryoloom.steps.estimate_slab import EstimateSlabParams, estimate_slab
from kept_series import kept_series

# thickness, height, pretilt about x and y, beads, specimen
CASES: tuple[tuple[float, float, float, float, int, str], ...] = (
    (1200.0, 30.0, 0.8, -2.5, 12, "builtin"),
    (700.0, -150.0, -1.5, 4.0, 10, "builtin"),
    (1600.0, 200.0, 1.0, 9.0, 0, "builtin"),
    (2200.0, -80.0, -0.5, -11.0, 6, "builtin"),
    (1000.0, 100.0, 2.0, 0.0, 0, "builtin"),
    (1500.0, 0.0, 0.0, 12.0, 12, "ribosome"),
    (1900.0, -120.0, -1.0, 10.0, 0, "ribosome"),
    (1000.0, 150.0, 8.0, -2.0, 0, "builtin"),
    (2200.0, -80.0, -0.5, -11.0, 6, "builtin"),
    (1600.0, 200.0, 1.0, 9.0, 0, "builtin"),
    (2400.0, 90.0, -2.0, 8.0, 10, "ribosome"),
    (1750.0, -60.0, -3.0, 6.0, 0, "ribosome"),
    (1100.0, -100.0, 4.0, -7.0, 8, "builtin"),
    (2000.0, 50.0, 2.0, -9.0, 0, "builtin"),
    (2600.0, 120.0, -1.5, 5.0, 12, "builtin"),
    (900.0, -40.0, -6.0, 3.0, 0, "ribosome"),
)
Draw = Callable[[int, Path], tuple[TiltSeries, Truth]]
LARGE = range(6, len(CASES))
"""Cases on fields of 4147 x 5832 A, whatever --side says."""


def simulated(seed: int, number: int, side: int, cache: Path) -> tuple[TiltSeries, Truth]:
    """A series with its true poses, made once and then read from the cache."""
    thickness, height, pretilt_x, pretilt_y, n_beads, specimen = CASES[number]
    field: dict[str, Any] = {"image_shape_yx": (side, side), "pixel_size_angstrom": 4.0, "n_particles": 60}
    if number in LARGE:
        field = {"image_shape_yx": (768, 1080), "pixel_size_angstrom": 5.4, "n_particles": 160}
    params = SimulationParams(
        seed=seed,
        specimen=str(RIBOSOME) if specimen == "ribosome" else specimen,
        n_beads=n_beads,
        thickness_angstrom=thickness,
        z_offset_angstrom=height,
        pretilt_x_deg=pretilt_x,
        pretilt_y_deg=pretilt_y,
        **field,
    )
    series, truth = kept_series(params, cache)
    return truth.with_true_poses(series), truth


def drawn(i: int, cache: Path) -> tuple[TiltSeries, Truth]:
    """Series ``i`` of harder specimens, with true poses: many bodies or few, gold on surfaces."""
    rng = np.random.default_rng([77, i])
    thickness = float(rng.uniform(700, 2000))
    params = SimulationParams(
        seed=1000 + i,
        shift_rms_angstrom=60.0,
        tilt_step_deg=4.0,
        n_beads=int(rng.integers(8, 30)) if i % 7 != 6 else 0,
        beads_lie=("on_both", "on_top", "below", "inside", "on_both", "on_top")[i % 6],
        thickness_angstrom=thickness,
        z_offset_angstrom=float(rng.uniform(-0.5, 0.5)) * thickness,
        pretilt_y_deg=float(rng.choice([0, -2.5, 5, 10])),
        pretilt_x_deg=float(rng.choice([0, 0.8, -2])),
        n_particles=int(rng.choice([20, 60, 140])),
        n_vesicles=int(rng.choice([1, 4, 9])),
        n_membranes=int(rng.choice([0, 2])),
        crowd_phase_rad=float(rng.choice([0.0, 0.0005, 0.001, 0.002])),
        image_shape_yx=(512, 512) if i % 3 else (512, 704),
        pixel_size_angstrom=float(rng.choice([4.0, 5.4])),
        handedness=int(rng.choice([-1, 1])),
    )
    series, truth = kept_series(params, cache)
    return truth.with_true_poses(series), truth


def few(i: int, cache: Path) -> tuple[TiltSeries, Truth]:
    """Series ``i`` of ice that holds little: 8 to 40 particles, hardly any crowd, no gold."""
    rng = np.random.default_rng([78, i])
    thickness = float(rng.uniform(600, 2000))
    params = SimulationParams(
        seed=2000 + i,
        shift_rms_angstrom=40.0,
        tilt_step_deg=4.0,
        n_beads=0,
        thickness_angstrom=thickness,
        z_offset_angstrom=float(rng.uniform(-0.3, 0.3)) * thickness,
        pretilt_y_deg=float(rng.choice([0, -2.5, 5, 10])),
        n_particles=int(rng.choice([8, 14, 20, 30, 40])),
        n_vesicles=int(rng.choice([0, 1, 2])),
        n_membranes=int(rng.choice([0, 1])),
        crowd_phase_rad=float(rng.choice([0.0, 0.0005])),
        image_shape_yx=(384, 384),
        pixel_size_angstrom=5.4,
    )
    series, truth = kept_series(params, cache)
    return truth.with_true_poses(series), truth


def measure_drawn(numbers: list[int], cache: Path, draw: Draw = drawn) -> None:
    """Print a line for each of the harder specimens, and how often the errors are within those reported."""
    of_errors = []
    for i in numbers:
        series, truth = draw(i, cache)
        context = QuietContext()
        estimate_slab(series, EstimateSlabParams(), context)  # type: ignore[arg-type]
        figures = context.figures
        params = truth.parameters
        percent = 100 * (figures["thickness_angstrom"] / truth.thickness_angstrom - 1)
        error = figures["thickness_error_angstrom"]
        off = figures["z_offset_angstrom"] - truth.z_offset_angstrom
        if not context.warnings:
            wrong = figures["thickness_angstrom"] - truth.thickness_angstrom
            of_errors.append((abs(wrong) / error, abs(off) / figures["middle_error_angstrom"]))
        print(
            f"{i:3d} {params['n_beads']:2d} beads {params['beads_lie']:8s} "
            f"{params['n_particles']:3d} particles: "
            f"{truth.thickness_angstrom:5.0f} A {percent:+6.1f} ± "
            f"{100 * error / figures['thickness_angstrom']:4.1f} %"
            f"  middle {off:+5.0f} "
            f"± {figures['middle_error_angstrom']:3.0f} A  contrast {figures['slab_contrast']:5.1f}"
            f"  {'a guess' if context.warnings else ''}",
            flush=True,
        )
    if of_errors:
        within = 100 * (np.array(of_errors) <= 1).mean(axis=0)
        print(
            f"of {len(of_errors)} not said to be guesses: thickness within its error {within[0]:.0f} %, "
            f"middle {within[1]:.0f} %; largest {np.max(of_errors, axis=0).round(1)} errors"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-slab")
    parser.add_argument("--drawn", type=int, nargs="+", help="numbers of harder specimens, instead of cases")
    parser.add_argument("--few", type=int, nargs="+", help="numbers of specimens that hold little")
    arguments = parser.parse_args()
    if arguments.drawn:
        measure_drawn(arguments.drawn, arguments.cache)
        return
    if arguments.few:
        measure_drawn(arguments.few, arguments.cache, few)
        return
    names = ("thickness", "found", "error %", "height", "error A", "tilt y", "error", "tilt x", "error", "s")
    print("".join(f"{name:>10s}" for name in names))
    worst = np.zeros(4)
    for number in arguments.cases:
        for seed in arguments.seeds:
            series, _ = simulated(seed, number, arguments.side, arguments.cache)
            context = QuietContext()
            begin = time.perf_counter()
            slab = estimate_slab(series, EstimateSlabParams(), context).slab
            seconds = time.perf_counter() - begin
            if slab is None:
                raise SystemExit("no slab")
            found = [
                float(value.measured or 0.0)
                for value in (
                    slab.thickness_angstrom,
                    slab.z_offset_angstrom,
                    slab.tilt_y_deg,
                    slab.tilt_x_deg,
                )
            ]
            thickness, height, tilt_x, tilt_y, *_ = CASES[number]
            errors = np.array(
                [
                    100 * (found[0] / thickness - 1),
                    found[1] - height,
                    found[2] - tilt_y,
                    found[3] - tilt_x,
                ]
            )
            worst = np.maximum(worst, np.abs(errors))
            print(
                f"{thickness:10.0f}{found[0]:10.0f}{errors[0]:10.1f}{height:10.0f}{errors[1]:10.0f}"
                f"{tilt_y:10.1f}{errors[2]:10.2f}{tilt_x:10.1f}{errors[3]:10.2f}{seconds:10.1f}"
                f"  error reported {context.figures['pretilt_error_deg']:.1f}",
                flush=True,
            )
    print(
        f"worst: thickness {worst[0]:.1f} %, height {worst[1]:.0f} A, "
        f"tilt y {worst[2]:.2f}, x {worst[3]:.2f} deg"
    )


if __name__ == "__main__":
    main()
