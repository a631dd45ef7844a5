"""Refine the poses of particles and their average with RELION 5 (``relion_refine_mpi --auto_refine``).

Particles must have been extracted (extract_particles or relion_extract_particles), as RELION reads images of
its own. Halves are refined apart, which needs three processes or more. RELION's resolution is that of the
unmasked halves and is a figure; postprocess or relion_postprocess judges the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option
from cryoloom.contract.step import Outputs, StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.model import Average, Particles, doubt_of
from cryoloom.procedures.averaging_params import N_PARTICLES, particle_diameter_angstrom
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.relion.particle_project import (
    PROJECT,
    average_of,
    gold_standard_curve,
    place_mask,
    place_project,
    place_reference,
    refined_particles,
)
from cryoloom.programs.relion.relion_programs import RELION_REFINE_MPI

__all__ = ["RelionRefineParams", "calls", "relion_refine"]

_OUT = "Refine3D/run"


class RelionRefineParams(ProgramParams):
    """Options of ``relion_refine_mpi --auto_refine``; the defaults are those of RELION's tomography."""

    reference: Path | None = option(
        "--ref", None, kind="computed",
        description="First map (.mrc). Unset: the map the particles were picked with.",
    )  # fmt: skip
    mask: Path | None = option(
        "--solvent_mask", None, kind="computed", description="Mask of the reference (.mrc), 0 to 1."
    )
    diameter_angstrom: float | None = option(
        "--particle_diameter", None, gt=0, kind="computed",
        description="Diameter of the circle about a particle. Unset: that of picking.",
    )  # fmt: skip
    initial_lowpass_angstrom: float = option(
        "--ini_high", 60.0, ge=0, description="Resolution of the first reference; 0: as it is."
    )
    symmetry: str = option("--sym", "C1", description="Point group with RELION's axes.")
    greyscale_is_absolute: bool = option(
        "--firstiter_cc", True, kind="computed",
        description="The reference was made by RELION; else the first iteration uses correlations.",
    )  # fmt: skip
    resize_reference: bool = option(
        "--trust_ref_size", True, kind="flag",
        description="Resize the reference to the particles where they differ, else refuse it.",
    )  # fmt: skip
    correct_ctf: bool = option("--ctf", True, kind="flag", description="Correct the CTF.")
    ignore_ctf_until_peak: bool = option(
        "--ctf_intact_first_peak", False, kind="flag", description="Leave the CTF out to its first peak."
    )
    zero_mask: bool = option(
        "--zero_mask", True, kind="flag", description="Fill outside the circle with zeros, not noise."
    )
    flatten_solvent: bool = option(
        "--flatten_solvent", True, kind="flag", description="Mask the reference in every iteration."
    )
    solvent_correct_fsc: bool = option(
        "--solvent_correct_fsc", False, kind="flag", description="Use the FSC within the mask."
    )
    blush: bool = option("--blush", False, kind="flag", description="Blush regularisation.")
    angular_step: int = option(
        "--healpix_order", 2, ge=0, le=6, description="First angular step: 0 30, 1 15, 2 7.5, 3 3.7 degrees."
    )
    local_step: int = option(
        "--auto_local_healpix_order", 4, ge=0, le=8, description="Step from which searches are local: 4 1.8."
    )
    offset_range_px: float = option("--offset_range", 5.0, ge=0, description="Range of offsets, pixels.")
    offset_step_px: float = option(
        "--offset_step", 2.0, gt=0,
        description="Step of offsets before oversampling: twice what RELION's window shows.",
    )  # fmt: skip
    oversampling: int = option("--oversampling", 1, ge=0, le=3, description="Oversampling of the searches.")
    tilt_prior_deg: float | None = option(
        "--sigma_tilt", None, gt=0, description="Width of the prior on the tilt angle. Unset: none."
    )
    relaxed_symmetry: str | None = option("--relax_sym", None, description="Symmetry to be relaxed.")
    finer_faster: bool = option(
        "--auto_resol_angles", False, kind="computed",
        description="Take finer angles sooner (--auto_ignore_angles --auto_resol_angles).",
    )  # fmt: skip
    join_halves_angstrom: float = option(
        "--low_resol_join_halves", 40.0, gt=0, description="Halves share what is coarser than this."
    )
    padding: int = option("--pad", 2, ge=1, le=2, description="Padding of Fourier transforms.")
    pool: int = option("--pool", 3, ge=1, description="Particles that a thread takes at once.")
    processes: int = option(
        "-n", 3, ge=3, le=33, kind="computed", description="mpirun: processes, an odd number."
    )
    use_gpu: bool = option("--gpu", True, kind="computed", description="Use the GPU where there is one.")


_MPI: Mapping[str, str] = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""For Open MPI 4 and 5: RELION's halves need three processes, also in a container and on two cores."""


def calls(items: tuple[Particles, ...], params: RelionRefineParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run of RELION over all particles of the project in the scratch folder."""
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "relion_refine")
    threads = max(1, workplace.n_threads // (params.processes - 1))
    arguments = [
        "--ios", PROJECT, "--o", _OUT, "--auto_refine", "--split_random_halves",
        "--ref", _reference(params.reference),
        "--particle_diameter", f"{diameter:.6g}", "--norm", "--scale", "--dont_combine_weights_via_disc",
        "--j", str(threads), *arguments_of(params),
    ]  # fmt: skip
    if params.mask is not None:
        arguments += ["--solvent_mask", "mask.mrc"]
    if not params.greyscale_is_absolute:
        arguments.append("--firstiter_cc")
    if params.finer_faster:
        arguments += ["--auto_ignore_angles", "--auto_resol_angles"]
    if params.use_gpu and workplace.gpu is not None:
        arguments += ["--gpu", ":".join([str(workplace.gpu)] * (params.processes - 1))]
    return (
        Call(
            program=RELION_REFINE_MPI,
            launcher=("mpirun", "-n", str(params.processes)),
            arguments=tuple(arguments),
            files={"Refine3D/.folder": ""},
            writes=tuple(
                f"{_OUT}_{name}"
                for name in (
                    "class001.mrc", "half1_class001_unfil.mrc", "half2_class001_unfil.mrc", "data.star",
                    "model.star",
                )
            ),
            environment=_MPI,
        ),
    )  # fmt: skip


def _reference(given: Path | None) -> str:
    return "template.mrc" if given is None else "reference.mrc"


@step(
    "relion_refine",
    per="particle_set",
    needs=Particles,
    gives=Average,
    also_gives={"particles": Particles},
    gathers=True,
    bytes_needed=lambda items, params: 8 << 30,
    gpu="optional",
    outside=lambda name, params: file_digests(
        [path for path in (params.reference, params.mask) if path is not None]
    ),
    methods="Particles were refined with RELION (symmetry {symmetry}).",
    figures=(
        Figure(
            "stated_resolution_angstrom",
            "angstrom",
            "Resolution that RELION states",
            "Where the correlation of the unmasked halves falls to 0.143; postprocess judges the average.",
        ),
        N_PARTICLES,
    ),
    programs=(RELION_REFINE_MPI,),
    calls=calls,
    beside="refine",
)
def relion_refine(items: tuple[Particles, ...], params: RelionRefineParams, context: StepContext) -> Outputs:
    """Refine extracted particles with RELION; gives the average, and the particles of each tomogram."""
    unextracted = [item.name for item in items if item.n_particles and not item.images]
    if unextracted:
        raise DataUnfitError(
            f"the particles of {', '.join(unextracted)} have no extracted images; run extract_particles or "
            "relion_extract_particles before relion_refine"
        )
    diameter = particle_diameter_angstrom(items, params.diameter_angstrom, "relion_refine")
    folder = context.scratch()
    place_project(items, (), folder, context)
    place_reference(items, params.reference, folder / _reference(params.reference), "relion_refine")
    place_mask(params.mask, folder / "mask.mrc", "relion_refine")
    make_calls(calls(items, params, workplace_of(context)), params, context)
    curve, stated = gold_standard_curve(folder / f"{_OUT}_model.star")
    found = refined_particles(items, folder / f"{_OUT}_data.star", context, symmetry=params.symmetry)
    particles = tuple(replace(item, common_reference="") for item in found)
    n_particles = sum(item.n_particles for item in particles)
    context.figure("stated_resolution_angstrom", stated, reason="RELION states none")
    context.figure("n_particles", n_particles)
    average = average_of(
        {
            "map": folder / f"{_OUT}_class001.mrc",
            "half1": folder / f"{_OUT}_half1_class001_unfil.mrc",
            "half2": folder / f"{_OUT}_half2_class001_unfil.mrc",
        },
        context,
        symmetry=params.symmetry,
        diameter_angstrom=diameter,
        n_particles=n_particles,
        curves=(curve,),
        note="RELION's unmasked halves alone were compared; run postprocess",
        pose_doubt=doubt_of(particles),
    )
    return Outputs(average, {"particles": particles})
