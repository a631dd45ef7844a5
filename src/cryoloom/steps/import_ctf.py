"""Import the CTFs of another program: CTFFIND, IMOD, AreTomo, Warp, Gctf or RELION.

Files are found by the series' name in a folder or one below it: ``NAME.defocus`` (IMOD), ``NAME_CTF.txt``
(AreTomo), ``NAME.xml`` (Warp), ``NAME.star`` or ``NAME_gctf.star`` (Gctf, RELION), ``NAME.txt`` or
``NAME_ctf.txt`` (CTFFIND on the stack); or by a name of your own, which may be a folder of CTFFIND's files of
single images.

A value is assigned to the tilt whose section, place in order of tilt, image or angle the file names. If that
is not certain for every value the series is refused, never shifted by one. A tilt without a value in the file
keeps its CTF. If poses are known, the defocus is converted to that of their origin.

Figures: ``n_imported``, ``n_predicted`` (of these interpolated, as IMOD does between lines), and
``defocus_median_angstrom``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract.figures import Column, Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import UserInputError
from cryoloom.formats.ctf_programs.ctf_files import ctf_digests, find_ctf, read_ctf
from cryoloom.formats.ctf_programs.foreign_ctf import believable_ctfs, ctfs_by_tilt
from cryoloom.model import Sourced, TiltSeries

__all__ = ["ImportCtfParams", "import_ctf"]


class ImportCtfParams(StepParams):
    """Parameters of the import."""

    folder: Path = Field(Path(), description="Folder with the CTFs of all series.")
    program: Literal["auto", "ctffind", "imod", "aretomo", "warp", "star", "cets"] = Field(
        "auto", description="Program whose files to read; auto: the program whose files are there."
    )
    file: str = Field(
        "",
        description="Name of a series' file; {series} stands for the series. Unset: the program's own name.",
    )
    refers_to: Literal["auto", "specimen", "origin"] = Field(
        "auto",
        description="Place that the defocus in the file refers to. specimen: the middle of the specimen at "
        "the image's centre. origin: the origin of the poses. auto: as the program defines it (Warp, and "
        "RELION with poses: the origin).",
    )


FIGURES = (
    Figure("n_imported", "tilts", "CTFs imported", "Tilts with a CTF in the files of the other program."),
    Figure(
        "n_predicted",
        "tilts",
        "CTFs predicted",
        "Tilts without a CTF in the files, whose defocus was predicted from the rest of the series.",
        good="0, or a few at high tilt",
    ),
    Figure(
        "defocus_median_angstrom",
        "angstrom",
        "Defocus, median",
        "Underfocus of the middle of the specimen, from the other program.",
        good="near the value set at the microscope",
        column=Column("Defocus", digits=2, unit="µm", divide_by=1e4),
        role="defocus",
    ),
)


@step(
    "import_ctf",
    version=3,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: 100 << 20,
    outside=lambda name, params: ctf_digests(params.folder, name, params.program, params.file),
    methods="CTFs estimated by another program were imported.",
    figures=FIGURES,
    source_of=("ctf",),
)
def import_ctf(series: TiltSeries, params: ImportCtfParams, context: StepContext) -> TiltSeries:
    """Replace the CTFs of a series by those in another program's file."""
    if not params.folder.is_dir():
        raise UserInputError(f"{params.folder} is not a folder; correct the parameter folder of import_ctf")
    program, path = find_ctf(params.folder, series.name, params.program, params.file)
    found = read_ctf(program, path, series)
    for note in found.notes:
        context.warn(f"{path.name}: {note}")
    reference = found.refers_to if params.refers_to == "auto" else params.refers_to
    kept, notes = believable_ctfs(ctfs_by_tilt(found, series), series, path.name)
    for note in notes:
        context.warn(f"{path.name}: {note}")
    ctfs = {index: replace(ctf, refers_to=reference) for index, ctf in kept.items()}
    changed = series.with_tilts({index: {"ctf": ctf} for index, ctf in ctfs.items()})
    missing = [t.acquisition_index for t in changed.included if t.acquisition_index not in ctfs]
    if missing:
        context.warn(f"{path.name} has no CTF for the tilts {missing} of {series.name}")
    context.figure("n_imported", len(ctfs))
    context.figure("n_predicted", sum(ctf.predicted for ctf in ctfs.values()))
    context.figure("defocus_median_angstrom", float(np.median([c.defocus_angstrom for c in ctfs.values()])))
    if found.handedness is None:
        return with_defocus_at_origin(changed)
    if series.handedness.applied not in (None, found.handedness):
        context.warn(
            f"{path.name} was made for handedness {found.handedness:+d}; {series.name} keeps "
            f"{series.handedness.applied:+.0f}"
        )
        return with_defocus_at_origin(changed)
    handed = Sourced.from_told(float(found.handedness), path.name)
    if series.handedness.applied is None:
        changed = replace(changed, handedness=handed)
    return with_defocus_at_origin(changed)
