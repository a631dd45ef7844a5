"""Poses that another program found, put on the tilts of a series: imported from files, or just made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cryoloom.algorithms.alignment.specimen_middle import SPECIMEN_PIXEL_ANGSTROM, bytes_to_measure_specimen
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.algorithms.series.tilt_matching import evidence_of_tilts
from cryoloom.algorithms.series.view_matching import ViewEvidence, match_views
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment
from cryoloom.model import Exclusion, Stack, TiltSeries
from cryoloom.model.limits import require_shift_in_field
from cryoloom.procedures.specimen_origin import place_specimen, with_handedness_followed

__all__ = ["FOREIGN_POSE_FIGURES", "bytes_to_place_poses", "with_foreign_poses"]

ANOTHER_AXIS_DEG = 15.0
"""Largest difference of the axis from the metadata: they err by less, or by a quarter turn."""

FOREIGN_POSE_FIGURES = (
    Figure(
        "tilt_axis_deg",
        "deg",
        "Tilt axis",
        "Direction of the tilt axis in the images, counter-clockwise from +y, median over tilts.",
        good="the same in every series of a session",
        role="tilt_axis",
    ),
    Figure(
        "tilt_offset_deg",
        "deg",
        "Tilt offset",
        "Median difference between the tilts in use and the nominal ones: the pretilt of the specimen on "
        "the stage.",
    ),
    Figure("n_imported", "tilts", "Poses imported", "Tilts with a pose in the files of the other program."),
    Figure(
        "n_left_out",
        "tilts",
        "Tilts excluded",
        "Tilts that the other program left out, and those excluded here before.",
    ),
)


def bytes_to_place_poses(series: TiltSeries) -> int:
    """Memory of `with_foreign_poses`: the search for the specimen."""
    return bytes_to_measure_specimen(series)


def with_foreign_poses(
    series: TiltSeries,
    alignment: ForeignAlignment,
    context: StepContext,
    *,
    program: str,
    step: str,
    exclude: bool = True,
    centre_specimen: bool = False,
) -> TiltSeries:
    """Replace the poses of a series by those of another program, and look for the specimen in their frame.

    Each view is matched to a tilt by its section, confirmed by the angles, or by angle and dose alone; where
    that is not certain DataUnfitError is raised, never a view shifted by one. exclude : tilts the program
    left out are left out here too, by the name of ``step``. centre_specimen : as in `place_specimen`.
    """
    stack = series.best_stack
    _require_shifts_in_field(alignment, stack)
    for note in alignment.notes:
        context.warn(f"{alignment.source.name}: {note}")
    matched = match_views(
        evidence_of_tilts(series),
        _evidence_of_views(alignment),
        stack.images.shape[0],
        n_program_sections=alignment.n_sections,
        zero_based_too=alignment.zero_based_too,
        left_out=alignment.left_out,
    )
    aligned = _with_poses(series, alignment, matched, step, exclude=exclude)
    offset = _report(aligned, context)
    axis = float(np.median([tilt.pose.axis_deg for tilt in aligned.included if tilt.pose is not None]))
    by = f"{program}: {alignment.source.name}"
    _note_other_axis(series, axis, alignment, context)
    aligned = replace(
        with_handedness_followed(aligned, series, context),
        tilt_axis_deg=series.tilt_axis_deg.with_measured(axis, by, apply=True),
        tilt_offset_deg=series.tilt_offset_deg.with_measured(offset, by, apply=True),
    )
    images = load_tilt_images(
        stack.images, stack.pixel_size_angstrom, SPECIMEN_PIXEL_ANGSTROM, device=context.device
    )
    places = [tilt.section for tilt in aligned.tilts]
    return place_specimen(aligned, images, places, context, by=by, centre=centre_specimen)


def _note_other_axis(
    series: TiltSeries, axis_deg: float, alignment: ForeignAlignment, context: StepContext
) -> None:
    """Say where the tilt axis is another line than the one known before: of a turned stack, or not solved."""
    known = series.tilt_axis_deg.applied
    if known is None:
        return
    apart = abs((axis_deg - known + 90.0) % 180.0 - 90.0)
    if apart > ANOTHER_AXIS_DEG:
        context.warn(
            f"{alignment.source.name} has the tilt axis at {axis_deg:.1f} deg, {series.name} at {known:.1f} "
            f"deg: {apart:.0f} deg apart; that of {alignment.source.name} is used. Check that it was made "
            "on these images, without rotation, and that the alignment was finished"
        )


def _require_shifts_in_field(alignment: ForeignAlignment, stack: Stack) -> None:
    """Raise DataUnfitError where a shift is many times the field: a lost decimal comma, or other units."""
    n_y, n_x = stack.shape_yx
    field = (n_x * stack.pixel_size_angstrom, n_y * stack.pixel_size_angstrom)
    for i, view in enumerate(alignment.views, start=1):
        if view.pose is not None:
            require_shift_in_field(view.pose.shift_xy_angstrom, field, f"view {i} of {alignment.source.name}")


def _evidence_of_views(alignment: ForeignAlignment) -> ViewEvidence:
    views = alignment.views
    return ViewEvidence(
        np.array([np.nan if view.tilt_deg is None else view.tilt_deg for view in views]),
        np.array(
            [np.nan if (dose := view.dose_start_per_angstrom2) is None else dose for view in views],
            dtype=float,
        ),
        np.array([-1 if view.section is None else view.section for view in views], dtype=np.int64),
    )


def _with_poses(
    series: TiltSeries,
    alignment: ForeignAlignment,
    matched: np.ndarray[Any, Any],
    step: str,
    *,
    exclude: bool,
) -> TiltSeries:
    """Every tilt with its view's pose; one without a view has none and is excluded."""
    by = f"left out in {alignment.source.name}"
    of_tilt = {int(i): view for i, view in zip(matched, alignment.views, strict=True)}
    changes: dict[int, dict[str, Any]] = {}
    for i, tilt in enumerate(series.tilts):
        view = of_tilt.get(i)
        pose = view.pose if view is not None else None
        left_out = pose is None or (exclude and view is not None and not view.used)
        is_unused = pose is None or (left_out and tilt.kept_by is None)
        exclusion = tilt.exclusion or (Exclusion.by_step(by, step) if is_unused else None)
        changes[tilt.acquisition_index] = {"pose": pose, "exclusion": exclusion}
    return series.with_tilts(changes)


def _report(aligned: TiltSeries, context: StepContext) -> float:
    """Figures; the median of the imported minus the nominal tilts."""
    posed = [(t.pose, t.nominal_tilt_deg) for t in aligned.included if t.pose is not None]
    if len(posed) < 2:
        raise DataUnfitError(
            f"the alignment leaves {len(posed)} tilts, expected at least 2; include more tilts",
            series=aligned.name,
        )
    offset = float(np.median([pose.tilt_deg - nominal for pose, nominal in posed]))
    context.figure("tilt_axis_deg", float(np.median([pose.axis_deg for pose, _ in posed])))
    context.figure("tilt_offset_deg", offset)
    context.figure("n_imported", sum(t.pose is not None for t in aligned.tilts))
    context.figure("n_left_out", sum(t.is_excluded for t in aligned.tilts))
    return offset
