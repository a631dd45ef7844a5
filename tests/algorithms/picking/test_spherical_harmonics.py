"""Real spherical harmonics: orthonormal, complete in each degree, as the text books have them."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.spherical_harmonics import (
    degrees_of_terms,
    quadrature,
    spherical_harmonics,
)


def test_they_are_orthonormal():
    directions, weights = quadrature(14)
    terms = spherical_harmonics(directions, 14)
    assert_allclose(weights.sum(), 4 * np.pi)
    assert_allclose((terms * weights[:, None]).T @ terms, np.eye(225), atol=1e-12)


def test_degree_one_is_the_direction(rng):
    directions = rng.standard_normal((10, 3))
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    terms = spherical_harmonics(directions, 1)
    assert_allclose(terms[:, 0], np.sqrt(1 / (4 * np.pi)))
    # Terms of degree 1 are m = -1, 0, 1: y, z, x.
    assert_allclose(terms[:, 1:], np.sqrt(3 / (4 * np.pi)) * unit[:, [1, 2, 0]], atol=1e-14)


def test_addition_theorem(rng):
    directions = rng.standard_normal((2, 3))
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    one, other = spherical_harmonics(unit, 6)
    of_degree = np.bincount(degrees_of_terms(6), one * other)
    expected = [
        (2 * degree + 1) / (4 * np.pi) * np.polynomial.legendre.Legendre.basis(degree)(unit[0] @ unit[1])
        for degree in range(7)
    ]
    assert_allclose(of_degree, expected, atol=1e-13)
