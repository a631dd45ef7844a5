"""Average particles at the poses they have: the map, its halves, and what they support.

Every tilt image of a particle is multiplied by its CTF at the particle's depth and by what radiation damage
has left, weighed by the noise, and added to the average's Fourier transform where it belongs; the sum is
divided by the sum of the weights, and the map is filtered by what its halves agree on. Nothing is refined.

The resolution is judged as in `refine`, with the correlation without the radial part beside it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from pydantic import Field

from cryoloom.algorithms.averaging.evaluation import pose_evidence
from cryoloom.algorithms.averaging.halves import assign_halves
from cryoloom.algorithms.averaging.refinement import RefinementSettings, reconstruct_average
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Average, Particles
from cryoloom.procedures.particle_passes import (
    SeriesWorker,
    fsc_record,
    joined_particles,
    largest_part_bytes,
    stored_average,
    warn_of_unknown_hands,
)

__all__ = ["ReconstructParticleParams", "reconstruct_particle"]

_TOUCHING_DIAMETERS = 0.7


class ReconstructParticleParams(StepParams):
    """What a user may choose."""

    symmetry: str = Field("C1", description="Point group with RELION's axes: C1, C6, D2, T, O, I.")
    diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the particle. Unset: as it was picked."
    )
    finest_resolution_angstrom: float | None = Field(
        None, gt=0, description="Resolution that the voxels hold. Unset: that of the images' pixels."
    )
    max_dose_per_angstrom2: float | None = Field(
        None, gt=0, description="Leave out tilts after this dose. Unset: none; dose weighs them down."
    )
    min_tilts: int = Field(1, ge=1, description="Leave out particles that fewer tilts show.")


FIGURES = (
    Figure(
        "resolution_angstrom",
        "angstrom",
        "Resolution",
        "Where the masked halves' correlation, less what the mask alone makes, falls to 0.143. Not given "
        "where the halves agree only in what does not depend on orientation.",
        column=Column("Resolution"),
    ),
    Figure("n_particles", "particles", "Particles averaged", "Particles in either half."),
    Figure(
        "pose_evidence",
        "",
        "Non-radial correlation",
        "Mean correlation of the halves, without symmetry and without their radial means, to the resolution. "
        "0.0 to 0.2 for random orientations, whatever the usual curve says.",
        good="above 0.3",
    ),
)


@step(
    "reconstruct_particle",
    per="particle_set",
    needs=Particles,
    gives=Average,
    gathers=True,
    bytes_needed=lambda items, params: (
        (1 << 30) + 2 * largest_part_bytes(items, params.diameter_angstrom, params.finest_resolution_angstrom)
    ),
    bytes_per_part=lambda items, params: largest_part_bytes(
        items, params.diameter_angstrom, params.finest_resolution_angstrom
    ),
    methods="{n_particles:.0f} particles were averaged with symmetry {symmetry}.",
    figures=FIGURES,
    records=(
        Record(
            "fsc", "Correlation of the halves by shells: masked, unmasked, non-radial, null.", shows="curves"
        ),
    ),
)
def reconstruct_particle(
    items: tuple[Particles, ...], params: ReconstructParticleParams, context: StepContext
) -> Average:
    """Average the particles of a project at the poses they have."""
    symmetry_matrices(params.symmetry)
    rows, series = joined_particles(items)
    diameter = params.diameter_angstrom or next(
        (item.diameter_angstrom for item in items if item.diameter_angstrom), None
    )
    if diameter is None:
        raise UserInputError(
            "the particles' diameter is not known; set diameter_angstrom of reconstruct_particle"
        )
    if rows.n < 2:
        raise DataUnfitError(f"{rows.n} particles are too few for two halves; expected at least 2")
    warn_of_unknown_hands(series, context)
    if rows.half is None or not set(rows.half.tolist()) <= {1, 2}:
        rows = replace(rows, half=assign_halves(rows, _TOUCHING_DIAMETERS * diameter, context.rng))
    worker = SeriesWorker(
        context,
        series,
        rows,
        diameter,
        max_dose_per_angstrom2=params.max_dose_per_angstrom2 or math.inf,
        min_tilts=params.min_tilts,
    )
    settings = RefinementSettings(
        params.symmetry, diameter, finest_angstrom=params.finest_resolution_angstrom or 0.0
    )
    made = reconstruct_average(worker, settings, context.rng)
    used = np.zeros(rows.n) if worker.rows.half is None else worker.rows.half
    context.figure("n_particles", int((used > 0).sum()))
    found = made.verdict
    context.figure("resolution_angstrom", found.resolution_angstrom, reason=found.note or "no agreement")
    if found.note:
        context.warn(found.note[0].upper() + found.note[1:])
    box = made.map.shape[0] * made.voxel_angstrom
    shell = int(box / found.resolution_angstrom) if found.resolution_angstrom else made.map.shape[0] // 4
    context.figure("pose_evidence", pose_evidence(found.curves["non-radial"], shell))
    context.record("fsc", fsc_record(made))
    return stored_average(made, params.symmetry, diameter, int((used > 0).sum()), context)
