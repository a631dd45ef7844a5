"""Make a first map from the particles alone, or check a given one; find the axes of a symmetry.

If O or I is requested, each particle is first placed by its own axes: the placing under which it is most
like itself when it is rotated by the group's elements. The average of all particles with the symmetry
imposed is the reference of further passes. A test on the particles decides whether the map is given: half
of the tilts of each particle is placed, and the other half must be like itself under every class of
rotations of the group. If the test fails, and for other groups and for picks with directions, the map is
annealed.

Annealing starts with random orientations, about the direction of the pick for particles on surfaces and
along filaments. The average of these is the first reference. All orientations are then searched in repeated
passes while the exponent of the likelihood rises from 0.05 to 1. Several starts are compared by how well
the map of either half explains the particles of the other half. No symmetry is imposed during these passes,
because a symmetry imposed at a random start holds the poses in a wrong frame.

The requested symmetry is then searched in the map: the axes are placed where the map, without its radial
mean, is most like itself. Coarse maps of nearly spherical particles are shells. If the axes are not seen,
the map is taken to finer detail in up to three steps. If they are seen, the map is rotated to the frame of
the group and symmetrised, and the particles are searched once more. The average of these poses without
imposed symmetry must show the axes again. Otherwise the map is given without symmetry, with a warning. If
no symmetry is requested, the map is taken to finer detail as long as three or more orientations share a
particle, and the best axis of each order is listed.

A pick in a lattice is up to half the spacing of the lattice from a particle. Therefore particles picked on
surfaces are first moved along the surface to fit the average about the normals, and of several picks at one
place one is kept. Then azimuths are searched, in a cone about the normals. A cyclic symmetry is imposed
about the normal, on each half separately. It is accepted if the halves agree in what depends on the
azimuth, and if the average without imposed symmetry has it.

The hand of the map is that of the tilt geometry. No resolution is given: both halves are aligned to one map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.halves import assign_halves, duplicates, least_distance_angstrom
from cryoloom.algorithms.averaging.map_symmetry import (
    LEAST_EVENNESS,
    SymmetryFit,
    best_axes,
    centre_of_density,
    centred,
    fit_symmetry,
    turned_map,
)
from cryoloom.algorithms.averaging.reconstruction import symmetrised
from cryoloom.algorithms.averaging.surface_cells import lie_on_surfaces, spacing_angstrom
from cryoloom.algorithms.initial_model.annealing import (
    Annealed,
    AnnealingRecord,
    AnnealingSettings,
    anneal,
    go_on,
    search_once,
)
from cryoloom.algorithms.initial_model.own_axes import own_band_angstrom
from cryoloom.algorithms.initial_model.surface_annealing import (
    SurfaceMap,
    SurfaceSettings,
    map_on_surfaces,
)
from cryoloom.algorithms.initial_model.symmetric_start import SymmetricStart, symmetric_start
from cryoloom.contract import Figure, Outputs, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.symmetry import axes_leave_no_choice, symmetry_matrices
from cryoloom.model import Average, ParticleRows, Particles
from cryoloom.procedures.averaging_params import particle_diameter_angstrom
from cryoloom.procedures.particle_passes import (
    SeriesWorker,
    joined_particles,
    largest_part_bytes,
    warn_of_unknown_hands,
)

__all__ = ["InitialModelParams", "initial_model"]

Array = NDArray[np.float64]

#: Chosen: between starts that found one map (most particles) and poses at random (none).
_LEAST_AGREEING = 0.3
_LEAST_PARTICLES = 8
"""Chosen: fewer give no two halves that mean anything."""
_TOUCHING_DIAMETERS = 0.7
"""Chosen: particles nearer than this overlap in the mask and belong to one half."""
#: Chosen: likeness, after another pass without symmetry, of particles aligned by a map with imposed symmetry.
_LEAST_LIKENESS_AGAIN = 0.3
#: Chosen: orientations that share a particle, up to which a map distinguishes orientations.
_ONE_ORIENTATION = 3.0
_FIRST_DIAMETERS = 0.2
"""Chosen: detail that distinguishes orientations, in parts of the diameter."""
# A fifth of the diameter, at which a symmetry is not visible; limited by pixels of the images and in
# angstrom.
_FINER_PARTS, _FINEST_PX, _FINEST_ANGSTROM = (1.0, 0.7, 0.55), 2.5, 15.0
_LEAST_STEP = 0.92
_LISTED_ORDERS = (2, 3, 4, 5, 6, 7, 8)
"""Chosen: a band counts as finer below 0.92 of the one before; orders of axes that are listed for the
user."""
_SAME_LIKELIHOOD = 0.05
"""Chosen: starts within 5 % of the best likelihood agree."""


class InitialModelParams(StepParams):
    """Parameters of the initial model."""

    symmetry: str = Field(
        "C1",
        description="Point group to look for: C1 (none), C6, D2, T, O, I. Used only if the map shows it.",
    )
    diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the particle. Unset: as it was picked."
    )
    starts: int = Field(4, ge=1, le=32, description="Random starts that compete.")
    resolution_angstrom: float | None = Field(
        None,
        ge=15,
        description="Finest detail of the first map. Unset: a fifth of the diameter, 25 to 60 A, and finer, "
        "to 15 A, where a symmetry does not show or particles have no single orientation yet.",
    )
    shift_range_angstrom: float = Field(
        12.0, gt=0, description="Largest distance from the picked position that is searched in one pass."
    )
    along_surface_angstrom: float | None = Field(
        None,
        gt=0,
        description="On surfaces: largest distance along it from a pick to its particle. Unset: the picks' "
        "spacing, but no more than a fifth of the diameter.",
    )
    particles_per_start: int = Field(
        400, ge=8, description="Particles of each start, chosen at random; the best start continues with all."
    )
    max_dose_per_angstrom2: float | None = Field(
        None,
        gt=0,
        description="Leave out tilts after this dose. Unset: none; dose weighting reduces their weight.",
    )
    min_tilts: int = Field(5, ge=1, description="Leave out particles that are visible in fewer tilts.")
    use_directions: bool = Field(
        True, description="Keep particles near the direction they were picked with, within its width."
    )


FIGURES = (
    Figure("n_particles", "particles", "Particles", "Particles that the map is made of."),
    Figure(
        "agreement_of_starts",
        "",
        "Starts that agree",
        "Part of the particles that the best of the random starts and the one most like it place alike, "
        "beyond chance, up to a rotation of the map and its symmetry. False maxima explain the particles "
        "about as well as the right one, but place them differently. A single start does not show this.",
        good="above 0.5",
    ),
    Figure(
        "n_effective",
        "",
        "Orientations that share a particle, median",
        "Exponential of the entropy of the last posteriors. Near 1 every particle has one orientation.",
        good="below 3",
    ),
    Figure(
        "symmetry_likeness",
        "",
        "Likeness under the symmetry",
        "Part of what other angles about the axes change that the group's rotations bring back: of the kind "
        "of rotation that brings back least, in tilts of the particles that did not place them; after "
        "annealing, in the map without radial mean and before any symmetry was imposed. 1 is a perfect "
        "symmetry.",
        good="above 0.5",
    ),
    Figure(
        "azimuth_agreement",
        "",
        "Halves agree in what depends on the azimuth",
        "On surfaces: correlation of the halves' maps, each aligned by itself, less their averages about the "
        "normal. Noise under imposed symmetry gives each half another pattern.",
        good="above 0.75",
    ),
    Figure(
        "axes_significance",
        "",
        "Axes of one particle, deviations",
        "How far the best placing of the group's axes in a particle lies above others, in their standard "
        "deviations, median over particles. In particles without the symmetry the best lies at 4 to 5.",
        good="above 6",
    ),
)
RECORDS = (
    Record("passes", "Exponent, band, certainty and likelihood of every pass of every start.", shows="table"),
    Record(
        "own_likeness",
        "Likeness of particles to themselves under each kind of rotation, in tilts not used to place them.",
        shows="table",
    ),
    Record("axes", "The best axis of each order, and how like itself the map is about it.", shows="table"),
)


def _bytes_per_part(items: Any, params: InitialModelParams) -> int:
    """Memory of the part of the largest series."""
    finest = params.resolution_angstrom or _FINEST_ANGSTROM
    return largest_part_bytes(items, params.diameter_angstrom, finest)


@step(
    "initial_model",
    version=8,
    per="particle_set",
    needs=Particles,
    gives=Average,
    also_gives={"particles": Particles},
    gathers=True,
    bytes_needed=lambda items, params: (1 << 30) + 2 * _bytes_per_part(items, params),
    bytes_per_part=_bytes_per_part,
    methods=(
        "A first map was made of {n_particles:.0f} particles by annealed maximum likelihood from {starts} "
        "random starts."
    ),
    figures=FIGURES,
    records=RECORDS,
)
def initial_model(items: tuple[Particles, ...], params: InitialModelParams, context: StepContext) -> Outputs:
    """Make a first map of all particles; gives it, and the particles with it as their template."""
    symmetry_matrices(params.symmetry)
    rows, series = joined_particles(items)
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "initial_model")
    warn_of_unknown_hands(series, context)
    apart = least_distance_angstrom(rows, diameter)
    rows = rows.take(np.flatnonzero(~duplicates(rows, apart)))
    if rows.n < _LEAST_PARTICLES:
        raise DataUnfitError(
            f"{rows.n} particles are too few for a first map; expected at least {_LEAST_PARTICLES}"
        )
    rows = replace(rows, half=assign_halves(rows, _TOUCHING_DIAMETERS * diameter, context.rng))
    worker = SeriesWorker.of(
        context,
        series,
        rows,
        diameter,
        params,
        prior_sd_angstrom=params.shift_range_angstrom,
        use_directions=params.use_directions,
    )
    if params.use_directions and lie_on_surfaces(rows) and _is_cyclic(params.symmetry):
        on_surface = _map_on_surfaces(worker, rows, diameter, params, context)
        average = _stored(
            on_surface.map, on_surface.voxel_angstrom, on_surface.group, diameter, worker, context
        )
        apart = on_surface.apart_angstrom
        context.figure("axes_significance", None, reason="particles on surfaces are placed by their normals")
        return Outputs(average, {"particles": _particles(items, worker, average, apart, context)})
    last = params.resolution_angstrom or float(np.clip(_FIRST_DIAMETERS * diameter, 25.0, 60.0))
    settings = AnnealingSettings(
        diameter,
        max(2.0 * last, 40.0),
        last,
        params.starts,
        params.shift_range_angstrom,
        most_particles=params.particles_per_start,
    )
    own = _by_own_axes(worker, params, settings, context)
    if own is not None:
        made, density, group = own, own.map, params.symmetry.strip().upper()
    else:
        made, density, group = _annealed(worker, params, settings, context)
    context.figure("azimuth_agreement", None, reason="the particles were not picked on surfaces")
    context.figure("n_effective", made.history[-1].n_effective)
    if own is None:
        _tell_of_starts(made, context)
    else:
        context.figure(
            "agreement_of_starts", None, reason="the particles' own axes were used, no random start"
        )
    context.record("passes", [_plain(record) for record in made.history])
    average = _stored(density, made.voxel_angstrom, group, diameter, worker, context)
    return Outputs(average, {"particles": _particles(items, worker, average, apart, context)})


def _is_cyclic(group: str) -> bool:
    return group.strip().upper().startswith("C")


def _map_on_surfaces(
    worker: SeriesWorker,
    rows: ParticleRows,
    diameter: float,
    params: InitialModelParams,
    context: StepContext,
) -> SurfaceMap:
    """First map of particles on surfaces, with its figures and warnings."""
    spacing = spacing_angstrom(rows) or diameter
    along = params.along_surface_angstrom or float(
        np.clip(spacing, params.shift_range_angstrom, max(_FIRST_DIAMETERS * diameter, 12.0))
    )
    settings = SurfaceSettings(
        diameter,
        spacing,
        along,
        params.shift_range_angstrom,
        params.symmetry,
        last_band_angstrom=params.resolution_angstrom,
        most_particles=params.particles_per_start,
    )
    found = map_on_surfaces(worker, settings, context.rng)
    context.record("passes", [_plain(record) for record in found.history])
    context.figure("n_effective", found.history[-1].n_effective)
    context.figure(
        "agreement_of_starts", None, reason="on surfaces the starts are a dip and a bump, which differ"
    )
    _tell_of_azimuths(found, params.symmetry.strip().upper(), context)
    return found


def _tell_of_azimuths(found: SurfaceMap, group: str, context: StepContext) -> None:
    if found.agreement is None:
        context.figure("azimuth_agreement", None, reason="no symmetry was asked for")
        context.figure("symmetry_likeness", None, reason="no symmetry was asked for")
        context.record("axes", [])
        return
    context.figure("azimuth_agreement", found.agreement)
    if found.likeness is None:
        context.figure("symmetry_likeness", None, reason="the map is a shell")
    else:
        context.figure("symmetry_likeness", found.likeness.likeness)
    context.record("axes", [] if found.likeness is None else [_axis(found.likeness)])
    if found.group != group:
        likeness = 0.0 if found.likeness is None else found.likeness.likeness
        context.warn(
            f"The map does not have the symmetry {group} about the normal: the halves agree to "
            f"{found.agreement:.2f} in what depends on the azimuth (expected 0.75), and without symmetry the "
            f"map is like itself to {likeness:.2f} (expected 0.3); it is given without symmetry"
        )


def _by_own_axes(
    worker: SeriesWorker, params: InitialModelParams, settings: AnnealingSettings, context: StepContext
) -> Annealed | None:
    """A map with the requested symmetry from the axes of each particle; None if the particles lack it.

    Particles with a direction, and groups whose axes do not define the orientation, are annealed.
    """
    group, rows = params.symmetry.strip().upper(), worker.rows
    directions = rows.prior_directions if params.use_directions else None
    has_directions = directions is not None and bool(np.isfinite(directions).any())
    if not axes_leave_no_choice(group) or has_directions:
        reason = "particles are placed by their own axes for O and I, and without directions"
        context.figure("axes_significance", None, reason=reason)
        return None
    finest = params.resolution_angstrom or max(_FINEST_ANGSTROM, _FINEST_PX * worker.image_pixel_angstrom)
    diameter = settings.diameter_angstrom
    settings = replace(settings, last_band_angstrom=own_band_angstrom(diameter, finest))
    found = symmetric_start(worker, group, settings, context.rng)
    context.figure("axes_significance", found.significance)
    context.record("own_likeness", _own_likeness(found))
    if found.is_borne_out:
        context.figure("symmetry_likeness", found.likeness)
        return found.made
    # The poses that the particles had before.
    worker.rows = replace(
        worker.rows,
        positions_xyz_angstrom=rows.positions_xyz_angstrom,
        rotations=rows.rotations,
        half=rows.half,
    )
    worker.restore((rows.rotations, np.zeros((rows.n, 3))))
    return None


def _own_likeness(found: SymmetricStart) -> list[dict[str, Any]]:
    return [
        {
            "axis": f"{one.order}-fold",
            "angle_deg": round(one.angle_deg),
            "likeness": round(one.likeness, 3),
            "deviations": round(one.deviations, 1),
        }
        for one in found.classes
    ]


def _annealed(
    worker: SeriesWorker, params: InitialModelParams, settings: AnnealingSettings, context: StepContext
) -> tuple[Annealed, torch.Tensor, str]:
    """The best of several random starts, its map, and the symmetry that it has."""
    made = _centred(anneal(worker, settings, context.rng), worker, settings.diameter_angstrom)
    if len(symmetry_matrices(params.symmetry)) > 1:
        made, settings, found = _looked_for(made, worker, params, settings, context)
        return made, *_with_symmetry(made, found, worker, settings, context)
    made = _with_distinct_orientations(made, worker, params, settings, context)
    return made, made.map, "C1"


def _centred(made: Annealed, worker: SeriesWorker, diameter: float) -> Annealed:
    """The map about its centre of mass; the positions of the particles change with it."""
    centre = centre_of_density(made.map, 0.6 * diameter / made.voxel_angstrom)
    rotations, shifts = worker.kept_poses()
    worker.restore((rotations, shifts + rotations @ (centre * made.voxel_angstrom)))
    return replace(made, map=centred(made.map, centre))


def _with_distinct_orientations(
    made: Annealed,
    worker: SeriesWorker,
    params: InitialModelParams,
    settings: AnnealingSettings,
    context: StepContext,
) -> Annealed:
    """The map at the first detail that distinguishes orientations, or at the finest; lists its best axes."""
    for finer in _finer(settings, params, worker):
        if made.history[-1].n_effective < _ONE_ORIENTATION:
            break
        made = _centred(go_on(worker, made, finer, context.rng), worker, settings.diameter_angstrom)
    axes = best_axes(made.map, _radius_px(made, settings.diameter_angstrom), _LISTED_ORDERS)
    context.record("axes", [_axis(fit) for fit in axes.values()])
    context.figure("symmetry_likeness", None, reason="no symmetry was asked for")
    return made


def _radius_px(made: Annealed, diameter: float) -> float:
    return 0.55 * diameter / made.voxel_angstrom


def _finer(
    settings: AnnealingSettings, params: InitialModelParams, worker: SeriesWorker
) -> list[AnnealingSettings]:
    """Settings of further passes, coarse to fine; none if the user set the detail."""
    bands = [] if params.resolution_angstrom else _finer_bands(settings, worker.image_pixel_angstrom)
    return [
        replace(
            settings,
            last_band_angstrom=band,
            step_deg=band / settings.last_band_angstrom * settings.step_deg,
        )
        for band in bands
    ]


def _finer_bands(settings: AnnealingSettings, pixel_angstrom: float) -> list[float]:
    """Details finer than the first map's that it can be taken to, in angstrom, coarse to fine."""
    finest = max(_FINEST_ANGSTROM, _FINEST_PX * pixel_angstrom)
    bands = [settings.last_band_angstrom]
    for part in _FINER_PARTS:
        band = max(part * _FIRST_DIAMETERS * settings.diameter_angstrom, finest)
        if band < _LEAST_STEP * bands[-1]:
            bands.append(band)
    return bands[1:]


def _looked_for(
    made: Annealed,
    worker: SeriesWorker,
    params: InitialModelParams,
    settings: AnnealingSettings,
    context: StepContext,
) -> tuple[Annealed, AnnealingSettings, SymmetryFit]:
    """The map at the first detail that shows the requested symmetry, or at the finest; and its placing."""
    diameter, group = settings.diameter_angstrom, params.symmetry.strip().upper()
    found = fit_symmetry(made.map, _radius_px(made, diameter), group)
    fits, bands = [found], [settings.last_band_angstrom]
    for finer in _finer(settings, params, worker):
        if found.is_seen:
            break
        settings = finer
        made = _centred(go_on(worker, made, settings, context.rng), worker, diameter)
        found = fit_symmetry(made.map, _radius_px(made, diameter), group)
        fits.append(found)
        bands.append(settings.last_band_angstrom)
    context.figure("symmetry_likeness", found.likeness)
    context.record(
        "axes",
        [{"detail_angstrom": round(b, 1)} | _axis(fit) for b, fit in zip(bands, fits, strict=True)],
    )
    if not found.is_seen:
        best = max(fits, key=lambda fit: fit.likeness)
        context.warn(
            f"The map does not have the symmetry {group}: looked for at a detail of "
            f"{', '.join(f'{band:.0f}' for band in bands)} A, turned by it the map is like itself to "
            f"{best.likeness:.2f} at most, {best.significance:.1f} deviations above other axes (expected 0.3 "
            "and 3, or 0.25 and 5), and the kind of rotation that shows least shows "
            f"{best.evenness:.2f} of the best (expected {LEAST_EVENNESS}); it is given without symmetry"
        )
    return made, settings, found


def _with_symmetry(
    made: Annealed,
    found: SymmetryFit,
    worker: SeriesWorker,
    settings: AnnealingSettings,
    context: StepContext,
) -> tuple[torch.Tensor, str]:
    """The map in the frame of the symmetry found, if particles have it; the poses change with it."""
    group = found.group
    if not found.is_seen:
        return made.map, "C1"
    # The point r of the map is the point Q^T r in the group's frame, and a pose R of the map is R Q there.
    before = worker.kept_poses()
    worker.restore((before[0] @ found.rotation, before[1]))
    imposed = symmetrised(turned_map(made.map, found.rotation.T), group)
    record: list[AnnealingRecord] = []
    density, _ = search_once(
        worker,
        imposed,
        made.layout,
        settings,
        context.rng,
        settings.last_band_angstrom,
        1.0,
        -2,
        record.append,
        group,
    )
    return _checked(density, imposed, before, worker, made, settings, group, context)


def _checked(
    density: torch.Tensor,
    imposed: torch.Tensor,
    before: tuple[Array, Array],
    worker: SeriesWorker,
    made: Annealed,
    settings: AnnealingSettings,
    group: str,
    context: StepContext,
) -> tuple[torch.Tensor, str]:
    """The symmetric map, if the particles that it aligned show its axes without imposed symmetry."""
    kept = worker.kept_poses()
    plain, _ = search_once(
        worker,
        _low(imposed, made, settings),
        made.layout,
        settings,
        context.rng,
        settings.last_band_angstrom,
        1.0,
        -3,
        lambda record: None,
    )
    again = fit_symmetry(plain, _radius_px(made, settings.diameter_angstrom), group)
    worker.restore(kept)
    if again.likeness < _LEAST_LIKENESS_AGAIN:
        worker.restore(before)
        context.warn(
            f"Particles aligned to the map with the symmetry {group} imposed make one that is like itself "
            f"only to {again.likeness:.2f} without it; the symmetry is in doubt and is left out"
        )
        return made.map, "C1"
    return density, group


def _low(density: torch.Tensor, made: Annealed, settings: AnnealingSettings) -> torch.Tensor:
    mask = particle_mask(density.shape[0], made.voxel_angstrom, settings.diameter_angstrom)
    return density * mask


def _tell_of_starts(made: Annealed, context: StepContext) -> None:
    n_starts = len(made.held_out_log_likelihood)
    reason = "there was one start" if n_starts < 2 else "the starts have no particles in common"
    context.figure("agreement_of_starts", made.agreement, reason=reason)
    if made.agreement is None or made.agreement < _LEAST_AGREEING:
        found = reason if made.agreement is None else f"the most alike agrees in {made.agreement:.2f} of them"
        context.warn(
            f"Of {n_starts} random starts no other places the particles as the best one does ({found}; "
            f"expected {_LEAST_AGREEING}): the first map may be a false maximum, however well it explains "
            "the particles. Use more starts, more particles or a map of your own"
        )


def _axis(fit: SymmetryFit) -> dict[str, Any]:
    x, y, z = fit.rotation[:, 2]
    return {
        "group": fit.group,
        "axis_xyz": f"{x:.2f} {y:.2f} {z:.2f}",
        "correlation": round(fit.correlation, 3),
        "likeness": round(fit.likeness, 3),
        "evenness": round(fit.evenness, 2),
        "deviations": round(fit.significance, 1),
    }


def _plain(record: AnnealingRecord) -> dict[str, Any]:
    return {
        "start": record.start + 1 if record.start >= 0 else "best, all particles",
        "exponent": record.exponent,
        "band_angstrom": round(record.band_angstrom, 1),
        "n_effective": round(record.n_effective, 1),
        "log_likelihood": round(record.log_likelihood, 1),
    }


def _stored(
    density: torch.Tensor,
    voxel_angstrom: float,
    group: str,
    diameter: float,
    worker: SeriesWorker,
    context: StepContext,
) -> Average:
    n_particles = int((worker.half > 0).sum())
    context.figure("n_particles", n_particles)
    sink = context.new_pixels("map", tuple(density.shape), voxel_angstrom, kind="volume")
    sink[...] = density.numpy().astype(np.float32)
    return Average(
        context.item_name,
        sink,
        voxel_angstrom,
        symmetry=group,
        resolution_note="a first map: its halves were aligned to one reference",
        n_particles=n_particles,
        diameter_angstrom=diameter,
    )


def _particles(
    items: Sequence[Particles],
    worker: SeriesWorker,
    average: Average,
    apart_angstrom: float,
    context: StepContext,
) -> tuple[Particles, ...]:
    """Particles of each tomogram that had any, at their present poses, with the map as template.

    Of several picks at one place the most likely is kept.
    """
    everyone = replace(
        worker.rows,
        positions_xyz_angstrom=worker.positions_xyz_angstrom,
        half=None,
    )
    twice = duplicates(replace(everyone, score=worker.log_likelihood), apart_angstrom)
    everyone = everyone.take(np.flatnonzero(~twice))
    made = []
    for item in items:
        mine = everyone.take(np.flatnonzero(everyone.tomogram == item.name))
        table = context.new_table(f"particles_{item.name}", mine.columns())
        made.append(
            replace(
                item,
                table=table,
                template=average,
                symmetry=average.symmetry,
                diameter_angstrom=average.diameter_angstrom,
                common_reference="one first map",
            )
        )
    return tuple(made)
