"""Import particles picked by another program: RELION, Warp, Dynamo, STOPGAP, EMAN2, Scipion, copick and more.

Positions, origins, rotations, priors, halves, classes, tubes and scores are read by the conventions of each
format (`formats/picks`, and the page "Exchange particles"). Coordinates in pixels are relative to the corner
of the volume they were picked in: set `picked_pixel_angstrom` if its voxel size differs from this tomogram's.
Positions far outside the tomogram are refused: they were picked at another binning.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, format_of_file
from cryoloom.formats.picks.volumes import PickVolume
from cryoloom.model import Particles, Tomogram
from cryoloom.procedures.placed_particles import (
    PlacedParticleParams,
    check_places,
    file_of,
    particles_of,
)

__all__ = ["ImportCoordinatesParams", "import_coordinates"]


class ImportCoordinatesParams(PlacedParticleParams):
    """Parameters of the import."""

    file: Path | None = Field(
        None,
        description="File with the particles of another program; {tomogram} stands for the tomogram's name.",
    )
    format: Literal[
        "auto",
        "relion",
        "dynamo",
        "stopgap",
        "motl",
        "emclarity",
        "eman2",
        "copick",
        "cets",
        "scipion",
        "csv",
        "text",
    ] = Field(
        "auto", description="Format of the file; auto: found from the suffix and the beginning of the file."
    )


def _file_of(params: ImportCoordinatesParams, tomogram: str) -> Path:
    if params.file is None:
        raise UserInputError("import_coordinates has no file; set its parameter file")
    return file_of(params.file, tomogram)


@step(
    "import_coordinates",
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: 300_000_000,
    outside=lambda name, params: file_digests([_file_of(params, name)] if params.file is not None else []),
    methods="Particles picked by another program were imported ({total_n_particles:.0f} particles).",
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
    records=(Record("picks", "Position of every particle in angstrom from the tomogram's centre."),),
)
def import_coordinates(
    tomogram: Tomogram, params: ImportCoordinatesParams, context: StepContext
) -> Particles:
    """Import the particles of a tomogram from another program's file."""
    path = _file_of(params, tomogram.name)
    if not path.is_file():
        raise UserInputError(
            f"the particle file {path} does not exist; correct the parameter file of import_coordinates"
        )
    name = format_of_file(path) if params.format == "auto" else params.format
    known = PARTICLE_FORMATS[name]
    every = known.read(path, {tomogram.name: _volume(tomogram, params, known.counts_in_series_pixels)})
    own = every.tomogram == tomogram.name
    rows = every.take(np.flatnonzero(own))
    if len(set(rows.particle.tolist())) < rows.n:
        # Each model of a text file numbers its points from 1.
        rows = replace(rows, particle=np.arange(1, rows.n + 1))
    if rows.n == 0:
        names = sorted(set(every.tomogram.tolist()))
        context.warn(f"{path.name} has no particles of {tomogram.name}; it has some of {names[:5]}")
    if params.flip_z:
        if not np.allclose(rows.rotations, np.eye(3)) or rows.prior_directions is not None:
            raise UserInputError(
                "flip_z mirrors positions, but the file has rotations, which cannot be mirrored; import "
                "positions alone, or pick in a volume that is not mirrored"
            )
        places = rows.positions_xyz_angstrom * np.array([1.0, 1.0, -1.0])
        rows = replace(rows, positions_xyz_angstrom=places)
    check_places(rows.positions_xyz_angstrom, tomogram)
    context.figure("n_particles", rows.n)
    context.figure("n_others", int((~own).sum()))
    context.record("picks", {"xyz_angstrom": rows.positions_xyz_angstrom.round(1).tolist()})
    return particles_of(tomogram, rows, params, context)


def _volume(tomogram: Tomogram, params: ImportCoordinatesParams, in_series_pixels: bool) -> PickVolume:
    """The volume that coordinates refer to: this tomogram with the voxel size it was picked with."""
    voxel = tomogram.voxel_size_angstrom
    pixel = params.picked_pixel_angstrom or (
        tomogram.series.pixel_size_angstrom if in_series_pixels else voxel
    )
    n_z, n_y, n_x = (round(n * voxel / pixel) for n in tomogram.volume.shape)
    return PickVolume((n_z, n_y, n_x), pixel)
