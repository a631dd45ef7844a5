"""Classes of particles at known poses: likelihood of each class, principal differences, and junk.

All classes are compared with the same whitened images, so their log-likelihoods are comparable: with the
reference A_k at a particle's pose, ``log L_k = sum Re(D A_k*) - 1/2 W |A_k|^2``. Junk is what a shell without
orientation explains best, with any amplitude: ``max_a (a b - a^2 c / 2) = b^2 / 2c`` for b > 0, else 0; that
of nothing at all is 0.

EM from random classes often ends in a poor division. Here the first division follows the direction in which
the particles differ most: for ``A + z_p V`` the coefficients z_p and the map V are improved in turns (the
EM algorithm for principal components; Tipping & Bishop, J. R. Stat. Soc. B 61 (1999), for particles Punjani &
Fleet, J. Struct. Biol. 213 (2021)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.maps import radial_cube
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_search import frames_of
from cryoloom.algorithms.averaging.reconstruction import Insertion, insert_particles
from cryoloom.kernels.slices.fourier_slices import take_slices

__all__ = [
    "class_log_likelihoods",
    "class_probabilities",
    "clusters_of",
    "difference_terms",
    "insert_classes",
    "insert_difference",
]

Array = NDArray[np.float64]

_BATCH = 64
"""Particles at once. Chosen: bounds memory."""
_LEAST_SHARE = 1e-3
"""Chosen: particles with less probability change a class by less than its noise."""


def class_log_likelihoods(
    images: ParticleImages, cubes: Sequence[torch.Tensor], rotations: Array, n_used: int, *, junk: bool
) -> Array:
    """Log-likelihood of every class, ``(n, class)``, and of junk as the last column if requested.

    Particles are where they were cut, at rotations ``(n, 3, 3)``. Junk is judged by the radial mean of all
    classes.
    """
    found = np.zeros((images.n, len(cubes) + junk))
    for some, data, weights, frames, samples in _batches(images, rotations, n_used):
        for k, cube in enumerate(cubes):
            cross, quadratic = _terms(data, weights, take_slices(cube, frames, samples))
            found[some, k] = cross - 0.5 * quadratic
        if junk:
            mean = radial_cube(torch.stack(list(cubes)).mean(dim=0))
            b, c = _terms(data, weights, take_slices(mean, frames, samples))
            found[some, -1] = np.maximum(b, 0.0) ** 2 / np.maximum(2.0 * c, 1e-12)
    return found


def class_probabilities(log_likelihoods: Array, shares: Array, exponent: float = 1.0) -> Array:
    """Probability of every class, ``(n, class)``, for shares ``(class,)`` of them in the set."""
    total = exponent * log_likelihoods + np.log(np.maximum(shares, 1e-12))
    total -= total.max(axis=1, keepdims=True)
    weight = np.exp(total)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def insert_classes(
    images: ParticleImages, rotations: Array, probabilities: Array, insert_to: float
) -> list[Insertion]:
    """Sums of each class, every particle with its probability ``(n, class)``."""
    made = []
    for share in probabilities.T:
        into = Insertion(images.plane.box_px, insert_to)
        mine = np.flatnonzero(share > _LEAST_SHARE)
        insert_particles(images, into, mine, rotations[mine], np.zeros((len(mine), 3)), share[mine])
        made.append(into)
    return made


def difference_terms(
    images: ParticleImages,
    mean: torch.Tensor,
    directions: Sequence[torch.Tensor],
    rotations: Array,
    n_used: int,
) -> tuple[Array, Array]:
    """Slope ``(n, q)`` and curvature ``(n, q, q)`` of the log-likelihood by coefficients of differences.

    The model is ``mean + sum_q z_q direction_q``; with a prior precision the most probable coefficients are
    ``(curvature + precision)^-1 slope``.
    """
    q = len(directions)
    slope, curvature = np.zeros((images.n, q)), np.zeros((images.n, q, q))
    for some, data, weights, frames, samples in _batches(images, rotations, n_used):
        left = data - weights * take_slices(mean, frames, samples).reshape(data.shape)
        slices = [take_slices(one, frames, samples).reshape(data.shape) for one in directions]
        for i, one in enumerate(slices):
            slope[some, i] = (left * one.conj()).real.double().sum(dim=(1, 2)).numpy()
            for j in range(i + 1):
                product = (weights * (one * slices[j].conj()).real).double().sum(dim=(1, 2)).numpy()
                curvature[some, i, j] = curvature[some, j, i] = product
    return slope, curvature


def insert_difference(
    images: ParticleImages,
    mean: torch.Tensor,
    before: Sequence[torch.Tensor],
    rotations: Array,
    coefficients: Array,
    variance: Array,
    insert_to: float,
) -> Insertion:
    """Sums from which the direction of the last coefficient follows.

    The residual after the mean and the previous directions is weighted by the coefficient, and the weights
    by its square plus its variance. coefficients : (n, q). variance : of the last, ``(n,)``.
    """
    into = Insertion(images.plane.box_px, insert_to)
    n_used = int(np.searchsorted(images.plane.radius, insert_to, side="right"))
    for some, data, weights, frames, samples in _batches(images, rotations, n_used):
        z = torch.tensor(coefficients[some]).float()[:, :, None, None]
        model = take_slices(mean, frames, samples).reshape(data.shape)
        for i, one in enumerate(before):
            model = model + z[:, i] * take_slices(one, frames, samples).reshape(data.shape)
        last = z[:, -1]
        spread = torch.tensor(variance[some]).float()[:, None, None]
        part = replace(
            images,
            data=((data - weights * model) * last).numpy(),
            weights=(weights * (last**2 + spread)).numpy(),
            visible=images.visible[some],
        )
        every = np.arange(part.n)
        insert_particles(part, into, every, rotations[some], np.zeros((part.n, 3)))
    return into


def clusters_of(coefficients: Array, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cluster of every particle, ``(n,)``, by k-means on coefficients ``(n, q)``; the best of ten starts."""
    spread = coefficients / np.maximum(coefficients.std(axis=0), 1e-12)
    best: tuple[float, NDArray[np.int64]] | None = None
    for _ in range(10):
        centres = spread[rng.choice(len(spread), n_clusters, replace=False)]
        centres, labels = _k_means(spread, centres)
        cost = float(((spread - centres[labels]) ** 2).sum())
        if best is None or cost < best[0]:
            best = (cost, labels)
    if best is None:
        raise ValueError("expected particles to divide")
    return best[1]


def _k_means(points: Array, centres: Array, n_rounds: int = 50) -> tuple[Array, NDArray[np.int64]]:
    """Lloyd's iterations; an empty cluster keeps its centre."""
    labels = np.zeros(len(points), np.int64)
    for _ in range(n_rounds):
        labels = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        moved = np.array(
            [
                points[labels == k].mean(axis=0) if (labels == k).any() else centres[k]
                for k in range(len(centres))
            ]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres, labels


def _batches(
    images: ParticleImages, rotations: Array, n_used: int
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Particles, data and weights ``(b, tilt, m)``, frames and samples of their slices."""
    samples = images.plane.samples[:n_used].contiguous()
    for start in range(0, images.n, _BATCH):
        some = slice(start, min(start + _BATCH, images.n))
        frames = frames_of(images.matrices, rotations[some]).reshape(-1, 2, 3).contiguous()
        data, weights = images.batch(some, n_used)
        yield some, data, weights, frames, samples


def _terms(data: torch.Tensor, weights: torch.Tensor, slices: torch.Tensor) -> tuple[Array, Array]:
    """Cross and quadratic term of each particle, ``(b,)``."""
    model = slices.reshape(data.shape)
    cross = (data * model.conj()).real.double().sum(dim=(1, 2))
    quadratic = (weights * model.abs() ** 2).double().sum(dim=(1, 2))
    return cross.numpy(), quadratic.numpy()
