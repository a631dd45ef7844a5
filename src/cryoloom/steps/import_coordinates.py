"""Take particles that another program picked: RELION's STAR files, or positions from text and IMOD models.

From RELION 5 and 4, WarpTools and picking annotations come positions with their origins, rotations, priors,
halves, classes, tubes and scores (`formats/relion/particles`). Coordinates in pixels count from the corner of
the volume they were picked in: set `picked_pixel_angstrom` where its voxels are not this tomogram's. Text and
IMOD models give positions alone. Positions far outside the tomogram are refused: they were picked at another
binning.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.marked_points import read_marked_points
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.geometry.frames import position_from_index
from cryoloom.model import ParticleRows, Particles, Tomogram

__all__ = ["ImportCoordinatesParams", "import_coordinates"]

_FARTHEST = 0.6
"""Of the tomogram's extent from its centre: a little outside is allowed."""


class ImportCoordinatesParams(StepParams):
    """What a user may choose."""

    file: Path | None = Field(
        None,
        description="Particles: a STAR file of RELION or Warp, text or an IMOD model; {tomogram} is the "
        "tomogram's name.",
    )
    picked_pixel_angstrom: float | None = Field(
        None, gt=0, description="Voxel size in which pixel coordinates count. Unset: this tomogram's."
    )
    flip_z: bool = Field(
        False, description="Positions were picked in a volume mirrored in z, as IMOD's tilt writes it."
    )
    box_px: int | None = Field(None, ge=1, description="Box drawn about each pick; it changes nothing else.")
    species: str = Field("particle", description="Name of what was picked.")
    symmetry: str = Field("C1", description="Point group of the particle.")
    diameter_angstrom: float | None = Field(None, gt=0, description="Diameter of the particle, if known.")


def _file_of(params: ImportCoordinatesParams, tomogram: str) -> Path:
    if params.file is None:
        raise UserInputError("import_coordinates has no file; give the particles' file")
    return Path(str(params.file).replace("{tomogram}", tomogram))


@step(
    "import_coordinates",
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: 300_000_000,
    outside=lambda name, params: file_digests([_file_of(params, name)] if params.file is not None else []),
    methods="Particles picked by another program were taken over ({total_n_particles:.0f} particles).",
    figures=(
        Figure(
            "n_particles",
            "particles",
            "Particles imported",
            "Particles of this tomogram in the file.",
            column=Column("Picks", digits=0),
        ),
        Figure("n_others", "particles", "Of other tomograms", "Particles in the file of other tomograms."),
    ),
    records=(Record("picks", "Position in angstrom from the tomogram's centre of every particle."),),
)
def import_coordinates(
    tomogram: Tomogram, params: ImportCoordinatesParams, context: StepContext
) -> Particles:
    """Take over the particles of a tomogram from another program's file."""
    path = _file_of(params, tomogram.name)
    if not path.is_file():
        raise UserInputError(f"the particles' file {path} is not there; correct file of import_coordinates")
    pixel = params.picked_pixel_angstrom or tomogram.voxel_size_angstrom
    shape = tuple(round(n * tomogram.voxel_size_angstrom / pixel) for n in tomogram.volume.shape)
    if path.suffix.lower() == ".star":
        sizes = (shape[0], shape[1], shape[2])
        every = read_relion_particles(path, tomogram_shapes_px={tomogram.name: sizes})
    elif path.suffix.lower() == ".tbl":
        raise UserInputError(
            f"{path} is a Dynamo table; its positions are read by pick_by_hand, its angles are not read yet"
        )
    else:
        every = _positions(path, tomogram, shape, pixel)
    own = every.tomogram == tomogram.name
    rows = every.take(np.flatnonzero(own))
    if path.suffix.lower() != ".star":
        # Several models of a text file count their points from 1 each.
        rows = replace(rows, particle=np.arange(1, rows.n + 1))
    if rows.n == 0:
        names = sorted(set(every.tomogram.tolist()))
        context.warn(f"{path.name} has no particles of {tomogram.name}; it has some of {names[:5]}")
    if params.flip_z:
        if not np.allclose(rows.rotations, np.eye(3)):
            raise UserInputError(
                "flip_z mirrors positions, but the file has rotations, which cannot be mirrored; import "
                "positions alone, or pick in a volume that is not mirrored"
            )
        places = rows.positions_xyz_angstrom * np.array([1.0, 1.0, -1.0])
        rows = ParticleRows.of(tomogram.name, places, score=rows.score)
    _check_places(rows, tomogram)
    context.figure("n_particles", rows.n)
    context.figure("n_others", int((~own).sum()))
    context.record("picks", {"xyz_angstrom": rows.positions_xyz_angstrom.round(1).tolist()})
    return Particles(
        tomogram.name,
        context.new_table("particles", rows.columns()),
        (tomogram.series,),
        (tomogram,),
        species=params.species,
        diameter_angstrom=params.diameter_angstrom,
        symmetry=params.symmetry,
    )


def _positions(path: Path, tomogram: Tomogram, shape: tuple[int, ...], pixel: float) -> ParticleRows:
    """Positions of text or an IMOD model; a file that names no tomogram is this one's."""
    parts = [
        ParticleRows.of(
            one.tomogram or tomogram.name,
            one.points if one.in_angstrom else position_from_index(one.points[:, ::-1], shape, pixel),
        )
        for one in read_marked_points(path)
    ]
    return ParticleRows.joined(parts)


def _check_places(rows: ParticleRows, tomogram: Tomogram) -> None:
    extent = np.array(tomogram.volume.shape[::-1]) * tomogram.voxel_size_angstrom
    far = (np.abs(rows.positions_xyz_angstrom) > _FARTHEST * extent).any(axis=1)
    if far.any():
        worst = rows.positions_xyz_angstrom[np.argmax(far)].round().tolist()
        raise DataUnfitError(
            f"{int(far.sum())} of {rows.n} particles lie outside the tomogram, one at {worst} A, but it "
            f"reaches {(0.5 * extent).round().tolist()} A from its centre; were they picked at another "
            "binning? set picked_pixel_angstrom",
            tomogram=tomogram.name,
        )
