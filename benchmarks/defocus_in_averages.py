"""Averages of simulated particles with the defocus as found, and with the true one at the same origin.

Apoferritin in ice 1500 A thick with gold on one surface, so that the alignment's own origin lies 750 A from
the middle of the ice. estimate_ctf, then align_series; the particles are the true ones, brought into the
frame of the poses by one rigid motion, and `reconstruct_particle` averages them three times: with the defocus
as found; with the true defocus at the origin of the same poses; and, for comparison, with the defocus of the
rings as if it were that of the tracks' mean height. Prints the resolution of each, the correlation of its map
with that of the true defocus at 12 and at 8 A, and the median error of the defocus at the origin.

    PYTHONPATH=tests python benchmarks/defocus_in_averages.py [--seeds 1 2] [--hand -1]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from alignment_accuracy import QuietContext
from cryoloom.algorithms.averaging.shell_correlation import shell_correlation
from cryoloom.algorithms.series.specimen_frame import series_from_frame
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles, Sourced, TiltSeries
from cryoloom.simulate.assess import alignment_error_angstrom, defocus_errors_at_origin_angstrom
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import Truth
from cryoloom.steps.align_series import AlignSeriesParams, align_series
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle
from kept_series import kept_series
from makers.context import MemoryContext

APOFERRITIN = Path(__file__).resolve().parents[2] / "shared/data/models/4v1w.cif.gz"
DIAMETER_ANGSTROM = 125.0
SHELLS_ANGSTROM = (12.0, 8.0)


def session_params(seed: int, hand: int) -> SimulationParams:
    """A field of 1.7 kA with 100 particles and 14 beads on the upper surface."""
    return SimulationParams(
        seed=seed,
        specimen=str(APOFERRITIN),
        image_shape_yx=(640, 640),
        pixel_size_angstrom=2.7,
        tilt_step_deg=4.0,
        n_particles=100,
        n_vesicles=0,
        n_membranes=0,
        n_beads=14,
        beads_lie="on_top",
        thickness_angstrom=1500.0,
        z_offset_angstrom=-750.0,
        handedness=hand,
    )


def particles_in(series: TiltSeries, truth: Truth) -> Particles:
    """The true particles in the frame of the poses; of a mirrored frame their positions are mirrored too."""
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    frame = alignment_error_angstrom(truth, series, points)
    true = truth.particles[0]
    rows = ParticleRows.of(
        series.name,
        true.positions_xyz_angstrom @ frame.rotation.T + frame.translation_xyz_angstrom,
        rotations=frame.rotation @ np.array(true.rotations),
    )
    return Particles(series.name, ArrayTable(rows.columns()), (series,), diameter_angstrom=DIAMETER_ANGSTROM)


def average(series: TiltSeries, truth: Truth) -> tuple[Average, MemoryContext]:
    """Average of the true particles with the poses and CTFs of a series."""
    context = MemoryContext()
    return reconstruct_particle(
        (particles_in(series, truth),), ReconstructParticleParams(symmetry="O"), context
    ), context


def with_defocus_changed(series: TiltSeries, change: dict[int, float]) -> TiltSeries:
    """The series with defoci that are larger by so many angstrom, by acquisition index."""
    return series.with_tilts(
        {
            t.acquisition_index: {
                "ctf": replace(
                    t.ctf,
                    defocus_u_angstrom=t.ctf.defocus_u_angstrom + change[t.acquisition_index],
                    defocus_v_angstrom=t.ctf.defocus_v_angstrom + change[t.acquisition_index],
                )
            }
            for t in series.tilts
            if t.ctf is not None and t.acquisition_index in change
        }
    )


def without_reference(aligned: TiltSeries) -> TiltSeries:
    """The series with its origin at the tracks' mean height, and there the defocus of the ice's middle."""
    moved = 0.0 if aligned.slab is None else aligned.slab.z_offset_angstrom.applied or 0.0
    back = series_from_frame(aligned, (0.0, 0.0, -moved))
    return back.with_tilts({t.acquisition_index: {"ctf": t.ctf} for t in aligned.tilts})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--hand", type=int, choices=(-1, 1), default=1)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-defocus")
    asked = parser.parse_args()
    for seed in asked.seeds:
        series, truth = kept_series(session_params(seed, asked.hand), asked.cache)
        series = replace(series, tilt_axis_deg=Sourced.from_told(truth.told_axis_deg, "mdoc"))
        seen = estimate_ctf(series, EstimateCtfParams(), QuietContext())  # type: ignore[arg-type]
        aligned = align_series(seen, AlignSeriesParams(), QuietContext())  # type: ignore[arg-type]
        errors = defocus_errors_at_origin_angstrom(truth, aligned)
        versions = {
            "true": with_defocus_changed(aligned, {index: -error for index, error in errors.items()}),
            "found": aligned,
            "without reference": without_reference(aligned),
        }
        made = {name: average(version, truth) for name, version in versions.items()}
        best = np.asarray(made["true"][0].map)
        print(
            f"seed {seed}, hand {truth.handedness:+d}: defocus at the origin wrong by "
            f"{np.median(np.abs(list(errors.values()))):.0f} A (median)"
        )
        for name, (value, context) in made.items():
            fsc = shell_correlation(torch.tensor(np.asarray(value.map)), torch.tensor(best))
            box = best.shape[0] * value.voxel_size_angstrom
            with_true = ", ".join(
                f"{fsc[round(box / shell)]:.3f} at {shell:g} A"
                for shell in SHELLS_ANGSTROM
                if round(box / shell) < len(fsc)
            )
            resolution = context.figures.get("resolution_angstrom", float("nan"))
            print(
                f"  defocus {name:18s} resolution {resolution:5.2f} A, with the true one {with_true}",
                flush=True,
            )


if __name__ == "__main__":
    main()
