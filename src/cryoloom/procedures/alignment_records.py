"""Figures and records of `align_series`: the quality of the result, and the evidence shown in the report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.alignment_methods import Alignment
from cryoloom.algorithms.alignment.axis_search import agreed_axis, common_line_of
from cryoloom.algorithms.alignment.first_alignment import FirstAlignment
from cryoloom.algorithms.alignment.local_alignment import LocalChoice
from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.algorithms.series.tilt_offset import TransmissionFit
from cryoloom.algorithms.specimen.point_surfaces import find_surfaces
from cryoloom.contract.figures import Bounds, Column, Figure, Record
from cryoloom.contract.step import JsonValue, StepContext
from cryoloom.model import TiltSeries

__all__ = [
    "ALIGNMENT_FIGURES",
    "ALIGNMENT_RECORDS",
    "BEAD_DIAMETER",
    "record_alignment",
    "record_axis",
    "record_offset",
    "record_residuals",
]

Array = NDArray[np.float64]

OTHER_AXIS_DEG = 1.8
"""Difference of the tracks' axis from metadata and common line that is reported; patches alone err by 0.9."""

IN_PARTS = "the tracks do not hold the series together, so comparing their halves shows no error"
TOO_FEW_TRACKS = "there are too few tracks to solve the geometry with some of them left out"

BEAD_DIAMETER = Figure(
    "bead_diameter_angstrom",
    "angstrom",
    "Bead diameter",
    "Diameter of the gold beads, measured in the images.",
    role="bead_diameter",
)

ALIGNMENT_FIGURES = (
    Figure(
        "residual_mean_angstrom",
        "angstrom",
        "Alignment residual, mean",
        "Mean distance between the tracked positions of features and those of the solved geometry. It limits "
        "the resolution of the tomogram.",
        bounds=Bounds(10.0, 30.0, "Features of this size and finer are blurred in the tomogram."),
        column=Column("Residual"),
        role="alignment_residual",
    ),
    Figure(
        "pose_error_angstrom",
        "angstrom",
        "Pose error",
        "Expected error of the projected position of a point of the specimen, rms over the tilts. It "
        "combines the difference between two solutions from halves of the tracks, a share of the residuals "
        "for errors common to both halves, an error of 0.1 degree of the stage's tilt, and the distance of "
        "the specimen from the tracks, at which errors of tilt and axis move it.",
    ),
    Figure(
        "tilt_axis_deg",
        "deg",
        "Tilt axis",
        "Direction of the tilt axis in the images, counter-clockwise from +y. It is a property of the "
        "microscope.",
        good="the same in every series of a session",
        role="tilt_axis",
    ),
    Figure(
        "n_tracks",
        "",
        "Tracked features",
        "Beads, patches or other features followed through the series to solve the alignment.",
    ),
    Figure(
        "n_predicted",
        "tilts",
        "Tilts with interpolated poses",
        "Tilts on which nothing could be tracked; their pose is interpolated.",
        good="0",
    ),
    BEAD_DIAMETER,
    Figure(
        "left_out_error_angstrom",
        "angstrom",
        "Alignment error, cross-validated",
        "Distance of tracked features from a solution made without them. Unlike the residual, it is not "
        "lowered by fitting noise.",
        role="alignment_error",
    ),
    Figure(
        "left_out_error_rigid_angstrom",
        "angstrom",
        "Alignment error, cross-validated, without local alignment",
        "The cross-validated error if every image is shifted as a whole. A local alignment is used only if "
        "it lowers this error.",
    ),
    Figure(
        "local_displacement_angstrom",
        "angstrom",
        "Local displacement",
        "Rms over images and field of the displacement that the local alignment adds to the poses.",
    ),
    Figure(
        "track_cloud_angstrom",
        "angstrom",
        "Depth of the tracked features",
        "Range of depth, across their plane, that contains the middle 90 % of the tracked features.",
    ),
    Figure(
        "bead_surface_distance_angstrom",
        "angstrom",
        "Distance of the bead surfaces",
        "Distance of the two parallel planes of gold beads, if there are two.",
    ),
    Figure(
        "axis_by_common_line_deg",
        "deg",
        "Tilt axis by common lines",
        "Axis along which the profiles of all images agree best. It is independent of the tracks.",
        good="within a degree of the tilt axis",
        role="tilt_axis_evidence",
    ),
    Figure(
        "tilt_offset_by_light_deg",
        "deg",
        "Tilt offset by transmission",
        "Pretilt of the specimen on the stage: minus the nominal tilt at which most electrons are "
        "transmitted.",
    ),
    Figure(
        "tilt_offset_by_plane_deg",
        "deg",
        "Tilt offset by the plane of the specimen",
        "Pretilt of the slab that contains the specimen, measured about half-way through the alignment, to "
        "one or two degrees.",
    ),
)
ALIGNMENT_RECORDS = (
    Record(
        "alignment",
        "Residual, cross-validated error and pose error of every tilt, and the methods tried.",
        shows="alignment_errors",
    ),
    Record(
        "residuals",
        "Position and residual of every track in every image.",
        shows="residuals",
    ),
    Record(
        "tilt_axis",
        "Evidence on the direction of the tilt axis: similarity of neighbouring images for every axis over "
        "half a turn, common lines, and the tracks.",
        shows="tilt_axis",
    ),
    Record(
        "local",
        "Local alignments tried with their cross-validated errors, and the rms displacement in every image.",
        shows="local_alignment",
    ),
    Record(
        "tilt_offset",
        "Tilt offset by transmission and by the plane of the specimen.",
    ),
)

MOST_RESIDUALS = 4000
"""Chosen: points of a plot; tracks are thinned evenly."""
_LEAST_WEIGHT = 0.02
"""Chosen: robust weight below which a measurement no longer counts."""


def record_alignment(
    series: TiltSeries,
    best: Alignment,
    tried: list[Alignment],
    left_out: Array | None,
    context: StepContext,
) -> None:
    """Figures, and the table of errors over tilts. left_out : cross-validated error of each observation."""
    tracks, solution = best.tracks, best.solution
    residual, counts = solution.view_residuals_angstrom(tracks)
    context.figure(
        "residual_mean_angstrom",
        solution.mean_residual_angstrom(tracks),
        reason="the solution uses no track",
    )
    context.figure(
        "pose_error_angstrom",
        best.reported_error_angstrom if best.holds_together else np.nan,
        reason=TOO_FEW_TRACKS if best.holds_together else IN_PARTS,
    )
    context.figure("tilt_axis_deg", float(series.tilt_axis_deg.applied or 0.0))
    context.figure("n_tracks", int((solution.point_residuals_angstrom(tracks)[1] > 0).sum()))
    context.figure("n_predicted", sum(t.pose is not None and t.pose.predicted for t in series.included))
    if best.bead_diameter_angstrom is not None:
        context.figure("bead_diameter_angstrom", best.bead_diameter_angstrom)
    _record_surfaces(best, context)
    by_view = np.full(tracks.n_views, np.nan)
    if left_out is not None:
        known = left_out[np.isfinite(left_out)]
        typical = float(np.median(known)) if len(known) else np.nan
        context.figure("left_out_error_angstrom", typical, reason=TOO_FEW_TRACKS)
        for view in np.unique(tracks.view):
            seen = left_out[(tracks.view == view) & np.isfinite(left_out)]
            by_view[view] = np.median(seen) if len(seen) else np.nan
    context.record(
        "alignment",
        {
            "acquisition_index": [t.acquisition_index for t in series.tilts],
            "residual_angstrom": _numbers(residual),
            "n_points": [int(c) for c in counts],
            "left_out_error_angstrom": _numbers(by_view),
            "pose_error_angstrom": _numbers(best.pose_error_angstrom),
            "method": series.tilt_axis_deg.measured_by,
            "tried": [
                {
                    "method": one.method,
                    "n_tracks": int(one.tracks.n_points),
                    "residual_angstrom": _number(one.solution.mean_residual_angstrom(one.tracks)),
                    "pose_error_angstrom": _number(one.reported_error_angstrom),
                }
                for one in tried
            ],
        },
    )


def _record_surfaces(best: Alignment, context: StepContext) -> None:
    """Depth range of the points in use, and the distance of two surfaces if beads lie on both."""
    counts = best.solution.point_residuals_angstrom(best.tracks)[1] > 0
    found = find_surfaces(best.solution.points_xyz_angstrom[counts])
    if found is None:
        return
    context.figure("track_cloud_angstrom", found.cloud_thickness_angstrom)
    if best.method == "beads" and found.distance_angstrom is not None:
        context.figure("bead_surface_distance_angstrom", found.distance_angstrom)


def record_local(series: TiltSeries, choice: LocalChoice, context: StepContext) -> None:
    """Local alignments that were tried, their errors on left-out tracks, and the size of the displacement."""
    known = choice.rigid_error_angstrom[np.isfinite(choice.rigid_error_angstrom)]
    rigid = float(np.median(known)) if len(known) else None
    context.figure("left_out_error_rigid_angstrom", np.nan if rigid is None else rigid, reason=TOO_FEW_TRACKS)
    sizes = np.zeros(len(series.tilts))
    if choice.local is not None:
        for i, warp in enumerate(choice.local.warps):
            sizes[i] = 0.0 if warp is None else np.sqrt((warp.controls**2).sum(axis=2).mean())
        context.figure("local_displacement_angstrom", float(np.sqrt(np.mean(sizes**2))))
    context.record(
        "local",
        {
            "used": choice.local is not None,
            "significance": round(choice.significance, 2),
            "rigid_angstrom": rigid,
            "tried": [
                {
                    "size_angstrom": prior.size_angstrom,
                    "memory": prior.memory,
                    "left_out_error_angstrom": error,
                }
                for prior, error in choice.tried
            ],
            "acquisition_index": [tilt.acquisition_index for tilt in series.tilts],
            "displacement_angstrom": _numbers(sizes),
        },
    )


def record_residuals(series: TiltSeries, best: Alignment, context: StepContext) -> None:
    """Position and residual of each track in each image; if there are many, an even selection of tracks."""
    tracks = best.tracks
    every = max(1, int(np.ceil(len(tracks.view) / MOST_RESIDUALS)))
    shown = (tracks.point % every == 0) & np.isfinite(best.solution.residual_xy_angstrom).all(axis=1)
    index = np.array([t.acquisition_index for t in series.tilts])
    context.record(
        "residuals",
        {
            "kind": best.method,
            "acquisition_index": [int(i) for i in index[tracks.view[shown]]],
            "track": [int(p) for p in tracks.point[shown]],
            "x_angstrom": [round(float(x), 1) for x in tracks.position_xy_angstrom[shown, 0]],
            "y_angstrom": [round(float(y), 1) for y in tracks.position_xy_angstrom[shown, 1]],
            "dx_angstrom": [round(float(x), 2) for x in best.solution.residual_xy_angstrom[shown, 0]],
            "dy_angstrom": [round(float(y), 2) for y in best.solution.residual_xy_angstrom[shown, 1]],
            "counts": [bool(w > _LEAST_WEIGHT) for w in best.solution.robust_weight[shown]],
        },
    )


def record_axis(
    series: TiltSeries,
    images: TiltImages,
    first: FirstAlignment,
    best: Alignment,
    usable: NDArray[np.bool_],
    context: StepContext,
) -> None:
    """Evidence on the axis: the nominal axis, whole images over half a turn, common lines, and tracks."""
    geometry = best.solution.geometry
    lines = common_line_of(images, geometry, usable)
    context.figure("axis_by_common_line_deg", lines.best_deg)
    _doubt_axis(series, geometry.mean_axis_deg, lines.best_deg, best.method, context)
    context.record(
        "tilt_axis",
        {
            "told_deg": series.tilt_axis_deg.told,
            "told_is_refuted": first.nominal_is_refuted,
            "by_squeezed_pairs_deg": first.fine.best_deg,
            "by_common_line_deg": lines.best_deg,
            "by_tracks_deg": series.tilt_axis_deg.measured,
            "circle_deg": _numbers(first.circle.axes_deg),
            "circle_score": _numbers(first.circle.scores),
            "common_line_deg": _numbers(lines.axes_deg),
            "common_line_score": _numbers(lines.scores),
        },
    )


def _doubt_axis(
    series: TiltSeries, found_deg: float, line_deg: float, method: str, context: StepContext
) -> None:
    """Warn if the tracks' axis differs from the one on which metadata and common line agree."""
    nominal_deg = series.tilt_axis_deg.told
    agreed_deg = agreed_axis(nominal_deg, line_deg)
    if agreed_deg is None:
        return
    if abs((found_deg - line_deg + 90.0) % 180.0 - 90.0) > OTHER_AXIS_DEG:
        context.warn(
            f"the tilt axis by {method}, {found_deg:.1f} degrees, disagrees with the metadata "
            f"({nominal_deg:.1f}) and the common line of the images ({line_deg:.1f}): the poses may be "
            f"wrong. Look at the tomogram, or set tilt_axis_deg={nominal_deg:.1f} and axis=fixed"
        )


def record_offset(light: TransmissionFit | None, plane_deg: float | None, context: StepContext) -> None:
    """Tilt offset by the transmitted electrons and by the plane of the specimen."""
    if light is not None:
        context.figure("tilt_offset_by_light_deg", light.offset_deg)
    if plane_deg is not None:
        context.figure("tilt_offset_by_plane_deg", plane_deg)
    context.record(
        "tilt_offset",
        {
            "by_light_deg": None if light is None else light.offset_deg,
            "by_light_error_deg": None if light is None else light.error_deg,
            "thickness_over_mean_free_path": None if light is None else light.relative_thickness,
            "by_plane_deg": plane_deg,
        },
    )


def _numbers(values: Array) -> list[JsonValue]:
    """Plain numbers for a record, None for missing ones."""
    return [_number(v) for v in values]


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
