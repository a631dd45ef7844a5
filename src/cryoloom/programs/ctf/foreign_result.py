"""A series with the CTFs that an outside program found, and the figures that all of them report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract.figures import Column, Figure
from cryoloom.contract.step import StepContext
from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, believable_ctfs, ctfs_by_tilt
from cryoloom.model import Ctf, TiltSeries

__all__ = ["CTF_FIGURES", "bytes_of_one_image", "series_with_found_ctfs"]

CTF_FIGURES = (
    Figure("n_fitted", "tilts", "Tilts with a CTF", "Tilts in use for which the program gave a CTF."),
    Figure(
        "defocus_median_angstrom",
        "angstrom",
        "Defocus, median",
        "Underfocus of the middle of the image, as the program gives it, median over the tilts in use.",
        good="near the value set at the microscope",
        column=Column("Defocus", digits=2, unit="µm", divide_by=1e4),
        role="defocus",
    ),
    Figure(
        "ctf_resolution_angstrom",
        "angstrom",
        "CTF fits to, median",
        "Detail up to which the program sees Thon rings, median over the tilts in use.",
    ),
)


def bytes_of_one_image(series: TiltSeries, params: object) -> int:
    """Memory of a program that reads images one by one and holds spectra of a box at several samplings."""
    n_y, n_x = series.unweighted_stack.shape_yx
    return (1 << 29) + 16 * n_y * n_x


def series_with_found_ctfs(series: TiltSeries, found: ForeignCtf, context: StepContext) -> TiltSeries:
    """Put the CTFs on their tilts, and report them. A tilt without one loses what it had."""
    for note in found.notes:
        context.warn(note)
    by_tilt = ctfs_by_tilt(found, series)
    if by_tilt:
        by_tilt, notes = believable_ctfs(by_tilt, series, found.source.name)
        for note in notes:
            context.warn(note)
    ctfs = {index: replace(ctf, refers_to=found.refers_to) for index, ctf in by_tilt.items()}
    changed = series.with_tilts({t.acquisition_index: {"ctf": None} for t in series.tilts})
    changed = changed.with_tilts({index: {"ctf": ctf} for index, ctf in ctfs.items()})
    _report(changed, ctfs, context)
    return with_defocus_at_origin(changed)


def _report(series: TiltSeries, ctfs: Mapping[int, Ctf], context: StepContext) -> None:
    used = [t.ctf for t in series.included if t.ctf is not None]
    if not used:
        raise DataUnfitError(f"the program gave no CTF for the tilts of {series.name} that are in use")
    missing = [t.acquisition_index for t in series.included if t.ctf is None]
    if missing:
        context.warn(f"the program gave no CTF for the tilts of acquisition index {missing}")
    context.figure("n_fitted", len(used))
    context.figure("defocus_median_angstrom", float(np.median([ctf.defocus_angstrom for ctf in used])))
    resolutions = [c.fit_resolution_angstrom for c in used if c.fit_resolution_angstrom is not None]
    context.figure(
        "ctf_resolution_angstrom",
        float(np.median(resolutions)) if resolutions else None,
        reason="the program does not say how far it sees rings",
    )
