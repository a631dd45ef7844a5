"""Points eliminated from normal equations: the Schur complement of bundle adjustment.

Triggs et al., Bundle Adjustment, A Modern Synthesis (2000), section 6.1: each point has its own 3 x 3 block,
so only the unknowns of the views are solved together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["EliminatedPoints"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EliminatedPoints:
    """The points' part of normal equations ``[N C; C^T P] (u, p) = (r, s)``."""

    coupling: Array
    """C, ``(n_unknowns, n_points * 3)``."""
    inverse: Array
    """Inverse of every point's block of P, ``(n_points, 3, 3)``."""
    right: Array
    """s, ``(n_points, 3)``."""
    scaled: Array
    """``C P^-1``, as the coupling."""

    @classmethod
    def of(cls, coupling: Array, blocks: Array, right: Array) -> EliminatedPoints:
        """Invert the blocks ``(n_points, 3, 3)``."""
        inverse = np.asarray(np.linalg.inv(blocks), dtype=np.float64)
        scaled = np.einsum("upi,pij->upj", coupling.reshape(-1, len(right), 3), inverse)
        return cls(coupling, inverse, right, scaled.reshape(coupling.shape))

    @property
    def normal(self) -> Array:
        """Subtracted from N: ``C P^-1 C^T``."""
        return np.asarray(self.scaled @ self.coupling.T)

    @property
    def right_of_views(self) -> Array:
        """Subtracted from r: ``C P^-1 s``."""
        return np.asarray(self.scaled @ self.right.ravel())

    def points(self, unknowns: Array) -> Array:
        """Solution of the points ``(n_points, 3)`` for the unknowns found."""
        rest = self.right - (self.coupling.T @ unknowns).reshape(self.right.shape)
        return np.asarray(np.einsum("pij,pj->pi", self.inverse, rest))
