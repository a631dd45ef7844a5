"""One pass over the particles of a series: search or refine every pose against its own half's reference.

Inputs and results of a pass are plain arrays, so it runs anywhere; sums of passes are added in the order of
the series, independent of the workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.directed_search import DirectedGrid
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_refinement import PosePrior, RefinedPoses, pose_terms, refine_poses
from cryoloom.algorithms.averaging.pose_search import (
    Posterior,
    direction_prior,
    frames_of,
    search_poses,
    shift_phases,
)
from cryoloom.algorithms.averaging.reconstruction import Insertion, insert_particles
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.kernels.slices.fourier_slices import take_slices

__all__ = [
    "PassResult",
    "Poses",
    "SearchGrid",
    "equivalents_pass",
    "insert_pass",
    "refine_pass",
    "search_pass",
    "searched_together",
    "split_tilt_pass",
]

Array = NDArray[np.float64]
Gain = NDArray[np.float32]

#: Chosen: number of the best orientations of a search from which refinement starts; it bounds the time.
_N_STARTS = 3
_BATCH = 64
"""Particles at once. Chosen: bounds memory."""


@dataclass(frozen=True, slots=True)
class Poses:
    """Poses of the particles of a series; shifts are relative to the extracted positions, in angstrom."""

    half: NDArray[np.int64]
    rotations: Array
    shifts_xyz_angstrom: Array
    prior: PosePrior


@dataclass(frozen=True, slots=True)
class SearchGrid:
    """Grid of an exhaustive search. The likelihood is raised to ``temperature``, 1 or less."""

    rotations: Array
    shifts_xyz_angstrom: Array
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class PassResult:
    """Poses after a pass, their precision, and the sums of both halves."""

    rotations: Array
    shifts_xyz_angstrom: Array
    log_likelihood: Array
    """Gain of the best pose over no particle, ``(n,)``."""
    n_effective: Array
    """Number of orientations that share the posterior, ``(n,)``."""
    angle_sd_deg: Array
    shift_sd_angstrom: Array
    terms: Array
    """Cross and quadratic terms by tilt, ``(n, tilt, 2)``."""
    noise: Array
    """By tilt and shell, squared residuals and their expectation for noise alone, cross and quadratic terms,
    ``(tilt, shell, 4)``."""
    halves: tuple[Insertion, Insertion]


def search_pass(
    images: ParticleImages,
    cubes: Sequence[torch.Tensor],
    poses: Poses,
    grid: SearchGrid | DirectedGrid,
    n_used: int,
    insert_to: float,
    *,
    gain: Gain | None = None,
    then_refine: bool = False,
) -> PassResult:
    """Search all poses of a grid about the current shifts; every pose of the posterior is inserted.

    cubes : reference of each half. insert_to : radius that is filled, in units of one over the box.
    then_refine : refine the best few orientations and the current one of each particle, and insert only the
    best resulting pose.
    """
    result = _empty(images, poses, insert_to)
    for half, mine, local in searched_together(poses, grid):
        part = images.take(mine)
        prior, centres = poses.prior.take(mine), poses.shifts_xyz_angstrom[mine]
        if isinstance(grid, DirectedGrid) and grid.about_picks:
            centres = np.zeros_like(centres)
        log_prior = None
        if prior.directions is not None and prior.width_deg is not None:
            log_prior = direction_prior(local.rotations, prior.directions, prior.width_deg)
        found = search_poses(
            part,
            cubes[half],
            local.rotations,
            local.shifts_xyz_angstrom,
            n_used,
            log_prior=log_prior,
            temperature=local.temperature,
            gain=gain,
            centres_xyz_angstrom=centres,
            # For a few particles, a basis of the shifts costs more than it saves.
            compresses_shifts=isinstance(grid, SearchGrid),
        )
        result.n_effective[mine] = found.n_effective
        if then_refine:
            refined = _refine_best(part, cubes[half], poses, mine, local, found, n_used, gain)
            _keep(result, mine, refined)
            insert_particles(
                part,
                result.halves[half],
                np.arange(len(mine)),
                refined.rotations,
                refined.shifts_xyz_angstrom,
                gain=gain,
            )
            continue
        has_weight = found.weight > 0
        owner = np.broadcast_to(np.arange(len(mine))[:, None], has_weight.shape)[has_weight]
        insert_particles(
            part,
            result.halves[half],
            owner,
            local.rotations[found.rotation[has_weight]],
            centres[owner] + local.shifts_xyz_angstrom[found.shift[has_weight]],
            found.weight[has_weight],
            gain,
        )
        result.rotations[mine] = local.rotations[found.rotation[:, 0]]
        result.shifts_xyz_angstrom[mine] = centres + local.shifts_xyz_angstrom[found.shift[:, 0]]
        result.log_likelihood[mine] = found.log_likelihood
    return result


def searched_together(
    poses: Poses, grid: SearchGrid | DirectedGrid
) -> Iterator[tuple[int, NDArray[np.int64], SearchGrid]]:
    """Number of the half from 0, particles of it that have a grid in common, and this grid."""
    for half in (0, 1):
        mine = np.flatnonzero(poses.half == half + 1)
        if not len(mine):
            continue
        if isinstance(grid, SearchGrid):
            yield half, mine, grid
            continue
        directions = poses.prior.directions
        if directions is None:
            raise ValueError("expected particles with directions for a search about them")
        for some, rotations, shifts in grid.parts(directions[mine]):
            yield half, mine[some], SearchGrid(rotations, shifts, grid.temperature)


def refine_pass(
    images: ParticleImages,
    cubes: Sequence[torch.Tensor],
    poses: Poses,
    n_used: int,
    insert_to: float,
    *,
    gain: Gain | None = None,
    n_rounds: int = 5,
) -> PassResult:
    """Refine every pose to the maximum of its posterior, insert it there, and measure the residual."""
    result = _empty(images, poses, insert_to)
    for half, mine, part in _by_half(images, poses):
        found = refine_poses(
            part,
            cubes[half],
            poses.rotations[mine],
            poses.shifts_xyz_angstrom[mine],
            n_used,
            prior=poses.prior.take(mine),
            gain=gain,
            n_rounds=n_rounds,
        )
        _keep(result, mine, found)
        result.noise[:] += _residuals(part, cubes[half], found.rotations, found.shifts_xyz_angstrom, n_used)
        insert_particles(
            part,
            result.halves[half],
            np.arange(len(mine)),
            found.rotations,
            found.shifts_xyz_angstrom,
            gain=gain,
        )
    return result


def split_tilt_pass(
    images: ParticleImages,
    cubes: Sequence[torch.Tensor],
    poses: Poses,
    n_used: int,
    *,
    gain: Gain | None = None,
) -> tuple[Array, Array]:
    """Angles in degrees and distances in angstrom, ``(n,)``, between poses from even and from odd tilts.

    Each set of tilts is refined from the present pose against its half's reference. NaN for particles in no
    half.
    """
    turn, moved = np.full(images.n, np.nan), np.full(images.n, np.nan)
    odd = _is_odd(images)
    for half, mine, part in _by_half(images, poses):
        found = []
        for shown in (odd, ~odd):
            seen = shown[None, :, None]
            some = replace(part, data=part.data * seen, weights=part.weights * seen)
            found.append(
                refine_poses(
                    some,
                    cubes[half],
                    poses.rotations[mine],
                    poses.shifts_xyz_angstrom[mine],
                    n_used,
                    prior=poses.prior.take(mine),
                    gain=gain,
                )
            )
        turn[mine] = rotations_between(found[0].rotations, found[1].rotations)
        moved[mine] = np.linalg.norm(found[0].shifts_xyz_angstrom - found[1].shifts_xyz_angstrom, axis=1)
    return turn, moved


def equivalents_pass(
    images: ParticleImages,
    cubes: Sequence[torch.Tensor],
    poses: Poses,
    operators: Array,
    n_used: int,
    *,
    gain: Gain | None = None,
) -> Array:
    """Cross and quadratic terms at the equivalents ``R g`` of every pose, ``(n, g, 2, 2)``.

    The third axis is of even and odd tilts, in the order they were taken. Particles in no half have 0.
    """
    terms = np.zeros((images.n, len(operators), 2, 2))
    odd = _is_odd(images)
    for half, mine, part in _by_half(images, poses):
        turned = np.einsum("nij,gjk->ngik", poses.rotations[mine], operators)
        found = pose_terms(part, cubes[half], turned, poses.shifts_xyz_angstrom[mine], n_used, gain=gain)
        terms[mine] = np.stack([found[:, :, shown].sum(axis=2) for shown in (~odd, odd)], axis=2)
    return terms


def insert_pass(
    images: ParticleImages, poses: Poses, insert_to: float, *, gain: Gain | None = None
) -> tuple[Insertion, Insertion]:
    """Sums of both halves at given poses."""
    halves = (Insertion(images.plane.box_px, insert_to), Insertion(images.plane.box_px, insert_to))
    for half, mine, part in _by_half(images, poses):
        insert_particles(
            part,
            halves[half],
            np.arange(len(mine)),
            poses.rotations[mine],
            poses.shifts_xyz_angstrom[mine],
            gain=gain,
        )
    return halves


def _is_odd(images: ParticleImages) -> NDArray[np.bool_]:
    """Every second tilt in the order they were taken, ``(tilt,)``: both sets have the same angles."""
    return np.argsort(np.argsort(images.acquisition)) % 2 == 1


def _by_half(images: ParticleImages, poses: Poses) -> list[tuple[int, NDArray[np.int64], ParticleImages]]:
    """Number of the half from 0, its particles, and their images."""
    found = []
    for half in (0, 1):
        mine = np.flatnonzero(poses.half == half + 1)
        if len(mine):
            found.append((half, mine, images.take(mine)))
    return found


def _refine_best(
    part: ParticleImages,
    cube: torch.Tensor,
    poses: Poses,
    mine: NDArray[np.int64],
    grid: SearchGrid,
    found: Posterior,
    n_used: int,
    gain: Gain | None,
) -> RefinedPoses:
    """The best refined pose, from the search's best orientations and from the current one."""
    centres = poses.shifts_xyz_angstrom[mine]
    starts = [(poses.rotations[mine], centres)]
    for mode in range(min(_N_STARTS, found.rotation.shape[1])):
        shift = grid.shifts_xyz_angstrom[found.shift[:, mode]]
        starts.append((grid.rotations[found.rotation[:, mode]], centres + shift))
    best: RefinedPoses | None = None
    for rotations, shifts in starts:
        refined = refine_poses(part, cube, rotations, shifts, n_used, prior=poses.prior.take(mine), gain=gain)
        best = refined if best is None else best.or_better(refined)
    if best is None:
        raise ValueError("there is no pose to start from")
    return best


def _keep(result: PassResult, mine: NDArray[np.int64], found: RefinedPoses) -> None:
    result.rotations[mine] = found.rotations
    result.shifts_xyz_angstrom[mine] = found.shifts_xyz_angstrom
    result.log_likelihood[mine] = found.log_likelihood
    result.angle_sd_deg[mine] = found.angle_sd_deg
    result.shift_sd_angstrom[mine] = found.shift_sd_angstrom
    result.terms[mine] = found.terms


def _residuals(
    part: ParticleImages, cube: torch.Tensor, rotations: Array, shifts: Array, n_used: int
) -> Array:
    """Sums of ``|D - W A|^2``, ``2 W``, ``Re D A*`` and ``W |A|^2`` by tilt and shell.

    The ratio of the first two is 1 where the noise is right, that of the others where the amplitude is.
    """
    samples, shell = part.plane.samples[:n_used].contiguous(), part.plane.shell[:n_used]
    sums = np.zeros((len(part.matrices), part.plane.box_px // 2, 4))
    for start in range(0, part.n, _BATCH):
        some = slice(start, start + _BATCH)
        frames = frames_of(part.matrices, rotations[some])
        slices = take_slices(cube, frames.reshape(-1, 2, 3), samples)
        model = slices.reshape(*frames.shape[:2], n_used).numpy()
        back = shift_phases(part, shifts[some], n_used).numpy()
        weights = part.weights[some, :, :n_used]
        data = part.data[some, :, :n_used] * back
        terms = (
            np.abs(data - weights * model) ** 2,
            2.0 * weights,
            (data * model.conj()).real,
            weights * np.abs(model) ** 2,
        )
        for column, values in enumerate(terms):
            for t, of_tilt in enumerate(values.sum(axis=0)):
                sums[t, :, column] += np.bincount(shell, of_tilt, minlength=sums.shape[1])[: sums.shape[1]]
    return sums


def _empty(images: ParticleImages, poses: Poses, insert_to: float) -> PassResult:
    n, n_tilts = images.n, len(images.matrices)
    box = images.plane.box_px
    return PassResult(
        np.array(poses.rotations, dtype=np.float64),
        np.array(poses.shifts_xyz_angstrom, dtype=np.float64),
        np.zeros(n),
        np.ones(n),
        np.zeros(n),
        np.zeros(n),
        np.zeros((n, n_tilts, 2)),
        np.zeros((n_tilts, box // 2, 4)),
        (Insertion(box, insert_to), Insertion(box, insert_to)),
    )
