"""Poses of a series from the solution of its tracks, for every tilt, including those without tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.alignment_methods import Alignment
from cryoloom.algorithms.alignment.coarse_alignment import CoarseAlignment
from cryoloom.algorithms.alignment.track_coverage import views_placed_by_chance
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.view_distortion import with_distortions
from cryoloom.contract.step import StepContext
from cryoloom.errors import DataUnfitError
from cryoloom.model import Exclusion, ImageWarp, Pose, TiltSeries
from cryoloom.procedures.specimen_origin import with_handedness_followed

__all__ = ["LEAST_TILTS", "with_poses"]

Array = NDArray[np.float64]

LARGEST_GUESS_ERROR_ANGSTROM = 30.0
"""Chosen: a quarter of the finest detail that a tomogram shows by eye, 130 A. A tilt that is further off
blurs what the others show."""
LEAST_TO_COMPARE = 3  # chosen: tilts that are placed by tracks, for the error of those that are not
LEAST_TILTS = 5
"""Chosen: poses of fewer tilts cannot be distinguished from chance."""
WORST_OF_TYPICAL, LEAST_WRONG_ANGSTROM = 6.0, 10.0
"""A tilt is rejected if its mean residual exceeds this ratio to the typical one, and this length."""
FAR_FROM_IMAGES_ANGSTROM = 100.0
"""Largest difference between the offsets from few points and from the images, which err by tens of
angstrom."""


def with_poses(
    series: TiltSeries,
    best: Alignment,
    warps: Sequence[ImageWarp | None],
    coarse: CoarseAlignment,
    usable: NDArray[np.bool_],
    context: StepContext,
    *,
    step: str,
    exclude_unaligned: bool,
) -> TiltSeries:
    """The series with a pose on every tilt; tilts without tracks are interpolated and marked as predicted.

    A predicted tilt is excluded if poses of that kind are known to be far off, unless the user keeps it.
    exclude_unaligned : exclude every predicted one. step : name of the step, recorded as the source of the
    tilt axis and of exclusions.
    """
    residual, n_points = best.solution.view_residuals_angstrom(best.tracks)
    stack = series.best_stack
    extent = (stack.shape_yx[1] * stack.pixel_size_angstrom, stack.shape_yx[0] * stack.pixel_size_angstrom)
    evident = usable & (n_points >= best.least_points)
    chance = evident & views_placed_by_chance(best.tracks, best.solution, usable, extent)
    if chance.any() and (evident & ~chance).any():
        # The images give a rough offset as well: few points that agree with it are right.
        solved_shift = best.solution.geometry.shift_xy_angstrom
        by_images = _filled(best.solution.geometry, coarse, evident & ~chance, usable).shift_xy_angstrom
        evident &= ~(chance & (np.linalg.norm(solved_shift - by_images, axis=1) > FAR_FROM_IMAGES_ANGSTROM))
    if evident.any():
        # A tilt whose few points fit much worse than those of the others was placed by false points.
        typical = float(np.median(residual[evident]))
        evident &= residual <= max(WORST_OF_TYPICAL * typical, LEAST_WRONG_ANGSTROM)
    if evident.sum() < LEAST_TILTS:
        raise DataUnfitError(
            f"only {int(evident.sum())} tilts could be aligned, expected at least {LEAST_TILTS}; "
            "look at the series' images",
            series=series.name,
        )
    solved = best.solution.geometry.without_beam_tilt()
    geometry = _origin_at_field_centre(_filled(solved, coarse, evident, usable), evident)
    lost = [
        t.acquisition_index
        for t, e in zip(series.tilts, evident, strict=True)
        if not (e or t.is_excluded or t.section is None)
    ]
    guess_error = _errors_of_filled(solved, coarse, evident, usable)
    dropped = [
        t.acquisition_index
        for t, error in zip(series.tilts, guess_error, strict=True)
        if t.acquisition_index in lost
        and (exclude_unaligned or (error > LARGEST_GUESS_ERROR_ANGSTROM and t.kept_by is None))
    ]
    _warn_of_guesses(lost, dropped, series, guess_error, context)
    warps = with_distortions(geometry, extent, warps)
    untracked = Exclusion.by_step("nothing could be tracked", step, 0.0)
    changes: dict[int, dict[str, object]] = {}
    for i, tilt in enumerate(series.tilts):
        pose = Pose(
            axis_deg=float(geometry.axis_deg[i]),
            tilt_deg=float(geometry.tilt_deg[i]),
            x_tilt_deg=float(geometry.x_tilt_deg[i]),
            shift_xy_angstrom=(
                float(geometry.shift_xy_angstrom[i, 0]),
                float(geometry.shift_xy_angstrom[i, 1]),
            ),
            magnification=float(geometry.magnification[i]),
            residual_angstrom=float(residual[i]) if evident[i] else None,
            predicted=not bool(evident[i]),
            warp=warps[i] if evident[i] else None,
        )
        changes[tilt.acquisition_index] = {"pose": pose}
        if tilt.acquisition_index in dropped:
            changes[tilt.acquisition_index]["exclusion"] = untracked
    axis = float(np.mean(geometry.axis_deg[evident]))
    measured = series.tilt_axis_deg.with_measured(axis, f"{step} by {best.method}", apply=True)
    posed = replace(series.with_tilts(changes), tilt_axis_deg=measured)
    return with_handedness_followed(posed, series, context)


def _filled(
    geometry: SeriesGeometry, coarse: CoarseAlignment, evident: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> SeriesGeometry:
    """Tilts without tracks: coarse shift plus their neighbours' correction, other values interpolated."""
    order = np.arange(geometry.n_views)
    correction = geometry.shift_xy_angstrom - coarse.shift_xy_angstrom
    shift = geometry.shift_xy_angstrom.copy()
    for k in range(2):
        placed = np.interp(order, order[evident], shift[evident, k])
        near = coarse.shift_xy_angstrom[:, k] + np.interp(order, order[evident], correction[evident, k])
        shift[~evident, k] = np.where(usable, near, placed)[~evident]

    def along(values: Array) -> Array:
        return np.where(evident, values, np.interp(order, order[evident], values[evident]))

    return replace(
        geometry,
        shift_xy_angstrom=shift,
        axis_deg=along(geometry.axis_deg),
        magnification=along(geometry.magnification),
    )


def _errors_of_filled(
    geometry: SeriesGeometry,
    coarse: CoarseAlignment,
    evident: NDArray[np.bool_],
    usable: NDArray[np.bool_],
) -> Array:
    """Error in angstrom that the pose of each view ``(n_views,)`` has if it is filled from its neighbours.

    Known from the views that tracks place: each is left out in turn and filled as the others would be, once
    with its coarse shift and once without. NaN if too few views can be compared.
    """
    inner = np.flatnonzero(evident)[1:-1]  # beyond the outermost nothing can be interpolated
    if len(inner) < LEAST_TO_COMPARE:
        return np.full(geometry.n_views, np.nan)
    errors = []
    for with_images in (np.zeros_like(usable), np.ones_like(usable)):
        apart = []
        for view in inner:
            others = evident & (np.arange(geometry.n_views) != view)
            filled = _filled(geometry, coarse, others, with_images).shift_xy_angstrom[view]
            apart.append(filled - geometry.shift_xy_angstrom[view])
        errors.append(float(np.sqrt(np.median(np.sum(np.square(apart), axis=1)))))
    return np.where(usable, errors[1], errors[0])


def _warn_of_guesses(
    lost: list[int], dropped: list[int], series: TiltSeries, guess_error: Array, context: StepContext
) -> None:
    """Which tilts have the pose of their neighbours, how far off it may be, and which are excluded."""
    if not lost:
        return
    of_lost = [e for t, e in zip(series.tilts, guess_error, strict=True) if t.acquisition_index in lost]
    error = np.nanmax(of_lost) if np.isfinite(of_lost).any() else np.nan
    text = f"nothing could be tracked in the tilts of acquisition index {lost}; their poses are interpolated "
    text += "from their neighbours"
    if np.isfinite(error):
        text += f", with an error of up to about {error:.0f} A"
    kept = [index for index in lost if index not in dropped]
    if not dropped:
        text += ": consider excluding them"
    elif not kept:
        text += ": they are excluded"
    else:
        text += f": {dropped} are excluded; consider excluding {kept}"
    context.warn(text)


def _origin_at_field_centre(geometry: SeriesGeometry, evident: NDArray[np.bool_]) -> SeriesGeometry:
    """Move the origin in its plane so that it projects onto the centre of the least tilted image."""
    least = int(np.argmin(np.where(evident, np.abs(geometry.tilt_deg), np.inf)))
    in_plane = geometry.matrices[least, :2, :2]
    offset = np.linalg.solve(in_plane, -geometry.shift_xy_angstrom[least])
    return geometry.with_origin_moved(np.array([offset[0], offset[1], 0.0]))
