"""Refine the CTF of every tilt from particles and their average with RELION 5 (``relion_tomo_refine_ctf``).

Gives the particles again, with series whose tilts have the new CTFs: everything after it uses them. RELION's
contrast scales and higher aberrations have no place in cryoloom and stay out.
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
    set_of,
    tilts_of_project,
)
from cryoloom.programs.relion.relion_programs import RELION_TOMO_REFINE_CTF

__all__ = ["RelionRefineCtfParams", "calls", "relion_refine_ctf"]

_OUT = "CtfRefine/"


class RelionRefineCtfParams(ProgramParams):
    """Options of ``relion_tomo_refine_ctf``."""

    box_px: int = option("--b", 128, ge=16, description="Box of the prediction, in stack pixels.")
    defocus_range_angstrom: tuple[float, float] = option(
        "--d0", (-3000.0, 3000.0), kind="computed", description="Offsets of the defocus that are tried."
    )
    defocus_steps: int = option("--ds", 100, ge=2, description="Offsets in that range.")
    regularise: bool = option(
        "--do_reg_defocus", False, kind="flag", description="Ask for similar defoci in all tilts."
    )
    regularisation: float = option("--lambda", 0.1, ge=0, description="How much that counts.")
    coarsest_angstrom: float = option("--kmin", 30.0, gt=0, description="Coarsest detail that is used.")


def calls(
    items: tuple[Particles, ...], params: RelionRefineCtfParams, workplace: Workplace
) -> tuple[Call, ...]:
    """One run over the project in the scratch folder, whose optimisation set names the average."""
    low, high = params.defocus_range_angstrom
    return (
        Call(
            program=RELION_TOMO_REFINE_CTF,
            arguments=(
                "--i", PROJECT, "--o", _OUT, "--do_defocus", "--d0", f"{low:.6g}", "--d1", f"{high:.6g}",
                "--j", str(workplace.n_threads), *arguments_of(params),
            ),
            writes=(f"{_OUT}tomograms.star",),
        ),
    )  # fmt: skip


@step(
    "relion_refine_ctf",
    per="particle_set",
    needs=Particles,
    gives=Particles,
    gathers=True,
    also_needs={"average_from": Gathered(Average)},
    bytes_needed=lambda items, params: 4 << 30,
    methods="The defocus of every tilt was refined with RELION.",
    figures=(
        Figure(
            "defocus_change_angstrom",
            "angstrom",
            "Change of the defocus",
            "Root mean square over tilts of the new mean defocus less the old.",
        ),
    ),
    source_of=("ctf",),
    programs=(RELION_TOMO_REFINE_CTF,),
    calls=calls,
)
def relion_refine_ctf(
    items: tuple[Particles, ...],
    params: RelionRefineCtfParams,
    context: StepContext,
    *,
    average_from: tuple[Average, ...],
) -> Particles:
    """Refine the CTF of every tilt with RELION, from refined particles and the average of them."""
    folder = place_refined(items, average_from, context, "relion_refine_ctf")
    make_calls(calls(items, params, workplace_of(context)), params, context)
    moved: list[float] = []
    fitted: dict[str, TiltSeries] = {}
    for series, found in tilts_of_project(items, folder / _OUT / "tomograms.star"):
        changes = {}
        for tilt, new in found:
            if new.ctf is None or tilt.ctf is None:
                raise DataUnfitError(
                    f"tilt {tilt.acquisition_index} of {series.name} has no CTF to refine; estimate it first"
                )
            moved.append(new.ctf.defocus_angstrom - tilt.ctf.defocus_angstrom)
            changes[tilt.acquisition_index] = {
                "ctf": replace(
                    tilt.ctf,
                    defocus_u_angstrom=new.ctf.defocus_u_angstrom,
                    defocus_v_angstrom=new.ctf.defocus_v_angstrom,
                    astigmatism_angle_deg=new.ctf.astigmatism_angle_deg,
                    refers_to=new.ctf.refers_to,
                )
            }
        fitted[series.name] = series.with_tilts(changes)
    context.figure("defocus_change_angstrom", float(np.sqrt(np.mean(np.square(moved)))))
    return set_of(items, fitted, context)
