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

from pathlib import Path
from typing import Literal

from pydantic import Field

from cryoloom.algorithms.series.specimen_frame import with_defocus_of_specimen
from cryoloom.contract.figures import Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.alignment_files import alignment_digests, find_alignment, read_alignment
from cryoloom.model import TiltSeries
from cryoloom.procedures.foreign_poses import FOREIGN_POSE_FIGURES, bytes_to_place_poses, with_foreign_poses
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES

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


RECORDS = (Record("settings_of_the_other_program", "Settings found in the files of the other program."),)


@step(
    "import_alignment",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: bytes_to_place_poses(series),
    version=2,
    gpu="optional",
    outside=lambda name, params: alignment_digests(params.folder, name, params.program),
    methods="Alignments made by another program were taken over.",
    figures=(*FOREIGN_POSE_FIGURES, *SPECIMEN_FIGURES),
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
    if alignment.settings:
        context.record("settings_of_the_other_program", dict(alignment.settings))
    return with_foreign_poses(
        series,
        alignment,
        context,
        program=program,
        step="import_alignment",
        exclude=params.exclude,
        centre_specimen=params.centre_specimen,
    )
