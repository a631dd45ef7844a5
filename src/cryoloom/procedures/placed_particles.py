"""Particles from positions in a file: parameters, conversion to angstrom, and a check of positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.contract.step import StepContext, StepParams
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.marked_points import MarkedPoints
from cryoloom.geometry.frames import position_from_index
from cryoloom.model import Average, ParticleRows, Particles, Tomogram

__all__ = [
    "PlacedParticleParams",
    "check_places",
    "file_of",
    "particles_in",
    "particles_of",
    "places_xyz_angstrom",
]

_FARTHEST = 0.6
"""Largest distance from the centre, as a fraction of the extent: picks slightly outside are accepted."""


class PlacedParticleParams(StepParams):
    """Parameters of steps that read positions from a file."""

    picked_pixel_angstrom: float | None = Field(
        None, gt=0, description="Voxel size of the volume the points were picked in. Unset: this tomogram's."
    )
    flip_z: bool = Field(
        False, description="The points were picked in a volume mirrored in z, as IMOD's tilt writes it."
    )
    box_px: int | None = Field(
        None, ge=1, description="Side of the box drawn around each pick; for display only."
    )
    species: str = Field("particle", description="Name of the picked particle.")
    symmetry: str = Field("C1", description="Point group of the particle.")
    diameter_angstrom: float | None = Field(None, gt=0, description="Diameter of the particle, if known.")


def file_of(file: Path, tomogram: str) -> Path:
    """The file of a tomogram, whose name replaces ``{tomogram}``."""
    return Path(str(file).replace("{tomogram}", tomogram))


def places_xyz_angstrom(
    marked: MarkedPoints, tomogram: Tomogram, params: PlacedParticleParams
) -> NDArray[np.float64]:
    """Points of a file relative to the tomogram's centre, ``(n, 3)``, before any flip."""
    if marked.in_angstrom:
        return marked.points.copy()
    voxel = tomogram.voxel_size_angstrom
    pixel = params.picked_pixel_angstrom or voxel
    shape = tuple(round(n * voxel / pixel) for n in tomogram.volume.shape)
    return position_from_index(marked.points[:, ::-1], shape, pixel)


def check_places(places_xyz_angstrom: NDArray[np.float64], tomogram: Tomogram) -> None:
    """Raise DataUnfitError if positions, ``(n, 3)`` from the centre, are far outside the tomogram."""
    extent = np.array(tomogram.volume.shape[::-1]) * tomogram.voxel_size_angstrom
    beyond = (np.abs(places_xyz_angstrom) / extent).max(axis=1, initial=0.0)
    n_far = int((beyond > _FARTHEST).sum())
    if n_far:
        worst = places_xyz_angstrom[np.argmax(beyond)].round().tolist()
        raise DataUnfitError(
            f"{n_far} of {len(beyond)} points lie outside the tomogram, one at {worst} A, but it reaches "
            f"{(0.5 * extent).round().tolist()} A from its centre; if they were picked at another binning, "
            "set picked_pixel_angstrom",
            tomogram=tomogram.name,
        )


def particles_of(
    tomogram: Tomogram, rows: ParticleRows, params: PlacedParticleParams, context: StepContext
) -> Particles:
    """Rows as a particle set of what the user says they are; its table is written."""
    return particles_in(
        tomogram,
        rows,
        context,
        species=params.species,
        diameter_angstrom=params.diameter_angstrom,
        symmetry=params.symmetry,
    )


def particles_in(
    tomogram: Tomogram,
    rows: ParticleRows,
    context: StepContext,
    *,
    species: str,
    diameter_angstrom: float | None = None,
    template: Average | None = None,
    symmetry: str = "C1",
) -> Particles:
    """Rows as a particle set that has the tomogram's name; its table is written.

    A template is the map that the rotations were found with, in both halves.
    """
    return Particles(
        tomogram.name,
        context.new_table("particles", rows.columns()),
        (tomogram.series,),
        (tomogram,),
        species=species,
        diameter_angstrom=diameter_angstrom,
        template=template,
        symmetry=symmetry,
        common_reference="the template" if template is not None else "",
    )
