"""Parameters and figures of every step that makes an average."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepParams
from cryoloom.errors import UserInputError
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Particles

__all__ = [
    "DIRECTIONS",
    "N_PARTICLES",
    "POSE_EVIDENCE",
    "RESOLUTION",
    "SYMMETRY_LIKENESS",
    "AveragingParams",
    "particle_diameter_angstrom",
    "particle_symmetry",
]

RESOLUTION = Figure(
    "resolution_angstrom",
    "angstrom",
    "Resolution",
    "Resolution at which the correlation of the masked halves, corrected for the mask, falls to 0.143, as "
    "far as what depends on the poses agrees too. Not given if the halves agree in nothing else, or no finer "
    "than the first reference, or if neighbours decided the poses.",
    good="near the limit given by the number of particles",
    column=Column("Resolution"),
)
N_PARTICLES = Figure(
    "n_particles",
    "particles",
    "Particles averaged",
    "Particles in either half.",
    column=Column("Particles", digits=0),
)
POSE_EVIDENCE = Figure(
    "pose_evidence",
    "",
    "Non-radial correlation",
    "Mean correlation of the halves, without symmetry and without their radial means, to the resolution. "
    "0.0 to 0.2 for random orientations, even if the usual FSC looks good.",
    good="above 0.3",
)

SYMMETRY_LIKENESS = Figure(
    "symmetry_likeness",
    "",
    "Likeness under the symmetry",
    "Similarity of the average to itself after the group's rotations, relative to rotations by other "
    "angles, before the symmetry was imposed. 1 is a perfect symmetry; noise lowers it.",
    good="above 0.5",
)
DIRECTIONS = Record(
    "directions",
    "Angular distribution: number of particles by the direction of their z axis, in cells of equal area.",
    shows="table",
)


class AveragingParams(StepParams):
    """Parameters of every step that averages particles."""

    symmetry: str | None = Field(
        None,
        description="Point group with RELION's axes: C1, C6, D2, T, O, I. Unset: as stored with the "
        "particles by picking, initial_model or refine.",
    )
    diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the particle. Unset: the value set when picking."
    )
    finest_resolution_angstrom: float | None = Field(
        None, gt=0, description="Finest resolution to use. Unset: limited by the pixels of the images."
    )
    max_dose_per_angstrom2: float | None = Field(
        None,
        gt=0,
        description="Leave out tilts after this dose. Unset: none; dose weighting reduces their weight.",
    )
    min_tilts: int = Field(1, ge=1, description="Leave out particles that are visible in fewer tilts.")


def particle_diameter_angstrom(items: Sequence[Particles], given_angstrom: float | None, step: str) -> float:
    """Diameter given, or that of picking. Raises UserInputError, naming the step, if neither is known."""
    known = (item.diameter_angstrom for item in items if item.diameter_angstrom)
    diameter = given_angstrom or next(known, None)
    if diameter is None:
        raise UserInputError(f"the particles' diameter is not known; set diameter_angstrom of {step}")
    return diameter


def particle_symmetry(items: Sequence[Particles], given: str | None, step: str) -> str:
    """Symmetry given, or that of the particles. Raises UserInputError if tomograms differ in it."""
    if given is None:
        known = sorted({item.symmetry for item in items if item.n_particles})
        if len(known) > 1:
            raise UserInputError(
                f"the particles have different symmetries: {', '.join(known)}; set the parameter symmetry "
                f"of {step}"
            )
        given = known[0] if known else "C1"
    symmetry_matrices(given)
    return given
