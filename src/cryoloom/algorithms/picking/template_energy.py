"""E of a template at every rotation, from its low spherical-harmonic degrees.

``E(R) = integral of W(k) |A(R^T k)|^2``: W is the information of the images at each frequency (the missing
wedge, the CTF), the other factor the power of the rotated template. W changes slowly with direction, so only
the low degrees of both count: degree 8 gives E to 1 or 2 per cent, at any number of rotations. The nearest of
600 computed rotations gives it to 8 per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from cryoloom.algorithms.picking.spherical_harmonics import (
    degrees_of_terms,
    quadrature,
    spherical_harmonics,
)

__all__ = ["DirectionalPower", "RotationSet", "TemplateEnergy", "directional_power", "template_energy"]

Array = NDArray[np.float64]

_DEGREE = 8
"""Chosen: even degrees to 8 follow how a template's power changes with direction; higher ones are left
out."""
_QUADRATURE_DEGREE = 40
"""Chosen: a template's power changes fast with direction; this many directions average it."""
_PADDING = 4
"""Chosen: power between the samples of a template's own transform."""
_ROTATIONS_AT_ONCE = 512
"""Chosen: bounds memory."""


@dataclass(frozen=True, slots=True)
class DirectionalPower:
    """Even degrees of a power spectrum on shells of frequency, ``(shell, term)``."""

    terms: Array
    frequency_per_voxel: Array
    """Frequencies of the shells, ``(shell,)``."""


def directional_power(power: Array, n_shells: int) -> DirectionalPower:
    """Even degrees of a power spectrum ``(n, n, n)`` in the order of fftn, up to half a cycle a voxel."""
    n = power.shape[0]
    centred = np.fft.fftshift(power)
    directions, weights = quadrature(_QUADRATURE_DEGREE)
    harmonics = (spherical_harmonics(directions, _DEGREE) * weights[:, None])[:, _even_terms()]
    frequency: Array = (np.arange(n_shells) + 0.5) / np.float64(2 * n_shells)
    toward = directions[:, ::-1].T
    shells = [
        map_coordinates(centred, n * k * toward + n // 2, order=1, mode="nearest") @ harmonics
        for k in frequency
    ]
    return DirectionalPower(np.array(shells), frequency)


@dataclass(frozen=True, slots=True)
class RotationSet:
    """Rotations ``(n, 3, 3)`` from template to tomogram, and how they mix the terms of each even degree."""

    matrices: Array
    mixing: NDArray[np.float32]
    """``(n, pair)``: ``D_ab(R) = integral of Y_a(R x) Y_b(x)``, pairs of terms as `_pairs` lists them."""

    @classmethod
    def of(cls, matrices: Array) -> RotationSet:
        """The terms of rotations, once for all templates."""
        nodes, weights = quadrature(_DEGREE)
        terms = _even_terms()
        own = (spherical_harmonics(nodes, _DEGREE) * weights[:, None])[:, terms]
        first, second = _pairs()
        mixing = np.empty((len(matrices), len(first)), np.float32)
        for start in range(0, len(matrices), _ROTATIONS_AT_ONCE):
            some = matrices[start : start + _ROTATIONS_AT_ONCE]
            turned = np.einsum("nij,qj->nqi", some, nodes).reshape(-1, 3)
            harmonics = spherical_harmonics(turned, _DEGREE)[:, terms].reshape(len(some), len(nodes), -1)
            every = np.swapaxes(harmonics, 1, 2) @ own
            mixing[start : start + len(some)] = every[:, first, second]
        return cls(matrices, mixing)

    def __len__(self) -> int:
        return len(self.matrices)


@dataclass(frozen=True, slots=True)
class TemplateEnergy:
    """E at any rotation: ``sum over pairs of coupling D_ab(R)``. Make it by `template_energy`."""

    coupling: Array
    """``(pair,)``"""

    def scaled(self, factor: float) -> TemplateEnergy:
        """Scale of a template with an E larger by this factor."""
        return TemplateEnergy(self.coupling * factor)

    def at(self, rotations: RotationSet) -> Array:
        """E at every rotation, ``(n,)``."""
        return rotations.mixing @ self.coupling


def template_energy(density: Array, information: DirectionalPower) -> TemplateEnergy:
    """E of a density ``(k, k, k)`` turned about its centre, but for a factor.

    information : W, of which only the shape counts; its scale follows from one E that is known.
    """
    side = _PADDING * density.shape[0]
    power = np.abs(np.fft.fftn(density, s=(side,) * 3, axes=(0, 1, 2))) ** 2
    own = directional_power(power, len(information.frequency_per_voxel))
    area = information.frequency_per_voxel**2
    coupling = (information.terms * area[:, None]).T @ own.terms
    return TemplateEnergy(coupling[_pairs()])


def _even_terms() -> NDArray[np.int64]:
    """Terms of even degree: a power spectrum has no others."""
    return np.flatnonzero(degrees_of_terms(_DEGREE) % 2 == 0)


def _pairs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of terms of one degree, which is all that rotations mix."""
    degrees = degrees_of_terms(_DEGREE)[_even_terms()]
    first, second = np.nonzero(degrees[:, None] == degrees[None])
    return first, second
