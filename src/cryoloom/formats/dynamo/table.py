"""Dynamo's particle tables (``.tbl``): text, one particle a row, columns by number.

Columns used here (counted from 1): 1 tag, 4-6 shift dx dy dz, 7-9 tdrot, tilt, narot in degrees, 10 cc, 20
tomogram, 21 region, 22 class, 24-26 position x y z; positions and shifts are in pixels of the tomogram, the
first voxel is 1, and a particle lies at the sum of both. Dynamo's matrix is ``Rz(narot) Rx(tilt) Rz(tdrot)``,
and as RELION's it is the transpose of the rotation from reference to tomogram: two triples known to give
the same reconstruction in both programs is the test's oracle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.rotations import euler_zxz_deg, rotation_x, rotation_z
from cryoloom.model import ParticleRows

__all__ = [
    "dynamo_angles_deg",
    "dynamo_rotations",
    "read_dynamo_columns",
    "read_dynamo_table",
    "write_dynamo_table",
]

Array = NDArray[np.float64]

_N_COLUMNS = 35
"""Dynamo's convention of a table."""


def dynamo_rotations(angles_deg: ArrayLike) -> Array:
    """Rotations from reference to tomogram ``(n, 3, 3)`` of (tdrot, tilt, narot) ``(n, 3)``."""
    tdrot, tilt, narot = np.moveaxis(np.asarray(angles_deg, dtype=np.float64), -1, 0)
    return np.swapaxes(rotation_z(narot) @ rotation_x(tilt) @ rotation_z(tdrot), -1, -2)


def dynamo_angles_deg(rotations: ArrayLike) -> Array:
    """(tdrot, tilt, narot) ``(n, 3)`` of rotations ``(n, 3, 3)``; at tilt 0 and 180 tdrot is 0."""
    # The transpose is Rz(narot) Rx(tilt) Rz(tdrot).
    return euler_zxz_deg(np.swapaxes(np.asarray(rotations, dtype=np.float64), -1, -2))


def read_dynamo_columns(table: Path) -> Array:
    """All numbers of a table, ``(n, columns)``. Raises DataUnfitError for a file that is not a table."""
    try:
        values = np.atleast_2d(np.loadtxt(table, dtype=np.float64))
    except (OSError, ValueError) as error:
        raise DataUnfitError(f"{table} cannot be read as a Dynamo table: {error}") from error
    if values.shape[1] < 26:
        raise DataUnfitError(f"{table} has {values.shape[1]} columns; a Dynamo table has at least 26")
    return values


def read_dynamo_table(
    table: Path,
    pixel_size_angstrom: float,
    shapes_px: Mapping[int, tuple[int, int, int]],
    names: Mapping[int, str] | None = None,
) -> ParticleRows:
    """Particles of a table, in its order.

    shapes_px : (z, y, x) of each tomogram by its number in column 20. names : of each tomogram; by default
        its number. Raises DataUnfitError for a file that is not a table, or a tomogram without a shape.
    """
    values = read_dynamo_columns(table)
    number = values[:, 19].astype(int)
    missing = sorted(set(number.tolist()) - set(shapes_px))
    if missing:
        raise DataUnfitError(f"{table} has particles of the tomograms {missing}, whose shapes are not given")
    centre = np.array([[n // 2 for n in shapes_px[i][::-1]] for i in number.tolist()])
    # The first voxel is 1 there and 0 here.
    index = values[:, 23:26] + values[:, 3:6] - 1.0
    return ParticleRows(
        tomogram=np.array([(names or {}).get(i, str(i)) for i in number.tolist()]),
        particle=values[:, 0].astype(np.int64),
        positions_xyz_angstrom=(index - centre) * pixel_size_angstrom,
        rotations=dynamo_rotations(values[:, 6:9]),
        surface=values[:, 20].astype(np.int64),
        score=values[:, 9],
        class_number=values[:, 21].astype(np.int64),
    )


def write_dynamo_table(
    table: Path,
    rows: ParticleRows,
    pixel_size_angstrom: float,
    shapes_px: Mapping[str, tuple[int, int, int]],
    numbers: Mapping[str, int] | None = None,
) -> None:
    """Write a table; tomograms have the ``numbers`` given, or count from 1 in the order of ``shapes_px``.

    shapes_px : (z, y, x) by name.
    """
    number = numbers or {name: i + 1 for i, name in enumerate(shapes_px)}
    values = np.zeros((rows.n, _N_COLUMNS))
    names = rows.tomogram.tolist()
    unique = len(set(rows.particle.tolist())) == rows.n
    values[:, 0] = rows.particle if unique else np.arange(1, rows.n + 1)
    values[:, 1] = values[:, 2] = 1
    values[:, 6:9] = dynamo_angles_deg(rows.rotations)
    values[:, 9] = 0.0 if rows.score is None else rows.score
    values[:, 12] = 1
    values[:, 19] = [number[name] for name in names]
    values[:, 20] = 0 if rows.surface is None else np.maximum(rows.surface, 0)
    values[:, 21] = 1 if rows.class_number is None else rows.class_number
    centre = np.array([[n // 2 for n in shapes_px[name][::-1]] for name in names]).reshape(-1, 3)
    values[:, 23:26] = rows.positions_xyz_angstrom / pixel_size_angstrom + centre + 1.0
    table.parent.mkdir(parents=True, exist_ok=True)
    part = table.with_name(f".{table.name}.part")
    np.savetxt(part, values, fmt="%.10g")
    os.replace(part, table)
