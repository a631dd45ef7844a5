"""Decoys: templates of equal power that match no particle, to count false picks.

The density is split into spherical-harmonic degrees, and within each degree beyond 0 the terms are mixed by
a random orthogonal matrix, the same for all shells. A decoy has the template's radial profile and its power
in every shell and degree: ice, membranes, gold and other proteins resemble it as often as the template; the
particle itself does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from cryoloom.algorithms.picking.spherical_harmonics import (
    degrees_of_terms,
    quadrature,
    spherical_harmonics,
)
from cryoloom.algorithms.picking.templates import BAND_PER_VOXEL, OVERSAMPLING, Template, prepare_template
from cryoloom.geometry.orientation_grid import rotation_grid

__all__ = ["DegreeParts", "decoys_of", "further_decoys", "split_into_degrees"]

Array = NDArray[np.float64]

_TRIES_PER_DECOY = 3  # chosen: of which the least alike is used
_COMPARE_STEP_DEG = 25.0  # chosen: of the rotations at which decoys are compared, about the width of degree 7
_ROTATIONS_AT_ONCE = 200
"""Chosen: bounds memory."""
# Decoys that explain a third of the template's direction-dependent power compete with it for its own places.
_MOST_ALIKE, _DRAWS = 0.6, 6
_VALUES_AT_ONCE = 4_000_000
_DENSITIES_AT_ONCE = 20
"""Chosen: bound memory."""


@dataclass(frozen=True, slots=True)
class DegreeParts:
    """A density about its centre as spherical harmonics on shells. Make it by `split_into_degrees`."""

    coefficients: Array
    """``(shell, term)``."""
    shell_voxels: float
    """Distance between shells, in voxels of the density's grid; the first is the centre."""
    side: int
    """Side n of the grid ``(n, n, n)``, centre at index ``n // 2``."""

    @property
    def l_max(self) -> int:
        """Highest degree."""
        return math.isqrt(self.coefficients.shape[1]) - 1

    def power(self) -> Array:
        """Power of each degree, ``(l_max + 1,)``: integral over the shells of squared values."""
        radius = np.arange(len(self.coefficients)) * self.shell_voxels
        of_terms = ((radius[:, None] * self.coefficients) ** 2).sum(axis=0) * self.shell_voxels
        return np.bincount(degrees_of_terms(self.l_max), of_terms).astype(np.float64)

    def density(self, coefficients: Array) -> Array:
        """Densities ``(m, n, n, n)`` of coefficients ``(m, shell, term)``."""
        n, last = self.side, (len(self.coefficients) - 1) * self.shell_voxels
        at = np.arange(n, dtype=np.float64) - n // 2
        z, y, x = np.meshgrid(at, at, at, indexing="ij")
        places = np.stack([x, y, z], axis=-1).reshape(-1, 3)
        distance = np.linalg.norm(places, axis=1)
        inside = np.flatnonzero(distance < last)
        inside = inside[np.argsort(distance[inside], kind="stable")]
        values = np.zeros((len(coefficients), n**3))
        chunk = max(1, _VALUES_AT_ONCE // coefficients.shape[2])
        for start in range(0, len(inside), chunk):
            some = inside[start : start + chunk]
            harmonics = _harmonics(places[some], self.l_max)
            shell = distance[some] / self.shell_voxels
            lower = np.minimum(shell.astype(int), len(self.coefficients) - 2)
            part = shell - lower
            for s in np.unique(lower):
                here = lower == s
                low = coefficients[:, s] @ harmonics[here].T
                high = coefficients[:, s + 1] @ harmonics[here].T
                values[:, some[here]] = (1 - part[here]) * low + part[here] * high
        return values.reshape(-1, n, n, n)


def split_into_degrees(density: Array, radius_voxels: float, band_per_voxel: float) -> DegreeParts:
    """Spherical harmonics of a density ``(n, n, n)`` on shells half a voxel apart, out to a radius.

    band_per_voxel : finest detail in cycles per voxel; it sets the highest degree.
    """
    n, step = density.shape[0], 0.5
    l_max = math.ceil(2 * math.pi * radius_voxels * band_per_voxel) + 3
    directions, weights = quadrature(l_max)
    harmonics = spherical_harmonics(directions, l_max) * weights[:, None]
    degrees = degrees_of_terms(l_max)
    toward = directions[:, ::-1].T
    shells = np.arange(math.ceil(radius_voxels / step) + 2) * step
    coefficients = np.empty((len(shells), len(degrees)))
    for i, radius in enumerate(shells):
        values = map_coordinates(density, radius * toward + n // 2, order=3, mode="constant")
        coefficients[i] = values @ harmonics
        # A band-limited density has little beyond l = 2 pi k r; the rest is an artefact of interpolation.
        coefficients[i, degrees > 2 * math.pi * radius * band_per_voxel + 3] = 0.0
    return DegreeParts(coefficients, step, n)


def decoys_of(
    template: Template, n_decoys: int, rng: np.random.Generator
) -> tuple[Template, Template, tuple[Template, ...]]:
    """The radial part, the template processed as its decoys are, and the decoys.

    Of several candidates, those least similar to the template and each other at any rotation are used. A
    decoy has no symmetry; searched at the rotations of the template's asymmetric unit it has as many chances
    to fit anything else as the template.
    """
    voxels = OVERSAMPLING * template.radius_angstrom / template.voxel_size_angstrom
    parts = split_into_degrees(template.density, voxels, BAND_PER_VOXEL / OVERSAMPLING)
    tried = [_mixed(parts, rng) for _ in range(_TRIES_PER_DECOY * n_decoys)]
    radial = np.where(degrees_of_terms(parts.l_max) == 0, parts.coefficients, 0.0)
    made = _prepared(parts, [radial, parts.coefficients, *tried], template)
    chosen = _least_alike(made[0], made[1], made[2:], n_decoys)
    return made[0], made[1], tuple(made[2 + i] for i in chosen)


def further_decoys(template: Template, n_decoys: int, rng: np.random.Generator) -> tuple[Template, ...]:
    """Decoys, two thirds of them with the shapes of matter and the template's powers: lumps and sheets.

    Degrees of a compact body belong together: a body that is elongated in degree 2 is elongated in degree 4.
    Another protein or a membrane has that in common with the template and not with `decoys_of`, so it must
    compete with such bodies too. A flat or long particle is itself like some of them, and would lose its own
    places: those are drawn again.
    """
    voxels = OVERSAMPLING * template.radius_angstrom / template.voxel_size_angstrom
    parts = split_into_degrees(template.density, voxels, BAND_PER_VOXEL / OVERSAMPLING)
    # Shells of bodies fit each other less well than the template's, and lose power on the grid: give it back.
    as_made = _powers_on_the_grid(parts, parts.coefficients, voxels)
    radial_part = np.where(degrees_of_terms(parts.l_max) == 0, parts.coefficients, 0.0)
    radial, reference = _prepared(parts, [radial_part, parts.coefficients], template)
    made: dict[int, tuple[float, Template]] = {}
    for _ in range(_DRAWS):
        again = [i for i in range(n_decoys) if i not in made or made[i][0] > _MOST_ALIKE]
        if not again:
            break
        drawn = _prepared(parts, [_drawn(i, parts, as_made, voxels, rng) for i in again], template)
        likeness = _likeness(drawn, reference, radial)
        for i, one, alike in zip(again, drawn, likeness, strict=True):
            if i not in made or alike < made[i][0]:
                made[i] = (float(alike), one)
    return tuple(made[i][1] for i in range(n_decoys))


def _drawn(
    i: int, parts: DegreeParts, as_made: Array, radius_voxels: float, rng: np.random.Generator
) -> Array:
    """Coefficients of one further decoy: lumps, mixed degrees and sheets by turns."""
    if i % 3 == 1:
        return _mixed(parts, rng)
    body = _lumps(parts.side, radius_voxels, rng) if i % 3 == 0 else _sheets(parts.side, radius_voxels, rng)
    shaped = _with_powers_of(parts, body, radius_voxels)
    lost = as_made / np.maximum(_powers_on_the_grid(parts, shaped, radius_voxels), 1e-30)
    gain = np.sqrt(np.clip(lost, 0.5, 2.0))
    gain[0] = 1.0
    return shaped * gain[degrees_of_terms(parts.l_max)]


def _prepared(parts: DegreeParts, coefficients: list[Array], template: Template) -> list[Template]:
    """Templates of coefficients, masked and band-limited as the template is."""
    return [
        prepare_template(density, template.voxel_size_angstrom, template.radius_angstrom)
        for start in range(0, len(coefficients), _DENSITIES_AT_ONCE)
        for density in parts.density(np.stack(coefficients[start : start + _DENSITIES_AT_ONCE]))
    ]


def _powers_on_the_grid(parts: DegreeParts, coefficients: Array, radius_voxels: float) -> Array:
    """Power of each degree of the density that coefficients make."""
    density = parts.density(coefficients[None])[0]
    return split_into_degrees(density, radius_voxels, BAND_PER_VOXEL / OVERSAMPLING).power()


def _lumps(side: int, radius_voxels: float, rng: np.random.Generator) -> Array:
    """Gaussian lumps at random, ``(side, side, side)``."""
    at = np.arange(side, dtype=np.float64) - side // 2
    body = np.zeros((side, side, side))
    for _ in range(int(rng.integers(6, 20))):
        centre = rng.normal(0, 0.35 * radius_voxels, 3)
        centre *= min(1.0, 0.75 * radius_voxels / max(float(np.linalg.norm(centre)), 1e-9))
        width = rng.uniform(0.12, 0.25) * radius_voxels
        z, y, x = (np.exp(-0.5 * ((at - c) / width) ** 2) for c in centre)
        body += z[:, None, None] * y[:, None] * x
    return body


def _sheets(side: int, radius_voxels: float, rng: np.random.Generator) -> Array:
    """One or two flat sheets at random, as membranes are, ``(side, side, side)``."""
    at = np.arange(side, dtype=np.float64) - side // 2
    body = np.zeros((side, side, side))
    for _ in range(int(rng.integers(1, 3))):
        normal = rng.standard_normal(3)
        normal /= np.linalg.norm(normal)
        z, y, x = (at * along for along in normal)
        height = z[:, None, None] + y[:, None] + x - rng.uniform(-0.8, 0.8) * radius_voxels
        body += np.exp(-0.5 * (height / (rng.uniform(0.08, 0.3) * radius_voxels)) ** 2)
    return body


def _with_powers_of(parts: DegreeParts, body: Array, radius_voxels: float) -> Array:
    """Coefficients of a body, every degree of every shell made as strong as the template's."""
    found = split_into_degrees(body, radius_voxels, BAND_PER_VOXEL / OVERSAMPLING).coefficients
    made = parts.coefficients.copy()
    for degree in range(1, parts.l_max + 1):
        terms = slice(degree**2, (degree + 1) ** 2)
        wanted, given = (np.linalg.norm(c[:, terms], axis=1) for c in (parts.coefficients, found))
        made[:, terms] = found[:, terms] * (wanted / np.maximum(given, 1e-12 * given.max() + 1e-30))[:, None]
    return made


def _mixed(parts: DegreeParts, rng: np.random.Generator) -> Array:
    """Coefficients with the terms of every degree but 0 mixed by a random rotation of all of them."""
    mixed = parts.coefficients.copy()
    for degree in range(1, parts.l_max + 1):
        terms = slice(degree**2, (degree + 1) ** 2)
        mixing = np.linalg.qr(rng.standard_normal((2 * degree + 1, 2 * degree + 1)))[0]
        mixed[:, terms] = parts.coefficients[:, terms] @ mixing
    return mixed


def _least_alike(radial: Template, reference: Template, tried: list[Template], n: int) -> list[int]:
    """Indices of decoys with the smallest correlation, at any rotation, with the reference and each other.

    Computed without the radial profile, which they share.
    """
    vectors = _vectors(tried, radial)
    likeness = _likeness(tried, reference, radial)
    between = vectors @ vectors.T
    chosen: list[int] = []
    for _ in range(n):
        cost = np.maximum(likeness, between[:, chosen].max(axis=1, initial=-1.0))
        cost[chosen] = np.inf
        chosen.append(int(np.argmin(cost)))
    return chosen


def _likeness(tried: list[Template], reference: Template, radial: Template) -> Array:
    """Largest correlation of each decoy with the reference at any rotation, without the radial profile."""
    vectors = _vectors(tried, radial)
    grid = rotation_grid(_COMPARE_STEP_DEG)
    parts = np.array_split(grid, math.ceil(len(grid) / _ROTATIONS_AT_ONCE))
    found = [(vectors @ _anisotropic(reference, radial, part).T).max(axis=1) for part in parts]
    return np.max(found, axis=0)


def _vectors(templates: list[Template], radial: Template) -> Array:
    """Templates as they are less the radial part, as unit vectors ``(n, voxel)``."""
    return np.concatenate([_anisotropic(one, radial, np.eye(3)[None]) for one in templates])


def _anisotropic(template: Template, radial: Template, rotations: Array) -> Array:
    """The template at rotations ``(m, 3, 3)`` less its radial part, as unit vectors ``(m, voxel)``."""
    less = replace(template, samples=template.samples - radial.samples)
    flat = less.rotated(rotations).flatten(1).numpy().astype(np.float64)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)


def _harmonics(places: Array, l_max: int) -> Array:
    """Harmonics at places ``(n, 3)``; at the centre only degree 0 counts."""
    moved = np.where(np.abs(places).max(axis=1, keepdims=True) == 0, [0.0, 0.0, 1.0], places)
    return spherical_harmonics(moved, l_max)
