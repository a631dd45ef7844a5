"""Make a first map of particles with RELION 5: stochastic gradient descent, then alignment to its symmetry.

Particles must have been extracted; volumes work better than stacks here. The search is without symmetry; the
map is turned onto the axes of the group afterwards and symmetrised (``relion_align_symmetry``), as RELION's
own job does. The particles go on with the map as their template and with the poses they were given, which are
those before that turn: refine them with the map.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.contract.program import Call, Workplace, arguments_of, option
from cryoloom.contract.step import Outputs, StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Average, Particles
from cryoloom.procedures.averaging_params import N_PARTICLES, particle_diameter_angstrom
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.relion.particle_project import PROJECT, average_of, place_project
from cryoloom.programs.relion.relion_programs import RELION_ALIGN_SYMMETRY, RELION_REFINE

__all__ = ["RelionInitialModelParams", "calls", "relion_initial_model"]

_OUT, _MAP = "InitialModel/run", "InitialModel/initial_model.mrc"
_OF_SYMMETRY = ("symmetry",)


class RelionInitialModelParams(ProgramParams):
    """Options of ``relion_refine --grad --denovo_3dref`` and of ``relion_align_symmetry``."""

    iterations: int = option("--iter", 70, ge=1, description="VDAM mini-batches.")
    regularisation: float = option("--tau2_fudge", 4.0, gt=0, description="Weight of the data, T.")
    classes: int = option("--K", 1, ge=1, le=10, description="Maps at once; the largest class is kept.")
    diameter_angstrom: float | None = option(
        "--particle_diameter", None, gt=0, kind="computed",
        description="Diameter of the circle about a particle. Unset: that of picking.",
    )  # fmt: skip
    symmetry: str = option("--sym", "C1", description="Point group that the map is turned onto afterwards.")
    symmetric_search: bool = option(
        "--sym", False, kind="computed", description="Impose the group during the search as well."
    )
    tilt_prior_deg: float | None = option(
        "--sigma_tilt", None, gt=0, description="Width of the prior on the tilt angle. Unset: none."
    )
    correct_ctf: bool = option("--ctf", True, kind="flag", description="Correct the CTF.")
    zero_mask: bool = option(
        "--zero_mask", True, kind="flag", description="Fill outside the circle with zeros, not noise."
    )
    flatten_solvent: bool = option(
        "--flatten_solvent", True, kind="flag", description="Flatten the solvent in every iteration."
    )
    angular_step: int = option("--healpix_order", 1, ge=0, le=4, description="First angular step: 1 is 15.")
    offset_range_px: float = option("--offset_range", 6.0, ge=0, description="Range of offsets, pixels.")
    offset_step_px: float = option("--offset_step", 2.0, gt=0, description="Step of offsets, pixels.")
    oversampling: int = option("--oversampling", 1, ge=0, le=3, description="Oversampling of the searches.")
    padding: int = option("--pad", 1, ge=1, le=2, description="Padding of Fourier transforms.")
    pool: int = option("--pool", 3, ge=1, description="Particles that a thread takes at once.")
    use_gpu: bool = option("--gpu", True, kind="computed", description="Use the GPU where there is one.")


def calls(
    items: tuple[Particles, ...], params: RelionInitialModelParams, workplace: Workplace
) -> tuple[Call, ...]:
    """The search, and the turn onto the axes of the group."""
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "relion_initial_model")
    gpu = ["--gpu", str(workplace.gpu)] if params.use_gpu and workplace.gpu is not None else []
    return (
        Call(
            program=RELION_REFINE,
            arguments=(
                "--ios", PROJECT, "--o", _OUT, "--grad", "--denovo_3dref", "--auto_sampling",
                "--dont_combine_weights_via_disc", "--particle_diameter", f"{diameter:.6g}",
                "--sym", params.symmetry if params.symmetric_search else "C1",
                "--j", str(workplace.n_threads), *arguments_of(params, but=_OF_SYMMETRY), *gpu,
            ),
            files={"InitialModel/.folder": ""},
            writes=(f"{_last(params)}_model.star", f"{_last(params)}_data.star"),
        ),
        Call(
            program=RELION_ALIGN_SYMMETRY,
            arguments=(
                "--i", f"{_last(params)}_model.star", "--o", _MAP,
                *arguments_of(params, only=_OF_SYMMETRY), "--apply_sym", "--select_largest_class",
            ),
            writes=(_MAP,),
        ),
    )  # fmt: skip


def _last(params: RelionInitialModelParams) -> str:
    """Root of the files of the last iteration."""
    return f"{_OUT}_it{params.iterations:03d}"


@step(
    "relion_initial_model",
    per="particle_set",
    needs=Particles,
    gives=Average,
    also_gives={"particles": Particles},
    gathers=True,
    bytes_needed=lambda items, params: 8 << 30,
    gpu="optional",
    methods="A first map was made with RELION by stochastic gradient descent ({iterations} mini-batches).",
    figures=(N_PARTICLES,),
    programs=(RELION_REFINE, RELION_ALIGN_SYMMETRY),
    calls=calls,
    beside="initial_model",
)
def relion_initial_model(
    items: tuple[Particles, ...], params: RelionInitialModelParams, context: StepContext
) -> Outputs:
    """Make a first map of extracted particles with RELION; gives it, and the particles with it."""
    unextracted = [item.name for item in items if item.n_particles and not item.images]
    if unextracted:
        raise DataUnfitError(
            f"the particles of {', '.join(unextracted)} have no extracted images; run extract_particles or "
            "relion_extract_particles before relion_initial_model"
        )
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "relion_initial_model")
    folder = context.scratch()
    place_project(items, (), folder, context)
    make_calls(calls(items, params, workplace_of(context)), params, context)
    n_particles = sum(item.n_particles for item in items)
    context.figure("n_particles", n_particles)
    average = average_of(
        {"map": folder / _MAP},
        context,
        symmetry=params.symmetry,
        diameter_angstrom=diameter,
        n_particles=n_particles,
        note="a first map has no halves",
    )
    return Outputs(average, {"particles": tuple(replace(item, template=average) for item in items)})
