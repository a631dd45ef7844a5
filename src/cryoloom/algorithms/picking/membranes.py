"""Membranes of ridge points: what belongs to one sheet, whether it closes, and where it faces.

A membrane casts weaker ridges beside it (its CTF's fringes, the high-pass filter's rim), parallel to it. Of
parallel ridges near each other only the strongest stays. Points that continue each other are one membrane.
One that an ellipsoid fits from most sides is a vesicle; it also takes the fragments that lie on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.candidates import keep_apart
from cryoloom.algorithms.picking.ellipsoids import (
    EllipsoidFit,
    distance_to_ellipsoid,
    fit_ellipsoid,
    fit_sphere,
)
from cryoloom.algorithms.picking.ridges import RidgePoints, half_sphere
from cryoloom.errors import DataUnfitError, UserInputError

__all__ = ["Membrane", "link_points", "membranes_of", "strongest_across", "thinned"]

_RADIAL_COSINE, _FACING_COSINE = 0.8, 0.7
"""Smallest cosines between normals and rays from the centre.

Median of a vesicle (37 degrees), and of a point of it.
"""
_NEAR_REACH = 1.3
"""Chosen, times the longest half axis: farther points do not lie on the vesicle."""

Array = NDArray[np.float64]

_STEP_VOXELS = 2.0  # chosen: between linked points of a sheet
_STEP_OFF_PLANE = 0.9  # chosen: voxels that a linked point may lie off the other one's plane
_STEP_ANGLE_COSINE = np.cos(np.deg2rad(35.0))
"""Chosen: angle between normals at linked points; a vesicle of the smallest usual size turns less within a
step."""
_PARALLEL_COSINE = 0.85  # chosen: 32 degrees between normals of one sheet
_LATERAL_VOXELS = 1.6  # chosen: beside a point, in which a parallel sheet above it is its rim
_FIT_POINTS = 120  # chosen: drawn of a sheet for its ellipsoid; bounds the time
_LARGEST_MISFIT = 1.5
"""Chosen: of points on their ellipsoid from it, rms, in voxels: a sheet that is none lies farther off."""
_LEAST_FITTED = 0.6
"""Chosen: of a sheet's points that lie on its ellipsoid."""
_COVERED = 0.6
"""Chosen: of the directions that the missing wedge leaves, for a vesicle."""
_LIKELY_COVERED = 0.5
"""Chosen: of that about a sphere's centre, for an ellipsoid to be tried; it moves the centre a little."""
_WEDGE_COSINE = 0.75  # chosen: 41 degrees about the beam are not required; tilts to 60 lack 30 of them
_NEAR_DIRECTION_COSINE = np.cos(np.deg2rad(25.0))
"""Chosen: a direction is covered where a point lies within this angle."""


@dataclass(frozen=True, slots=True)
class Membrane:
    """One sheet."""

    points_xyz_angstrom: Array
    normals: Array
    """Outward for a vesicle; of an open sheet all to one side."""
    score: Array
    area_angstrom2: float
    is_closed: bool


def strongest_across(points: RidgePoints, reach_voxels: float, fraction: float) -> RidgePoints:
    """Points less those with a parallel ridge beside them that is stronger by ``1 / fraction``."""
    if not len(points.score):
        return points
    kept = np.ones(len(points.score), dtype=bool)
    tree = cKDTree(points.index_zyx)
    pairs = tree.query_pairs(reach_voxels, output_type="ndarray")
    if not len(pairs):
        return points
    apart = (points.index_zyx[pairs[:, 1]] - points.index_zyx[pairs[:, 0]])[:, ::-1]
    first, second = (points.directions[pairs[:, i]] for i in (0, 1))
    along = np.abs(np.einsum("nd,nd->n", apart, first))
    lateral = np.sqrt(np.maximum((apart**2).sum(axis=1) - along**2, 0.0))
    parallel = np.abs(np.einsum("nd,nd->n", first, second)) > _PARALLEL_COSINE
    beside = parallel & (lateral < _LATERAL_VOXELS) & (along > _STEP_OFF_PLANE)
    a, b = pairs[beside].T
    kept[a[points.score[a] < fraction * points.score[b]]] = False
    kept[b[points.score[b] < fraction * points.score[a]]] = False
    return points.take(np.flatnonzero(kept))


def link_points(points: RidgePoints) -> NDArray[np.int64]:
    """Number of the sheet each point belongs to, ``(n,)``, from 0: neighbours that continue each other."""
    n = len(points.score)
    pairs = (
        cKDTree(points.index_zyx).query_pairs(_STEP_VOXELS, output_type="ndarray")
        if n
        else np.zeros((0, 2), np.int64)
    )
    apart = (points.index_zyx[pairs[:, 1]] - points.index_zyx[pairs[:, 0]])[:, ::-1]
    first, second = (points.directions[pairs[:, i]] for i in (0, 1))
    agree = np.abs(np.einsum("nd,nd->n", first, second)) > _STEP_ANGLE_COSINE
    for normal in (first, second):
        agree &= np.abs(np.einsum("nd,nd->n", apart, normal)) < _STEP_OFF_PLANE
    a, b = pairs[agree].T
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64) if n else np.zeros(0, np.int64)


def membranes_of(
    points: RidgePoints,
    positions_xyz_angstrom: Array,
    voxel_angstrom: float,
    *,
    patch_angstrom: float,
    sure_score: float,
    least_area_angstrom2: float,
) -> list[Membrane]:
    """Membranes, the largest first.

    positions_xyz_angstrom : of the points. patch_angstrom : standard deviation of the flat template along the
    sheet; on a sphere it fits best ``patch^2 / R`` inside, which is corrected. sure_score : that some point
    of each must reach.
    """
    labels = link_points(points)
    area = voxel_angstrom**2  # crests are one voxel thick, so each point stands for one face
    sheets = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    least = max(3, round(0.5 * least_area_angstrom2 / area))
    sheets = [own for own in sheets if len(own) >= least and points.score[own].max() >= sure_score]
    sheets.sort(key=len, reverse=True)
    taken = np.zeros(len(points.score), dtype=bool)
    found: list[Membrane] = []
    for own in sheets:
        if taken[own].mean() > 0.5:
            continue
        vesicle = _vesicle(positions_xyz_angstrom[own], points.directions[own], voxel_angstrom)
        if vesicle is not None:
            on_it = _on_ellipsoid(vesicle, positions_xyz_angstrom, points.directions, voxel_angstrom)
            own = np.flatnonzero(on_it & ~taken)
        else:
            own = own[~taken[own]]
        if len(own) * area < least_area_angstrom2:
            continue
        taken[own] = True
        places = positions_xyz_angstrom[own]
        normals = _facing(places, points.directions[own], vesicle)
        if vesicle is not None:
            places = places + patch_angstrom**2 / vesicle.ellipsoid.half_axes_angstrom.mean() * normals
        found.append(
            Membrane(
                places,
                normals,
                points.score[own],
                len(own) * area,
                vesicle is not None,
            )
        )
    return sorted(found, key=lambda one: -one.area_angstrom2)


def thinned(membrane: Membrane, apart_angstrom: float) -> Membrane:
    """Points no nearer than a distance, the clearest first."""
    order = np.argsort(-membrane.score, kind="stable")
    kept = order[keep_apart(membrane.points_xyz_angstrom[order], apart_angstrom)]
    return replace(
        membrane,
        points_xyz_angstrom=membrane.points_xyz_angstrom[kept],
        normals=membrane.normals[kept],
        score=membrane.score[kept],
    )


def _vesicle(points: Array, normals: Array, voxel: float) -> EllipsoidFit | None:
    """The ellipsoid that a sheet lies on, seen from most sides; None if it does not."""
    some = points[:: max(1, len(points) // _FIT_POINTS)]
    try:
        # A sphere costs a small part of an ellipsoid, and shows that most sheets close nowhere.
        if _covered(points - fit_sphere(some).ellipsoid.centre_xyz_angstrom) < _LIKELY_COVERED * _COVERED:
            return None
        fit = fit_ellipsoid(some)
    except (DataUnfitError, UserInputError):
        return None
    if fit.rms_angstrom > _LARGEST_MISFIT * voxel or (fit.weights > 0).mean() < _LEAST_FITTED:
        return None
    rays = points - fit.ellipsoid.centre_xyz_angstrom
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9)
    if float(np.median(np.abs(np.einsum("nd,nd->n", rays, normals)))) < _RADIAL_COSINE:
        return None
    return fit if _covered(rays) > _COVERED else None


def _covered(rays: Array) -> float:
    """Part of all directions outside the missing wedge near which there is a ray ``(n, 3)``."""
    half = half_sphere(100)
    asked = np.concatenate([half, -half])
    asked = asked[np.abs(asked[:, 2]) < _WEDGE_COSINE]
    units = rays / np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9)
    return float(((asked @ units.T).max(axis=1) > _NEAR_DIRECTION_COSINE).mean())


def _on_ellipsoid(fit: EllipsoidFit, points: Array, normals: Array, voxel: float) -> NDArray[np.bool_]:
    rays = points - fit.ellipsoid.centre_xyz_angstrom
    near = (
        np.linalg.norm(rays, axis=1)
        < _NEAR_REACH * float(np.max(fit.ellipsoid.half_axes_angstrom)) + 2 * voxel
    )
    on_it = np.zeros(len(points), dtype=bool)
    index = np.flatnonzero(near)
    distance = np.abs(distance_to_ellipsoid(fit.ellipsoid, points[index]))
    rays = rays[index] / np.maximum(np.linalg.norm(rays[index], axis=1, keepdims=True), 1e-9)
    facing = np.abs(np.einsum("nd,nd->n", rays, normals[index])) > _FACING_COSINE
    on_it[index[(distance < _LARGEST_MISFIT * voxel) & facing]] = True
    return on_it


def _facing(points: Array, normals: Array, vesicle: EllipsoidFit | None) -> Array:
    """Normals turned outward, or to one side."""
    if vesicle is not None:
        toward = points - vesicle.ellipsoid.centre_xyz_angstrom
    else:
        values, vectors = np.linalg.eigh(normals.T @ normals)
        toward = np.broadcast_to(vectors[:, np.argmax(values)], normals.shape)
    sign = np.where(np.einsum("nd,nd->n", toward, normals) < 0, -1.0, 1.0)
    return normals * sign[:, None]
