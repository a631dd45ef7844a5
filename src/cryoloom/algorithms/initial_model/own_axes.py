"""Axes of a symmetric particle from its own images: where a point group lies in it.

A symmetric particle does not change when it is rotated by an element of its point group, so its images show
the axes without a reference. For a placing R, the Fourier values X at the equivalents ``R g k`` of a
frequency k measure the same number. With noise of precision Y and a Gaussian prior of precision p, the
evidence for one common number over independent ones is

    |sum X|^2 / 2 (sum Y + p) - log(1 + sum Y / p) - sum (|X|^2 / 2 (Y + p) - log(1 + Y / p))

in nats. Y contains the missing wedge and the directions of the tilts. The radial part is removed first.
Frequencies so near their equivalents that they share noise are not compared.

The best placing has a positive score also by chance. `class_sums` measures whether the particles have the
symmetry. It must use images from which the placings were not found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.fourier_cube import PADDING, cube_frequency, cube_of_map, map_of_cube
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_refinement import refine_poses
from cryoloom.algorithms.averaging.pose_search import search_poses
from cryoloom.algorithms.averaging.reconstruction import Insertion, insert_particles
from cryoloom.geometry.orientation_grid import (
    half_sphere_directions,
    rotation_grid,
    rotations_near,
    z_axis_to,
)
from cryoloom.geometry.rotations import rotation_from_vector
from cryoloom.geometry.symmetry import rotation_classes, symmetry_matrices
from cryoloom.kernels.slices.fourier_slices import take_slices
from cryoloom.kernels.slices.orbits import orbit_evidence

__all__ = [
    "ClassLikeness",
    "OwnAxes",
    "class_likeness",
    "class_sums",
    "own_axes",
    "own_band_angstrom",
    "own_step_deg",
]

Array = NDArray[np.float64]

#: Measured on apoferritin: a seventh of the diameter gives the most evidence, a fifth half as much.
_BAND_DIAMETERS, _LOWEST_DIAMETERS = 1.0 / 7.0, 0.5
_STEP_OF_BAND, _SEARCH_STEP_OF_BAND = 0.85, 1.3
"""Chosen: steps of grids for axes, and of searches with a reference, where several orientations may share a
particle, in radians over the detail in units of the diameter."""
_SIGNAL_TO_NOISE = 0.05
"""Signal of one particle in one frequency. Values between 0.03 and 0.1 give the same placings."""
_SEARCH_APART, _TEST_APART = 0.5, 1.2
"""In units of one over the diameter: nearer frequencies share noise. Power at the axes is evidence too."""
_SPACING, _LATTICE_OFFSET = 0.8, np.array([0.37, 0.21, 0.68])
"""Chosen: spacing of the compared frequencies in units of one over the diameter, slightly finer than that of
independent frequencies. The offset is arbitrary and on no axis."""
_ANY_LINE = np.array([0.23, 0.31, 0.92])
"""Chosen at random: a line that is on no axis of a point group; it selects one of the equivalent points."""
_N_ANGLES, _LEAST_AWAY = 11, 0.3
"""Chosen: angles for comparison are multiples of a turn over eleven, except those within 0.3 of a multiple of
the group's angle."""
_REFINED, _FINER = 5, (0.5, 0.25)
"""Chosen: number of best placings that are refined, and steps of the refinement over those of the grid."""


def own_band_angstrom(diameter_angstrom: float, finest_angstrom: float) -> float:
    """Detail at which the axes of one particle are visible, no finer than that of the images."""
    return max(_BAND_DIAMETERS * diameter_angstrom, finest_angstrom)


def own_step_deg(band_angstrom: float, diameter_angstrom: float) -> float:
    """Step of the grid of rotations for a search with a reference of this detail."""
    return _SEARCH_STEP_OF_BAND * math.degrees(band_angstrom / diameter_angstrom)


@dataclass(frozen=True, slots=True)
class OwnAxes:
    """Placing of a group in each particle: ``rotations`` (n, 3, 3) from the group's frame.

    ``significance`` (n,) is the score of the best placing above the mean of the grid, in standard deviations.
    """

    rotations: Array
    significance: Array


def own_axes(
    images: ParticleImages,
    shifts_xyz_angstrom: Array,
    group: str,
    diameter_angstrom: float,
    band_angstrom: float,
) -> OwnAxes:
    """Placing of the axes of a group in each particle, from the images of this particle only.

    shifts_xyz_angstrom : centres of the particles from the extracted positions, (n, 3).
    """
    orbits = _Orbits.of(images, group, diameter_angstrom, band_angstrom, _SEARCH_APART)
    step_deg = _STEP_OF_BAND * math.degrees(band_angstrom / diameter_angstrom)
    if group.strip().upper().startswith("C"):
        grid = z_axis_to(half_sphere_directions(step_deg))
    else:
        grid = rotation_grid(step_deg, orbits.operators)
    rotations, significance = np.zeros((images.n, 3, 3)), np.zeros(images.n)
    for i in range(images.n):
        spectrum = _Spectrum.of(images, i, shifts_xyz_angstrom[i], diameter_angstrom, orbits.highest)
        scores = orbits.evidence(spectrum, grid)
        best, highest = np.eye(3), -math.inf
        for start in np.argsort(-scores)[:_REFINED]:
            placing, score = grid[start], float(scores[start])
            for part in _FINER:
                near = rotations_near(part * step_deg, 1.8 * part * step_deg) @ placing
                around = orbits.evidence(spectrum, near)
                placing, score = near[int(np.argmax(around))], float(around.max())
            if score > highest:
                best, highest = placing, score
        spread = max(float(scores.std()), 1e-9)
        rotations[i], significance[i] = best, (highest - float(scores.mean())) / spread
    return OwnAxes(rotations, significance)


def class_sums(
    images: ParticleImages,
    cube: torch.Tensor,
    shifts_xyz_angstrom: Array,
    group: str,
    diameter_angstrom: float,
    band_angstrom: float,
) -> Array:
    """Products of particles with themselves under classes of a group's rotations, ``(n, 1 + class, 4)``.

    One half of the tilts is placed by a reference (its half cube). The other half is compared with itself
    rotated; then the halves change roles. So no noise that affected the placing is in the comparison. The
    sums are those of products and of weights. For cyclic and dihedral groups the same sums follow at other
    angles about the same axes, because a cylinder is like itself under any angle. The first row has both
    halves without a rotation: the power that all rotations of a perfect symmetry return.
    """
    orbits = _Orbits.of(images, group, diameter_angstrom, band_angstrom, _TEST_APART)
    n_used = images.plane.n_within(band_angstrom)
    grid = rotation_grid(own_step_deg(band_angstrom, diameter_angstrom), orbits.operators)
    odd = np.argsort(np.argsort(images.acquisition)) % 2 == 1
    total = np.zeros((images.n, 1 + len(orbits.classes), 4))
    for shown in (odd, ~odd):
        placed, tested = _of_tilts(images, shown), _of_tilts(images, ~shown)
        found = search_poses(
            placed, cube, grid, np.zeros((1, 3)), n_used, centres_xyz_angstrom=shifts_xyz_angstrom
        )
        starts = grid[found.rotation[:, 0]]
        poses = refine_poses(placed, cube, starts, shifts_xyz_angstrom, n_used)
        for i in range(images.n):
            both = [
                _Spectrum.of(some, i, poses.shifts_xyz_angstrom[i], diameter_angstrom, orbits.highest)
                for some in (tested, placed)
            ]
            total[i, 0, :2] += orbits.common_product(both[0], both[1], poses.rotations[i])
            total[i, 1:] += orbits.class_products(both[0], poses.rotations[i])
    return total


@dataclass(frozen=True, slots=True)
class ClassLikeness:
    """Likeness of particles to themselves under one class of rotations, ``angle_deg`` about axes of an order.

    ``likeness`` is a part of the power that other angles about the same axes change: the part that the class
    keeps, 1 for a perfect symmetry. ``deviations`` is its ratio to its standard error over particles.
    """

    order: int
    angle_deg: float
    likeness: float
    deviations: float


def class_likeness(sums: Array, group: str) -> tuple[ClassLikeness, ...]:
    """Likeness under each class from the sums of all particles ``(n, 1 + class, 4)``.

    A class without compared frequencies is left out.
    """
    found, n = [], len(sums)
    mean = np.maximum(sums.mean(axis=0), 1e-30)
    power = float(sums[:, 0, 0].mean() / mean[0, 1])
    for i, (order, angle_deg, _) in enumerate(rotation_classes(symmetry_matrices(group)), start=1):
        if not sums[:, i, 1].sum() > 0 or n < 2:
            found.append(ClassLikeness(order, angle_deg, 0.0, 0.0))
            continue
        other = sums[:, i, 2] / mean[i, 3]
        each = sums[:, i, 0] / mean[i, 1] - other
        error = float(each.std(ddof=1)) / math.sqrt(n)
        likeness = float(each.mean()) / max(power - float(other.mean()), 1e-30)
        found.append(ClassLikeness(order, angle_deg, likeness, float(each.mean()) / max(error, 1e-30)))
    return tuple(found)


def _of_tilts(images: ParticleImages, shown: NDArray[np.bool_]) -> ParticleImages:
    seen = shown[None, :, None]
    return replace(images, data=images.data * seen, weights=images.weights * seen)


@dataclass(frozen=True)
class _Spectrum:
    """Half cubes of one particle without radial part, scaled to noise 1 in every shell."""

    values: torch.Tensor
    precision: torch.Tensor
    prior: Array
    """Precision of a prior for values, by shells of the box."""

    @cached_property
    def worth(self) -> torch.Tensor:
        """Nats of single values."""
        prior = _at(torch.tensor(self.prior), cube_frequency(self.values.shape)).clamp(min=1e-30)
        squared = self.values.abs() ** 2
        return 0.5 * squared / (self.precision + prior) - torch.log1p(self.precision / prior)

    @classmethod
    def of(
        cls, images: ParticleImages, i: int, shift: Array, diameter_angstrom: float, highest: float
    ) -> _Spectrum:
        n, voxel = images.plane.box_px, images.plane.pixel_size_angstrom
        mask = particle_mask(n, voxel, diameter_angstrom)
        sums = Insertion(n, min(highest + 1.0, float(images.plane.radius[-1])))
        insert_particles(images, sums, np.array([i]), np.eye(3)[None], shift[None])
        joined = sums.sums()
        values = cube_of_map(map_of_cube(joined.data, n) * mask, highest)
        weights = cube_of_map(map_of_cube(joined.weights.to(torch.complex64), n) * mask, highest).real
        radius = cube_frequency(values.shape)
        shell = torch.round(radius).long().ravel()
        inside = (radius <= highest + 0.5).ravel()
        floor = 1e-3 * float(weights[radius <= highest].mean())
        weights = weights.clamp(min=floor)

        def by_shell(values: torch.Tensor) -> torch.Tensor:
            return torch.bincount(shell, values.ravel().double() * inside, minlength=int(highest) + 2)

        radial = by_shell(values.real) / by_shell(weights).clamp(min=1e-30)
        values = values - weights * _at(radial, radius)
        # Signal, neighbours and noise together; the signal of one particle is small.
        gain = 2.0 * by_shell(weights) / by_shell(values.abs() ** 2).clamp(min=1e-30)
        values, weights = values * _at(gain, radius), weights * _at(gain, radius)
        counts = by_shell(torch.ones_like(weights)).clamp(min=1.0)
        prior = by_shell(weights) / counts / _SIGNAL_TO_NOISE
        return cls(values, weights, prior.numpy())


def _at(curve: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """A curve by shells, interpolated."""
    place = radius.clamp(max=len(curve) - 1.001)
    low = place.long()
    part = place - low
    values = curve.float()
    return values[low] * (1 - part) + values[low + 1] * part


@dataclass(frozen=True)
class _Orbits:
    """Frequencies that are compared with their equivalents: one of each orbit, evenly over the band."""

    group: str
    highest: float
    points: Array
    """``(m, 3)`` in units of one over the box; m is even."""
    apart: float

    @classmethod
    def of(
        cls,
        images: ParticleImages,
        group: str,
        diameter_angstrom: float,
        band_angstrom: float,
        least_apart: float,
    ) -> _Orbits:
        box = images.plane.box_angstrom
        highest = min(box / band_angstrom, float(images.plane.radius[-1]))
        spacing = _SPACING * box / diameter_angstrom
        n = math.ceil(highest / spacing) + 1
        along = spacing * np.arange(-n, n + 1)
        points = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(-1, 3)
        points = points + spacing * _LATTICE_OFFSET
        radius = np.linalg.norm(points, axis=1)
        lowest = box / (_LOWEST_DIAMETERS * diameter_angstrom)
        points = points[(radius <= highest) & (radius >= lowest)]
        # The point of an orbit and its opposite that is nearest to an arbitrary line that is not an axis.
        operators = symmetry_matrices(group)
        across = np.abs(points @ operators @ _ANY_LINE)
        points = points[across[0] >= across.max(axis=0) - 1e-9]
        orbits = cls(group, highest, points, least_apart * box / diameter_angstrom)
        points = points[orbits._are_apart(operators[1:]).all(axis=0)]
        return replace(orbits, points=points[: len(points) // 2 * 2])

    @cached_property
    def operators(self) -> Array:
        """The group's rotations."""
        return symmetry_matrices(self.group)

    @cached_property
    def classes(self) -> list[tuple[int, float, NDArray[np.int64]]]:
        """Order of the axis, angle and operators of each class of rotations."""
        return rotation_classes(self.operators)

    def _are_apart(self, turns: Array) -> NDArray[np.bool_]:
        """Whether frequencies lie far from their rotated positions and the opposite ones, ``(turn, m)``."""
        turned = np.einsum("gab,mb->gma", turns, self.points)
        nearest = np.minimum(
            np.linalg.norm(turned - self.points, axis=-1), np.linalg.norm(turned + self.points, axis=-1)
        )
        return np.asarray(nearest >= self.apart)

    def _prior(self, spectrum: _Spectrum) -> torch.Tensor:
        """Precision of the prior at the points, ``(m,)``."""
        radius = np.linalg.norm(self.points, axis=1)
        prior = np.interp(radius, np.arange(len(spectrum.prior)), spectrum.prior)
        return torch.tensor(prior, dtype=torch.float32)

    def _read(self, spectrum: _Spectrum, turns: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and precisions at turned points ``(turn, m)``."""
        turned = torch.tensor(PADDING * turns, dtype=torch.float32) @ torch.tensor(
            self.points.T, dtype=torch.float32
        )
        # A frame holds two points, which its unit samples read.
        frames = turned.transpose(1, 2).reshape(-1, 2, 3).contiguous()
        units = torch.eye(2)
        shape = (len(turns), len(self.points))
        values = take_slices(spectrum.values, frames, units).reshape(shape)
        precision = take_slices(spectrum.precision.to(torch.complex64), frames, units)
        return values, precision.real.reshape(shape)

    def evidence(self, spectrum: _Spectrum, placings: Array) -> Array:
        """Nats of each placing ``(n,)``, up to a factor common to all."""
        turns = PADDING * np.einsum("nab,gbc->ngac", placings, self.operators)
        found = orbit_evidence(
            spectrum.values,
            spectrum.precision,
            spectrum.worth,
            torch.tensor(turns, dtype=torch.float32),
            torch.tensor(self.points, dtype=torch.float32),
            self._prior(spectrum),
        )
        return found.numpy()

    def common_product(self, first: _Spectrum, second: _Spectrum, placing: Array) -> tuple[float, float]:
        """Sums of products of two spectra and of their weights."""
        (one, own), (other, others) = (self._read(some, placing @ self.operators) for some in (first, second))
        factor = 1.0 / self._prior(first)
        return float(((one * other.conj()).real * factor).sum()), float((own * others * factor).sum())

    def class_products(self, spectrum: _Spectrum, placing: Array) -> Array:
        """Sums of products and weights by class of rotations, and those for other angles, ``(class, 4)``."""
        operators = self.operators
        values, precision = self._read(spectrum, placing @ operators)
        # Products of weak signals count as their expected ratio to the noise.
        factor = 1.0 / self._prior(spectrum)
        totals = np.zeros((len(self.classes), 4))
        for c, (order, _, members) in enumerate(self.classes):
            for member in members:
                to = self._product_table[:, member]
                totals[c, 0] += float(((values * values[to].conj()).real * factor).sum())
                totals[c, 1] += float((precision * precision[to] * factor).sum())
            if not self.may_be_cylinders:
                continue
            axis = _axis_of(operators[members[0]])
            for angle in _other_angles(order):
                other = rotation_from_vector(angle * axis)
                # Frequencies ``g k`` are turned about the axis.
                far, far_precision = self._read(spectrum, placing @ other @ operators)
                conjugate = np.einsum("gba,bc,gcd->gad", operators, other, operators)
                clear = torch.tensor(self._are_apart(conjugate)) * factor
                totals[c, 2] += float(((values * far.conj()).real * clear).sum())
                totals[c, 3] += float((precision * far_precision * clear).sum())
        return totals

    @property
    def may_be_cylinders(self) -> bool:
        """Whether a group has one main axis, about which particles may be alike under any angle."""
        return self.group.strip().upper().startswith(("C", "D"))

    @cached_property
    def _product_table(self) -> NDArray[np.int64]:
        """Index of the product of two operators, ``(first, second)``."""
        products = np.einsum("gab,hbc->ghac", self.operators, self.operators)
        apart = np.abs(products[:, :, None] - self.operators).max(axis=(-1, -2))
        return np.asarray(apart.argmin(axis=2))


def _other_angles(order: int) -> Array:
    """Angles in radians, up to a half turn, that are far from all multiples of a turn by an order."""
    angles = (np.arange(_N_ANGLES // 2 + 1) + 0.5) / _N_ANGLES
    away = np.abs(angles * order - np.rint(angles * order))
    return np.asarray(2.0 * math.pi * angles[away >= _LEAST_AWAY])


def _axis_of(rotation: Array) -> Array:
    """Unit vector along the axis of a rotation, either sense."""
    values, vectors = np.linalg.eigh(0.5 * (rotation + rotation.T))
    return np.asarray(vectors[:, int(np.argmax(values))])
