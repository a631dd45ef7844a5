"""Points and particles picked by hand: in the browser, or in another program and read from a file.

The browser gives the points as the parameter `models`; a file has one point per line (text or CSV), or is an
IMOD model or a Dynamo table. Points of one model get its number as their surface (a filament's: as their
tube), so that `pick_on_surfaces` can fit it. Particles picked one by one need no model; they have no rotation
and no prior.

A Dynamo or IMOD file counts voxels of the volume it was made with: set `picked_pixel_angstrom` if its voxels
differ, and `flip_z` if it was written by IMOD's tilt, whose volumes are mirrored in z.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.contract import Column, Figure, Record
from cryoloom.contract.step import JsonValue, StepContext, step
from cryoloom.formats.exchange.file_digests import file_digests
from cryoloom.formats.exchange.marked_points import MarkedPoints, read_marked_points
from cryoloom.model import ParticleRows, Particles, Tomogram
from cryoloom.procedures.placed_particles import (
    PlacedParticleParams,
    check_places,
    file_of,
    particles_of,
    places_xyz_angstrom,
)

__all__ = ["HandModel", "PickByHandParams", "pick_by_hand"]

Array = NDArray[np.float64]


class HandModel(BaseModel):
    """Points of one model, as the browser gives them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tomogram: str
    model: int = Field(1, ge=1)
    shape: Literal["", "sphere", "ellipsoid", "closed", "open", "filament"] = ""
    """Shape the points lie on; "" for particles, or if `pick_on_surfaces` sets it."""
    points_xyz_angstrom: tuple[tuple[float, float, float], ...]
    """Relative to the tomogram's centre."""


class PickByHandParams(PlacedParticleParams):
    """Parameters of points picked by hand."""

    file: Path | None = Field(
        None, description="Points: text or CSV, an IMOD model or a Dynamo table; {tomogram} is its name."
    )
    models: tuple[HandModel, ...] = Field((), description="Points given directly, as the browser does.")


def _outside(name: str, params: PickByHandParams) -> JsonValue:
    return file_digests([file_of(params.file, name)]) if params.file is not None else {}


@step(
    "pick_by_hand",
    takes_by_hand=("picks",),
    per="tomogram",
    needs=Tomogram,
    gives=Particles,
    bytes_needed=lambda tomogram, params: 100_000_000,
    outside=_outside,
    methods="{total_n_points:.0f} points were picked by hand.",
    figures=(
        Figure("n_points", "points", "Points", "Points picked by hand.", column=Column("Picks", digits=0)),
        Figure(
            "n_models",
            "models",
            "Models",
            "Number of surfaces and filaments marked by the points; 1 for particles.",
        ),
    ),
    records=(Record("picks", "Position in angstrom from the tomogram's centre, and model, of every point."),),
)
def pick_by_hand(tomogram: Tomogram, params: PickByHandParams, context: StepContext) -> Particles:
    """Points that were picked by hand, in angstrom from the tomogram's centre."""
    models = _models(tomogram, params)
    if not models:
        context.warn(
            f"{tomogram.name} has no points; pick them in the browser, or give a file to pick_by_hand"
        )
    positions = np.concatenate([np.zeros((0, 3)), *(points for _, _, points in models)])
    shape = np.array([one for _, one, points in models for _ in points], dtype=np.str_)
    number = np.array([n for n, _, points in models for _ in points], dtype=np.int64)
    rows = replace(
        ParticleRows.of(
            tomogram.name,
            positions,
            surface=np.where(shape == "filament", -1, number),
            tube=np.where(shape == "filament", number, -1),
        ),
        others={"shape": shape},
    )
    context.figure("n_points", len(positions))
    context.figure("n_models", len(models))
    context.record("picks", {"xyz_angstrom": positions.round(1).tolist(), "model": number.tolist()})
    return particles_of(tomogram, rows, params, context)


def _models(tomogram: Tomogram, params: PickByHandParams) -> list[tuple[int, str, Array]]:
    """Number, shape and points in angstrom of every model of this tomogram."""
    found = [
        (model.model, str(model.shape), np.array(model.points_xyz_angstrom, dtype=np.float64).reshape(-1, 3))
        for model in params.models
        if model.tomogram == tomogram.name
    ]
    if params.file is None:
        return found
    marked = read_marked_points(file_of(params.file, tomogram.name))
    is_one_file_for_all = "{tomogram}" not in str(params.file) and any(one.tomogram for one in marked)
    found += [
        (one.model, one.shape, _in_angstrom(one, tomogram, params))
        for one in sorted(marked, key=lambda one: one.model)
        if not is_one_file_for_all or _is_of(one.tomogram, tomogram.name)
    ]
    return found


def _is_of(named: str, tomogram: str) -> bool:
    """Whether a name in a file is this tomogram's, by name or by the number at its end."""
    number = re.search(r"(\d+)$", tomogram)
    return named == tomogram or (named.isdigit() and number is not None and int(named) == int(number[1]))


def _in_angstrom(one: MarkedPoints, tomogram: Tomogram, params: PickByHandParams) -> Array:
    """Points relative to the tomogram's centre. Raises DataUnfitError if they are far outside it."""
    places = places_xyz_angstrom(one, tomogram, params)
    if params.flip_z:
        places[:, 2] *= -1
    check_places(places, tomogram)
    return places
