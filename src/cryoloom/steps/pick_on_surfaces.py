"""Pick particles on surfaces and filaments through given points: spheres, ellipsoids, membranes, filaments.

Points come from `pick_by_hand` or `import_coordinates`; those of one `surface` (or `tube`) form a model. Each
model becomes a surface: a sphere, an ellipsoid (orthogonal distances, Tukey weights, nearly round unless the
points require otherwise), a closed surface (spherical harmonics about a centre), an open one (thin-plate
spline over the points' plane), or a filament (smoothing spline through the points in any order). The surface
can then be moved onto the density along its normals. Places are distributed evenly over it at the given
spacing; the reference's z axis points along the outward normal (a filament: along its axis), and the third
angle is random, or rotates along a filament. The normal and its uncertainty are stored as a prior for the
refinement.

In Dynamo's terms, `spacing_px` is the cropping mesh parameter and `mesh_px` the mesh parameter, both in
voxels of the tomogram. `max_triangles` and `subdivisions` are those of its meshes; each subdivision halves
the sides. The mesh is stored as `surfaces.json` for display.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.picking.ellipsoids import EllipsoidFit, fit_ellipsoid, fit_sphere
from cryoloom.algorithms.picking.filaments import fit_filament, sample_filament
from cryoloom.algorithms.picking.snapping import snap_to_density
from cryoloom.algorithms.picking.surface_sampling import (
    SurfacePlaces,
    closed_mesh,
    open_mesh,
    sample_closed,
    sample_open,
)
from cryoloom.algorithms.picking.surfaces import (
    ClosedSurface,
    OpenSurface,
    StarShaped,
    fit_closed_surface,
    fit_open_surface,
)
from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import JsonValue, StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.orientation_grid import z_axis_to
from cryoloom.model import ParticleRows, Particles, Tomogram

__all__ = ["PickOnSurfacesParams", "pick_on_surfaces"]

Array = NDArray[np.float64]
Shape = Literal["sphere", "ellipsoid", "closed", "open", "filament"]
_SHAPES: tuple[Shape, ...] = ("sphere", "ellipsoid", "closed", "open", "filament")
_SNAPS_AT_LEAST = 12
"""Chosen: fewer places do not average out the noise of a density."""


class PickOnSurfacesParams(StepParams):
    """Parameters of picking on surfaces."""

    shape: Shape = Field("ellipsoid", description="Shape of models whose points give none.")
    spacing_angstrom: float | None = Field(
        None, gt=0, description="Distance between neighbouring places. Unset: spacing_px."
    )
    spacing_px: float = Field(
        10.0,
        gt=0,
        description="Distance between neighbouring places in voxels, if spacing_angstrom is unset (Dynamo: "
        "cropping mesh parameter).",
    )
    mesh_px: float = Field(5.0, gt=0, description="Side of the drawn mesh's triangles in voxels (Dynamo).")
    max_triangles: int = Field(100_000, ge=20, description="Largest number of triangles drawn (Dynamo).")
    subdivisions: int = Field(
        0,
        ge=0,
        le=4,
        description="How often the spacing and the sides of the mesh are halved (Dynamo).",
    )
    box_px: int | None = Field(
        None, ge=1, description="Side of the box drawn around each pick; for display only."
    )
    centre_xyz_angstrom: tuple[float, float, float] | None = Field(
        None,
        description="closed: a point inside the surface; open: a point on its outer side. Unset: found "
        "from the points (closed), or above them (open).",
    )
    inward: bool = Field(False, description="The reference's z axis points inwards.")
    snap_angstrom: float = Field(
        0.0, ge=0, description="Move the surface onto the density by at most this along its normals; 0: no."
    )
    layer_angstrom: float = Field(
        60.0, gt=0, description="snap_angstrom: half the length of the compared profiles along the normals."
    )
    prior_width_deg: float = Field(
        10.0, gt=0, le=180, description="Standard deviation of the particles' axes about the normals."
    )
    most_normal_z: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Leave out places whose normal has a larger z component (between 0 and 1): the top and "
        "bottom caps, in the missing wedge.",
    )
    twist_deg: float = Field(0.0, description="filament: rotation about the axis from one place to the next.")
    species: str = Field("particle", description="Name of the picked particle.")
    symmetry: str = Field("C1", description="Point group of the particle.")
    diameter_angstrom: float | None = Field(None, gt=0, description="Diameter of the particle, if known.")


FIGURES = (
    Figure("n_surfaces", "surfaces", "Surfaces", "Surfaces and filaments fitted to the points."),
    Figure(
        "n_particles",
        "particles",
        "Particles picked",
        "Places on all surfaces.",
        column=Column("Picks", digits=0),
    ),
    Figure(
        "fit_rms_angstrom",
        "angstrom",
        "Distance of points from their surface",
        "Root mean square distance of the points from the surface fitted to them, over all surfaces.",
        good="below 20 angstrom for points picked by hand",
    ),
    Figure(
        "half_axis_sd_percent",
        "percent",
        "Uncertainty of half axes",
        "Largest standard deviation of a half axis of a sphere or ellipsoid, divided by its length; median "
        "over the surfaces. More points on other slices lower it.",
        good="below 3",
    ),
    Figure(
        "spacing_sd_percent",
        "percent",
        "Unevenness of the spacing",
        "Standard deviation of the distance to the nearest place, divided by its mean; median over the "
        "surfaces.",
        good="below 12",
    ),
    Figure(
        "snap_sd_angstrom",
        "angstrom",
        "Surface moved onto the density",
        "Standard deviation of the offsets along the normals that bring the surface onto the density.",
        good="below 15 angstrom; otherwise check the drawn surface",
    ),
    Figure(
        "snap_correlation",
        "",
        "Agreement of density profiles",
        "Median correlation of the density along the normals with that of the whole surface.",
        good="above 0.7",
    ),
)
RECORDS = (
    Record("surfaces", "Each surface: its kind, size, fit and number of places."),
    Record("picks", "Position in angstrom from the tomogram's centre, and surface, of every place."),
)


@dataclass(frozen=True, slots=True)
class _Made:
    """Places on one surface."""

    positions: Array
    rotations: Array
    normals: Array
    about: dict[str, JsonValue]
    rms_angstrom: float
    axis_sd: float | None = None
    spacing_sd: float | None = None
    snap: tuple[float, float] | None = None
    mesh: dict[str, JsonValue] | None = None


def _bytes_needed(points: Particles, params: PickOnSurfacesParams) -> int:
    voxels = sum(int(np.prod(tomogram.volume.shape)) for tomogram in points.tomograms[:1])
    return 300_000_000 + (8 * voxels if params.snap_angstrom else 0)


@step(
    "pick_on_surfaces",
    takes_by_hand=("surfaces",),
    per="tomogram",
    needs=Particles,
    gives=Particles,
    bytes_needed=_bytes_needed,
    citations=(
        "Castano-Diez, D., Kudryashev, M. & Stahlberg, H. (2017) Dynamo Catalogue: geometrical tools and "
        "data management for particle picking in subtomogram averaging of cryo-electron tomograms. "
        "J. Struct. Biol. 197, 135-144, doi:10.1016/j.jsb.2016.06.005",
    ),
    methods="Particles were picked on fitted surfaces ({total_n_particles:.0f} places).",
    figures=FIGURES,
    records=RECORDS,
)
def pick_on_surfaces(points: Particles, params: PickOnSurfacesParams, context: StepContext) -> Particles:
    """Fit surfaces to points and distribute particles over them, with normals as a prior."""
    tomogram = _tomogram(points, params)
    marked = _marked(points, params)
    if not marked:
        context.warn(f"{points.name} has no points, so there are no picks")
    voxel = _voxel_size(tomogram, params)
    volume = None
    if params.snap_angstrom and marked and tomogram is not None:
        volume = np.asarray(tomogram.volume[...], dtype=np.float32)
    made: list[_Made] = []
    for number, (shape, places) in enumerate(marked, 1):
        try:
            made.append(_on_surface(shape, places, voxel, params, context.rng, volume))
        except DataUnfitError as error:
            context.warn(f"surface {number} of {points.name} is left out: {error}")
        context.progress(number, len(marked))
    if marked and not made:
        raise DataUnfitError(
            f"no surface can be fitted to any of the {len(marked)} models; see the warnings",
            tomogram=points.name,
        )
    _report(made, context)
    rows = _rows(points.name, made, params)
    return replace(
        points,
        table=context.new_table("particles", rows.columns()),
        species=params.species,
        diameter_angstrom=params.diameter_angstrom,
        symmetry=params.symmetry,
    )


def _tomogram(points: Particles, params: PickOnSurfacesParams) -> Tomogram | None:
    """The tomogram the points were picked in, if it is known."""
    found = next((tomogram for tomogram in points.tomograms if tomogram.name == points.name), None)
    if found is None and params.snap_angstrom:
        raise DataUnfitError(
            "the points have no tomogram, so the surface cannot be moved onto the density; use "
            "snap_angstrom=0, or import the points with a tomogram",
            tomogram=points.name,
        )
    return found


def _voxel_size(tomogram: Tomogram | None, params: PickOnSurfacesParams) -> float:
    if tomogram is not None:
        return tomogram.voxel_size_angstrom
    if params.spacing_angstrom is None:
        raise UserInputError(
            "spacing_px is in voxels of a tomogram, but the points have no tomogram; set spacing_angstrom"
        )
    return 0.1 * params.spacing_angstrom


def _marked(points: Particles, params: PickOnSurfacesParams) -> list[tuple[Shape, Array]]:
    """Shape and points in angstrom of every model."""
    rows = points.rows()
    numbers = [np.zeros(rows.n, dtype=np.int64) if n is None else n for n in (rows.surface, rows.tube)]
    shapes = (rows.others or {}).get("shape", np.full(rows.n, ""))
    found: list[tuple[Shape, Array]] = []
    for model in sorted(set(zip(numbers[0].tolist(), numbers[1].tolist(), shapes.tolist(), strict=True))):
        own = (numbers[0] == model[0]) & (numbers[1] == model[1]) & (shapes == model[2])
        if model[2] and model[2] not in _SHAPES:
            raise UserInputError(f"unknown shape {model[2]!r} of points; expected {', '.join(_SHAPES)}")
        shape = next((known for known in _SHAPES if known == model[2]), params.shape)
        found.append((shape, rows.positions_xyz_angstrom[own]))
    return found


def _on_surface(
    shape: Shape,
    points: Array,
    voxel: float,
    params: PickOnSurfacesParams,
    rng: np.random.Generator,
    volume: NDArray[np.float32] | None,
) -> _Made:
    spacing = (params.spacing_angstrom or params.spacing_px * voxel) / 2**params.subdivisions
    side = params.mesh_px * voxel / 2**params.subdivisions
    if shape == "filament":
        return _on_filament(points, spacing, params, rng)
    surface: StarShaped | OpenSurface
    fit: EllipsoidFit | None = None
    if shape in ("sphere", "ellipsoid"):
        fit = fit_sphere(points) if shape == "sphere" else fit_ellipsoid(points)
        surface, distances = fit.ellipsoid, fit.distances_angstrom[fit.weights > 0]
    elif shape == "closed":
        surface = fit_closed_surface(points, params.centre_xyz_angstrom)
        distances = surface.distances_angstrom
    else:
        surface = fit_open_surface(points, params.centre_xyz_angstrom)
        distances = surface.distances_angstrom
    snapped = None
    places = _sampled(surface, spacing, rng)
    if volume is not None and len(places.normals) >= _SNAPS_AT_LEAST:
        found = snap_to_density(
            volume,
            voxel,
            places.positions_xyz_angstrom,
            places.normals,
            reach_angstrom=params.snap_angstrom,
            layer_angstrom=params.layer_angstrom,
        )
        snapped = (float(found.offsets_angstrom.std()), float(np.median(found.correlation)))
        moved = places.positions_xyz_angstrom + found.offsets_angstrom[:, None] * places.normals
        surface = _through(surface, moved)
        places = _sampled(surface, spacing, rng)
    vertices, triangles = (
        open_mesh(surface, side, params.max_triangles)
        if isinstance(surface, OpenSurface)
        else closed_mesh(surface, side, params.max_triangles)
    )
    kept = np.abs(places.normals[:, 2]) <= params.most_normal_z
    normals = places.normals[kept] * (-1.0 if params.inward else 1.0)
    about: dict[str, JsonValue] = {"shape": shape, "n_points": len(points), "n_places": int(kept.sum())}
    if fit is not None:
        about |= {
            "centre_xyz_angstrom": fit.ellipsoid.centre_xyz_angstrom.round(1).tolist(),
            "half_axes_angstrom": fit.ellipsoid.half_axes_angstrom.round(1).tolist(),
            "half_axes_sd_angstrom": fit.half_axes_sd_angstrom.round(1).tolist(),
            "n_points_left_out": int((fit.weights == 0).sum()),
        }
    return _Made(
        positions=places.positions_xyz_angstrom[kept],
        rotations=z_axis_to(normals, rng.uniform(0, 360, len(normals))),
        normals=normals,
        about=about,
        rms_angstrom=float(np.sqrt((distances**2).mean())),
        axis_sd=None
        if fit is None
        else float((fit.half_axes_sd_angstrom / fit.ellipsoid.half_axes_angstrom).max()),
        spacing_sd=places.spacing_deviation(),
        snap=snapped,
        mesh={"vertices_xyz_angstrom": vertices.round(1).tolist(), "triangles": triangles.tolist()},
    )


def _sampled(surface: StarShaped | OpenSurface, spacing: float, rng: np.random.Generator) -> SurfacePlaces:
    try:
        if isinstance(surface, OpenSurface):
            return sample_open(surface, spacing, rng)
        return sample_closed(surface, spacing, rng)
    except ValueError as error:
        raise DataUnfitError(f"{error}; choose a larger spacing") from error


def _through(surface: StarShaped | OpenSurface, places: Array) -> ClosedSurface | OpenSurface:
    """A surface through places that were moved onto the density."""
    if isinstance(surface, OpenSurface):
        return fit_open_surface(places, surface.origin_xyz_angstrom + surface.axes[:, 2])
    return fit_closed_surface(places, surface.centre_xyz_angstrom)


def _on_filament(
    points: Array, spacing: float, params: PickOnSurfacesParams, rng: np.random.Generator
) -> _Made:
    filament = fit_filament(points)
    places = sample_filament(filament, spacing, params.twist_deg, float(rng.uniform(0, 360)))
    return _Made(
        positions=places.positions_xyz_angstrom,
        rotations=places.rotations,
        normals=places.rotations[:, :, 2],
        about={
            "shape": "filament",
            "n_points": len(points),
            "n_places": len(places.positions_xyz_angstrom),
            "length_angstrom": round(filament.length_angstrom, 1),
        },
        rms_angstrom=float(np.sqrt((filament.distances_angstrom**2).mean())),
    )


def _rows(tomogram: str, made: list[_Made], params: PickOnSurfacesParams) -> ParticleRows:
    empty = np.zeros((0, 3))
    positions = np.concatenate([empty, *(one.positions for one in made)])
    number = np.concatenate(
        [np.zeros(0, dtype=np.int64), *(np.full(len(one.positions), i) for i, one in enumerate(made, 1))]
    ).astype(np.int64)
    is_tube = np.array([one.about["shape"] == "filament" for one in made] or [False])
    on_tube = is_tube[number - 1] if len(number) else np.zeros(0, dtype=bool)
    return ParticleRows.of(
        tomogram,
        positions,
        rotations=np.concatenate([np.zeros((0, 3, 3)), *(one.rotations for one in made)]),
        prior_directions=np.concatenate([empty, *(one.normals for one in made)]),
        prior_width_deg=np.full(len(positions), params.prior_width_deg),
        surface=np.where(on_tube, -1, number),
        tube=np.where(on_tube, number, -1),
    )


def _report(made: list[_Made], context: StepContext) -> None:
    """Figures, records and the drawn meshes."""
    none = "there are no surfaces"
    context.figure("n_surfaces", len(made))
    context.figure("n_particles", sum(len(one.positions) for one in made))
    rms = [one.rms_angstrom for one in made]
    context.figure("fit_rms_angstrom", float(np.sqrt(np.mean(np.square(rms)))) if rms else None, reason=none)
    sd = [one.axis_sd for one in made if one.axis_sd is not None]
    context.figure(
        "half_axis_sd_percent",
        100 * float(np.median(sd)) if sd else None,
        reason="no surface is a sphere or an ellipsoid",
    )
    uneven = [one.spacing_sd for one in made if one.spacing_sd is not None]
    context.figure("spacing_sd_percent", 100 * float(np.median(uneven)) if uneven else None, reason=none)
    snaps = [one.snap for one in made if one.snap is not None]
    reason = "no surface was moved onto the density"
    context.figure(
        "snap_sd_angstrom", float(np.median([s[0] for s in snaps])) if snaps else None, reason=reason
    )
    context.figure(
        "snap_correlation", float(np.median([s[1] for s in snaps])) if snaps else None, reason=reason
    )
    context.record(
        "surfaces",
        [
            {"surface": i, **one.about, "rms_angstrom": round(one.rms_angstrom, 1)}
            for i, one in enumerate(made, 1)
        ],
    )
    context.record(
        "picks",
        {
            "xyz_angstrom": [place for one in made for place in one.positions.round(1).tolist()],
            "surface": [i for i, one in enumerate(made, 1) for _ in range(len(one.positions))],
        },
    )
    meshes = {str(i): one.mesh for i, one in enumerate(made, 1) if one.mesh is not None}
    context.new_file("surfaces.json").write_text(json.dumps(meshes), encoding="utf-8")
