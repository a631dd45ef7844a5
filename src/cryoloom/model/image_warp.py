"""Smooth displacement of an image: a local alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.geometry.spline_basis import clamped_spline_basis

__all__ = ["ImageWarp"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImageWarp:
    """A point that the rigid pose projects to p appears at ``p + displacement(p)`` (decision 11).

    Cubic B-splines over the field, which is centred on the image's centre; beyond it the displacement is
    that of its edge.
    """

    extent_xy_angstrom: tuple[float, float]
    n_controls_xy: tuple[int, int]
    controls_xy_angstrom: tuple[tuple[float, float], ...]
    """Displacements (x, y), row by row from the bottom."""

    @property
    def controls(self) -> Array:
        """``(y, x, 2)`` as xy in angstrom."""
        n_x, n_y = self.n_controls_xy
        return np.array(self.controls_xy_angstrom, dtype=np.float64).reshape(n_y, n_x, 2)

    def displacement(self, positions_xy_angstrom: ArrayLike) -> Array:
        """Displacements ``(n, 2)`` as xy in angstrom at positions ``(n, 2)`` from the image's centre."""
        positions = np.asarray(positions_xy_angstrom, dtype=np.float64)
        basis_y, basis_x = warp_bases(positions, self.extent_xy_angstrom, self.n_controls_xy)
        return np.einsum("na,nb,abc->nc", basis_y, basis_x, self.controls, optimize=True)

    def undisplaced(self, seen_xy_angstrom: ArrayLike, n_rounds: int = 4) -> Array:
        """Positions ``(n, 2)`` whose displaced ones are given; displacements are smooth and small."""
        seen = np.asarray(seen_xy_angstrom, dtype=np.float64)
        position = seen
        for _ in range(n_rounds):
            position = seen - self.displacement(position)
        return position

    @classmethod
    def of_controls(cls, controls_xy_angstrom: Array, extent_xy_angstrom: tuple[float, float]) -> ImageWarp:
        """From controls ``(y, x, 2)``, rounded to a hundredth of an angstrom."""
        n_y, n_x = controls_xy_angstrom.shape[:2]
        rows = np.round(controls_xy_angstrom.reshape(-1, 2), 2) + 0.0
        return cls(extent_xy_angstrom, (n_x, n_y), tuple((float(x), float(y)) for x, y in rows))

    @classmethod
    def fitted(
        cls,
        positions_xy_angstrom: Array,
        displacements_xy_angstrom: Array,
        extent_xy_angstrom: tuple[float, float],
        n_controls: int,
    ) -> ImageWarp:
        """Least-squares fit of displacements ``(n, 2)`` at positions ``(n, 2)``, as smooth in x as in y.

        Controls without positions nearby are as small as possible.
        """
        basis_y, basis_x = warp_bases(positions_xy_angstrom, extent_xy_angstrom, (n_controls, n_controls))
        design = np.einsum("na,nb->nab", basis_y, basis_x).reshape(len(basis_y), -1)
        found = np.linalg.lstsq(design, displacements_xy_angstrom, rcond=1e-6)[0]
        return cls.of_controls(found.reshape(n_controls, n_controls, 2), extent_xy_angstrom)


def warp_bases(
    positions_xy_angstrom: Array, extent_xy_angstrom: tuple[float, float], n_controls_xy: tuple[int, int]
) -> tuple[Array, Array]:
    """B-splines along y and x, ``(n, control)`` each, at positions from the image's centre."""
    place = positions_xy_angstrom / np.array(extent_xy_angstrom) + 0.5
    return (
        clamped_spline_basis(place[:, 1], n_controls_xy[1]),
        clamped_spline_basis(place[:, 0], n_controls_xy[0]),
    )
