"""Refine the alignment of every tilt by particles and their average, with RELION 5.

``relion_tomo_align``: RELION's shifts, and its angles where they are not held, become poses again by the
section of each tilt. Motion of single particles and deformations have no place in a pose, so they are not
asked for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option
from cryoloom.contract.step import Gathered, StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Average, Particles, TiltSeries
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.relion.particle_project import (
    PROJECT,
    place_refined,
    refined_particles,
    set_of,
    tilts_of_project,
)
from cryoloom.programs.relion.relion_programs import RELION_TOMO_ALIGN

__all__ = ["RelionAlignTiltsParams", "calls", "relion_align_tilts"]

_OUT = "Align/"


class RelionAlignTiltsParams(ProgramParams):
    """Options of ``relion_tomo_align``."""

    box_px: int = option("--b", 128, ge=16, description="Box of the prediction, in stack pixels.")
    max_shift_px: int = option("--r", 5, ge=1, description="Largest shift, in stack pixels.")
    shift_only: bool = option(
        "--shift_only", True, kind="flag", description="Shift tilts as a whole, nothing else."
    )
    shift_by_particles: bool = option(
        "--shift_only_by_particles", False, kind="flag",
        description="Align the particles alone rather than predict the whole image.",
    )  # fmt: skip
    hold_particles: bool = option(
        "--const_p", False, kind="flag", description="Keep the particles where they are."
    )
    hold_angles: bool = option("--const_a", False, kind="flag", description="Keep the angles of the tilts.")
    hold_shifts: bool = option("--const_s", False, kind="flag", description="Keep the shifts of the tilts.")
    iterations: int = option("--it", 10000, ge=1, description="Iterations at most.")


def calls(
    items: tuple[Particles, ...], params: RelionAlignTiltsParams, workplace: Workplace
) -> tuple[Call, ...]:
    """One run over the project in the scratch folder, whose optimisation set names the average."""
    return (
        Call(
            program=RELION_TOMO_ALIGN,
            arguments=("--i", PROJECT, "--o", _OUT, "--j", str(workplace.n_threads), *arguments_of(params)),
            writes=(f"{_OUT}tomograms.star", f"{_OUT}particles.star"),
        ),
    )


@step(
    "relion_align_tilts",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    gathers=True,
    also_needs={"average_from": Gathered(Average)},
    bytes_needed=lambda items, params: 4 << 30,
    methods="The alignment of every tilt was refined with RELION.",
    figures=(
        Figure(
            "shift_change_angstrom",
            "angstrom",
            "Change of the shifts",
            "Root mean square over tilts of the new shift less the old.",
        ),
    ),
    source_of=("poses",),
    programs=(RELION_TOMO_ALIGN,),
    calls=calls,
)
def relion_align_tilts(
    items: tuple[Particles, ...],
    params: RelionAlignTiltsParams,
    context: StepContext,
    *,
    average_from: tuple[Average, ...],
) -> Particles:
    """Refine the alignment of every tilt with RELION, from refined particles and the average of them."""
    folder = place_refined(items, average_from, context, "relion_align_tilts")
    make_calls(calls(items, params, workplace_of(context)), params, context)
    moved: list[float] = []
    placed: dict[str, TiltSeries] = {}
    for series, found in tilts_of_project(items, folder / _OUT / "tomograms.star"):
        changes = {}
        for tilt, new in found:
            if new.pose is None or tilt.pose is None:
                raise DataUnfitError(
                    f"RELION gives no pose for tilt {tilt.acquisition_index} of {series.name}"
                )
            change = np.subtract(new.pose.shift_xy_angstrom, tilt.pose.shift_xy_angstrom)
            moved.append(float(np.hypot(*change)))
            changes[tilt.acquisition_index] = {
                "pose": replace(
                    tilt.pose,
                    axis_deg=new.pose.axis_deg,
                    tilt_deg=new.pose.tilt_deg,
                    x_tilt_deg=new.pose.x_tilt_deg,
                    shift_xy_angstrom=new.pose.shift_xy_angstrom,
                )
            }
        placed[series.name] = series.with_tilts(changes)
    context.figure("shift_change_angstrom", float(np.sqrt(np.mean(np.square(moved)))))
    shifted = refined_particles(items, folder / _OUT / "particles.star", context)
    return set_of(shifted, placed, context)
