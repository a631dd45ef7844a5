"""Real spherical harmonics, and functions of direction split by degree."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["degrees_of_terms", "quadrature", "spherical_harmonics"]

Array = NDArray[np.float64]


def spherical_harmonics(directions: ArrayLike, l_max: int) -> Array:
    """Orthonormal real spherical harmonics at directions ``(n, 3)``: ``(n, (l_max + 1)^2)``.

    Term ``l^2 + l + m``: for m > 0 with cos(m phi), for m < 0 with sin(|m| phi). Legendre functions by the
    usual recurrence of normalised ones (Numerical Recipes, 3rd ed., 6.7), without the Condon-Shortley sign.
    """
    d = np.asarray(directions, dtype=np.float64)
    d = d / np.linalg.norm(d, axis=1, keepdims=True)
    cosine, sine = d[:, 2], np.hypot(d[:, 0], d[:, 1])
    phi = np.arctan2(d[:, 1], d[:, 0])
    terms = np.empty((len(d), (l_max + 1) ** 2))
    diagonal = np.full(len(d), math.sqrt(0.25 / math.pi))
    for m in range(l_max + 1):
        if m:
            diagonal = diagonal * sine * math.sqrt((2 * m + 1) / (2 * m))
        before, here = np.zeros_like(diagonal), diagonal
        along = math.sqrt(2.0) * np.cos(m * phi), math.sqrt(2.0) * np.sin(m * phi)
        for degree in range(m, l_max + 1):
            if degree > m:
                a = math.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
                b = math.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1)) if degree > 1 else 0.0
                before, here = here, a * (cosine * here - b * before)
            middle = degree**2 + degree
            if m == 0:
                terms[:, middle] = here
            else:
                terms[:, middle + m], terms[:, middle - m] = here * along[0], here * along[1]
    return terms


def degrees_of_terms(l_max: int) -> NDArray[np.int64]:
    """Degree l of each term, ``((l_max + 1)^2,)``."""
    return np.repeat(np.arange(l_max + 1), 2 * np.arange(l_max + 1) + 1)


def quadrature(l_max: int) -> tuple[Array, Array]:
    """Directions ``(n, 3)`` and weights ``(n,)`` exact for products of two harmonics up to ``l_max``.

    Gauss-Legendre in cos(theta), even steps in phi.
    """
    cosine, weight = np.polynomial.legendre.leggauss(l_max + 1)
    n_phi = 2 * l_max + 2
    phi = 2.0 * math.pi * np.arange(n_phi) / n_phi
    sine = np.sqrt(1.0 - cosine**2)
    directions = np.stack(
        [
            sine[:, None] * np.cos(phi),
            sine[:, None] * np.sin(phi),
            np.broadcast_to(cosine[:, None], (len(cosine), n_phi)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    return directions, np.repeat(weight * 2.0 * math.pi / n_phi, n_phi)
