"""Poses at a maximum of their likelihood: damped Gauss-Newton steps on rotation and shift together.

The step solves ``(J^T W J + P + lambda diag) x = g``; P is the curvature of the priors. At the end the
inverse of ``J^T W J + P`` is the covariance of the pose: every particle has its own standard deviations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.fourier_cube import PADDING
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_search import frames_of
from cryoloom.geometry.rotations import rotation_from_vector
from cryoloom.kernels.slices.fourier_slices import score_poses

__all__ = ["PosePrior", "RefinedPoses", "pose_terms", "refine_poses"]

_LEAST_GAIN_NATS, _MOST_DAMPING = 1e-2, 1e3
"""A gain below a hundredth of a nat is negligible, and so is a step that damping has made this small."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PosePrior:
    """Prior of poses. Shifts: a Gaussian about the picked positions; directions: of R z."""

    shift_sd_angstrom: float = math.inf
    directions: Array | None = None
    width_deg: Array | None = None

    def take(self, index: NDArray[np.int64]) -> PosePrior:
        """Those of some particles."""
        if self.directions is None or self.width_deg is None:
            return self
        return PosePrior(self.shift_sd_angstrom, self.directions[index], self.width_deg[index])

    def terms(self, rotations: Array, shifts: Array) -> tuple[Array, Array, Array]:
        """Log prior ``(n,)``, its gradient ``(n, 6)`` and minus its curvature ``(n, 6, 6)``.

        By a rotation vector on the right and a shift in the reference's frame.
        """
        n = len(shifts)
        value, gradient, curvature = np.zeros(n), np.zeros((n, 6)), np.zeros((n, 6, 6))
        if math.isfinite(self.shift_sd_angstrom):
            precision = self.shift_sd_angstrom**-2
            value -= 0.5 * precision * (shifts**2).sum(axis=1)
            gradient[:, 3:] -= precision * np.einsum("nji,nj->ni", rotations, shifts)
            curvature[:, range(3, 6), range(3, 6)] += precision
        if self.directions is not None and self.width_deg is not None:
            known = np.isfinite(self.directions.sum(axis=1))
            concentration = np.where(known, 1.0 / np.deg2rad(self.width_deg) ** 2, 0.0)
            direction = np.where(known[:, None], self.directions, 0.0)
            value += concentration * ((direction * rotations[:, :, 2]).sum(axis=1) - 1.0)
            # d(R exp(w) z) = R (w x z): the slope is z x (R^T direction).
            seen = np.einsum("nji,nj->ni", rotations, direction)
            gradient[:, :3] += concentration[:, None] * np.cross([0.0, 0.0, 1.0], seen)
            curvature[:, [0, 1], [0, 1]] += concentration[:, None]
        return value, gradient, curvature


@dataclass(frozen=True, slots=True)
class RefinedPoses:
    """Poses, and their precision."""

    rotations: Array
    """From reference to tomogram, ``(n, 3, 3)``."""
    shifts_xyz_angstrom: Array
    """From the position given, in the tomogram's frame, ``(n, 3)``."""
    log_likelihood: Array
    """Relative to no particle, without priors, ``(n,)``."""
    log_posterior: Array
    """The same with priors: the quantity that is maximised."""
    terms: Array
    """Cross and quadratic term of each tilt, ``(n, tilt, 2)``."""
    angle_sd_deg: Array
    """Standard deviation of the whole rotation: root of the summed variances, ``(n,)``."""
    shift_sd_angstrom: Array
    """Standard deviation of the whole shift, ``(n,)``."""

    def or_better(self, other: RefinedPoses) -> RefinedPoses:
        """For each particle the pose with the higher posterior."""
        better = other.log_posterior > self.log_posterior
        chosen = []
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            chosen.append(np.where(better.reshape(-1, *([1] * (ours.ndim - 1))), theirs, ours))
        return RefinedPoses(*chosen)


def refine_poses(
    images: ParticleImages,
    cube: torch.Tensor,
    rotations: Array,
    shifts_xyz_angstrom: Array,
    n_used: int,
    *,
    prior: PosePrior | None = None,
    n_rounds: int = 6,
    gain: NDArray[np.float32] | None = None,
) -> RefinedPoses:
    """Refine poses ``(n, 3, 3)`` and ``(n, 3)`` of all particles of a series.

    n_used : number of samples in use. gain : (tilt, m), multiplies data and weights.
    """
    prior = prior or PosePrior()
    scorer = _Scorer(images, cube, n_used, gain)
    rotations, shifts = np.array(rotations, dtype=np.float64), np.array(shifts_xyz_angstrom, dtype=np.float64)
    everyone = np.arange(images.n)
    state = scorer.score(everyone, rotations, shifts, prior)
    damping = np.full(images.n, 1e-2)
    active = everyone
    for _ in range(n_rounds):
        if not len(active):
            break
        step = _solve(state.curvature[active], state.gradient[active], damping[active])
        turned = rotations[active] @ rotation_from_vector(step[:, :3])
        moved = shifts[active] + np.einsum("nij,nj->ni", rotations[active], step[:, 3:])
        found = scorer.score(active, turned, moved, prior.take(active))
        better = found.posterior > state.posterior[active]
        gained = found.posterior - state.posterior[active]
        accepted = active[better]
        rotations[accepted], shifts[accepted] = turned[better], moved[better]
        state.replace(accepted, found, better)
        damping[active] *= np.where(better, 0.2, 10.0)
        active = active[(~better & (damping[active] < _MOST_DAMPING)) | (gained > _LEAST_GAIN_NATS)]
    covariance = np.linalg.inv(state.curvature + 1e-9 * np.eye(6))
    variances = np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0)
    return RefinedPoses(
        rotations,
        shifts,
        (state.terms[..., 0] - 0.5 * state.terms[..., 1]).sum(axis=1),
        state.posterior,
        state.terms,
        np.rad2deg(np.sqrt(variances[:, :3].sum(axis=1))),
        np.sqrt(variances[:, 3:].sum(axis=1)),
    )


def pose_terms(
    images: ParticleImages,
    cube: torch.Tensor,
    rotations: Array,
    shifts_xyz_angstrom: Array,
    n_used: int,
    *,
    gain: NDArray[np.float32] | None = None,
) -> Array:
    """Cross and quadratic term of each tilt at every pose of each particle, ``(n, pose, tilt, 2)``.

    rotations : ``(n, pose, 3, 3)``. shifts_xyz_angstrom : one of each particle, ``(n, 3)``.
    """
    scorer = _Scorer(images, cube, n_used, gain)
    everyone, none = np.arange(images.n), PosePrior()
    found = [
        scorer.score(everyone, rotations[:, i], shifts_xyz_angstrom, none).terms
        for i in range(rotations.shape[1])
    ]
    return np.stack(found, axis=1)


@dataclass
class _State:
    posterior: Array
    gradient: Array
    curvature: Array
    terms: Array

    def replace(self, where: NDArray[np.int64], other: _State, chosen: NDArray[np.bool_]) -> None:
        for name in ("posterior", "gradient", "curvature", "terms"):
            getattr(self, name)[where] = getattr(other, name)[chosen]


class _Scorer:
    """Scores of a series' particles; data are scaled once."""

    def __init__(
        self, images: ParticleImages, cube: torch.Tensor, n_used: int, gain: NDArray[np.float32] | None
    ) -> None:
        self._images, self._cube, self._n_used = images, cube, n_used
        self._samples = images.plane.samples[:n_used].contiguous()
        factor = np.float32(1) if gain is None else gain[:, :n_used]
        self._data = torch.tensor(np.ascontiguousarray(images.data[..., :n_used] * factor))
        self._weights = torch.tensor(np.ascontiguousarray(images.weights[..., :n_used] * factor))

    def score(self, which: NDArray[np.int64], rotations: Array, shifts: Array, prior: PosePrior) -> _State:
        """Score some particles at poses of theirs, shifts in angstrom in the tomogram's frame."""
        # Cube frequencies count in 1 / (padding x box): shifts are in units of the padded box.
        per_box = 1.0 / (PADDING * self._images.plane.box_angstrom)
        in_reference = np.einsum("nji,nj->ni", rotations, shifts) * per_box
        frames = frames_of(self._images.matrices, rotations)
        everyone = len(which) == len(self._data)
        terms, gradient, curvature = (
            array.numpy()
            for array in score_poses(
                self._cube,
                self._data if everyone else self._data[which],
                self._weights if everyone else self._weights[which],
                frames,
                torch.tensor(in_reference, dtype=torch.float32),
                self._samples,
            )
        )
        gradient[:, 3:] *= per_box
        curvature[:, 3:] *= per_box
        curvature[:, :, 3:] *= per_box
        value, slope, precision = prior.terms(rotations, shifts)
        likelihood = (terms[..., 0] - 0.5 * terms[..., 1]).sum(axis=1)
        return _State(likelihood + value, gradient + slope, curvature + precision, terms)


def _solve(curvature: Array, gradient: Array, damping: Array) -> Array:
    """Damped steps ``(n, 6)``, no rotation by more than 10 degrees."""
    diagonal = np.diagonal(curvature, axis1=1, axis2=2)
    damped = curvature.copy()
    damped[:, range(6), range(6)] += damping[:, None] * diagonal + 1e-9
    step = np.linalg.solve(damped, gradient[..., None])[..., 0]
    turn = np.linalg.norm(step[:, :3], axis=1)
    return step * np.minimum(1.0, np.deg2rad(10.0) / np.maximum(turn, 1e-12))[:, None]
