"""Geometry of a tilt series from its particles: image shifts, stage angles, magnification, image warp.

The image of particle p in tilt t is displaced by ``B_t(r_p) theta_t + P_t x_p``: theta are the tilt's
parameters, x is the particle's own displacement. All parameters climb together to the maximum of
``sum c_pt(d_pt) - priors`` (`shift_scores`) by damped Gauss-Newton steps; the particles are eliminated by
their 3 x 3 blocks, as in bundle adjustment.

A group of parameters is used only if it helps particles that it was not fitted to (`held_out_gain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.point_elimination import EliminatedPoints
from cryoloom.algorithms.series_refinement.shift_scores import ShiftScores
from cryoloom.geometry.projection import project, projection_matrices
from cryoloom.model import ImageWarp, Pose
from cryoloom.model.image_warp import warp_bases

__all__ = ["Design", "Group", "Solution", "design_of", "held_out_values", "refined_pose", "solve_geometry"]

Array = NDArray[np.float64]
Group = Literal["image shifts", "stage angles", "magnification", "image warp"]

# Chosen: standard deviations expected of an alignment's errors: angstrom, degrees, percent, angstrom.
_PRIOR_SD: dict[Group, float] = {
    "image shifts": 6.0,
    "stage angles": 0.3,
    "magnification": 0.3,
    "image warp": 4.0,
}
_POSITION_SD_ANGSTROM = 5.0  # chosen: prior of particles about their refined positions
_ROUNDS, _LEAST_GAIN_NATS = 25, 0.02  # chosen: most steps; a fiftieth of a nat changes nothing


@dataclass(frozen=True, slots=True)
class Design:
    """How parameters move particles.

    ``per_tilt`` (tilt, particle, 2, parameter) and ``projection`` (tilt, 2, 3) are displacements in the image
    per unit. ``groups`` and ``prior_sd`` (parameter,): each parameter's group and standard deviation.
    """

    per_tilt: Array
    projection: Array
    groups: tuple[Group, ...]
    prior_sd: Array
    extent_xy_angstrom: tuple[float, float]
    n_controls: int

    def take(self, particles: NDArray[np.int64]) -> Design:
        """Of some particles."""
        return replace(self, per_tilt=self.per_tilt[:, particles])


@dataclass(frozen=True, slots=True)
class Solution:
    """Parameters ``(tilt, parameter)``, displacements of particles ``(n, 3)`` in angstrom, and their score.

    ``values`` (n,) are the particles' log-likelihoods, without priors.
    """

    parameters: Array
    displacements_xyz_angstrom: Array
    values: Array


def design_of(
    poses: Sequence[Pose],
    positions_xyz_angstrom: Array,
    extent_xy_angstrom: tuple[float, float],
    n_controls: int = 0,
) -> Design:
    """How the parameters of tilts move particles at positions ``(n, 3)``.

    extent_xy_angstrom : size of the images. n_controls : of the image warp along x and y; 0 for none.
    """
    per_tilt, projection = [], []
    for pose in poses:
        seen = _projected(pose, positions_xyz_angstrom)
        centred = seen - np.array(pose.shift_xy_angstrom)
        columns = [np.tile(axis, (len(seen), 1)) for axis in np.eye(2)]
        columns += [_slope(pose, positions_xyz_angstrom, name) for name in _ANGLES]
        columns.append(centred / 100.0)
        if n_controls:
            basis_y, basis_x = warp_bases(seen, extent_xy_angstrom, (n_controls, n_controls))
            shares = np.einsum("na,nb->nab", basis_y, basis_x).reshape(len(seen), -1)
            zeros = np.zeros_like(shares)
            both = np.stack([np.stack([shares, zeros], -1), np.stack([zeros, shares], -1)], axis=1)
            per_tilt.append(np.concatenate([np.stack(columns, -1), both.reshape(len(seen), 2, -1)], axis=-1))
        else:
            per_tilt.append(np.stack(columns, -1))
        projection.append(pose.magnification * pose.matrix[:2])
    sizes: dict[Group, int] = {
        "image shifts": 2,
        "stage angles": 3,
        "magnification": 1,
        "image warp": 2 * n_controls**2,
    }
    groups = tuple(group for group, size in sizes.items() for _ in range(size))
    prior_sd = np.array([_PRIOR_SD[group] for group in groups])
    return Design(np.array(per_tilt), np.array(projection), groups, prior_sd, extent_xy_angstrom, n_controls)


_ANGLES = ("axis_deg", "tilt_deg", "x_tilt_deg")


def solve_geometry(
    scores: ShiftScores, design: Design, used: Sequence[Group], fixed: Array | None = None
) -> Solution:
    """Most probable parameters of the groups in use, and displacements of the particles.

    fixed : parameters ``(tilt, parameter)`` that stay; only particles are displaced then.
    """
    n_tilts, n, _, n_parameters = design.per_tilt.shape
    free = np.array([group in used for group in design.groups]) & (fixed is None)
    parameters = np.zeros((n_tilts, n_parameters)) if fixed is None else fixed.copy()
    if free.any():
        parameters[:, :2] = _common_shifts(scores)
    moved = np.zeros((n, 3))
    precision = np.where(free, design.prior_sd, np.inf) ** -2
    state = _State(scores, design, parameters, moved, precision)
    damping = 1e-2
    for _ in range(_ROUNDS):
        step, turn = _step(state, design, free, precision, damping)
        trial = _State(scores, design, state.parameters + step, state.moved + turn, precision)
        gained = trial.objective - state.objective
        if gained > 0:
            state, damping = trial, damping * 0.2
            if gained < _LEAST_GAIN_NATS:
                break
        else:
            damping *= 10.0
            if damping > 1e6:
                break
    return Solution(state.parameters, state.moved, state.value.sum(axis=1))


def held_out_values(
    scores: ShiftScores, design: Design, used: Sequence[Group], folds: NDArray[np.int64]
) -> Array:
    """Log-likelihood of every particle with parameters fitted to the other folds' particles, ``(n,)``.

    folds : of each particle. Its own displacement is fitted to the particle in any case, so values of
    different groups in use may be compared.
    """
    values = np.zeros(len(folds))
    for fold in np.unique(folds):
        out, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        fitted = np.zeros((design.per_tilt.shape[0], design.per_tilt.shape[-1]))
        if used:
            fitted = solve_geometry(scores.take(rest), design.take(rest), used).parameters
        values[out] = solve_geometry(scores.take(out), design.take(out), (), fitted).values
    return values


def refined_pose(pose: Pose, design: Design, parameters: Array) -> Pose:
    """A tilt's pose with its parameters ``(parameter,)``."""
    x, y, axis, tilt, x_tilt, percent = (float(value) for value in parameters[:6])
    warp, extent = pose.warp, design.extent_xy_angstrom
    if design.n_controls and np.abs(parameters[6:]).max() > 0:
        controls = parameters[6:].reshape(design.n_controls, design.n_controls, 2)
        warp = _added(warp, ImageWarp.of_controls(controls, extent))
    return replace(
        pose,
        axis_deg=pose.axis_deg + axis,
        tilt_deg=pose.tilt_deg + tilt,
        x_tilt_deg=pose.x_tilt_deg + x_tilt,
        shift_xy_angstrom=(pose.shift_xy_angstrom[0] + x, pose.shift_xy_angstrom[1] + y),
        magnification=pose.magnification * (1.0 + percent / 100.0),
        warp=warp,
    )


class _State:
    """Parameters, and the scores there."""

    def __init__(
        self, scores: ShiftScores, design: Design, parameters: Array, moved: Array, precision: Array
    ) -> None:
        self.parameters, self.moved = parameters, moved
        shifts = np.einsum("tnap,tp->nta", design.per_tilt, parameters)
        shifts += np.einsum("tab,nb->nta", design.projection, moved)
        self.value, self.gradient = scores.at(shifts)
        self.information = scores.information
        self.objective = float(
            self.value.sum()
            - 0.5 * (precision * parameters**2).sum()
            - 0.5 * (moved**2).sum() / _POSITION_SD_ANGSTROM**2
        )


def _step(
    state: _State, design: Design, free: NDArray[np.bool_], precision: Array, damping: float
) -> tuple[Array, Array]:
    """Damped Gauss-Newton step of parameters ``(tilt, parameter)`` and particles ``(n, 3)``."""
    n_tilts, n, _, n_parameters = design.per_tilt.shape
    projection, information = design.projection, state.information
    of_particles = np.einsum("tai,ntab,tbj->nij", projection, information, projection, optimize=True)
    of_particles += np.eye(3) / _POSITION_SD_ANGSTROM**2
    of_particles[:, range(3), range(3)] *= 1.0 + damping
    slope = np.einsum("nta,tai->ni", state.gradient, projection) - state.moved / _POSITION_SD_ANGSTROM**2
    step = np.zeros((n_tilts, n_parameters))
    if not free.any():
        return step, np.linalg.solve(of_particles, slope[..., None])[..., 0]
    basis = design.per_tilt[..., free]
    weighted = np.einsum("ntab,tnbq->tnaq", information, basis, optimize=True)
    of_tilts = np.einsum("tnap,tnaq->tpq", basis, weighted, optimize=True)
    n_free = basis.shape[-1]
    of_tilts[:, range(n_free), range(n_free)] += precision[free]
    of_tilts[:, range(n_free), range(n_free)] *= 1.0 + damping
    mixed = np.einsum("tnap,tai->tpni", weighted, projection, optimize=True)
    pull = np.einsum("tnap,nta->tp", basis, state.gradient, optimize=True)
    pull -= precision[free] * state.parameters[:, free]
    particles = EliminatedPoints.of(mixed.reshape(n_tilts * n_free, n * 3), of_particles, slope)
    system = -particles.normal
    for t in range(n_tilts):
        mine = slice(t * n_free, (t + 1) * n_free)
        system[mine, mine] += of_tilts[t]
    solved = np.linalg.solve(system, pull.reshape(-1) - particles.right_of_views)
    step[:, free] = solved.reshape(n_tilts, n_free)
    return step, particles.points(solved)


def _common_shifts(scores: ShiftScores) -> Array:
    """Image shift of each tilt, ``(tilt, 2)`` as xy, at the highest score of all particles together."""
    total = scores.coefficients.sum(axis=0, dtype=np.float64)
    # Coefficients are near enough to samples for a start; the rim is left to the interpolation.
    inner = total[:, 2:-2, 2:-2]
    best = inner.reshape(len(inner), -1).argmax(axis=1)
    rows, columns = np.unravel_index(best, inner.shape[1:])
    middle = inner.shape[-1] // 2
    return np.stack([columns - middle, rows - middle], axis=-1) * scores.spacing_angstrom


def _projected(pose: Pose, positions: Array) -> Array:
    """Where a rigid pose projects positions, ``(n, 2)`` in angstrom."""
    return project(positions, pose.magnification * pose.matrix[None], [pose.shift_xy_angstrom])[0]


def _slope(pose: Pose, positions: Array, angle: str, step_deg: float = 0.05) -> Array:
    """Displacement ``(n, 2)`` per degree of one angle of the stage."""
    angles = {name: getattr(pose, name) for name in _ANGLES}
    ends = [
        projection_matrices(**(angles | {angle: angles[angle] + sign * step_deg}))[:2] for sign in (1.0, -1.0)
    ]
    return pose.magnification * positions @ (ends[0] - ends[1]).T / (2.0 * step_deg)


def _added(first: ImageWarp | None, second: ImageWarp) -> ImageWarp:
    """One warp that displaces as two together."""
    if first is None:
        return second
    if (first.extent_xy_angstrom, first.n_controls_xy) == (second.extent_xy_angstrom, second.n_controls_xy):
        return ImageWarp.of_controls(first.controls + second.controls, second.extent_xy_angstrom)
    n = max(*first.n_controls_xy, *second.n_controls_xy)
    line = np.linspace(-0.5, 0.5, 4 * n)
    y, x = np.meshgrid(line, line, indexing="ij")
    grid = np.stack([x.ravel(), y.ravel()], axis=-1) * np.array(second.extent_xy_angstrom)
    together = first.displacement(grid) + second.displacement(grid)
    return ImageWarp.fitted(grid, together, second.extent_xy_angstrom, n)
