"""Rotational symmetry of a map: where a point group's axes lie, and whether the map has them.

A map is moved to its centre of mass and compared with itself turned by the group's rotations, without its
radial mean: a shell is like itself under any rotation. About one axis a cylinder is so too; what counts is
how much of the part that changes under other angles comes back at the group's. One placing of the axes must
be far better than all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, shift
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.shell_correlation import non_radial
from cryoloom.geometry.orientation_grid import (
    half_sphere_directions,
    rotation_grid,
    rotations_between,
    z_axis_to,
)
from cryoloom.geometry.rotations import rotation_from_vector
from cryoloom.geometry.symmetry import rotation_classes, symmetry_matrices

__all__ = [
    "LEAST_EVENNESS",
    "SymmetryFit",
    "best_axes",
    "centre_of_density",
    "centred",
    "fit_symmetry",
    "map_in_frame",
    "symmetry_in_place",
    "turned_map",
]

_SAME_LINE_COSINE = 0.999
"""Axes within 2.6 degrees of each other are one: those of point groups are at least 20 degrees apart."""

Array = NDArray[np.float64]

_STEP_DEG, _MOST_POINTS = 10.0, 6000
"""Chosen: step of the search for axes, which a refinement follows, and number of points compared. More cost
time."""
_N_ANGLES, _MOST_AXES = 11, 8
"""Angles about an axis, and axes, of the rotations compared with. Chosen: between elevenths of a turn, which
small groups do not have, but for the half turn in the middle (`_LEAST_AWAY_DEG`)."""
_LEAST_AWAY_DEG = 4.0
"""Chosen: rotations nearer than this to one of the group's are not compared with. They are the half turn of
even groups and, 3.3 degrees off, two fifths of a turn; with them the likeness came out too low."""
#: Angular part of a map's power; that of a ball on a grid is lower.
_LEAST_ANGULAR_PART = 1e-3
# A map has a group if its rotations bring back this much of what other angles change, and no other placing of
# the axes is near. Sixty noisy apoferritins had O to 0.2988 at 5.8 deviations; groups that maps did not have
# came to 0.21 at 3.5 and -0.17 at 5.1.
_LEAST_LIKENESS, _LEAST_SIGNIFICANCE = 0.3, 3.0
_LEAST_NOISY_LIKENESS, _NOISY_SIGNIFICANCE = 0.25, 5.0
"""Both pairs lie between the true and the false ones above: a noisy map must have clearer axes."""
LEAST_EVENNESS = 0.4
"""A mean over rotations is high also where a map has a subgroup. Maps of lumps that had a group in part had
an evenness of 0.00 to 0.35 (D2 of C2, D3 of C3, O of T; D4 of C4, of which one of three had 0.51); groups
that maps had and showed, 0.61 to 1.00 with up to twice as much noise as signal (`benchmarks/map_axes.py`).
"""


@dataclass(frozen=True, slots=True)
class SymmetryFit:
    """How a group lies in a map: ``rotation`` (3, 3) takes the group's frame to the map's.

    ``correlation`` is that of the map with itself, mean over the group's rotations but the identity;
    ``cylindrical`` that under other angles about the same axes; ``significance`` how far the correlation lies
    above the placings of a coarse grid, in their standard deviations.
    """

    group: str
    rotation: Array
    correlation: float
    significance: float
    cylindrical: float = 0.0
    by_class: tuple[float, ...] = ()
    """Mean correlation of each class of the group's rotations (`rotation_classes`)."""

    @property
    def likeness(self) -> float:
        """Correlation above that at other angles, over the largest possible excess; 1 is perfect."""
        return (self.correlation - self.cylindrical) / max(1.0 - self.cylindrical, 1e-6)

    @property
    def evenness(self) -> float:
        """Likeness under the class of rotations that shows least, over that which shows most."""
        above = [max(one - self.cylindrical, 0.0) for one in self.by_class]
        return min(above) / max(above) if above and max(above) > 0 else 1.0

    @property
    def has_all_classes(self) -> bool:
        """Whether every class of rotations shows about alike, so that it is not a subgroup that is seen."""
        return self.evenness >= LEAST_EVENNESS

    @property
    def is_seen(self) -> bool:
        """Whether a map whose axes were looked for has the group; noise lowers likeness, not significance."""
        if not self.has_all_classes:
            return False
        if self.significance >= _NOISY_SIGNIFICANCE:
            return self.likeness >= _LEAST_NOISY_LIKENESS
        return self.likeness >= _LEAST_LIKENESS and self.significance >= _LEAST_SIGNIFICANCE


def fit_symmetry(density: torch.Tensor, radius_px: float, group: str) -> SymmetryFit:
    """Where a point group's axes fit a map ``(n, n, n)`` best, about index ``n // 2``; a shell has none."""
    operators = symmetry_matrices(group)
    if len(operators) == 1:
        return SymmetryFit(group, np.eye(3), 1.0, 0.0)
    likeness = _SelfLikeness(density, radius_px)
    if likeness.angular_part < _LEAST_ANGULAR_PART:
        # What is left is the grid's own symmetry, O.
        return SymmetryFit(group, np.eye(3), 0.0, 0.0)
    if group.strip().upper().startswith("C"):
        # The axis alone matters.
        placings = z_axis_to(half_sphere_directions(_STEP_DEG / 1.5))
    else:
        placings = rotation_grid(_STEP_DEG, operators)
    # Generators would do for a perfect map; a few operators judge the grid, all of them the best.
    few = operators[1:4]
    scores = np.array([likeness.mean(placing, few, every=3) for placing in placings])
    best, highest = np.eye(3), -1.0
    for i in np.argsort(-scores)[:3]:
        found = minimize(
            lambda vector, start=placings[i]: (
                -likeness.mean(rotation_from_vector(vector) @ start, operators, every=3)
            ),
            np.zeros(3),
            method="Nelder-Mead",
            options={"initial_simplex": np.vstack([np.zeros(3), 0.1 * np.eye(3)]), "maxiter": 45},
        )
        if -found.fun > highest:
            best, highest = rotation_from_vector(found.x) @ placings[i], -float(found.fun)
    correlation = likeness.mean(best, operators)
    spread = max(float(np.std(scores)), 1e-6)
    return SymmetryFit(
        group,
        best,
        correlation,
        (correlation - float(np.median(scores))) / spread,
        likeness.mean(best, _other_angles(operators)),
        likeness.by_class(best, operators),
    )


def symmetry_in_place(density: torch.Tensor, radius_px: float, group: str) -> SymmetryFit | None:
    """How a map is like itself under a group about the axes where RELION has them; None for a mere shell."""
    operators = symmetry_matrices(group)
    if len(operators) == 1:
        return None
    likeness = _SelfLikeness(density, radius_px)
    if likeness.angular_part < _LEAST_ANGULAR_PART:
        return None
    return SymmetryFit(
        group,
        np.eye(3),
        likeness.mean(np.eye(3), operators),
        0.0,
        likeness.mean(np.eye(3), _other_angles(operators)),
        likeness.by_class(np.eye(3), operators),
    )


def best_axes(density: torch.Tensor, radius_px: float, orders: tuple[int, ...]) -> dict[int, SymmetryFit]:
    """The best axis of each order."""
    return {order: fit_symmetry(density, radius_px, f"C{order}") for order in orders}


def centre_of_density(density: torch.Tensor, radius_px: float) -> Array:
    """Centre of mass (x, y, z) in voxels from index ``n // 2`` of the density within a radius of it.

    Density counts above its mean on the sphere of that radius; the sphere follows the centre.
    """
    n = density.shape[0]
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    values = density.numpy().astype(np.float64)
    centre = np.zeros(3)
    for _ in range(5):
        distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
        rim = np.abs(distance - radius_px) < 1.0
        weight = np.where(distance < radius_px, values - (values[rim].mean() if rim.any() else 0.0), 0.0)
        weight = np.clip(weight, 0.0, None)
        total = weight.sum()
        if total <= 0:
            break
        centre = np.array([(weight * along).sum() for along in (x, y, z)]) / total
    return centre


def centred(density: torch.Tensor, centre_xyz_px: Array) -> torch.Tensor:
    """A map ``(n, n, n)`` moved so that a place (x, y, z from index ``n // 2``) comes to index ``n // 2``."""
    moved = shift(density.numpy().astype(np.float64), -centre_xyz_px[::-1], order=3, mode="nearest")
    return torch.tensor(moved, dtype=torch.float32)


def turned_map(density: torch.Tensor, rotation: Array) -> torch.Tensor:
    """A map ``(n, n, n)`` turned about index ``n // 2``: what was at r lies at ``R r``."""
    turned = map_in_frame(density.numpy().astype(np.float64), rotation.T, np.zeros(3))
    return torch.tensor(turned, dtype=torch.float32)


def map_in_frame(density: Array, rotation: Array, centre_xyz_px: Array, outside: float = 0.0) -> Array:
    """A map ``(z, y, x)`` on a cube, its value at r that of the given map at ``Q r + c``.

    Both r and c, in voxels, count from index ``n // 2``. outside : value beyond the given map.
    """
    n = max(density.shape)
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    place = rotation @ np.stack([x, y, z]).reshape(3, -1) + centre_xyz_px[:, None]
    at = place[::-1] + np.array(density.shape)[:, None] // 2
    values = map_coordinates(density, at, order=3, mode="grid-constant", cval=outside)
    return np.asarray(values.reshape(n, n, n))


def _other_angles(operators: Array) -> Array:
    """Rotations about the axes of operators by angles that are no multiples of small orders."""
    vectors = Rotation.from_matrix(operators).as_rotvec()
    length = np.linalg.norm(vectors, axis=1)
    axes = vectors[length > 1e-6] / length[length > 1e-6][:, None]
    # One of each line of axes.
    axes = axes[[i for i, a in enumerate(axes) if not any(abs(a @ b) > _SAME_LINE_COSINE for b in axes[:i])]]
    angles = 2.0 * np.pi * (np.arange(_N_ANGLES) + 0.5) / _N_ANGLES
    found = np.concatenate([rotation_from_vector(angles[:, None] * axis) for axis in axes[:_MOST_AXES]])
    away = rotations_between(found, np.eye(3)[None], operators)
    return found[away >= _LEAST_AWAY_DEG]


class _SelfLikeness:
    """Correlation of a map's non-radial part with itself turned."""

    def __init__(self, density: torch.Tensor, radius_px: float) -> None:
        n = density.shape[0]
        # A shell off its centre has a non-radial part of its own, which would hide the particle's.
        density = centred(density, centre_of_density(density, radius_px))
        values = non_radial(density, min(radius_px, n / 2 - 2)).numpy().astype(np.float64)
        self._half = n // 2
        self._values = values
        axis = np.arange(n) - n // 2
        z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
        inside = np.flatnonzero((x**2 + y**2 + z**2 <= radius_px**2).ravel())
        # Where the non-radial density is, evenly over the volume.
        inside = inside[:: max(1, len(inside) // _MOST_POINTS)]
        self._points = np.stack([x, y, z]).reshape(3, -1)[:, inside].astype(np.float64)
        self._own = values.ravel()[inside]
        whole = density.numpy().astype(np.float64).ravel()[inside]
        self.angular_part = float(self._own @ self._own) / max(float(whole @ whole), 1e-30)

    def mean(self, placing: Array, operators: Array, *, every: int = 1) -> float:
        """Mean over operators, but the identity, of a group turned by a placing; of one in so many points."""
        turned = placing @ operators @ placing.T
        turned = turned[np.trace(turned, axis1=1, axis2=2) < 3.0 - 1e-6]
        total = 0.0
        own, points = self._own[::every], self._points[:, ::every]
        power = float(own @ own)
        for rotation in turned:
            place = rotation.T @ points
            there = map_coordinates(self._values, place[::-1] + self._half, order=1, mode="grid-constant")
            total += float(own @ there) / max(np.sqrt(power * float(there @ there)), 1e-30)
        return total / max(len(turned), 1)

    def by_class(self, placing: Array, operators: Array) -> tuple[float, ...]:
        """As `mean`, of each class of the group's rotations."""
        return tuple(self.mean(placing, operators[members]) for _, _, members in rotation_classes(operators))
