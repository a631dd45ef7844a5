"""Average particles at their present poses: the map, its halves, and the resolution they support.

Every tilt image of a particle is multiplied by its CTF at the particle's depth and by its dose weight,
weighted by the noise, and inserted into the average's Fourier transform; the sum is divided by the sum of the
weights, and the map is filtered by the correlation of its halves. Poses are not refined.

The resolution is determined as in `refine`, and the correlation without the radial part is given as well.
Whether the particles determine their poses can only be tested while poses are searched. Therefore no
resolution is given if the step that found the poses gives none. Nothing is known of imported poses.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.algorithms.averaging.evaluation import pose_evidence, without_doubt
from cryoloom.algorithms.averaging.halves import assign_halves
from cryoloom.algorithms.averaging.refinement import RefinementSettings, reconstruct_average
from cryoloom.algorithms.averaging.surface_cells import has_directions
from cryoloom.contract import Record
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Average, Particles, doubt_of
from cryoloom.procedures.averaging_params import (
    DIRECTIONS,
    N_PARTICLES,
    POSE_EVIDENCE,
    RESOLUTION,
    SYMMETRY_LIKENESS,
    AveragingParams,
    particle_diameter_angstrom,
    particle_symmetry,
)
from cryoloom.procedures.particle_passes import (
    SeriesWorker,
    direction_record,
    fsc_record,
    joined_particles,
    largest_part_bytes,
    stored_average,
    tell_of_symmetry,
    warn_of_unknown_hands,
)

__all__ = ["ReconstructParticleParams", "reconstruct_particle"]

_TOUCHING_DIAMETERS = 0.7
"""Chosen: particles nearer than this overlap in the mask and belong to one half."""


class ReconstructParticleParams(AveragingParams):
    """Parameters of the average."""


@step(
    "reconstruct_particle",
    version=5,
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
    methods="{n_particles:.0f} particles were averaged[ with symmetry {symmetry}].",
    figures=(RESOLUTION, N_PARTICLES, POSE_EVIDENCE, SYMMETRY_LIKENESS),
    records=(
        DIRECTIONS,
        Record(
            "fsc", "Correlation of the halves by shells: masked, unmasked, non-radial, null.", shows="curves"
        ),
    ),
)
def reconstruct_particle(
    items: tuple[Particles, ...], params: ReconstructParticleParams, context: StepContext
) -> Average:
    """Average the particles of a project at their present poses."""
    group = particle_symmetry(items, params.symmetry, "reconstruct_particle")
    rows, series = joined_particles(items)
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "reconstruct_particle")
    if rows.n < 2:
        raise DataUnfitError(f"{rows.n} particles are too few for two halves; expected at least 2")
    warn_of_unknown_hands(series, context)
    if rows.half is None or not set(rows.half.tolist()) <= {1, 2}:
        rows = replace(rows, half=assign_halves(rows, _TOUCHING_DIAMETERS * diameter, context.rng))
    worker = SeriesWorker.of(context, series, rows, diameter, params)
    settings = RefinementSettings(
        group,
        diameter,
        finest_angstrom=params.finest_resolution_angstrom or 0.0,
        about_axis=has_directions(rows),
    )
    made = reconstruct_average(worker, settings, context.rng)
    doubt = doubt_of(items)
    made = replace(made, verdict=without_doubt(made.verdict, doubt))
    n_used = int((worker.half > 0).sum())
    context.figure("n_particles", n_used)
    found = made.verdict
    context.figure("resolution_angstrom", found.resolution_angstrom, reason=found.note or "no agreement")
    if found.note:
        context.warn(found.note[0].upper() + found.note[1:])
    box = made.map.shape[0] * made.voxel_angstrom
    shell = int(box / found.resolution_angstrom) if found.resolution_angstrom else made.map.shape[0] // 4
    context.figure("pose_evidence", pose_evidence(found.curves["non-radial"], shell))
    context.record("fsc", fsc_record(made))
    context.record("directions", direction_record(worker.rows))
    tell_of_symmetry(made, group, context)
    return stored_average(made, group, diameter, n_used, context, pose_doubt=doubt)
