"""Import the alignment of another program: poses of IMOD, AreTomo, Warp, RELION 5 or CETS.

Files are found by the series' name in a folder or one below it: ``NAME.xf`` with ``.tlt``, ``.xtilt``,
``.rawtlt``, ``tilt.com`` and ``newst.com`` (IMOD, and what AreTomo and others write for it), ``NAME.aln``
(AreTomo), ``NAME.xml`` (Warp), or a STAR table with the series (RELION 5). Each view is matched to a tilt by
its section, confirmed by the angles, or by angle and dose alone; if that is not certain the series is
refused, never shifted by one.

Views that the program left out are excluded; decisions of the user are kept. Pixels and doses are kept. z = 0
stays at the program's origin unless centre_specimen is set; the specimen is searched for, and the defocus,
measured on it, is given at the origin.

Figures: ``tilt_axis_deg``, ``tilt_offset_deg`` (median of the imported minus the nominal tilts),
``n_imported`` views and ``n_left_out``. Other settings in command files (binning, thickness, offsets) are
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
    """Parameters of the import."""

    folder: Path = Field(Path(), description="Folder with the alignments of all series.")
    program: Literal["auto", "imod", "aretomo", "warp", "relion5", "cets"] = Field(
        "auto", description="Program whose files to read; auto: the program whose files are there."
    )
    pixel_size_angstrom: float | None = Field(
        None,
        gt=0,
        description="Pixel size of the images that were aligned (IMOD). Unset: that of the series' stack.",
    )
    origin: Literal["images", "tomogram"] = Field(
        "images",
        description="Origin of positions. images: the centre of the transforms. tomogram: the centre of "
        "IMOD's tomogram, with SHIFT in tilt.com and the offsets in newst.com.",
    )
    centre_specimen: bool = Field(
        False,
        description="Move z = 0 to the middle of the specimen, as align_series does. Otherwise it stays as "
        "in the program, so that tomograms and coordinates of that program agree. The defocus is adjusted "
        "in both cases.",
    )
    exclude: bool = Field(True, description="Also exclude the tilts that the program left out.")


RECORDS = (Record("settings_of_the_other_program", "Settings found in the files of the other program."),)


@step(
    "import_alignment",
    takes_by_hand=("alignment",),
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: bytes_to_place_poses(series),
    version=4,
    gpu="optional",
    outside=lambda name, params: alignment_digests(params.folder, name, params.program),
    methods="Alignments made by another program were imported.",
    figures=(*FOREIGN_POSE_FIGURES, *SPECIMEN_FIGURES),
    records=RECORDS,
    source_of=("poses",),
)
def import_alignment(series: TiltSeries, params: ImportAlignmentParams, context: StepContext) -> TiltSeries:
    """Replace the poses of a series by those in another program's files."""
    if not params.folder.is_dir():
        raise UserInputError(
            f"{params.folder} is not a folder; correct the parameter folder of import_alignment"
        )
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
