"""Results of both versions of AreTomo: an alignment, and CTFs counted without the dark tilts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext
from cryoloom.formats.aretomo.aln import read_aretomo
from cryoloom.formats.ctf_programs.ctffind import read_aretomo_ctf
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from cryoloom.model import Stack, TiltSeries
from cryoloom.procedures.foreign_poses import with_foreign_poses
from cryoloom.programs.included_tilts import of_tilts, with_results

__all__ = ["CTF_FIGURE", "with_answer"]

CTF_FIGURE = Figure(
    "defocus_median_angstrom",
    "angstrom",
    "Defocus, median",
    "Underfocus of the middle of the image as AreTomo gives it, median over the tilts in use.",
    good="near the value set at the microscope",
    role="defocus",
)


def with_answer(
    series: TiltSeries,
    used: TiltSeries,
    stack: Stack,
    aln: Path,
    ctf: Path | None,
    context: StepContext,
    *,
    program: str,
    step: str,
    centre_specimen: bool,
) -> TiltSeries:
    """The whole series with the poses of ``aln`` for the tilts in use, and the CTFs of ``ctf``."""
    found = with_foreign_poses(
        used,
        read_aretomo(aln, stack.shape_yx, stack.pixel_size_angstrom),
        context,
        program=program,
        step=step,
        centre_specimen=centre_specimen,
    )
    if ctf is None:
        context.not_measurable("defocus_median_angstrom", "estimate_ctf is off")
    else:
        found = with_defocus_at_origin(_with_ctfs(found, ctf))
        defoci = [t.ctf.defocus_angstrom for t in found.included if t.ctf is not None]
        context.figure("defocus_median_angstrom", float(np.median(defoci)))
    return with_results(series, found)


def _with_ctfs(aligned: TiltSeries, path: Path) -> TiltSeries:
    """CTFs of the images that AreTomo kept, which it counts in order of tilt without the dark ones."""
    kept = of_tilts(
        aligned, [tilt for tilt in aligned.tilts if tilt.pose is not None], aligned.unweighted_stack
    )
    kept = replace(kept, stack=None)
    ctfs = ctfs_by_tilt(read_aretomo_ctf(path), kept)
    return aligned.with_tilts(
        {index: {"ctf": replace(ctf, refers_to="specimen")} for index, ctf in ctfs.items()}
    )
