"""Refine the poses of particles and their average, from a low-pass start to the resolution of the data.

The particles' tilt images are compared with projections of the average. The likelihood of a pose uses all
tilts, each with its CTF at the particle's depth, its radiation damage and its noise. While poses are
uncertain, all orientations are searched and the average uses all probable ones. Later, Gauss-Newton steps
refine rotations and shifts to the maximum of their likelihood. Pixels become smaller as the resolution
increases. Beyond 40 A the two halves of the particles never use each other's map.

The resolution is that of the masked halves, corrected for the mask by phase randomisation. It is reported
only as far as the halves also agree in the part that depends on the poses, because shells, membranes and
imposed symmetry agree even if every pose is wrong. It must be finer than the first reference, with which both
halves begin. The correlation without the radial part is also reported, for the found orientations and for
orientations exchanged among the particles.

A template that the particles were picked with is turned to the standard axes of the symmetry, and the poses
turn with it. A map given as reference, and maps of particles on surfaces, must have the symmetry in place.

An imposed symmetry that the particles lack also makes the halves agree: each particle takes any of its
equivalent poses, and the average mixes different views. This is tested at the end. Each particle chooses
among its equivalent poses with a map of the other half without symmetry. No resolution is reported if tilts
that were not used for the choice agree with it.

On surfaces, neighbours in a lattice can determine the rotation of the particles about their normals.
Therefore particles are aligned and evaluated within 1.45 times the distance of their neighbours. If this is
switched off, the azimuths are compared with those found with the first map within this cell; without
agreement no resolution is reported.

Smooth shells and layers fit any reference in any orientation. If this also moves them, the halves agree to
fine detail. Therefore even tilts of some particles search all orientations once more at the end, and odd
tilts are compared with what they find. Without a gain, no resolution is reported.

If no resolution is given, the reason stays with the particles: `reconstruct_particle` and `postprocess` give
none either, until a refinement of these particles passes the tests.

The standard deviations of each pose follow from the curvature of its likelihood.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.averaging.evaluation import finer_than_start, pose_evidence
from cryoloom.algorithms.averaging.halves import assign_halves, duplicates, least_distance_angstrom
from cryoloom.algorithms.averaging.map_symmetry import LEAST_EVENNESS, symmetry_in_place
from cryoloom.algorithms.averaging.particle_images import usable_tilts
from cryoloom.algorithms.averaging.refinement import (
    IterationRecord,
    Refined,
    RefinementSettings,
    refine_average,
)
from cryoloom.algorithms.averaging.surface_cells import (
    azimuth_band_angstrom,
    cell_diameter_angstrom,
    has_directions,
    lie_on_surfaces,
    spacing_angstrom,
)
from cryoloom.algorithms.averaging.tilt_quality import fit_tilt_quality
from cryoloom.contract import Figure, Outputs, Record
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Average, ParticleRows, Particles
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
from cryoloom.procedures.own_azimuths import LEAST_AZIMUTH_AGREEMENT, azimuth_agreement
from cryoloom.procedures.particle_passes import (
    SeriesWorker,
    direction_record,
    fsc_record,
    image_stack,
    joined_particles,
    largest_part_bytes,
    stored_average,
    tell_of_symmetry,
    warn_of_unknown_hands,
)
from cryoloom.procedures.pose_support import LEAST_SUPPORT, pose_support
from cryoloom.procedures.relaxed_symmetry import asymmetry
from cryoloom.procedures.standard_axes import (
    LEAST_LIKENESS,
    coarse_map,
    coarse_radius_px,
    standard_map,
)

__all__ = ["RefineParams", "refine"]

_LEAST_PARTICLES = 4
"""Two in each half."""
_TOUCHING_DIAMETERS = 0.7
"""Chosen: particles nearer than this overlap in the mask and belong to one half."""
#: Of the first reference: what halves share anyway (`refinement`).
_LOWPASS_ANGSTROM = 40.0
#: Of right poses 1 to 4.3 in single simulated sets. A smooth shell had 7 and 20, particles that neighbours
#: turned 15, but a shell refined as O only 1.3 to 2: the warning does not find all.
_MOST_SPLIT, _LEAST_SD_DEG = 5.0, 0.1
_NEIGHBOURS_WITHIN = 1.8
"""Diameter over the distance of the nearest neighbour, from which about half of it lies in the mask."""
_DIVIDE = (
    "If there may be other particles among them, divide them with classify and refine each class by itself"
)
_LEAST_OWN = 0.5
"""Chosen: part of the diameter that is a particle's own however near its neighbours are picked."""


class RefineParams(AveragingParams):
    """Parameters of the refinement."""

    reference: Path | None = Field(
        None,
        description="First map (.mrc), with bright density. Unset: the template the particles were "
        "picked with.",
    )
    initial_lowpass_angstrom: float | None = Field(
        None,
        ge=10,
        description="Resolution of the first reference; finer detail must come from the particles. Unset: "
        "40 A; on surfaces as fine as a particle itself shows how it is turned about its normal.",
    )
    exclude_neighbours: bool = Field(
        True,
        description="On surfaces, align and judge within 1.45 times the distance of neighbours, even if the "
        "diameter is larger, and from a first reference that shows a particle's own rotation. Otherwise "
        "neighbours can decide how particles are turned about their normals.",
    )
    shift_range_angstrom: float = Field(
        12.0, gt=0, description="Largest distance from the picked position that is searched."
    )
    angular_step_deg: float | None = Field(
        None, ge=2, le=30, description="Step of the first searches. Unset: by symmetry and resolution."
    )
    tilt_prior_deg: float | None = Field(
        None,
        gt=0,
        description="Standard deviation of the angle between a particle's axis and the direction it was "
        "picked with. Unset: as stored with the particles.",
    )
    min_tilts: int = Field(5, ge=1, description="Leave out particles that are visible in fewer tilts.")
    max_iterations: int = Field(20, ge=1, le=100, description="Largest number of passes.")
    keep_halves: bool = Field(
        False, description="Keep the half sets stored with the particles. Otherwise new ones are assigned."
    )


FIGURES = (
    RESOLUTION,
    N_PARTICLES,
    POSE_EVIDENCE,
    SYMMETRY_LIKENESS,
    Figure(
        "null_evidence",
        "",
        "Non-radial correlation of exchanged orientations",
        "Non-radial correlation of the halves with the orientations exchanged among the particles: the "
        "part that does not come from the poses.",
        good="near 0",
    ),
    Figure(
        "angle_sd_deg",
        "deg",
        "Precision of orientations, median",
        "Standard deviation of a particle's whole rotation, from the curvature of its likelihood.",
        good="below 3",
    ),
    Figure(
        "shift_sd_angstrom",
        "angstrom",
        "Precision of positions, median",
        "Standard deviation of a particle's position along all three axes together, estimated the same way.",
        good="below 2",
    ),
    Figure(
        "split_angle_deg",
        "deg",
        "Precision of orientations from split tilts",
        "Half the median angle between a particle's orientations from even and from odd tilts, each "
        "refined against the other half's map: a direct measurement of the error of an orientation from "
        "all tilts.",
        good="near the precision from the curvature",
    ),
    Figure(
        "split_shift_angstrom",
        "angstrom",
        "Precision of positions from split tilts",
        "Half the median distance between a particle's positions from even and from odd tilts.",
        good="near the precision from the curvature",
    ),
    Figure(
        "asymmetry",
        "",
        "Choice among equivalent poses",
        "What left-out tilts gain by a particle's choice among the equivalents of its pose, by a map "
        "without symmetry, over what the symmetric map explains of them. Particles with the symmetry have "
        "nothing to choose. Where they do choose, no resolution is given.",
        good="below 0.1",
    ),
    Figure(
        "pose_support",
        "",
        "Support of orientations by separate tilts",
        "What left-out tilts gain at the orientations that the other tilts find among all, over what they "
        "would gain if every particle were like the average. Smooth shells and layers gain nothing; then no "
        "resolution is given.",
        good="near 1",
    ),
    Figure(
        "left_out_percent",
        "percent",
        "Particles left out",
        "Duplicates, particles visible in too few tilts, and those whose density is less than a third of the "
        "average's.",
        good="below 10",
    ),
)
RECORDS = (
    Record(
        "fsc",
        "Correlation of the halves by shells: masked, unmasked, randomised, non-radial, null.",
        shows="curves",
    ),
    Record("iterations", "Band, resolution, certainty and movement of every pass.", shows="table"),
    Record(
        "pass_sections",
        "Correlation of the halves after every pass; the page of the average shows its sections too.",
        shows="pass_sections",
    ),
    DIRECTIONS,
    Record("left_out", "How many particles were left out, and why.", shows="table"),
    Record(
        "tilts",
        "Amplitude of the particles in each tilt over that of the average, and B-factor beyond the dose "
        "weighting.",
        shows="table",
    ),
)


def _bytes_per_part(items: Any, params: RefineParams) -> int:
    """Memory for the largest series."""
    return largest_part_bytes(items, params.diameter_angstrom, params.finest_resolution_angstrom)


@step(
    "refine",
    version=9,
    per="particle_set",
    needs=Particles,
    gives=Average,
    also_gives={"particles": Particles},
    gathers=True,
    bytes_needed=lambda items, params: (1 << 30) + 2 * _bytes_per_part(items, params),
    bytes_per_part=_bytes_per_part,
    outside=lambda name, params: file_digests([params.reference] if params.reference else []),
    citations=(
        "Scheres, S. H. W. (2012) RELION: implementation of a Bayesian approach to cryo-EM structure "
        "determination. J. Struct. Biol. 180, 519-530, doi:10.1016/j.jsb.2012.09.006",
        "Chen, S. et al. (2013) High-resolution noise substitution to measure overfitting and validate "
        "resolution in 3D structure determination by single particle electron cryomicroscopy. "
        "Ultramicroscopy 135, 24-35, doi:10.1016/j.ultramic.2013.06.004",
        "Grant, T. & Grigorieff, N. (2015) Measuring the optimal exposure for single particle cryo-EM using "
        "a 2.6 A reconstruction of rotavirus VP6. eLife 4, e06980, doi:10.7554/eLife.06980",
    ),
    methods=(
        "Poses of {n_particles:.0f} particles were refined against the average of their own half by maximum "
        "likelihood over all tilts[ with symmetry {symmetry}][, to a resolution of "
        "{resolution_angstrom:.1f} A (FSC 0.143 of independent halves)]."
    ),
    figures=FIGURES,
    records=RECORDS,
)
def refine(items: tuple[Particles, ...], params: RefineParams, context: StepContext) -> Outputs:
    """Refine all particles of a project together; gives the average, and the particles of each tomogram."""
    group = particle_symmetry(items, params.symmetry, "refine")
    rows, series = joined_particles(items)
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "refine")
    pixel = image_stack(series[0]).pixel_size_angstrom
    warn_of_unknown_hands(series, context)
    apart = least_distance_angstrom(rows, diameter)
    twice = duplicates(rows, apart)
    rows = _prepared(rows.take(np.flatnonzero(~twice)), params, diameter, context.rng)
    if rows.n < _LEAST_PARTICLES:
        raise DataUnfitError(
            f"{rows.n} particles are too few for two halves; expected at least {_LEAST_PARTICLES}"
        )
    diameter, lowpass = _extent(rows, diameter, pixel, params, context)
    reference, voxel = _first_map(items, params)
    reference, rows = _about_standard_axes(reference, voxel, rows, group, diameter, params, context)
    worker = SeriesWorker.of(
        context, series, rows, diameter, params, prior_sd_angstrom=params.shift_range_angstrom
    )
    settings = RefinementSettings(
        group,
        diameter,
        lowpass,
        params.shift_range_angstrom,
        params.angular_step_deg,
        params.finest_resolution_angstrom or 0.0,
        params.max_iterations,
        apart,
        has_directions(rows),
    )
    refined = refine_average(worker, reference, voxel, settings, context.rng)
    _split_tilts(refined, worker, context)
    refined = replace(refined, verdict=finer_than_start(refined.verdict, lowpass))
    used = worker.half
    reasons = {
        "duplicate": int(twice.sum()),
        "shown by too few tilts": int((worker.n_visible < params.min_tilts).sum()),
        "came to the place of another": int(worker.is_twin.sum()),
        "too weak": int(((used == 0) & ~worker.is_twin & (worker.n_visible >= params.min_tilts)).sum()),
    }
    refined = _without_asymmetry(refined, worker, group, diameter, context)
    refined = _without_neighbours(refined, worker, reference, voxel, diameter, group, context)
    refined = _without_support(refined, worker, group, diameter, context)
    average = stored_average(
        refined, group, diameter, int((used > 0).sum()), context, pose_doubt=_doubt(refined)
    )
    _report(refined, worker, reasons, len(twice), context)
    tell_of_symmetry(refined, group, context)
    return Outputs(average, {"particles": _particles(items, worker, average, context)})


def _extent(
    rows: ParticleRows, diameter: float, pixel: float, params: RefineParams, context: StepContext
) -> tuple[float, float]:
    """Diameter within which particles are aligned, and the first low-pass, in angstrom.

    Picks nearer than twice the range of shifts may show one particle, so their distance is not used.
    """
    lowpass = params.initial_lowpass_angstrom or _LOWPASS_ANGSTROM
    spacing = spacing_angstrom(rows) if lie_on_surfaces(rows) else None
    if not params.exclude_neighbours or spacing is None or spacing <= 2.0 * params.shift_range_angstrom:
        return diameter, lowpass
    cell = cell_diameter_angstrom(diameter, spacing)
    if cell == diameter and params.initial_lowpass_angstrom is not None:
        return diameter, lowpass
    finer = min(lowpass, azimuth_band_angstrom(cell, pixel))
    if cell < diameter:
        context.warn(
            f"Neighbours lie within the diameter of {diameter:.0f} A: particles are {spacing:.0f} A apart, "
            "and neighbours can decide how they are turned about their normals. Particles are aligned and "
            f"judged within {cell:.0f} A, from a reference of {finer:.0f} A (asked for: {lowpass:.0f} A); "
            "set exclude_neighbours to False to align neighbours as well"
        )
    return cell, finer


def _prepared(
    rows: ParticleRows, params: RefineParams, diameter: float, rng: np.random.Generator
) -> ParticleRows:
    """Particles with halves, and the width of the prior as set."""
    if params.tilt_prior_deg is not None and rows.prior_directions is not None:
        rows = replace(rows, prior_width_deg=np.full(rows.n, params.tilt_prior_deg))
    if params.keep_halves and rows.half is not None and set(rows.half.tolist()) <= {1, 2}:
        return rows
    return replace(rows, half=assign_halves(rows, _TOUCHING_DIAMETERS * diameter, rng))


def _first_map(items: Sequence[Particles], params: RefineParams) -> tuple[torch.Tensor, float]:
    """First reference and its voxel size."""
    if params.reference is not None:
        if not params.reference.is_file():
            raise UserInputError(
                f"the reference map {params.reference} does not exist; correct the parameter reference of "
                "refine"
            )
        pixels = MrcPixels(params.reference)
        values, voxel = np.asarray(pixels[...], dtype=np.float32), pixels.pixel_size_angstrom
    else:
        template = next((item.template for item in items if item.template is not None), None)
        if template is None:
            raise UserInputError(
                "there is no first map: the particles were not picked with a template. Set the parameter "
                "reference of refine, or run initial_model before"
            )
        values, voxel = np.asarray(template.map[...], dtype=np.float32), template.voxel_size_angstrom
    if values.ndim != 3 or not np.isfinite(values).all() or not voxel > 0:
        raise UserInputError(
            f"the reference has the shape {values.shape} and voxels of {voxel:g} A; expected a volume of "
            "finite values with a voxel size"
        )
    return torch.tensor(values), float(voxel)


def _about_standard_axes(
    reference: torch.Tensor,
    voxel: float,
    rows: ParticleRows,
    group: str,
    diameter: float,
    params: RefineParams,
    context: StepContext,
) -> tuple[torch.Tensor, ParticleRows]:
    """First map and particles in the standard frame of a symmetry; another frame would make all poses wrong.

    Poses of the template turn with it. A map given besides, and directions of surfaces, say nothing of how
    poses would turn: such a map must have the symmetry in place.
    """
    if params.reference is not None or has_directions(rows):
        _check_symmetry(reference, voxel, group, diameter)
        return reference, rows
    values = reference.numpy().astype(np.float64)
    found = standard_map(values, voxel, group, diameter, "the first map")
    if not found.note:
        return reference, rows
    context.warn(
        f"The template of the particles is changed before the refinement, and their poses with it: "
        f"{found.note}"
    )
    rows = replace(
        rows,
        positions_xyz_angstrom=rows.positions_xyz_angstrom + rows.rotations @ found.centre_xyz_angstrom,
        rotations=rows.rotations @ found.rotation,
    )
    return torch.tensor(found.density, dtype=torch.float32), rows


def _check_symmetry(reference: torch.Tensor, voxel: float, group: str, diameter: float) -> None:
    """Refuse a symmetry that the first map does not have about the standard axes; its centre may be off."""
    found = symmetry_in_place(coarse_map(reference, voxel, diameter), coarse_radius_px(), group)
    if found is not None and (found.likeness < LEAST_LIKENESS or not found.has_all_classes):
        raise UserInputError(
            f"the first map does not have the symmetry {group} about its own axes: its likeness after "
            f"rotation is {found.likeness:.2f}, expected at least {LEAST_LIKENESS}, and the kind of rotation "
            f"that shows least shows {found.evenness:.2f} of the best, expected {LEAST_EVENNESS}. Set the "
            "symmetry of refine to C1, or give a map with RELION's axes of the group"
        )


def _particles(
    items: Sequence[Particles], worker: SeriesWorker, average: Average, context: StepContext
) -> tuple[Particles, ...]:
    """Refined particles of each tomogram that has any, without those left out."""
    half = worker.half
    others: dict[str, NDArray[Any]] = {
        **(worker.rows.others or {}),
        "angle_sd_deg": worker.angle_sd_deg,
        "shift_sd_angstrom": worker.shift_sd_angstrom,
        "scale": worker.scale,
    }
    everyone = replace(
        worker.rows,
        positions_xyz_angstrom=worker.positions_xyz_angstrom,
        score=worker.log_likelihood,
        others=others,
    )
    made = []
    for item in items:
        mine = everyone.take(np.flatnonzero((everyone.tomogram == item.name) & (half > 0)))
        table = context.new_table(f"particles_{item.name}", mine.columns())
        made.append(
            replace(
                item,
                table=table,
                symmetry=average.symmetry,
                diameter_angstrom=average.diameter_angstrom,
                pose_doubt=average.pose_doubt,
                common_reference="",
            )
        )
    return tuple(made)


def _doubt(refined: Refined) -> str:
    """Why no resolution is given, for the steps that use these poses; "" if one is given."""
    found = refined.verdict
    return "" if found.resolution_angstrom is not None else found.note or "the halves do not agree"


def _report(
    refined: Refined, worker: SeriesWorker, reasons: Mapping[str, int], n_given: int, context: StepContext
) -> None:
    found = refined.verdict
    half = worker.half
    used = half > 0
    context.figure(
        "resolution_angstrom", found.resolution_angstrom, reason=found.note or "the halves do not agree"
    )
    if found.note:
        context.warn(found.note[0].upper() + found.note[1:])
    box = refined.map.shape[0] * refined.voxel_angstrom
    shell = (
        int(box / found.resolution_angstrom)
        if found.resolution_angstrom
        else len(found.curves["masked"]) // 2
    )
    context.figure("n_particles", int(used.sum()))
    context.figure("pose_evidence", pose_evidence(found.curves["non-radial"], shell))
    context.figure("null_evidence", pose_evidence(found.curves["null"], shell))
    context.figure("angle_sd_deg", float(np.median(worker.angle_sd_deg[used])))
    context.figure("shift_sd_angstrom", float(np.median(worker.shift_sd_angstrom[used])))
    context.figure("left_out_percent", 100.0 * sum(reasons.values()) / max(n_given, 1))
    context.record("left_out", dict(reasons))
    context.record("directions", direction_record(worker.rows))
    context.record("fsc", fsc_record(refined))
    passes = [record for record in refined.history if math.isfinite(record.resolution_angstrom)]
    context.record(
        "iterations",
        [
            {
                "pass": record.kind,
                "band_angstrom": round(record.band_angstrom, 2),
                "pixel_size_angstrom": round(record.pixel_size_angstrom, 3),
                "resolution_angstrom": round(record.resolution_angstrom, 2),
                "n_effective": round(record.n_effective, 2),
                "log_likelihood": round(record.log_likelihood, 1),
                "angle_change_deg": round(record.angle_change_deg, 3),
                "shift_change_angstrom": round(record.shift_change_angstrom, 3),
                "angle_sd_deg": round(record.angle_sd_deg, 3),
            }
            for record in passes
        ],
    )
    context.record("pass_sections", [_pass_shown(record) for record in passes])
    context.record("tilts", _tilt_rows(worker, box))


def _without_asymmetry(
    refined: Refined, worker: SeriesWorker, group: str, diameter: float, context: StepContext
) -> Refined:
    """No resolution where the particles lack the symmetry that was imposed."""
    if refined.verdict.resolution_angstrom is None or len(symmetry_matrices(group)) == 1:
        context.figure(
            "asymmetry", None, reason="no symmetry was imposed, or there is no resolution to judge"
        )
        return refined
    spacing = _spacing(worker)
    # Gaps in a lattice are no property of the particle: its neighbours have no part in this test.
    own = diameter if spacing is None else np.clip(spacing, _LEAST_OWN * diameter, diameter)
    found = asymmetry(worker, refined, group, float(own), context.rng)
    context.figure("asymmetry", None if found is None else found.share, reason="too few particles")
    if found is None or not found.is_seen:
        return refined
    note = (
        f"the particles do not have the symmetry {group}: they choose among equivalent poses, and tilts that "
        f"had no part in the choice gain {found.share:.2f} of what the symmetric map explains of them "
        f"(expected below 0.1), {found.deviations:.0f} standard errors. The halves agree on a mean of "
        f"different views. {_DIVIDE}; otherwise refine without symmetry"
    )
    return replace(refined, verdict=replace(refined.verdict, resolution_angstrom=None, note=note))


def _spacing(worker: SeriesWorker) -> float | None:
    """Distance of the nearest neighbours of particles with directions, in angstrom; None without these."""
    rows = replace(worker.rows, positions_xyz_angstrom=worker.positions_xyz_angstrom)
    used = rows.take(np.flatnonzero(worker.half > 0))
    return spacing_angstrom(used) if has_directions(used) else None


def _without_neighbours(
    refined: Refined,
    worker: SeriesWorker,
    reference: torch.Tensor,
    voxel: float,
    diameter: float,
    group: str,
    context: StepContext,
) -> Refined:
    """No resolution where neighbours within the mask of particles on surfaces decided their azimuths.

    Simulated hexamers 80 A apart, refined with a diameter of 200 A, had azimuths that their neighbours
    decided: 36 % within 10 degrees of the truth, and 13.5 A stated. With 120 A they were 96 %, and 6.9 A.
    """
    rows = replace(worker.rows, positions_xyz_angstrom=worker.positions_xyz_angstrom)
    spacing = _spacing(worker)
    if spacing is None or diameter <= _NEIGHBOURS_WITHIN * spacing:
        return refined
    doubt = (
        f"neighbours lie within the mask: particles are {spacing:.0f} A apart, and the diameter is "
        f"{diameter:.0f} A"
    )
    if not lie_on_surfaces(rows):
        context.warn(
            f"{doubt[0].upper()}{doubt[1:]}. They can decide the rotation about the normal and make the "
            f"halves agree; refine again with diameter_angstrom={1.5 * spacing:.0f}, and trust only what "
            "both show"
        )
        return refined
    cell = cell_diameter_angstrom(diameter, spacing)
    agreement = azimuth_agreement(worker, rows, reference, voxel, cell, group, context)
    if agreement >= LEAST_AZIMUTH_AGREEMENT:
        return refined
    note = (
        f"{doubt}. Azimuths agree to {agreement:.2f} with those that the first map shows within "
        f"{cell:.0f} A, expected at least {LEAST_AZIMUTH_AGREEMENT}: neighbours decided them, and halves "
        "agree on the neighbours. Refine again with exclude_neighbours=True, or from a map with more detail"
    )
    return replace(refined, verdict=replace(refined.verdict, resolution_angstrom=None, note=note))


def _without_support(
    refined: Refined, worker: SeriesWorker, group: str, diameter: float, context: StepContext
) -> Refined:
    """No resolution if left-out tilts do not confirm the orientations found with the others."""
    if refined.verdict.resolution_angstrom is None:
        context.figure("pose_support", None, reason="there is no resolution to judge")
        return refined
    about_axis = has_directions(worker.rows)
    found = pose_support(worker, refined, group, diameter, context.rng, about_axis=about_axis)
    context.figure("pose_support", None if found is None else found.share, reason="too few particles")
    if found is not None and found.is_seen:
        return refined
    stated = f"the halves agree to {refined.verdict.resolution_angstrom:.1f} A, but "
    if found is None:
        note = f"{stated}there are too few particles to test whether they determine their poses"
    else:
        note = (
            f"{stated}the particles do not determine their {'azimuths' if about_axis else 'orientations'}: "
            "where one half of the tilts finds them, the other half gains "
            f"{found.share:.2f} of what particles like the average would gain (expected at least "
            f"{LEAST_SUPPORT}), {found.deviations:.1f} standard errors. Both halves agree with the first map "
            f"that they began with, as smooth shells and layers do. {_DIVIDE}; otherwise begin with another "
            "first map"
        )
    return replace(refined, verdict=replace(refined.verdict, resolution_angstrom=None, note=note))


def _pass_shown(record: IterationRecord) -> dict[str, Any]:
    """Curve and central sections of a pass as plain data: bytes of (3, side, side) in base64."""
    sections = record.sections
    return {
        "box_angstrom": round(record.box_angstrom, 2),
        "correlation": [round(value, 3) for value in record.correlation],
        "side_px": 0 if sections is None else sections.shape[-1],
        "sections": "" if sections is None else base64.b64encode(sections.tobytes()).decode(),
    }


def _split_tilts(refined: Refined, worker: SeriesWorker, context: StepContext) -> None:
    """Figures of the difference between poses from even and from odd tilts."""
    turn = moved = np.zeros(0)
    if refined.references is not None:
        first, second = refined.references
        turn, moved = worker.split_tilts((second, first), refined.band_angstrom)
        turn, moved = (values[np.isfinite(values)] for values in (turn, moved))
    reason = "no particle was refined"
    context.figure("split_angle_deg", _half_median(turn), reason=reason)
    context.figure("split_shift_angstrom", _half_median(moved), reason=reason)
    _warn_of_split(_half_median(turn), float(np.median(worker.angle_sd_deg[worker.half > 0])), context)


def _warn_of_split(split_deg: float | None, computed_deg: float, context: StepContext) -> None:
    """Warn where orientations from halves of the tilts differ by far more than the likelihood says."""
    if split_deg is None or split_deg <= _MOST_SPLIT * max(computed_deg, _LEAST_SD_DEG):
        return
    context.warn(
        f"Orientations from even and from odd tilts are known to {split_deg:.1f} deg, those of all tilts to "
        f"{computed_deg:.1f} deg by their likelihood: expected at most {_MOST_SPLIT:g} times as much. The "
        "particles may not determine their orientations (shells, another protein, a wrong symmetry, "
        "neighbours), whatever the resolution; refine again from another first map, and compare"
    )


def _half_median(values: NDArray[np.float64]) -> float | None:
    return 0.5 * float(np.median(values)) if len(values) else None


def _tilt_rows(worker: SeriesWorker, box_angstrom: float) -> list[dict[str, Any]]:
    """Scale and B-factor of every tilt, as rows of a table."""
    rows: list[dict[str, Any]] = []
    for series in worker.series:
        terms = worker.tilt_terms.get(series.name)
        if terms is None:
            continue
        found = fit_tilt_quality(terms[..., 0], terms[..., 1], box_angstrom)
        tilts = usable_tilts(series, worker.max_dose_per_angstrom2)
        for tilt, scale, b, spread in zip(
            tilts, found.scale, found.b_factor_angstrom2, found.b_factor_sd_angstrom2, strict=True
        ):
            rows.append(
                {
                    "series": series.name,
                    "acquisition_index": tilt.acquisition_index,
                    "tilt_deg": round(tilt.pose.tilt_deg if tilt.pose else tilt.nominal_tilt_deg, 2),
                    "scale": _rounded(scale, 3),
                    "b_factor_angstrom2": _rounded(b, 0),
                    "b_factor_sd_angstrom2": _rounded(spread, 0),
                }
            )
    return rows


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
