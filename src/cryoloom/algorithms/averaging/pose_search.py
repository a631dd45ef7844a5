"""Exhaustive search of poses as matrix products.

All particles of a series share the viewing directions, so the slices of the reference are made once for every
orientation of a grid, and the log-likelihoods of all particles, shifts and orientations follow from two
matrix products: one with the data, whose phases are shifted, and one with the weights.

Shifts are compared by the few functions that span their phases (`shift_basis`), at a half to a fifth of the
cost; the likely rotations are then compared again at every shift.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.fourier_cube import PADDING
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.shift_basis import ShiftBasis, shift_basis
from cryoloom.kernels.slices.fourier_slices import take_slices

__all__ = [
    "Posterior",
    "direction_prior",
    "frames_of",
    "marginal_likelihoods",
    "search_poses",
    "shift_grid",
    "shift_phases",
]

_ORIENTATIONS_AT_ONCE, _VALUES_AT_ONCE = 512, 1 << 24
"""Chosen: bounds the memory of scores; the values are complex numbers."""
_ERROR_NATS = 0.7
"""Chosen: standard deviation of a score's error where all rotations are compared by a basis of the shifts."""
_NEGLIGIBLE_NATS = 7.0
"""Chosen: poses less likely than the best by e^7, a thousand times, are not used."""
_LEAST_WEIGHT = 1e-3
"""Chosen: orientations with a smaller part of the best weight are not refined."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """The significant poses of each particle, best first; weights sum to 1 and are 0 if there are fewer.

    ``rotation`` and ``shift`` (particle, mode) are indices into the grids. ``log_likelihood`` (particle,) is
    the best pose's gain over no particle; ``n_effective`` (particle,) is the number of orientations that
    share the posterior, as exp of its entropy.
    """

    rotation: NDArray[np.int64]
    shift: NDArray[np.int64]
    weight: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    n_effective: NDArray[np.float64]


def shift_grid(range_angstrom: float, step_angstrom: float) -> NDArray[np.float64]:
    """Shifts ``(n, 3)`` of a cubic grid inside a ball, none first."""
    n = math.floor(range_angstrom / step_angstrom + 1e-6)
    axis = step_angstrom * np.arange(-n, n + 1)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(grid, axis=1)
    return grid[np.argsort(length, kind="stable")][: np.count_nonzero(length <= range_angstrom + 1e-6)]


def frames_of(matrices: NDArray[np.float64], rotations: NDArray[np.float64]) -> torch.Tensor:
    """Frames ``(rotation, tilt, 2, 3)`` as `kernels.fourier_slices` takes them.

    A frequency of the image is ``P^T k`` in the specimen and ``R^T P^T k`` in the reference.
    """
    product = np.einsum("tab,nbc->ntac", matrices[:, :2], rotations)
    return torch.tensor(PADDING * product, dtype=torch.float32).contiguous()


def direction_prior(
    rotations: NDArray[np.float64], directions: NDArray[np.float64], width_deg: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log prior ``(particle, rotation)``: a von Mises-Fisher density of the angle from R z to a direction.

    directions : (particle, 3), NaN if there is no prior. width_deg : standard deviations (particle,).
    """
    cosine = directions @ rotations[:, :, 2].T
    concentration = 1.0 / np.deg2rad(width_deg) ** 2
    return np.nan_to_num(concentration[:, None] * (cosine - 1.0), nan=0.0)


def search_poses(
    images: ParticleImages,
    cube: torch.Tensor,
    rotations: NDArray[np.float64],
    shifts_xyz_angstrom: NDArray[np.float64],
    n_used: int,
    *,
    log_prior: NDArray[np.float64] | None = None,
    temperature: float = 1.0,
    n_modes: int = 64,
    gain: NDArray[np.float32] | None = None,
    centres_xyz_angstrom: NDArray[np.float64] | None = None,
    compresses_shifts: bool = True,
) -> Posterior:
    """Posterior of every particle over a grid of rotations ``(n, 3, 3)`` and shifts ``(s, 3)``.

    n_used : number of samples in use, a prefix of the plane's. log_prior : (particle, rotation). temperature
    : the likelihood's exponent; below 1 the posterior is flatter. gain : (tilt, m), multiplies data and
    weights. centres_xyz_angstrom : shifts ``(particle, 3)`` about which the grid of shifts is placed.
    compresses_shifts : compare shifts by a basis first; with few particles it costs more than it saves.
    """
    search = _Search.of(images, shifts_xyz_angstrom, n_used, temperature, gain, centres_xyz_angstrom)
    n_rotations = len(rotations)
    found = _Scores.empty(images.n, n_rotations)
    basis: ShiftBasis | None = None if compresses_shifts else search.exact_basis
    for r in range(0, n_rotations, _ORIENTATIONS_AT_ONCE):
        some = slice(r, min(r + _ORIENTATIONS_AT_ONCE, n_rotations))
        slices = _slices(images, cube, rotations[some], n_used)
        squared = _squared(slices)
        basis = basis or search.basis(squared.mean(dim=0))
        power = search.weights @ squared.T
        for part in search.parts(len(basis.spectra)):
            found.put((part, some), search.scores(part, slices, power[part], basis))
    if basis is not None and not basis.is_exact:
        log_posterior = found.marginal if log_prior is None else found.marginal + log_prior
        for i, chosen in enumerate(_likely(row, search.slack, n_modes) for row in log_posterior):
            slices = _slices(images, cube, rotations[chosen], n_used)
            power = search.weights[i : i + 1] @ _squared(slices).T
            exact = search.scores(slice(i, i + 1), slices, power, search.exact_basis)
            found.put(([i], chosen), exact)
    return _posterior(found, log_prior, n_modes, temperature)


def marginal_likelihoods(
    images: ParticleImages,
    cube: torch.Tensor,
    rotations: NDArray[np.float64],
    shifts_xyz_angstrom: NDArray[np.float64],
    n_used: int,
    *,
    centres_xyz_angstrom: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Log of the likelihood summed over the shifts, ``(particle, rotation)``; arguments as `search_poses`."""
    search = _Search.of(images, shifts_xyz_angstrom, n_used, 1.0, None, centres_xyz_angstrom)
    found, basis = _Scores.empty(images.n, len(rotations)), search.exact_basis
    for r in range(0, len(rotations), _ORIENTATIONS_AT_ONCE):
        some = slice(r, min(r + _ORIENTATIONS_AT_ONCE, len(rotations)))
        slices = _slices(images, cube, rotations[some], n_used)
        power = search.weights @ _squared(slices).T
        for part in search.parts(len(basis.spectra)):
            found.put((part, some), search.scores(part, slices, power[part], basis))
    return found.marginal


def _slices(
    images: ParticleImages, cube: torch.Tensor, rotations: NDArray[np.float64], n_used: int
) -> torch.Tensor:
    """Slices of the reference ``(rotation, k)``, k over tilts and samples."""
    samples = images.plane.samples[:n_used].contiguous()
    frames = frames_of(images.matrices, rotations).reshape(-1, 2, 3)
    return take_slices(cube, frames, samples).reshape(len(rotations), -1)


def _squared(slices: torch.Tensor) -> torch.Tensor:
    pairs = torch.view_as_real(slices)
    return pairs[..., 0].square().addcmul_(pairs[..., 1], pairs[..., 1])


def _likely(log_posterior: NDArray[np.floating], slack: float, most: int) -> NDArray[np.int64]:
    """Indices of the values near the highest, at most so many."""
    chosen = np.flatnonzero(log_posterior > log_posterior.max() - slack)
    if len(chosen) > most:
        chosen = chosen[np.argpartition(-log_posterior[chosen], most)[:most]]
    return chosen


@dataclass(frozen=True, slots=True)
class _Scores:
    """Evidence of some particles at some rotations, summed over the shifts, ``(particle, rotation)``."""

    marginal: NDArray[np.float32]
    peak: NDArray[np.float32]
    shift: NDArray[np.int32]

    @classmethod
    def empty(cls, n: int, n_rotations: int) -> _Scores:
        """Not scored yet."""
        shape = (n, n_rotations)
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32))

    def put(self, where: Any, part: _Scores) -> None:
        """Take over the scores of some particles and rotations."""
        self.marginal[where], self.peak[where], self.shift[where] = part.marginal, part.peak, part.shift

    @classmethod
    def of(cls, cross: torch.Tensor, power: torch.Tensor, temperature: float) -> _Scores:
        """From cross terms ``(particle, shift, rotation)``, which are overwritten, and quadratic terms."""
        score = cross.sub_(0.5 * power[:, None]).mul_(temperature)
        highest, index = score.max(dim=1)
        total = score.sub_(highest[:, None]).exp_().sum(dim=1).log_().add_(highest)
        return cls(total.numpy(), highest.numpy(), index.to(torch.int32).numpy())


@dataclass(frozen=True, slots=True)
class _Search:
    """Data of the particles of a series, and terms common to all rotations."""

    data: torch.Tensor
    """``(particle, k)`` complex64, k over tilts and samples."""
    weights: torch.Tensor
    phases: torch.Tensor
    """Phase factors of the shifts, ``(shift, k)``."""
    temperature: float

    @classmethod
    def of(
        cls,
        images: ParticleImages,
        shifts: NDArray[np.float64],
        n_used: int,
        temperature: float,
        gain: NDArray[np.float32] | None,
        centres: NDArray[np.float64] | None,
    ) -> _Search:
        factor = np.ones((len(images.matrices), n_used), np.float32) if gain is None else gain[:, :n_used]
        data = torch.tensor(images.data[..., :n_used] * factor)
        if centres is not None:
            data = data * shift_phases(images, centres, n_used)
        weights = torch.tensor(images.weights[..., :n_used] * factor)
        phases = shift_phases(images, shifts, n_used)
        return cls(data.flatten(1), weights.flatten(1), phases.flatten(1), temperature)

    @property
    def exact_basis(self) -> ShiftBasis:
        """The shifts' own phases."""
        return ShiftBasis(torch.eye(len(self.phases)), self.phases, 0.0)

    @property
    def slack(self) -> float:
        """How far below the best, in nats, a rotation is still scored exactly."""
        return _NEGLIGIBLE_NATS + 6.0 * _ERROR_NATS

    def basis(self, power: torch.Tensor) -> ShiftBasis:
        """Functions that span the shifts, for slices of mean power ``(k,)``."""
        information = self.weights.mean(dim=0) * power * self.temperature**2
        return shift_basis(self.phases, information, _ERROR_NATS**2)

    def parts(self, n_columns: int) -> Iterator[slice]:
        """Particles that are done at once, so that memory stays small."""
        at_once = max(1, _VALUES_AT_ONCE // (n_columns * 2 * self.data.shape[1]))
        for start in range(0, len(self.data), at_once):
            yield slice(start, min(start + at_once, len(self.data)))

    def scores(self, part: slice, slices: torch.Tensor, power: torch.Tensor, basis: ShiftBasis) -> _Scores:
        """All shifts of some particles, from the functions of a basis."""
        cross = self._cross(self.data[part], basis.spectra, slices)
        if not basis.is_exact:
            cross = basis.mixing @ cross
        return _Scores.of(cross, power, self.temperature)

    def _cross(self, data: torch.Tensor, spectra: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """``Re sum_k data spectrum conj(slice)``, ``(particle, spectrum, rotation)``."""
        turned = torch.view_as_real(data[:, None] * spectra[None]).flatten(2)
        flat = torch.view_as_real(slices).flatten(1)
        return (turned.flatten(0, 1) @ flat.T).reshape(len(data), len(spectra), len(slices))


def shift_phases(images: ParticleImages, shifts: NDArray[np.float64], n_used: int) -> torch.Tensor:
    """``exp(+2 pi i k . P s)`` of each shift, ``(shift, tilt, m)``: takes the shift out of the data."""
    seen = np.einsum("tab,sb->sta", images.matrices[:, :2], shifts) / images.plane.box_angstrom
    turns = seen @ images.plane.kxy[:n_used].T
    return torch.tensor(np.exp(2j * np.pi * turns), dtype=torch.complex64)


def _posterior(
    found: _Scores,
    log_prior: NDArray[np.float64] | None,
    n_modes: int,
    temperature: float,
) -> Posterior:
    total = found.marginal.astype(np.float64)
    if log_prior is not None:
        total = total + log_prior
    total -= total.max(axis=1, keepdims=True)
    weight = np.exp(total)
    weight /= weight.sum(axis=1, keepdims=True)
    entropy = -(weight * np.log(np.maximum(weight, 1e-300))).sum(axis=1)
    n_modes = min(n_modes, weight.shape[1])
    order = np.argsort(-weight, axis=1, kind="stable")[:, :n_modes]
    kept = np.take_along_axis(weight, order, axis=1)
    kept = np.where(kept > _LEAST_WEIGHT * kept[:, :1], kept, 0.0)
    return Posterior(
        rotation=order,
        shift=np.take_along_axis(found.shift, order, axis=1).astype(np.int64),
        weight=kept / kept.sum(axis=1, keepdims=True),
        log_likelihood=np.take_along_axis(found.peak, order[:, :1], axis=1)[:, 0].astype(np.float64)
        / temperature,
        n_effective=np.exp(entropy),
    )
