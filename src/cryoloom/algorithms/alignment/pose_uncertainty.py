"""The reported error of poses: the part that halves of the tracks show, and the part that they share.

Halves of the tracks are compared with images or with a reconstruction that have the same error, so an error
that all tracks of a view share is not visible between them. It is partly visible as residual: a view with
worse fitting tracks is also placed worse, by a share of the residual that depends on the kind of tracks. A
drift that was found by sharpness, and the axis, are common to all tracks. If tilts are taken from the stage,
no track shows their small errors.

Poses are right where the tracks are. The specimen may lie elsewhere: gold on a surface of the ice is half its
thickness away from the middle. At that distance an error of the tilt or the axis moves the specimen although
no track moves, so this part grows with the distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsqr

from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution
from cryoloom.algorithms.alignment.cross_validation import pose_distances
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import jacobians
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.transmitted_thickness import TransmittedThickness
from cryoloom.algorithms.specimen.point_surfaces import find_surfaces
from cryoloom.geometry.tilt_axis import column_slopes

__all__ = ["SHARED_PART", "axis_error_of_tracks", "errors_at_height", "half_thickness", "reported_errors"]

Array = NDArray[np.float64]

# Of the mean residual of a view. With the other two parts 0.2 (features) and 0.35 (patches) cover
# 68 % of the true errors of simulated series (`benchmarks/pose_errors.py`, seeds 1 and 2); the gold of
# EMPIAR-10499 needs 0.5 and 0.7. The values used lie between the two.
SHARED_PART = {"beads": 0.3, "fiducials": 0.3, "features": 0.3, "patches": 0.45}
TILT_ERROR_DEG = 0.1  # chosen, as in the simulator: rms difference of a stage's angles from the reported ones
# Rms error of the axis on simulated series; patches all lie near one plane and hardly determine it.
AXIS_ERROR_DEG = {"beads": 0.02, "fiducials": 0.02, "features": 0.05, "patches": 0.4}
DEPTH_ANGSTROM = 350.0  # rms height in 1200 A of ice, also where all tracks lie in one plane
THICKNESS_ANGSTROM, THICKNESS_SD_ANGSTROM = 1400.0, 700.0
"""Chosen: thickness of ice if nothing is known of it; plunge-frozen ice is 500 to 2500 A thick."""
SURFACE_ANGSTROM = 100.0
"""Chosen: depth that holds most gold of one surface; beads are 50 to 150 A wide."""
LEAST_WEIGHT = 0.02  # chosen: observations of less weight do not count, as for residuals


def reported_errors(
    method: str,
    tracks: Tracks,
    solution: BundleSolution,
    halves_angstrom: Array,
    *,
    tilts_are_solved: bool,
    drift_angstrom: Array | float = 0.0,
    axis_error_deg: float | None = None,
) -> Array:
    """Error of each view's pose ``(n_views,)`` in angstrom, one deviation; NaN where the halves give none.

    halves_angstrom : by `pose_errors`. Added in quadrature: a share of the view's mean residual, and what an
    error of the tilt does to points of the specimen (x sin t across the axis, z cos t), unless it is solved.
    drift_angstrom : ``(n_views,)``, error of a smooth drift that the halves share, if it was found apart.
    axis_error_deg : of an axis that was not found by these tracks; unset: what is usual for them.
    """
    residual, counts = solution.view_residuals_angstrom(tracks)
    shared = SHARED_PART[method] * np.where(counts > 0, residual, 0.0)
    points = solution.points_xyz_angstrom[np.isfinite(solution.points_xyz_angstrom).all(axis=1)]
    error_deg = AXIS_ERROR_DEG[method] if axis_error_deg is None else axis_error_deg
    by_axis = _moved_by_axis(solution.geometry, points, error_deg)
    shared = np.sqrt(shared**2 + np.square(drift_angstrom) + by_axis**2)
    if tilts_are_solved:
        return np.hypot(halves_angstrom, shared)
    per_x, per_z = column_slopes(solution.geometry.tilt_deg)
    width, depth = (points.std(axis=0)[[0, 2]]) if len(points) else np.zeros(2)
    moved = np.hypot(width * per_z, max(float(depth), DEPTH_ANGSTROM) * per_x)
    turned = np.deg2rad(TILT_ERROR_DEG) * moved
    return np.asarray(np.sqrt(halves_angstrom**2 + shared**2 + turned**2))


def errors_at_height(
    errors_angstrom: Array,
    method: str,
    tracks: Tracks,
    solution: BundleSolution,
    height_angstrom: float | None,
    *,
    ice: TransmittedThickness | None = None,
    tilts_are_solved: bool,
    axis_is_solved: bool,
) -> Array:
    """Errors by `reported_errors` for a specimen whose middle is that far above the tracked points.

    An error of the tilt moves it by h cos t across the axis, an error of the axis by h sin t along it; no
    rigid motion makes up for either. height_angstrom : None where the middle was not found; gold that lies
    all on one plane is then taken for one surface of the ice. ice : its thickness by transmission.
    """
    if height_angstrom is None:
        on_surface = method in ("beads", "fiducials") and _lies_on_a_surface(tracks, solution)
        height_angstrom = half_thickness(ice) if on_surface else 0.0
    per_x, per_z = column_slopes(solution.geometry.tilt_deg)
    across = 0.0 if tilts_are_solved else TILT_ERROR_DEG
    along = AXIS_ERROR_DEG[method]
    if axis_is_solved:
        along = max(along, axis_error_of_tracks(tracks, solution))
    moved = np.deg2rad(np.hypot(across * per_x, along * per_z)) * height_angstrom
    return np.hypot(errors_angstrom, moved)


def half_thickness(ice: TransmittedThickness | None) -> float:
    """Distance of the middle from one surface, rms over the thicknesses that are likely, in angstrom.

    What is usual and what was measured are combined by their errors.
    """
    weights = np.array([1 / THICKNESS_SD_ANGSTROM**2, 0.0 if ice is None else 1 / ice.error_angstrom**2])
    known = np.array([THICKNESS_ANGSTROM, 0.0 if ice is None else ice.thickness_angstrom])
    mean = float(weights @ known / weights.sum())
    return 0.5 * float(np.sqrt(mean**2 + 1 / weights.sum()))


def axis_error_of_tracks(tracks: Tracks, solution: BundleSolution) -> float:
    """Error in degrees of one axis for all views, as the scatter of the tracks leaves it.

    The part of the change of all positions by a turn of the axis that shifts and points can follow carries no
    information; the rest, in units of the scatter, is the information. Gold on one plane in a short range of
    tilts gives little information: x (1 - cos t). 0 if there is none.
    """
    weight = solution.robust_weight * tracks.weight
    used = (weight > LEAST_WEIGHT) & np.isfinite(solution.residual_xy_angstrom).all(axis=1)
    if not used.any():
        return 0.0
    by_view, by_point = jacobians(tracks, solution.geometry, solution.points_xyz_angstrom)
    _, view = np.unique(tracks.view[used], return_inverse=True)
    _, point = np.unique(tracks.point[used], return_inverse=True)
    n, n_views, n_points = len(view), view.max() + 1, point.max() + 1
    n_unknown = 2 * n_views + 3 * n_points
    freedom = 2 * n - n_unknown - 1
    root = np.sqrt(weight[used])
    row = np.arange(2 * n).reshape(n, 2)
    shifts = csr_array(
        (np.repeat(root, 2), (row.ravel(), (2 * view[:, None] + np.arange(2)).ravel())),
        shape=(2 * n, n_unknown),
    )
    columns = np.broadcast_to((2 * n_views + 3 * point[:, None] + np.arange(3))[:, None], (n, 2, 3))
    rows = np.broadcast_to(row[:, :, None], (n, 2, 3))
    values = root[:, None, None] * by_point[used]
    points = csr_array((values.ravel(), (rows.ravel(), columns.ravel())), shape=(2 * n, n_unknown))
    turn = (root[:, None] * by_view[used][:, :, 2]).ravel()
    system = shifts + points
    left = turn - system @ lsqr(system, turn, atol=1e-9, btol=1e-9)[0]
    information = float(left @ left)
    if freedom <= 0 or information <= 0:
        return 0.0
    scatter = (weight[used, None] * solution.residual_xy_angstrom[used] ** 2).sum() / freedom
    return float(np.rad2deg(np.sqrt(scatter / information)))


def _lies_on_a_surface(tracks: Tracks, solution: BundleSolution) -> bool:
    """Whether all tracked points lie on one plane."""
    counts = solution.point_residuals_angstrom(tracks)[1] > 0
    found = find_surfaces(solution.points_xyz_angstrom[counts])
    if found is None or found.distance_angstrom is not None:
        return False
    return found.cloud_thickness_angstrom < SURFACE_ANGSTROM


def _moved_by_axis(geometry: SeriesGeometry, points: Array, error_deg: float) -> Array:
    """By how much an error of the axis moves the points in each view ``(n_views,)``, less a rigid motion."""
    everywhere = np.ones(geometry.n_views, dtype=bool)
    moved = pose_distances(geometry, geometry.with_axis_turned(error_deg), points, everywhere)
    return np.nan_to_num(moved)
