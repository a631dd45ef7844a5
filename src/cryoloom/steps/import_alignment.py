"""Take the alignment another program made: poses of IMOD, AreTomo, Warp or RELION 5 in place of ours.

Files are found by the series' name in a folder or one below it: ``NAME.xf`` with ``.tlt``, ``.xtilt``,
``.rawtlt``, ``tilt.com`` and ``newst.com`` (IMOD, and what AreTomo and others write for it), ``NAME.aln``
(AreTomo), ``NAME.xml`` (Warp), or a STAR table that lists the series (RELION 5). Each view is matched to a
tilt by its section, confirmed by the angles, or by angle and dose alone; where that is not certain the series
is refused, never shifted by one.

Views the program left out are excluded here too; what a user said stays. Pixels and doses are kept. z = 0
stays where the program put it; the specimen is looked for, and the defocus, which is measured of it, is given
at that origin.

Figures: ``tilt_axis_deg``, ``tilt_offset_deg`` (median of the imported minus the nominal tilts),
``n_imported`` views and ``n_left_out``. What command files tell besides (binning, thickness, offsets) is
recorded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cryoloom.algorithms.alignment.specimen_middle import SPECIMEN_PIXEL_ANGSTROM, bytes_to_find_specimen
from cryoloom.algorithms.series.specimen_frame import with_defocus_of_specimen
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.algorithms.series.tilt_matching import evidence_of_tilts
from cryoloom.algorithms.series.view_matching import ViewEvidence, match_views
from cryoloom.contract.figures import Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.alignment_files import alignment_digests, find_alignment, read_alignment
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment
from cryoloom.model import Exclusion, Stack, TiltSeries
from cryoloom.model.limits import require_shift_in_field
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES, place_specimen

__all__ = ["ImportAlignmentParams", "import_alignment"]


class ImportAlignmentParams(StepParams):
    """Where the alignments are, and what their files do not tell."""

    folder: Path = Field(Path(), description="Folder with the alignments of all series.")
    program: Literal["auto", "imod", "aretomo", "warp", "relion5"] = Field(
        "auto", description="Program whose files to read; auto takes the only ones there are."
    )
    pixel_size_angstrom: float | None = Field(
        None,
        gt=0,
        description="Pixel size of the images that were aligned (IMOD). Else that of the series' stack.",
    )
    origin: Literal["images", "tomogram"] = Field(
        "images",
        description="Where positions are counted from: images, the point the transforms centre; tomogram, "
        "the "
        "centre of IMOD's tomogram, which SHIFT in tilt.com and offsets in newst.com move.",
    )
    centre_specimen: bool = Field(
        False,
        description="Move z = 0 into the middle of the specimen, as align_series does; else it stays where "
        "the program put it, with which its tomograms and coordinates agree. The defocus follows either way.",
    )
    exclude: bool = Field(
        True, description="Also leave out the tilts the program left out, where they have a pose."
    )


def _bytes_needed(series: TiltSeries, params: ImportAlignmentParams) -> int:
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    working = len(series.tilts) * n_y * n_x * (stack.pixel_size_angstrom / SPECIMEN_PIXEL_ANGSTROM) ** 2
    search = bytes_to_find_specimen(stack.shape_yx, stack.pixel_size_angstrom)
    return 400_000_000 + 24 * n_y * n_x + int(24 * working) + search


FIGURES = (
    Figure(
        "tilt_axis_deg",
        "deg",
        "Tilt axis",
        "Direction of the tilt axis in the images, counter-clockwise from +y, median over tilts.",
        good="the same in every series of a session",
    ),
    Figure(
        "tilt_offset_deg",
        "deg",
        "Tilt offset",
        "Median of the tilts in use minus the nominal ones: how far the specimen is from flat on the stage.",
    ),
    Figure("n_imported", "tilts", "Poses imported", "Tilts with a pose in the files of the other program."),
    Figure(
        "n_left_out",
        "tilts",
        "Tilts excluded",
        "Tilts that the other program left out, and those excluded here before.",
    ),
)
RECORDS = (Record("settings_of_the_other_program", "Settings found in the files of the other program."),)


@step(
    "import_alignment",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    version=2,
    gpu="optional",
    outside=lambda name, params: alignment_digests(params.folder, name, params.program),
    methods="Alignments made by another program were taken over.",
    figures=(*FIGURES, *SPECIMEN_FIGURES),
    records=RECORDS,
    source_of=("poses",),
)
def import_alignment(series: TiltSeries, params: ImportAlignmentParams, context: StepContext) -> TiltSeries:
    """Replace the poses of a series by those in another program's files."""
    if not params.folder.is_dir():
        raise UserInputError(f"{params.folder} is not a folder; correct folder of import_alignment")
    if any(tilt.pose is not None for tilt in series.tilts):
        series = with_defocus_of_specimen(series)
    stack = series.best_stack
    program, path = find_alignment(params.folder, series.name, params.program)
    alignment = read_alignment(
        program,
        path,
        series.name,
        stack.shape_yx,
        params.pixel_size_angstrom or stack.pixel_size_angstrom,
        keep_shift=params.origin == "tomogram",
    )
    _require_shifts_in_field(alignment, path, stack)
    for note in alignment.notes:
        context.warn(f"{path.name}: {note}")
    if alignment.settings:
        context.record("settings_of_the_other_program", dict(alignment.settings))
    matched = match_views(
        evidence_of_tilts(series),
        _evidence_of_views(alignment),
        stack.images.shape[0],
        told_n_sections=alignment.n_sections,
        zero_based_too=alignment.zero_based_too,
        left_out=alignment.left_out,
    )
    aligned = _with_poses(series, alignment, matched, params)
    offset = _report(aligned, context)
    axis = float(np.median([tilt.pose.axis_deg for tilt in aligned.included if tilt.pose is not None]))
    by = f"{program}: {path.name}"
    aligned = replace(
        aligned,
        tilt_axis_deg=series.tilt_axis_deg.with_measured(axis, by, apply=True),
        tilt_offset_deg=series.tilt_offset_deg.with_measured(offset, by, apply=True),
    )
    images = load_tilt_images(
        stack.images, stack.pixel_size_angstrom, SPECIMEN_PIXEL_ANGSTROM, device=context.device
    )
    places = [tilt.section for tilt in aligned.tilts]
    return place_specimen(aligned, images, places, context, by=by, centre=params.centre_specimen)


def _require_shifts_in_field(alignment: ForeignAlignment, path: Path, stack: Stack) -> None:
    """Raise DataUnfitError where a shift is many times the field: a lost decimal comma, or other units."""
    n_y, n_x = stack.shape_yx
    field = (n_x * stack.pixel_size_angstrom, n_y * stack.pixel_size_angstrom)
    for i, view in enumerate(alignment.views, start=1):
        if view.pose is not None:
            require_shift_in_field(view.pose.shift_xy_angstrom, field, f"view {i} of {path.name}")


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
    params: ImportAlignmentParams,
) -> TiltSeries:
    """Every tilt with its view's pose; one without a view has none and is excluded."""
    by = f"left out in {alignment.source.name}"
    of_tilt = {int(i): view for i, view in zip(matched, alignment.views, strict=True)}
    changes: dict[int, dict[str, Any]] = {}
    for i, tilt in enumerate(series.tilts):
        view = of_tilt.get(i)
        pose = view.pose if view is not None else None
        left_out = pose is None or (params.exclude and view is not None and not view.used)
        is_unused = pose is None or (left_out and tilt.kept_by is None)
        exclusion = tilt.exclusion or (Exclusion.by_step(by, "import_alignment") if is_unused else None)
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
