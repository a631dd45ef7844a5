"""Fourier shell correlation of maps: masked, after phase randomisation, and without the radial part.

Halves of a shell-like particle agree although their orientations are random: the part that does not depend on
direction is the same in both. The correlation after subtraction of the radial mean shows whether the poses
are meaningful.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsqr

from cryoloom.algorithms.images.volume_fourier import exact_radial_frequency_rfftn

__all__ = [
    "corrected_correlation",
    "first_fall",
    "non_axial",
    "non_radial",
    "randomised_phases",
    "roundest_centre",
    "shell_correlation",
    "soft_sphere",
]

Array = NDArray[np.float64]

#: Chosen: voxels of the mask from which the roundest centre is found; they bound the time.
_MOST_POINTS = 30000


def shell_correlation(first: torch.Tensor, second: torch.Tensor) -> Array:
    """Correlation of two maps ``(n, n, n)`` by shells of whole frequency 0 to ``n // 2``."""
    a, b = torch.fft.rfftn(first.double()), torch.fft.rfftn(second.double())
    shell, count = _shells(first.shape[0])
    once = _multiplicity(first.shape[0])
    sums = [
        np.bincount(shell, (values * once).numpy().ravel(), minlength=count)[:count]
        for values in ((a * b.conj()).real, a.abs() ** 2, b.abs() ** 2)
    ]
    norm = np.sqrt(sums[1] * sums[2])
    return np.divide(sums[0], norm, out=np.zeros(count), where=norm > 0)


def first_fall(correlation: Array, threshold: float, box_angstrom: float) -> float:
    """Resolution in angstrom where a curve first falls below a threshold, between shells; inf if at once.

    A later rise is ignored. If it does not fall, the last shell's resolution.
    """
    below = np.flatnonzero(correlation[1:] < threshold) + 1
    if not len(below):
        return box_angstrom / (len(correlation) - 1)
    shell = int(below[0])
    if shell <= 1:
        return math.inf
    high, low = correlation[shell - 1], correlation[shell]
    place = shell - 1 + (high - threshold) / max(high - low, 1e-12)
    return float(box_angstrom / place)


def randomised_phases(density: torch.Tensor, from_shell: int, rng: np.random.Generator) -> torch.Tensor:
    """A map with random phases from a shell on; amplitudes are kept.

    Chen et al., Ultramicroscopy 135 (2013).
    """
    n = density.shape[0]
    noise = torch.fft.rfftn(torch.tensor(rng.standard_normal((n, n, n)), dtype=torch.float32))
    spectrum = torch.fft.rfftn(density.float())
    shell, _ = _shells(n)
    beyond = torch.tensor(shell.reshape(spectrum.shape) >= from_shell)
    random = spectrum.abs() * noise / torch.clip(noise.abs(), min=1e-20)
    return torch.fft.irfftn(torch.where(beyond, random, spectrum), s=(n, n, n))


def corrected_correlation(masked: Array, randomised: Array, from_shell: int) -> Array:
    """Correlation corrected for the mask: ``(FSC_t - FSC_n) / (1 - FSC_n)`` from a shell on.

    The two shells after the first random one are unchanged: the mask leaks across the step.
    """
    corrected = masked.copy()
    beyond = slice(from_shell + 2, None)
    noise = np.clip(randomised[beyond], None, 0.999)
    corrected[beyond] = np.where(masked[beyond] > noise, (masked[beyond] - noise) / (1.0 - noise), 0.0)
    return corrected


def soft_sphere(n: int, radius_px: float, edge_px: float) -> torch.Tensor:
    """Mask ``(n, n, n)``: 1 within a radius of index ``n // 2``, falling to 0 as a cosine over an edge."""
    radius = _real_radius(n)
    edge = np.clip((radius_px + edge_px - radius) / edge_px, 0.0, 1.0)
    return torch.tensor(0.5 - 0.5 * np.cos(np.pi * edge), dtype=torch.float32)


def non_radial(
    density: torch.Tensor, radius_px: float, centre_xyz_px: Array | tuple[float, ...] = (0.0, 0.0, 0.0)
) -> torch.Tensor:
    """A map ``(n, n, n)`` minus its radial mean within a radius: a cubic spline, knots every half voxel.

    centre_xyz_px : about which the mean is taken, from index ``n // 2``.
    """
    n = density.shape[0]
    radius = _real_radius(n, centre_xyz_px).ravel()
    inside = np.flatnonzero(radius <= radius_px)
    design = _radial_splines(radius[inside], radius_px)
    values = density.numpy().astype(np.float64).ravel()
    fitted = lsqr(design, values[inside], damp=1e-3, atol=1e-9, btol=1e-9, iter_lim=400)[0]
    left = np.zeros_like(values)
    left[inside] = values[inside] - design @ fitted
    return torch.tensor(left.reshape(density.shape), dtype=torch.float32)


def non_axial(
    density: torch.Tensor, radius_px: float, centre_xyz_px: Array | tuple[float, ...] = (0.0, 0.0, 0.0)
) -> torch.Tensor:
    """A map ``(z, y, x)``, a cube, minus its mean about the z axis within a radius: splines as `non_radial`.

    What is left depends on the rotation about the axis; a membrane across z has nothing left.
    """
    n = density.shape[0]
    axis = (np.arange(n) - n // 2).astype(np.float64)
    radius = np.hypot(axis[:, None] - centre_xyz_px[1], axis[None] - centre_xyz_px[0]).ravel()
    inside = np.flatnonzero(radius <= radius_px)
    design = _radial_splines(radius[inside], radius_px)
    values = density.numpy().astype(np.float64).reshape(n, -1)
    normal = (design.T @ design).toarray() + 1e-6 * np.eye(design.shape[1])
    left = np.zeros_like(values)
    fitted = design @ np.linalg.solve(normal, design.T @ values[:, inside].T)
    left[:, inside] = values[:, inside] - fitted.T
    return torch.tensor(left.reshape(density.shape), dtype=torch.float32)


def _radial_splines(radius: Array, radius_px: float) -> csr_array:
    """Values of cubic splines at radii up to one, ``(n, spline)``, knots every half voxel."""
    knots = np.concatenate([np.zeros(3), np.arange(0.0, radius_px + 0.5, 0.5), np.full(3, radius_px + 0.5)])
    knots[-4:] = max(radius_px, knots[-5]) + 1e-6
    return BSpline.design_matrix(radius, knots, 3)


def roundest_centre(density: torch.Tensor, radius_px: float, *, about_axis: bool = False) -> Array:
    """Centre (x, y, z) in voxels from index ``n // 2`` about which a map depends least on direction.

    Of what lies within a radius, the part that the radial mean leaves is least there; about_axis : the mean
    about z, and z of the centre stays 0. A shell that is off its centre is found to be a shell.
    """
    n = density.shape[0]
    axis = np.arange(n) - n // 2
    z, y, x = (values.ravel() for values in np.meshgrid(axis, axis, axis, indexing="ij"))
    inside = np.flatnonzero(x**2 + y**2 + z**2 <= radius_px**2)
    inside = inside[:: max(1, len(inside) // _MOST_POINTS)]
    points = np.stack([x, y, z])[:, inside].astype(np.float64)
    values = density.numpy().astype(np.float64).ravel()[inside]
    layer = (points[2] + n // 2).astype(np.int64) if about_axis else np.zeros(len(inside), np.int64)
    n_bins = 2 * int(2.0 * radius_px) + 4

    def left(centre: Array) -> float:
        away = points[:2] - centre[:2, None] if about_axis else points - centre[:, None]
        place = 2.0 * np.sqrt((away**2).sum(axis=0))
        low = np.minimum(place.astype(np.int64), n_bins - 2)
        part = place - low
        at = layer * n_bins + low
        count = np.bincount(at, 1.0 - part, n * n_bins) + np.bincount(at + 1, part, n * n_bins)
        total = np.bincount(at, values * (1.0 - part), n * n_bins)
        total = total + np.bincount(at + 1, values * part, n * n_bins)
        mean = total / np.maximum(count, 1e-9)
        return float(((values - mean[at] * (1.0 - part) - mean[at + 1] * part) ** 2).sum())

    n_free = 2 if about_axis else 3
    simplex = np.vstack([np.zeros(n_free), np.eye(n_free)])
    found = minimize(
        lambda free: left(np.append(free, 0.0) if about_axis else free),
        np.zeros(n_free),
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxiter": 80, "xatol": 0.01, "fatol": 0.0},
    )
    centre = np.zeros(3)
    centre[:n_free] = found.x
    return centre if np.linalg.norm(centre) < radius_px / 2.0 else np.zeros(3)


def _real_radius(n: int, centre_xyz_px: Array | tuple[float, ...] = (0.0, 0.0, 0.0)) -> Array:
    axis = (np.arange(n) - n // 2).astype(np.float64)
    x, y, z = (axis - along for along in centre_xyz_px)
    return np.asarray(np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None] ** 2))


def _shells(n: int) -> tuple[NDArray[np.int64], int]:
    """Shell of every rfftn frequency, flat; those beyond ``n // 2`` share the number after the last."""
    radius = exact_radial_frequency_rfftn((n, n, n), 1 / n)
    count = n // 2 + 1
    return np.minimum(np.rint(radius).astype(np.int64).ravel(), count), count


def _multiplicity(n: int) -> torch.Tensor:
    """Multiplicity of a column of rfftn, ``(n // 2 + 1,)``."""
    once = torch.full((n // 2 + 1,), 2.0, dtype=torch.float64)
    once[0] = 1.0
    if n % 2 == 0:
        once[-1] = 1.0
    return once
