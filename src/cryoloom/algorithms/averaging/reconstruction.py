"""A map from particles at known poses: Fourier insertion and a Wiener filter from the halves' correlation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.fourier_cube import (
    PADDING,
    add_conjugates,
    cube_frequency,
    cube_of_map,
    gridding_square,
    map_of_cube,
)
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_search import frames_of
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.kernels.slices.fourier_slices import cube_shape, insert_slices, sum_equivalents

__all__ = [
    "FourierSums",
    "Insertion",
    "expected_cube",
    "expected_sums",
    "insert_particles",
    "prior_precision",
    "symmetrised",
]

_BATCH = 128
"""Particles inserted at once. Chosen: bounds memory."""


@dataclass
class Insertion:
    """Sums of CTF-multiplied data and of their weights over particles, as half cubes."""

    box_px: int
    highest: float
    """Radius that is filled, in units of one over the box."""
    data: torch.Tensor = field(init=False)
    weights: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        shape = cube_shape(min(PADDING * self.highest, PADDING * self.box_px // 2 - 1))
        self.data = torch.zeros(shape, dtype=torch.complex64)
        self.weights = torch.zeros(shape, dtype=torch.float32)

    def add(self, other: Insertion) -> None:
        """Add the sums of other particles."""
        self.data += other.data
        self.weights += other.weights

    def sums(self, group: str = "C1") -> FourierSums:
        """The sums with conjugates combined, and equivalents of a point group."""
        data, weights = add_conjugates(self.data), add_conjugates(self.weights)
        operators = torch.tensor(symmetry_matrices(group), dtype=torch.float32, device=data.device)
        if len(operators) > 1:
            data, weights = sum_equivalents(data, weights, operators, PADDING * self.highest)
        return FourierSums(self.box_px, self.highest, data, weights)


@dataclass(frozen=True, slots=True)
class FourierSums:
    """Sums of a whole set, from which maps are made."""

    box_px: int
    highest: float
    data: torch.Tensor
    weights: torch.Tensor

    def map(self, precision: NDArray[np.float64] | None = None) -> torch.Tensor:
        """Map ``(box, box, box)``: data over weights plus the prior's precision by shells of the box.

        Without a prior, weights below a thousandth of their shell's mean are replaced by that.
        """
        data, weights = self.data, self.weights
        radius = cube_frequency(data.shape)
        inside = radius <= self.highest
        if precision is None:
            floor = 1e-3 * _by_shell(_shell_means(weights, radius, self.highest), radius)
            divided = data / torch.maximum(weights, torch.clip(floor, min=1e-12))
        else:
            divided = data / torch.clip(weights + _by_shell(precision, radius), min=1e-12)
        return map_of_cube(torch.where(inside, divided, 0), self.box_px)

    def shell_weights(self) -> NDArray[np.float64]:
        """Mean weight by shells of the box, ``(int(highest) + 1,)``."""
        return _shell_means(self.weights, cube_frequency(self.weights.shape), self.highest)


def prior_precision(
    weights: NDArray[np.float64], correlation: NDArray[np.float64], *, least: float = 1e-3
) -> NDArray[np.float64]:
    """Precision of the map's prior by shells, ``(n,)``, from the halves' correlation.

    The signal-to-noise ratio of a half is FSC / (1 - FSC), and its noise variance one over the weight, so the
    precision 1 / tau2 is weight (1 - FSC) / FSC. (Scheres, J. Struct. Biol. 180 (2012).)
    """
    fsc = np.clip(correlation, least, 1.0 - least)
    return weights * (1.0 - fsc) / fsc


def expected_cube(expected: torch.Tensor, highest: float) -> torch.Tensor:
    """Half cube of an expected map ``(box, box, box)`` as `expected_sums` takes it."""
    return cube_of_map(expected * gridding_square(expected.shape[0]), highest)


def expected_sums(cube: torch.Tensor, precision: NDArray[np.float64]) -> torch.Tensor:
    """What an expected map, as a half cube, adds to the data of sums, with a prior's precision by shells.

    Data with this addition, divided by the weights plus the precision, give the expected map where no image
    contributes.
    """
    return cube * _by_shell(precision, cube_frequency(cube.shape))


def insert_particles(
    images: ParticleImages,
    into: Insertion,
    particles: NDArray[np.int64],
    rotations: NDArray[np.float64],
    shifts_xyz_angstrom: NDArray[np.float64],
    importance: NDArray[np.float64] | None = None,
    gain: NDArray[np.float32] | None = None,
) -> None:
    """Add images of particles, each index ``(j,)`` at a pose ``(j, 3, 3)`` and ``(j, 3)``, to the sums.

    importance : of each entry, ``(j,)``: probability of the particle's pose.
    """
    n_used = int(np.searchsorted(images.plane.radius, into.highest, side="right"))
    samples = images.plane.samples[:n_used].contiguous()
    kxy = images.plane.kxy[:n_used].T / images.plane.box_angstrom
    factor = np.float32(1) if gain is None else gain[:, :n_used]
    for start in range(0, len(particles), _BATCH):
        part = slice(start, start + _BATCH)
        frames = frames_of(images.matrices, rotations[part])
        seen = np.einsum("tab,sb->sta", images.matrices[:, :2], shifts_xyz_angstrom[part])
        phase = np.exp(np.complex64(2j * np.pi) * (seen @ kxy).astype(np.float32))
        data = images.data[particles[part], :, :n_used] * factor * phase
        weights = images.weights[particles[part], :, :n_used] * factor
        if importance is not None:
            importances = importance[part].astype(np.float32)[:, None, None]
            data, weights = data * importances, weights * importances
        m = data.shape[-1]
        insert_slices(
            torch.tensor(data.astype(np.complex64)).reshape(-1, m),
            torch.tensor(weights).reshape(-1, m),
            frames.reshape(-1, 2, 3),
            samples,
            into.data,
            into.weights,
        )


def symmetrised(density: torch.Tensor, group: str) -> torch.Tensor:
    """Mean of a map ``(n, n, n)`` over the rotations of a point group, about index ``n // 2``.

    Cubic splines in real space; what lies outside the map counts as 0.
    """
    operators = symmetry_matrices(group)
    if len(operators) == 1:
        return density
    from scipy.ndimage import affine_transform, spline_filter

    values = density.numpy().astype(np.float64)
    coefficients = spline_filter(values, order=3, mode="grid-constant")
    centre = np.array(values.shape) // 2
    total = np.zeros_like(values)
    for operator in operators:
        # Output voxel r takes the value at S^T r; axes of the array are z, y, x.
        turn = operator.T[::-1, ::-1]
        total += affine_transform(
            coefficients, turn, centre - turn @ centre, order=3, prefilter=False, mode="grid-constant"
        )
    return torch.tensor(total / len(operators), dtype=torch.float32)


def _shell_means(values: torch.Tensor, radius: torch.Tensor, highest: float) -> NDArray[np.float64]:
    n = int(highest) + 1
    shell = torch.round(radius).long()
    inside = shell < n
    sums = np.bincount(shell[inside].numpy(), values[inside].double().numpy(), minlength=n)
    counts = np.bincount(shell[inside].numpy(), minlength=n)
    return sums / np.maximum(counts, 1)


def _by_shell(values: NDArray[np.float64], radius: torch.Tensor) -> torch.Tensor:
    """Values by shells, interpolated at each frequency; the last one beyond."""
    shells = np.arange(len(values))
    found = np.interp(radius.numpy().ravel(), shells, values)
    return torch.tensor(found.reshape(radius.shape), dtype=torch.float32)
