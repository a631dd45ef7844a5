"""A map that comes with a point group, about the axes and the centre that the group has in every later step.

Steps search and average about RELION's axes of a group, through index ``n // 2``. A map with other axes would
be searched in the wrong orientations, and its poses would not fit the average. Its axes are measured, and the
map is turned to the standard ones; a map without the symmetry is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.map_symmetry import (
    LEAST_EVENNESS,
    SymmetryFit,
    centre_of_density,
    fit_symmetry,
    map_in_frame,
    symmetry_in_place,
)
from cryoloom.algorithms.averaging.maps import low_pass, map_on_grid
from cryoloom.errors import UserInputError
from cryoloom.geometry.rotations import rotation_from_vector
from cryoloom.geometry.symmetry import symmetry_matrices

__all__ = ["LEAST_LIKENESS", "StandardMap", "coarse_map", "coarse_radius_px", "standard_map"]

Array = NDArray[np.float64]

#: Likeness of a map under its symmetry, relative to rotations by other angles, as in `map_symmetry`.
LEAST_LIKENESS = 0.3
_COARSE_PX, _COARSE_DIAMETERS, _RADIUS_DIAMETERS, _DETAIL_ANGSTROM = 48, 1.5, 0.55, 20.0
"""Chosen: side of the map that is compared, in voxels and diameters; radius and detail of the comparison."""
_CLEAR_LIKENESS, _CLEARLY_BETTER = 0.8, 0.2
"""Chosen: axes in place are not looked for elsewhere above this likeness, and others must be so much better.
A map a few degrees off its axes keeps part of its likeness; noise lowers it everywhere alike."""
_LEAST_OFF_VOXELS, _LEAST_OFF_DIAMETERS = 1.0, 0.01
"""Chosen: a centre nearer than this to the axes stays; programs differ by half a voxel in it."""


@dataclass(frozen=True, slots=True)
class StandardMap:
    """A map about the standard axes of a group. The point r of the given map is ``Q^T (r - c)`` here.

    ``density`` (z, y, x); ``rotation`` Q (3, 3); ``centre_xyz_angstrom`` c (3,), from index ``n // 2`` of the
    given map. A pose R at the position p of the given map is ``R Q`` at ``p + R c``.
    """

    density: Array
    rotation: Array
    centre_xyz_angstrom: Array
    note: str = ""
    """What was done, for the user; empty if the map stays as it is."""


def standard_map(
    density: Array, voxel_angstrom: float, group: str, diameter_angstrom: float, name: str
) -> StandardMap:
    """A map ``(z, y, x)`` with bright density, turned and moved to the standard axes of its group if needed.

    Raises UserInputError, with the name of the map, if it does not have the group about any axes. A shell
    fits any axes.
    """
    operators = symmetry_matrices(group)
    unturned, unmoved = np.eye(3), np.zeros(3)
    if len(operators) == 1:
        return StandardMap(density, unturned, unmoved)
    solvent = float(np.median([np.median(face) for face in _faces(density)]))
    small = coarse_map(density - solvent, voxel_angstrom, diameter_angstrom)
    here = symmetry_in_place(small, coarse_radius_px(), group)
    said = []
    rotation = unturned
    if here is not None and not (here.likeness >= _CLEAR_LIKENESS and here.has_all_classes):
        found = fit_symmetry(small, coarse_radius_px(), group)
        if _is_elsewhere(here, found):
            rotation = _least_turned(found.rotation, group)
            said.append(_turn_note(rotation, here, found))
        elif here.likeness < LEAST_LIKENESS or not here.has_all_classes:
            raise UserInputError(
                f"{name} does not have the symmetry {group} about its own axes: its likeness after "
                f"rotation is {here.likeness:.2f} about the standard axes and {found.likeness:.2f} about the "
                f"best others, {found.significance:.1f} deviations above the rest, and the kind of rotation "
                f"that shows least shows {here.evenness:.2f} and {found.evenness:.2f} of the best; expected "
                f"at least {LEAST_LIKENESS}, 3 and {LEAST_EVENNESS}. Set the symmetry that the map has (C1: "
                "none), or give another map"
            )
    centre = _off_axes(small, rotation @ operators @ rotation.T, diameter_angstrom, voxel_angstrom)
    if centre.any():
        x, y, z = centre
        said.append(
            f"its axes pass ({x:.1f}, {y:.1f}, {z:.1f}) A (x, y, z) from its centre, to which it is moved"
        )
    if not said:
        return StandardMap(density, unturned, unmoved)
    moved = map_in_frame(density, rotation, centre / voxel_angstrom, solvent)
    return StandardMap(moved, rotation, centre, "; ".join(said))


def coarse_map(
    density: Array | torch.Tensor, voxel_angstrom: float, diameter_angstrom: float
) -> torch.Tensor:
    """A map on 48 voxels of 1/32 of the diameter, to 20 A, in which a symmetry is looked for.

    Finer detail is not needed.
    """
    side = _COARSE_DIAMETERS * diameter_angstrom
    voxel = side / _COARSE_PX
    small = map_on_grid(np.asarray(density, dtype=np.float32), voxel_angstrom, _COARSE_PX, voxel)
    return low_pass(small, voxel, max(_DETAIL_ANGSTROM, 2.0 * voxel))


def coarse_radius_px() -> float:
    """Radius within which a coarse map is compared, in its voxels."""
    return _COARSE_PX * _RADIUS_DIAMETERS / _COARSE_DIAMETERS


def _is_elsewhere(here: SymmetryFit, found: SymmetryFit) -> bool:
    return found.is_seen and found.likeness > here.likeness + _CLEARLY_BETTER


def _turn_note(rotation: Array, here: SymmetryFit, found: SymmetryFit) -> str:
    vector = Rotation.from_matrix(rotation.T).as_rotvec()
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    return (
        f"its axes of {found.group} are not the standard ones (likeness {here.likeness:.2f} about these, "
        f"{found.likeness:.2f} about its own): it is turned by {np.degrees(angle):.1f} degrees about "
        f"({x:.3f}, {y:.3f}, {z:.3f}) (x, y, z), and the poses refer to the turned map"
    )


def _least_turned(rotation: Array, group: str) -> Array:
    """Of the placings of a group on the same axes the one nearest to the standard frame.

    So tomograms agree in the choice, also where equal placings differ by rounding.
    """
    if group.strip().upper().startswith("C"):
        axis = rotation[:, 2] if rotation[2, 2] >= 0 else -rotation[:, 2]
        across = np.cross([0.0, 0.0, 1.0], axis)
        sine = float(np.linalg.norm(across))
        return rotation_from_vector(across / max(sine, 1e-12) * np.arctan2(sine, axis[2]))
    placings = np.concatenate([rotation @ symmetry_matrices(group) @ turn for turn in _same_axes(group)])
    traces = np.trace(placings, axis1=1, axis2=2)
    # Placings that are equally near, by their entries.
    order = sorted(range(len(placings)), key=lambda i: (round(traces[i], 1), *placings[i].ravel().round(1)))
    return np.asarray(placings[order[-1]])


def _same_axes(group: str) -> Array:
    """Rotations besides the group's that bring its axes onto themselves, ``(n, 3, 3)``, and the identity."""
    name = group.strip().upper()
    if name == "D2":
        return symmetry_matrices("O")
    if name.startswith("D"):
        half = np.pi / int(name[1:])
        return rotation_from_vector(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, half]]))
    if name == "T":
        # A quarter turn about a two-fold axis.
        operators = symmetry_matrices(name)
        two_fold = operators[np.trace(operators, axis1=1, axis2=2) < -1.0 + 1e-6][0]
        axis = Rotation.from_matrix(two_fold).as_rotvec()
        return rotation_from_vector(np.stack([np.zeros(3), 0.5 * axis]))
    return np.eye(3)[None]


def _off_axes(
    small: torch.Tensor, operators: Array, diameter_angstrom: float, voxel_angstrom: float
) -> Array:
    """How far (x, y, z) in angstrom the axes lie from the centre; 0 if less than what matters.

    The density's centre of mass, less its part along a single axis, must make the map more symmetric.
    """
    voxel = _COARSE_DIAMETERS * diameter_angstrom / _COARSE_PX
    centre = centre_of_density(small, coarse_radius_px())
    off = centre - (operators @ centre).mean(axis=0)
    least = max(_LEAST_OFF_VOXELS * voxel_angstrom, _LEAST_OFF_DIAMETERS * diameter_angstrom)
    if np.linalg.norm(off) * voxel <= least:
        return np.zeros(3)
    if _correlation_about(small, off, operators) <= _correlation_about(small, np.zeros(3), operators):
        return np.zeros(3)
    return np.asarray(off * voxel)


def _correlation_about(small: torch.Tensor, centre_xyz_px: Array, operators: Array) -> float:
    """Mean correlation of a map with itself turned about axes through a place."""
    n = small.shape[0]
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z]).reshape(3, -1).astype(np.float64)
    points = points[:, (points**2).sum(axis=0) <= coarse_radius_px() ** 2]
    values = small.numpy().astype(np.float64)

    def read(rotation: Array) -> Array:
        place = rotation.T @ points + centre_xyz_px[:, None]
        return np.asarray(map_coordinates(values, place[::-1] + n // 2, order=1, mode="grid-constant"))

    own = read(np.eye(3))
    return float(np.mean([np.corrcoef(own, read(rotation))[0, 1] for rotation in operators[1:]]))


def _faces(density: Array) -> list[Array]:
    return [np.take(density, end, axis=axis) for axis in range(3) for end in (0, -1)]
