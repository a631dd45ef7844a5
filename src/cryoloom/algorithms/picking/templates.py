"""Templates: a density on the search's grid, at any rotation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from cryoloom.kernels.images.rotate_volume import rotate_volume

__all__ = [
    "OVERSAMPLING",
    "Template",
    "ball_density",
    "density_of_points",
    "prepare_template",
    "template_of_density",
]

Array = NDArray[np.float64]
Volume = NDArray[np.float32]

OVERSAMPLING = 2
"""Chosen: samples of a template's density per voxel of the search."""
BAND_PER_VOXEL = 0.45
"""As `matched_filter.BAND_PER_VOXEL`, beyond which the images are filtered: in cycles per voxel."""
_EDGE_PER_VOXEL = 0.05  # as that of the filtered images (`matched_filter`)
_SAMPLES = 2
"""Oversampling for interpolation: the blur then hardly depends on the position within a voxel."""


@dataclass(frozen=True, slots=True)
class Template:
    """A particle's density about its centre, positive where there is matter. Make it by a function here."""

    density: Array
    """``(n, n, n)``, `OVERSAMPLING` times finer than the voxels of the search, centre at index ``n // 2``."""
    samples: Volume
    """The same on a grid `_SAMPLES` times finer, sharpened against the blur of linear interpolation."""
    voxel_size_angstrom: float
    """Of the search."""
    radius_angstrom: float
    """The density is 0 beyond it."""

    @property
    def box(self) -> int:
        """Side of a turned template in voxels of the search: odd, its centre in the middle."""
        return 2 * math.ceil(self.radius_angstrom / self.voxel_size_angstrom) + 1

    def rotated(self, rotations: Array) -> torch.Tensor:
        """The template at rotations ``(n, 3, 3)``, reference to tomogram: ``(n, box, box, box)`` float32."""
        out = torch.empty((len(rotations), self.box, self.box, self.box), dtype=torch.float32)
        per_voxel = float(OVERSAMPLING * _SAMPLES)
        reach = self.radius_angstrom / self.voxel_size_angstrom + 0.5
        rotate_volume(torch.from_numpy(self.samples), torch.from_numpy(rotations), per_voxel, out, reach)
        return out

    def mirrored(self) -> Template:
        """The template of the other hand: z reversed."""
        turned_over = _mirrored(self.density)
        return replace(self, density=turned_over, samples=_samples(turned_over))


def template_of_density(
    density: NDArray[np.floating],
    density_voxel_angstrom: float,
    *,
    voxel_size_angstrom: float,
    radius_angstrom: float,
) -> Template:
    """Template from a density ``(z, y, x)`` whose centre is index ``n // 2``.

    density_voxel_angstrom, voxel_size_angstrom : of the density, of the search. Solvent, that is the
    median of the shell about the radius, becomes 0, and so does all beyond the radius.
    """
    n_fine = _fine_side(voxel_size_angstrom, radius_angstrom)
    fine = voxel_size_angstrom / OVERSAMPLING
    limit = density_voxel_angstrom * BAND_PER_VOXEL / voxel_size_angstrom
    # A margin of solvent, so that nothing rings around the box.
    margin = 2 * math.ceil(voxel_size_angstrom / density_voxel_angstrom) + 2
    outside = float(np.median([np.median(face) for face in _faces(density)]))
    padded = np.pad(np.asarray(density, dtype=np.float64) - outside, margin)
    smooth = _low_passed(padded, limit)
    at = (np.arange(n_fine) - n_fine // 2) * fine / density_voxel_angstrom
    grid = np.meshgrid(*(at + n // 2 + margin for n in density.shape), indexing="ij")
    cut = map_coordinates(smooth, grid, order=3, mode="constant")
    distance = _distance(n_fine) * fine
    shell = np.abs(distance - radius_angstrom) < voxel_size_angstrom
    return prepare_template(cut - np.median(cut[shell]), voxel_size_angstrom, radius_angstrom)


def prepare_template(fine_density: Array, voxel_size_angstrom: float, radius_angstrom: float) -> Template:
    """Template from a density that is on the fine grid already: masked, low-passed, sharpened."""
    n = fine_density.shape[0]
    fine = voxel_size_angstrom / OVERSAMPLING
    inside = np.clip((radius_angstrom - _distance(n) * fine) / voxel_size_angstrom, 0.0, 1.0)
    masked = fine_density * (0.5 - 0.5 * np.cos(np.pi * inside))
    limited = _low_passed(masked, BAND_PER_VOXEL / OVERSAMPLING)
    return Template(limited, _samples(limited), voxel_size_angstrom, radius_angstrom)


def density_of_points(
    points_xyz_angstrom: Array, weights: Array, voxel_size_angstrom: float
) -> NDArray[np.float64]:
    """Density ``(n, n, n)`` of atoms about their centre of mass, each a Gaussian of half a voxel.

    points_xyz_angstrom : (n, 3). weights : (n,), electrons. The centre of mass is at index ``n // 2``.
    """
    centred = points_xyz_angstrom - np.average(points_xyz_angstrom, axis=0, weights=weights)
    reach = math.ceil(float(np.linalg.norm(centred, axis=1).max()) / voxel_size_angstrom) + 3
    n = 2 * reach
    place = centred[:, ::-1] / voxel_size_angstrom + reach
    lower = np.floor(place).astype(int)
    part = place - lower
    density = np.zeros((n, n, n))
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(np.array(corner) == 1, part, 1.0 - part), axis=1)
        np.add.at(density, tuple((lower + corner).T), weights * share)
    squared = _squared_frequency(density.shape)
    blur = np.exp(-2.0 * math.pi**2 * 0.5**2 * squared)
    return np.fft.irfftn(np.fft.rfftn(density) * blur, s=density.shape, axes=(0, 1, 2))


def ball_density(diameter_angstrom: float, voxel_size_angstrom: float) -> NDArray[np.float64]:
    """A ball of density 1 with a soft rim, ``(n, n, n)``."""
    n = 2 * (math.ceil(0.5 * diameter_angstrom / voxel_size_angstrom) + 3)
    depth = 0.5 * diameter_angstrom / voxel_size_angstrom - _distance(n)
    return np.clip(depth + 0.5, 0.0, 1.0)


def _samples(density: Array) -> Volume:
    """Density on a grid `_SAMPLES` times finer, corrected for the blur (sinc^2) of linear interpolation."""
    n, half = density.shape[0], density.shape[0] // 2
    m = _SAMPLES * n
    blur = np.sinc(np.fft.fftfreq(n) / _SAMPLES) ** 2
    spectrum = np.fft.rfftn(density) / (blur[:, None, None] * blur[:, None] * blur[: half + 1])
    padded = np.zeros((m, m, m // 2 + 1), dtype=complex)
    for z in (slice(0, half), slice(-half, None)):
        for y in (slice(0, half), slice(-half, None)):
            padded[z, y, : half + 1] = spectrum[z, y]
    # Both grids are even and have their centre at half their side: nothing to move.
    return (np.fft.irfftn(padded, s=(m, m, m), axes=(0, 1, 2)) * _SAMPLES**3).astype(np.float32)


def _fine_side(voxel_size_angstrom: float, radius_angstrom: float) -> int:
    return 2 * OVERSAMPLING * (math.ceil(radius_angstrom / voxel_size_angstrom) + 2)


def _faces(density: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    return [np.take(density, end, axis=axis) for axis in range(3) for end in (0, -1)]


def _distance(n: int) -> Array:
    """Distance from the centre in voxels, ``(n, n, n)``."""
    at = np.arange(n, dtype=np.float64) - n // 2
    return np.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)


def _squared_frequency(shape: tuple[int, ...]) -> Array:
    z, y, x = (np.fft.fftfreq(n) for n in (*shape[:2], shape[2]))
    x = x[: shape[2] // 2 + 1]
    return z[:, None, None] ** 2 + y[:, None] ** 2 + x**2


def _low_passed(density: Array, limit_per_voxel: float) -> Array:
    """Density without detail beyond a limit in cycles per voxel, with a cosine edge a tenth of it wide."""
    if limit_per_voxel >= 0.5:
        return density
    frequency = np.sqrt(_squared_frequency(density.shape))
    edge = _EDGE_PER_VOXEL / BAND_PER_VOXEL * limit_per_voxel
    kept = 0.5 + 0.5 * np.cos(np.pi * np.clip((frequency - limit_per_voxel) / edge, 0.0, 1.0))
    return np.fft.irfftn(np.fft.rfftn(density) * kept, s=density.shape, axes=(0, 1, 2))


def _mirrored(density: Array) -> Array:
    """Density with z reversed about the centre of an even grid."""
    return np.roll(density[::-1], 1, axis=0)
