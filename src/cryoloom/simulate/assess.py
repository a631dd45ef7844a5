"""Distance of a result from the truth: the figures that benchmarks print, in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.projection import project
from cryoloom.model import TiltSeries
from cryoloom.simulate.truth import Truth

__all__ = [
    "AlignmentError",
    "alignment_error_angstrom",
    "axis_error_deg",
    "defocus_errors_angstrom",
    "defocus_errors_at_origin_angstrom",
    "frame_shift_errors_angstrom",
]


ROBUST_SCALE_ANGSTROM = 10.0
"""Chosen: points farther from the best common position count less."""


@dataclass(frozen=True, slots=True)
class AlignmentError:
    """Distance of projected specimen points from where they truly fall, after one rigid 3D motion."""

    rms_angstrom: float
    per_tilt_angstrom: Mapping[int, float]
    """Rms of each included tilt, by acquisition index."""
    rotation: NDArray[np.float64]
    """From true specimen coordinates to the result's, ``(3, 3)``; then the translation, ``(3,)``."""
    translation_xyz_angstrom: NDArray[np.float64]


def alignment_error_angstrom(
    truth: Truth, series: TiltSeries, points_xyz_angstrom: NDArray[np.float64], *, robust: bool = False
) -> AlignmentError:
    """Rms over included tilts and points of estimated minus true image positions.

    A tomogram may be turned and moved as a whole: one rotation and translation of the specimen is fitted
    (least squares), nothing else. A tilt's own shift is not free. Excluded tilts do not count. robust : tilts
    that are far off have little say in the motion (Cauchy's loss), so that they do not blame the others.
    """
    tilts = series.included
    if not tilts or any(tilt.pose is None for tilt in tilts):
        raise DataUnfitError(
            "every included tilt needs a pose to be compared with the truth", n_tilts=len(tilts)
        )
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    matrices = np.array([pose.magnification * pose.matrix for pose in poses])
    shifts = np.array([pose.shift_xy_angstrom for pose in poses])
    true_poses = [truth.tilt(tilt.acquisition_index).pose for tilt in tilts]
    target = project(
        points_xyz_angstrom,
        np.array([pose.matrix for pose in true_poses]),
        np.array([pose.shift_xy_angstrom for pose in true_poses]),
    )
    scale = max(float(np.abs(points_xyz_angstrom).max()), 1.0)

    def moved(motion: NDArray[np.float64]) -> NDArray[np.float64]:
        turned = points_xyz_angstrom @ Rotation.from_rotvec(motion[:3]).as_matrix().T
        return turned + scale * motion[3:]

    def misses(motion: NDArray[np.float64]) -> NDArray[np.float64]:
        return (project(moved(motion), matrices, shifts) - target).ravel()

    if robust:
        middle = points_xyz_angstrom.mean(axis=0)
        first = _common_translation(
            matrices, target.mean(axis=1) - project(middle[None], matrices, shifts)[:, 0]
        )
        best = least_squares(
            misses,
            np.concatenate([np.zeros(3), first / scale]),
            loss="cauchy",
            f_scale=ROBUST_SCALE_ANGSTROM,
        )
    else:
        best = least_squares(misses, np.zeros(6))
    squared = (misses(best.x).reshape(target.shape) ** 2).sum(axis=2)
    return AlignmentError(
        rms_angstrom=float(np.sqrt(squared.mean())),
        per_tilt_angstrom={
            tilt.acquisition_index: float(np.sqrt(row.mean()))
            for tilt, row in zip(tilts, squared, strict=True)
        },
        rotation=Rotation.from_rotvec(best.x[:3]).as_matrix(),
        translation_xyz_angstrom=scale * best.x[3:],
    )


def _common_translation(
    matrices: NDArray[np.float64], moved_xy_angstrom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Translation of the specimen ``(3,)`` that agrees with the moves of most tilts' images ``(n, 2)``.

    Each pair of tilts gives one. The height may differ by the thickness of the ice between two right
    solutions: at 20 degrees that moves an image by hundreds of angstrom, which a robust fit that begins at 0
    takes for outliers.
    """
    rows = matrices[:, :2]
    first, second = np.triu_indices(len(rows), k=1)
    stacked = np.concatenate([rows[first], rows[second]], axis=1)
    moves = np.concatenate([moved_xy_angstrom[first], moved_xy_angstrom[second]], axis=1)
    found = np.einsum("nij,nj->ni", np.linalg.pinv(stacked, rcond=1e-6), moves)
    misses = np.linalg.norm(found @ rows.transpose(0, 2, 1) - moved_xy_angstrom[:, None], axis=2)
    cost = np.log1p((misses / ROBUST_SCALE_ANGSTROM) ** 2).sum(axis=0)
    return np.asarray(found[np.argmin(cost)])


def axis_error_deg(truth: Truth, series: TiltSeries) -> float:
    """Mean estimated minus mean true tilt axis of the included tilts, within half a turn, signed."""
    pairs = [
        (tilt.pose.axis_deg, truth.tilt(tilt.acquisition_index).axis_deg)
        for tilt in series.included
        if tilt.pose is not None
    ]
    if not pairs:
        raise DataUnfitError("no included tilt has a pose to be compared with the truth")
    differences = np.array([(found - true + 90.0) % 180.0 - 90.0 for found, true in pairs])
    return float(differences.mean())


def frame_shift_errors_angstrom(truth: Truth, series: TiltSeries) -> dict[int, float]:
    """Rms, per axis, of estimated minus true frame shifts of each tilt that has them, by acquisition index.

    Both are taken relative to their mean. EER fractions are compared with the mean of the truth over each.
    """
    errors = {}
    for tilt in series.tilts:
        found = np.array(tilt.frame_shifts_yx_angstrom).reshape(-1, 2)
        if len(found) == 0:
            continue
        true = np.array(truth.tilt(tilt.acquisition_index).frame_shifts_yx_angstrom)
        if len(found) != len(true):
            true = _resampled(true, len(found))
        difference = (found - found.mean(axis=0)) - (true - true.mean(axis=0))
        errors[tilt.acquisition_index] = float(np.sqrt((difference**2).mean()))
    return errors


def _resampled(positions: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Mean position over each of ``n`` equal parts of an exposure given in another number of parts."""
    fine = np.repeat(positions, n, axis=0)
    return fine.reshape(n, len(positions), 2).mean(axis=1)


def defocus_errors_angstrom(
    truth: Truth, series: TiltSeries, *, at: Literal["origin", "ice"] = "origin"
) -> dict[int, float]:
    """Estimated minus true mean defocus of each included tilt that has a CTF, by acquisition index.

    at : "origin" compares at the specimen's origin, as the model defines a tilt's defocus; "ice" at the
    middle of the ice in the image's centre, which is all that an estimate before alignment can know.
    """
    errors = {}
    for tilt in series.included:
        if tilt.ctf is not None:
            i = tilt.acquisition_index
            true = truth.tilt(i).defocus_angstrom if at == "origin" else truth.defocus_of_ice_angstrom(i)
            errors[i] = tilt.ctf.defocus_angstrom - true
    return errors


def defocus_errors_at_origin_angstrom(truth: Truth, series: TiltSeries) -> dict[int, float]:
    """Mean defocus minus the true one of the point that the poses call their origin, by acquisition index.

    Where that point truly is follows from the poses as in `alignment_error_angstrom`; of the specimen and its
    mirror image, half a turn of the axis apart, the one the poses describe is taken. Only tilts whose CTF
    refers to the origin count, and only poses that are not predictions show where it is.
    """
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    placed = {t.acquisition_index: t.pose for t in series.included if t.pose and not t.pose.predicted}
    seen = replace(series, tilts=tuple(t for t in series.tilts if t.acquisition_index in placed))
    mirrored = seen.with_tilts(
        {
            i: {"pose": replace(pose, axis_deg=(pose.axis_deg + 360.0) % 360.0 - 180.0)}
            for i, pose in placed.items()
        }
    )
    direct, turned = (alignment_error_angstrom(truth, one, points) for one in (seen, mirrored))
    # r' = R r + t, and half a turn on every point is at its opposite; the origin is the same in both.
    fit = direct if direct.rms_angstrom <= turned.rms_angstrom else turned
    origin = -fit.rotation.T @ fit.translation_xyz_angstrom
    errors = {}
    for tilt in series.included:
        if tilt.ctf is None or tilt.pose is None or tilt.ctf.refers_to != "origin":
            continue
        true = truth.tilt(tilt.acquisition_index)
        depth = float((true.pose.matrix @ origin)[2])
        errors[tilt.acquisition_index] = (
            tilt.ctf.defocus_angstrom - true.defocus_angstrom + truth.handedness * depth
        )
    return errors
