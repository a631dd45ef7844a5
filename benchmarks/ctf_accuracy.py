"""Defocus, astigmatism, handedness and thickness of simulated tilt series against the truth.

41 tilts to 60 degrees, 3 e/A^2 a tilt, 2.7 A/px. They differ in what makes a CTF hard: ice of
1000 to 3000 A, pretilt of -8 to 10 degrees, defocus of 1.8 to 6 um, astigmatism of 50 to 1500 A, either
handedness, with and without gold beads.

    python benchmarks/ctf_accuracy.py [--series 0 1 2 ...] [--specimen MODEL.cif.gz] [--size 1024]
        [--phase 60 --drift 20] [--threads 2] [--keep DIR]

"origin" is the defocus the step tells, against the truth at the specimen's origin; before alignment the step
does not know where in the image that is. "with poses" is the same with the true poses. "expected" is
the median standard deviation by the Fisher information: what the rings hold. --keep DIR keeps the simulated
stacks, so that a second run takes a tenth of the time.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.phase import astigmatism_components
from cryoloom.model import Ctf, Sourced, Tilt, TiltSeries
from cryoloom.simulate.session import SimulationParams
from cryoloom.simulate.truth import Truth
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf
from kept_series import kept_series

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

N_SERIES = 20
LOST_ANGSTROM = 3000.0
HEADER = (
    f"{'series':<44}{'tilts':>6}{'median':>8}{'90 %':>7}{'max':>7}{'lost':>6}{'expected':>10}{'fit res':>9}"
    f"{'astig':>7}{'hand':>14}{'thick':>12}{'pretilt':>9}{'cpu s':>7}"
)


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one series, ``(tilt,)``, in order of tilt."""

    steepness_deg: NDArray[np.float64]
    defocus_angstrom: NDArray[np.float64]
    astigmatism_angstrom: NDArray[np.float64]
    """Length of the difference of (u - v) (cos 2 angle, sin 2 angle)."""
    hand: str


def scenario(
    i: int, size: int, specimen: str = "builtin", phase_deg: float = 0.0, drift_deg: float = 0.0
) -> SimulationParams:
    """Series ``i``: every property runs through its values at its own pace."""
    return SimulationParams(
        seed=100 + i,
        specimen=specimen,
        image_shape_yx=(size, size),
        pixel_size_angstrom=2.7,
        n_beads=(12, 0)[i % 2],
        handedness=(1, -1)[(i // 2) % 2],
        thickness_angstrom=(1000.0, 2000.0, 3000.0)[i % 3],
        pretilt_y_deg=(-2.5, 10.0, 0.0, -8.0)[(i // 3) % 4],
        defocus_angstrom=(35000.0, 25000.0, 45000.0, 18000.0, 60000.0)[i % 5],
        astigmatism_angstrom=(300.0, 50.0, 900.0, 1500.0)[i % 4],
        astigmatism_angle_deg=(37.0 * i) % 180 - 90,
        phase_shift_deg=phase_deg,
        phase_shift_drift_deg=drift_deg,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=list(range(N_SERIES)))
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--specimen", default="builtin", help="'builtin', or an atomic model")
    parser.add_argument("--phase", type=float, default=0.0, help="phase plate: its shift in degrees")
    parser.add_argument("--drift", type=float, default=0.0, help="what it gains over the series")
    parser.add_argument("--no-poses", action="store_true", help="leave out the runs with poses")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(HEADER)
    together: dict[str, list[Errors]] = {}
    for i in arguments.series:
        params = scenario(i, arguments.size, arguments.specimen, arguments.phase, arguments.drift)
        series, truth = simulated(params, arguments.keep)
        posed = series.with_tilts({t.acquisition_index: {"pose": t.pose} for t in truth.tilts})
        cases = {"origin": series} if arguments.no_poses else {"origin": series, "with poses": posed}
        for case, given in cases.items():
            name = f"{i:2d} {described(params)} {case}"
            together.setdefault(case, []).append(report(name, given, truth, arguments.phase > 0))
    for case, found in together.items():
        summarise(case, found)


def described(params: SimulationParams) -> str:
    return (
        f"{params.n_beads:2d} beads {params.thickness_angstrom:.0f} A {params.defocus_angstrom / 1e4:.1f} um "
        f"{params.astigmatism_angstrom:.0f} A"
    )


def simulated(params: SimulationParams, keep: Path | None) -> tuple[TiltSeries, Truth]:
    """The series with the axis its mdoc tells, from ``keep`` where it is there."""
    series, truth = kept_series(params, keep or Path(tempfile.mkdtemp()))
    return replace(series, tilt_axis_deg=Sourced.from_told(truth.told_axis_deg, "mdoc")), truth


def report(name: str, series: TiltSeries, truth: Truth, phase_plate: bool = False) -> Errors:
    """Run the step and print a line for the series and for each range of tilts."""
    context = MemoryContext(n_threads=torch.get_num_threads())
    start = time.process_time()
    found = estimate_ctf(series, EstimateCtfParams(phase_plate=phase_plate), context)
    seconds = time.process_time() - start
    tilts = [t for t in found.tilts if t.ctf is not None]
    if len(tilts) < len(found.tilts):
        print(f"{name}: {len(found.tilts) - len(tilts)} tilts without a CTF: {context.warnings}")
    errors = errors_of(tilts, truth, found)
    resolution = np.array([t.ctf.fit_resolution_angstrom or np.nan for t in tilts if t.ctf])
    sd = np.array([curve["defocus_sd_angstrom"] for curve in context.records["ctf_curves"]])
    figures = context.figures
    steep = errors.steepness_deg
    for label, kept in (("all", steep >= 0), ("0-30", steep <= 30), ("30-60", steep > 30)):
        line = row(name if label == "all" else "", label, errors.defocus_angstrom[kept])
        line += f"{np.median(sd[kept]):10.0f}{np.nanmedian(resolution[kept]):9.1f}"
        line += f"{np.median(errors.astigmatism_angstrom[kept]):7.0f}"
        if label == "all":
            line += f"{errors.hand:>14}"
            line += f"{figures.get('thickness_angstrom', math.nan):7.0f}"
            line += f" ±{figures.get('thickness_sd_angstrom', math.nan):4.0f}"
            line += f"{figures.get('specimen_inclination_deg', math.nan):9.1f}{seconds:7.1f}"
        print(line, flush=True)
    if phase_plate:
        true = np.array([truth.tilt(t.acquisition_index).phase_shift_deg for t in tilts])
        off = np.array([t.ctf.phase_shift_deg for t in tilts if t.ctf]) - true
        size = np.abs((off + 90) % 180 - 90)
        print(
            f"    phase shift, true {true.min():.0f} to {true.max():.0f} deg: "
            f"median error {np.median(size):.1f}, 90 % {np.percentile(size, 90):.1f}, "
            f"largest {size.max():.1f} deg"
        )
    for warning in context.warnings:
        print(f"    {warning}")
    return errors


def errors_of(tilts: Sequence[Tilt], truth: Truth, found: TiltSeries) -> Errors:
    """Found minus true."""

    def astigmatism(ctf: Ctf) -> NDArray[np.float64]:
        return 2 * np.array(
            astigmatism_components(ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.astigmatism_angle_deg)
        )

    pairs = [(t.ctf, truth.tilt(t.acquisition_index).ctf) for t in tilts if t.ctf is not None]
    applied = found.handedness.applied
    hand = "inconclusive" if applied is None else "right" if applied == truth.handedness else "WRONG"
    return Errors(
        np.abs([t.nominal_tilt_deg for t in tilts]),
        np.array([ours.defocus_angstrom - true.defocus_angstrom for ours, true in pairs]),
        np.array([np.linalg.norm(astigmatism(ours) - astigmatism(true)) for ours, true in pairs]),
        hand,
    )


def summarise(case: str, found: Sequence[Errors]) -> None:
    steep = np.concatenate([e.steepness_deg for e in found])
    defocus = np.concatenate([e.defocus_angstrom for e in found])
    astigmatism = np.concatenate([e.astigmatism_angstrom for e in found])
    for label, kept in (("all", steep >= 0), ("0-30", steep <= 30), ("30-60", steep > 30)):
        line = row(f"{len(found)} series, {case}" if label == "all" else "", label, defocus[kept])
        print(line + f"{'':19}{np.median(astigmatism[kept]):7.0f}")
    hands = [e.hand for e in found]
    print(f"hand: {', '.join(f'{hands.count(word)} {word}' for word in sorted(set(hands)))}")


def row(name: str, label: str, errors: NDArray[np.float64]) -> str:
    size = np.abs(errors)
    return (
        f"{name:<44}{label:>6}{np.median(size):8.0f}{np.percentile(size, 90):7.0f}{size.max():7.0f}"
        f"{int((size > LOST_ANGSTROM).sum()):6d}"
    )


if __name__ == "__main__":
    main()
