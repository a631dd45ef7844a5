"""How the likelihood of every particle in every tilt changes when its image is shifted.

The shift's part of the log-likelihood is the cross-correlation of a particle's image with the projection of
the average, ``c(d) = Re sum D conj(A) e^(2 pi i k . d)``. It is sampled once about the predicted place, four
points to the finest period, and interpolated by cubic splines afterwards (as in RELION 5's frame alignment),
so a solution for a whole series needs no image again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d

from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_search import frames_of
from cryoloom.kernels.slices.fourier_slices import take_slices

__all__ = ["ShiftScores", "projections", "shell_terms", "shift_scores"]

Array = NDArray[np.float64]

_BATCH, _FINER = 32, 2
"""Particles at once, and the score's grid in steps of a pixel of the images. Chosen: bounds memory; half a
pixel is below the width of the peak."""


@dataclass(frozen=True, slots=True)
class ShiftScores:
    """Log-likelihood over image shifts, as coefficients of cubic B-splines.

    ``coefficients`` (particle, tilt, y, x), zero shift at the middle; ``information`` (particle, tilt, 2, 2)
    is minus the expected curvature, in 1/A^2. Both are 0 where a tilt does not show the particle.
    """

    coefficients: NDArray[np.float32]
    spacing_angstrom: float
    information: Array

    @property
    def range_angstrom(self) -> float:
        """Largest shift along an axis; beyond it the value stays that of the edge."""
        return (self.coefficients.shape[-1] // 2 - 2) * self.spacing_angstrom

    def take(self, particles: NDArray[np.int64]) -> ShiftScores:
        """Those of some particles."""
        return replace(
            self, coefficients=self.coefficients[particles], information=self.information[particles]
        )

    def at(self, shifts_xy_angstrom: Array) -> tuple[Array, Array]:
        """Values ``(n, tilt)`` and gradients ``(n, tilt, 2)`` in 1/A at shifts ``(n, tilt, 2)`` as xy."""
        middle = self.coefficients.shape[-1] // 2
        inside = np.abs(shifts_xy_angstrom) <= self.range_angstrom
        place = np.clip(shifts_xy_angstrom, -self.range_angstrom, self.range_angstrom)
        place = place / self.spacing_angstrom + middle
        low = np.floor(place).astype(np.int64)
        weights, slopes = _spline_weights(place - low)
        taps = np.arange(-1, 3)
        rows, columns = low[..., 1, None] + taps, low[..., 0, None] + taps
        n, n_tilts = self.coefficients.shape[:2]
        near = self.coefficients[
            np.arange(n)[:, None, None, None],
            np.arange(n_tilts)[None, :, None, None],
            rows[..., :, None],
            columns[..., None, :],
        ].astype(np.float64)
        along_x = np.einsum("ntyx,ntx->nty", near, weights[..., 0, :])
        value = np.einsum("nty,nty->nt", along_x, weights[..., 1, :])
        in_y = np.einsum("nty,nty->nt", along_x, slopes[..., 1, :])
        in_x = np.einsum("ntyx,ntx,nty->nt", near, slopes[..., 0, :], weights[..., 1, :], optimize=True)
        gradient = np.stack([in_x, in_y], axis=-1) / self.spacing_angstrom
        return value, np.where(inside, gradient, 0.0)


def projections(
    images: ParticleImages, cubes: tuple[torch.Tensor, torch.Tensor], which: NDArray[np.int64],
    rotations: Array, particles: slice, n_used: int,
) -> torch.Tensor:  # fmt: skip
    """Slices ``(n, tilt, m)`` for some particles at rotations ``(n, 3, 3)``.

    cubes : of both halves. which : the cube each particle is compared with, 0 or 1, ``(n,)``.
    """
    samples = images.plane.samples[:n_used].contiguous()
    frames = frames_of(images.matrices, rotations[particles])
    made = torch.zeros((*frames.shape[:2], n_used), dtype=torch.complex64)
    for one in (0, 1):
        mine = torch.tensor(np.flatnonzero(which[particles] == one))
        if len(mine):
            slices = take_slices(cubes[one], frames[mine].reshape(-1, 2, 3).contiguous(), samples)
            made[mine] = slices.reshape(len(mine), -1, n_used)
    return made


def shift_scores(
    images: ParticleImages,
    cubes: tuple[torch.Tensor, torch.Tensor],
    which: NDArray[np.int64],
    rotations: Array,
    n_used: int,
    range_angstrom: float,
) -> ShiftScores:
    """Scores of all particles of a series for image shifts up to a range along x and y.

    cubes, which : as of `projections`. n_used : number of samples in use.
    """
    plane = images.plane
    side = _FINER * plane.box_px
    spacing = plane.box_angstrom / side
    reach = min(math.ceil(range_angstrom / spacing) + 2, side // 2 - 1)
    window = torch.arange(-reach, reach + 1) % side
    kx, ky = (torch.tensor(plane.kxy[:n_used, i]) for i in (0, 1))
    on_axis = kx == 0
    k = 2.0 * np.pi / plane.box_angstrom * plane.kxy[:n_used].astype(np.float64)
    squares = torch.tensor(np.stack([k[:, 0] ** 2, k[:, 0] * k[:, 1], k[:, 1] ** 2], axis=-1)).float()
    n, n_tilts = images.n, len(images.matrices)
    scores = np.zeros((n, n_tilts, len(window), len(window)), np.float32)
    information = np.zeros((n, n_tilts, 2, 2))
    for start in range(0, n, _BATCH):
        some = slice(start, start + _BATCH)
        model = projections(images, cubes, which, rotations, some, n_used)
        data, weights = images.batch(some, n_used)
        xx, xy, yy = ((weights * model.abs() ** 2) @ squares).double().numpy().transpose(2, 0, 1)
        information[some] = np.stack([xx, xy, xy, yy], axis=-1).reshape(*xx.shape, 2, 2)
        product = data * model.conj()
        for t in range(n_tilts):
            spectrum = torch.zeros((len(product), side, side // 2 + 1), dtype=torch.complex64)
            spectrum[:, ky % side, kx] = product[:, t]
            spectrum[:, (-ky[on_axis]) % side, 0] = product[:, t, on_axis].conj()
            # Half of the plane was filled: the sum over it is half of the whole one.
            sampled = torch.fft.irfft2(spectrum, s=(side, side), norm="forward") * 0.5
            scores[some, t] = sampled[:, window][:, :, window].numpy()
    for axis in (2, 3):
        scores = spline_filter1d(scores, order=3, axis=axis, output=np.float32, mode="mirror")
    return ShiftScores(scores, spacing, information)


def shell_terms(
    images: ParticleImages,
    cubes: tuple[torch.Tensor, torch.Tensor],
    which: NDArray[np.int64],
    rotations: Array,
    n_used: int,
) -> Array:
    """Cross and quadratic terms of the log-likelihood by particle, tilt and shell, ``(n, tilt, shell, 2)``.

    cubes, which : as of `projections`. Particles are where they were cut.
    """
    shell = torch.tensor(images.plane.shell[:n_used])
    n_shells = int(shell[-1]) + 1
    terms = np.zeros((images.n, len(images.matrices), n_shells, 2))
    for start in range(0, images.n, _BATCH):
        some = slice(start, start + _BATCH)
        model = projections(images, cubes, which, rotations, some, n_used)
        data, weights = images.batch(some, n_used)
        for column, values in enumerate(((data * model.conj()).real, weights * model.abs() ** 2)):
            sums = torch.zeros((*values.shape[:2], n_shells), dtype=torch.float64)
            sums.index_add_(2, shell, values.double())
            terms[some, :, :, column] = sums.numpy()
    return terms


def _spline_weights(part: Array) -> tuple[Array, Array]:
    """Weights ``(..., 4)`` of the coefficients about places between samples, and their slopes."""
    u = part[..., None]
    weights = np.concatenate(
        [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], axis=-1
    )
    slopes = np.concatenate([-3 * (1 - u) ** 2, 9 * u**2 - 12 * u, -9 * u**2 + 6 * u + 3, 3 * u**2], axis=-1)
    return weights / 6.0, slopes / 6.0
