"""Representation of a function of depth by its values at a few depths, and the number of these."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DepthBasis", "linear_basis", "polynomial_basis"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DepthBasis:
    """Depths at which something is computed; values between them are weighted sums."""

    depths: Array
    """(node,) ascending."""
    linear: bool
    """Whether to interpolate between the two nearest nodes; otherwise by the polynomial through all."""

    def weights(self, depth: ArrayLike) -> Array:
        """Weights of the nodes at the given depths, ``(node, ...)``; beyond the outermost, those there."""
        low, high = self.range
        at = np.clip(np.asarray(depth, dtype=np.float64), low, high)
        nodes = self.depths.reshape(-1, *[1] * at.ndim)
        if len(self.depths) == 1:
            return np.ones((1, *at.shape))
        if self.linear:
            return np.clip(1 - np.abs(at - nodes) / self.step, 0, None)
        weights = np.ones((len(self.depths), *at.shape))
        for i, scale in enumerate(self.scales):
            weights[i] *= scale
            for other in np.delete(self.depths, i):
                weights[i] *= at - other
        return weights

    @property
    def step(self) -> float:
        """Distance of the nodes between which it is linear; 0 for a polynomial or a single node."""
        return float(self.depths[1] - self.depths[0]) if self.linear and len(self.depths) > 1 else 0.0

    @property
    def scales(self) -> Array:
        """(node,), one over the product of each node's distances from the others."""
        apart = self.depths[:, None] - self.depths
        np.fill_diagonal(apart, 1.0)
        return np.asarray(1 / apart.prod(axis=1))

    @property
    def range(self) -> tuple[float, float]:
        """Depths beyond which the function is constant."""
        if self.linear or len(self.depths) == 1:
            return float(self.depths[0]), float(self.depths[-1])
        # Chebyshev's outermost node is cos(pi / 2n) of the way to the end.
        middle = 0.5 * (self.depths[0] + self.depths[-1])
        half = 0.5 * (self.depths[-1] - self.depths[0]) / math.cos(math.pi / (2 * len(self.depths)))
        return float(middle - half), float(middle + half)


def polynomial_basis(low: float, high: float, rate: float, error: float) -> DepthBasis:
    """Chebyshev's nodes for ``sin(a + rate * depth)`` from ``low`` to ``high``, to within ``error``.

    The bound is ``2 (rate (high - low) / 4)^n / n!``; the error is smaller for every slower rate.
    """
    half = 0.5 * (high - low)
    n, bound = 1, rate * half
    while bound > error:
        n += 1
        bound = 2 * math.exp(n * math.log(0.5 * rate * half) - math.lgamma(n + 1))
    angle = math.pi * (np.arange(n) + 0.5) / n
    return DepthBasis(0.5 * (low + high) - half * np.cos(angle), linear=False)


def linear_basis(low: float, high: float, rate: float, error: float) -> DepthBasis:
    """Nodes a step apart between which ``sin(a + rate * depth)`` is linear but for (rate step)^2 / 8."""
    n = math.ceil((high - low) * rate / math.sqrt(8 * error) - 1e-9) + 1
    if n == 1:
        return DepthBasis(np.array([0.5 * (low + high)]), linear=True)
    return DepthBasis(np.linspace(low, high, n), linear=True)
