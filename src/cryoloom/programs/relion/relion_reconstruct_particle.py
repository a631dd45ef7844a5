"""Average particles at their present poses with RELION 5 (``relion_tomo_reconstruct_particle``).

RELION takes the images from the tilt series, so nothing need be extracted. Its maps have dark density as the
tilt images have only where it is asked not to invert; here density is positive, as everywhere in cryoloom.
"""

from __future__ import annotations

from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting
from cryoloom.contract.step import StepContext, step
from cryoloom.model import Average, Particles, doubt_of
from cryoloom.procedures.averaging_params import N_PARTICLES
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.relion.particle_project import PROJECT, average_of, place_project
from cryoloom.programs.relion.relion_programs import RELION_TOMO_RECONSTRUCT

__all__ = ["RelionReconstructParticleParams", "calls", "relion_reconstruct_particle"]

_OUT = "Reconstruct/"


class RelionReconstructParticleParams(ProgramParams):
    """Options of ``relion_tomo_reconstruct_particle``."""

    box_px: int = option("--b", 256, ge=16, description="Box that is taken from the images, binned pixels.")
    crop_px: int = option("--crop", 128, ge=-1, description="Box of the average; -1: the whole box.")
    binning: float = option("--bin", 1.0, ge=1, description="Stack pixels per pixel.")
    symmetry: str = option("--sym", "C1", description="Point group with RELION's axes.")
    snr: float = option("--SNR", -1.0, description="Signal over noise that is assumed; negative: measured.")
    whiten: bool = option("--whiten", False, kind="flag", description="Flatten the noise's spectrum.")
    correct_ctf: bool = option("--no_ctf", True, kind="computed", description="Correct the CTF.")
    circle_crop: bool = option(
        "--no_circle_crop", True, kind="computed", description="Cut images to a circle."
    )
    taper_px: float = option("--taper", 10.0, ge=0, description="Width of the fall-off at the box's sphere.")
    outer_threads: int | None = option(
        "--j_out", None, ge=1, description="Threads over particles. Unset: RELION's choice."
    )
    memory_gb: int | None = option("--mem", None, ge=1, description="Memory for sums. Unset: no limit.")
    diameter_angstrom: float | None = setting(
        None, gt=0, description="Diameter kept with the average. Unset: that of picking."
    )


def calls(
    items: tuple[Particles, ...], params: RelionReconstructParticleParams, workplace: Workplace
) -> tuple[Call, ...]:
    """One run over all particles of the project in the scratch folder."""
    flags = [] if params.correct_ctf else ["--no_ctf"]
    flags += [] if params.circle_crop else ["--no_circle_crop"]
    return (
        Call(
            program=RELION_TOMO_RECONSTRUCT,
            arguments=(
                "--i", PROJECT, "--o", _OUT, "--j", str(workplace.n_threads), *arguments_of(params), *flags,
            ),
            writes=(f"{_OUT}merged.mrc", f"{_OUT}half1.mrc", f"{_OUT}half2.mrc"),
        ),
    )  # fmt: skip


@step(
    "relion_reconstruct_particle",
    per="particle_set",
    needs=Particles,
    gives=Average,
    gathers=True,
    bytes_needed=lambda items, params: (2 << 30) + 60 * params.box_px**3,
    methods="Particles were averaged with RELION (symmetry {symmetry}).",
    figures=(N_PARTICLES,),
    programs=(RELION_TOMO_RECONSTRUCT,),
    calls=calls,
    beside="reconstruct_particle",
)
def relion_reconstruct_particle(
    items: tuple[Particles, ...], params: RelionReconstructParticleParams, context: StepContext
) -> Average:
    """Average the particles of a project with RELION at their present poses."""
    folder = context.scratch()
    place_project(items, (), folder, context)
    make_calls(calls(items, params, workplace_of(context)), params, context)
    known = next((item.diameter_angstrom for item in items if item.diameter_angstrom), None)
    n_particles = sum(item.n_particles for item in items)
    context.figure("n_particles", n_particles)
    return average_of(
        {
            "map": folder / f"{_OUT}merged.mrc",
            "half1": folder / f"{_OUT}half1.mrc",
            "half2": folder / f"{_OUT}half2.mrc",
        },
        context,
        symmetry=params.symmetry,
        diameter_angstrom=params.diameter_angstrom or known,
        n_particles=n_particles,
        note="the halves were not compared yet; run postprocess",
        pose_doubt=doubt_of(items),
    )
