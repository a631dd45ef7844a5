"""Defocus of simulated tilt series against the truth.

41 tilts to 60 degrees, 1024 x 1024, 2.7 A/px, 3 e/A^2 a tilt.

    python benchmarks/ctf_accuracy.py [--seeds 1 2 3] [--size 1024] [--threads 2]

Two specimens (particles with gold beads, and without). "origin" is the defocus the step tells, against
the truth at the specimen's origin; before alignment the step does not know where in the image that is.
"with poses" is the same when the true poses are given. "expected" is the median standard deviation by
the Fisher information: what the rings hold, and no method can beat without knowing more.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.model import TiltSeries
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.simulate.truth import Truth
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from context import MemoryContext

LOST_ANGSTROM = 3000.0
DEFOCUS_ANGSTROM = (35000.0, 28000.0, 42000.0)
HEADER = (
    f"{'series':<22}{'tilts':>8}{'median':>8}{'90 %':>7}{'max':>7}{'lost':>6}"
    f"{'expected':>10}{'fit res':>9}{'hand':>6}{'cpu s':>7}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(HEADER)
    together: dict[str, list[NDArray[np.float64]]] = {}
    for seed in arguments.seeds:
        for n_beads in (12, 0):
            params = SimulationParams(
                seed=seed,
                image_shape_yx=(arguments.size, arguments.size),
                pixel_size_angstrom=2.7,
                n_beads=n_beads,
                handedness=1 if seed % 2 else -1,
                defocus_angstrom=DEFOCUS_ANGSTROM[seed % 3],
            )
            series, truth = simulate_tilt_series(params)
            posed = series.with_tilts({t.acquisition_index: {"pose": t.pose} for t in truth.tilts})
            for case, given in (("origin", series), ("with poses", posed)):
                errors = report(f"{seed}, {n_beads:2d} beads, {case}", given, truth)
                together.setdefault(case, []).append(errors)
    for case, errors in together.items():
        print(row(f"all, {case}", "all", np.concatenate(errors)))


def report(name: str, series: TiltSeries, truth: Truth) -> NDArray[np.float64]:
    """Run the step, print a line for each range of tilts, and give the errors of all tilts."""
    context = MemoryContext(n_threads=torch.get_num_threads())
    start = time.process_time()
    found = estimate_ctf(series, EstimateCtfParams(), context)
    seconds = time.process_time() - start
    tilts = [t for t in found.tilts if t.ctf is not None]
    errors = np.array(
        [t.ctf.defocus_angstrom - truth.tilt(t.acquisition_index).defocus_angstrom for t in tilts if t.ctf]
    )
    if len(tilts) < len(found.tilts):
        print(f"{name}: {len(found.tilts) - len(tilts)} tilts without a CTF: {context.warnings}")
    resolution = np.array([t.ctf.fit_resolution_angstrom or np.nan for t in tilts if t.ctf])
    sd = np.array([curve["defocus_sd_angstrom"] for curve in context.records["ctf_curves"]])
    steepness = np.abs([t.nominal_tilt_deg for t in tilts])
    hand = "right" if found.handedness.applied == truth.handedness else "WRONG"
    for label, kept in (
        ("all", steepness >= 0),
        ("0-30", steepness <= 30),
        ("30-48", (steepness > 30) & (steepness <= 48)),
        ("48-60", steepness > 48),
    ):
        line = row(name if label == "all" else "", label, errors[kept])
        line += f"{np.median(sd[kept]):10.0f}{np.nanmedian(resolution[kept]):9.1f}"
        print(line + (f"{hand:>6}{seconds:7.1f}" if label == "all" else ""), flush=True)
    return errors


def row(name: str, label: str, errors: NDArray[np.float64]) -> str:
    size = np.abs(errors)
    return (
        f"{name:<22}{label:>8}{np.median(size):8.0f}{np.percentile(size, 90):7.0f}{size.max():7.0f}"
        f"{int((size > LOST_ANGSTROM).sum()):6d}"
    )


if __name__ == "__main__":
    main()
