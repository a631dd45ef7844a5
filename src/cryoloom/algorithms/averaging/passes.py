"""One pass over the particles of a series: find or refine every pose against its own half's reference.

What a pass needs and gives is plain arrays, so it runs anywhere; sums of a pass are added up in the order
of the series, whatever did them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_refinement import PosePrior, refine_poses
from cryoloom.algorithms.averaging.pose_search import direction_prior, search_poses
from cryoloom.algorithms.averaging.reconstruction import Insertion, insert_particles

__all__ = ["PassResult", "Poses", "SearchGrid", "refine_pass", "search_pass"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Poses:
    """Poses of the particles of a series; shifts are from where they were extracted, in angstrom."""

    half: NDArray[np.int64]
    rotations: Array
    shifts_xyz_angstrom: Array
    prior: PosePrior


@dataclass(frozen=True, slots=True)
class SearchGrid:
    """Where an exhaustive search looks."""

    rotations: Array
    shifts_xyz_angstrom: Array
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class PassResult:
    """Poses after a pass, what is known of each, and the sums of both halves."""

    rotations: Array
    shifts_xyz_angstrom: Array
    log_likelihood: Array
    n_effective: Array
    angle_sd_deg: Array
    shift_sd_angstrom: Array
    terms: Array
    """Cross and quadratic terms by tilt, ``(n, tilt, 2)``."""
    noise: Array
    """Sums by tilt and shell of squared residuals and of what noise alone would make of them, ``(tilt, shell,
    2)``: their ratio is the factor by which the noise was underrated."""
    halves: tuple[Insertion, Insertion]


def search_pass(
    images: ParticleImages,
    cubes: Sequence[torch.Tensor],
    poses: Poses,
    grid: SearchGrid,
    n_used: int,
    insert_to: float,
    gain: NDArray[np.float32] | None = None,
) -> PassResult:
    """Search all poses of a grid about the present shifts; every pose of the posterior is inserted.

    cubes : reference of each half. insert_to : radius that is filled, in units of one over the box.
    """
    result = _empty(images, poses, insert_to)
    for half in (1, 2):
        mine = np.flatnonzero(poses.half == half)
        if not len(mine):
            continue
        part = _take(images, mine)
        prior = poses.prior.take(mine)
        log_prior = None
        if prior.directions is not None and prior.width_deg is not None:
            log_prior = direction_prior(grid.rotations, prior.directions, prior.width_deg)
        centres = poses.shifts_xyz_angstrom[mine]
        found = search_poses(
            part,
            cubes[half - 1],
            grid.rotations,
            grid.shifts_xyz_angstrom,
            n_used,
            log_prior=log_prior,
            temperature=grid.temperature,
            gain=gain,
            centres_xyz_angstrom=centres,
        )
        believed = found.weight > 0
        owner = np.broadcast_to(np.arange(len(mine))[:, None], believed.shape)[believed]
        shifts = centres[owner] + grid.shifts_xyz_angstrom[found.shift[believed]]
        insert_particles(
            part,
            result.halves[half - 1],
            owner,
            grid.rotations[found.rotation[believed]],
            shifts,
            found.weight[believed],
            gain,
        )
        result.rotations[mine] = grid.rotations[found.rotation[:, 0]]
        result.shifts_xyz_angstrom[mine] = centres + grid.shifts_xyz_angstrom[found.shift[:, 0]]
        result.log_likelihood[mine] = found.log_likelihood
        result.n_effective[mine] = found.n_effective
    return result


def refine_pass(
    images: ParticleImages,
    cubes: Sequence[torch.Tensor],
    poses: Poses,
    n_used: int,
    insert_to: float,
    gain: NDArray[np.float32] | None = None,
    n_rounds: int = 5,
) -> PassResult:
    """Refine every pose to the maximum of its likelihood, and insert it there."""
    result = _empty(images, poses, insert_to)
    for half in (1, 2):
        mine = np.flatnonzero(poses.half == half)
        if not len(mine):
            continue
        part = _take(images, mine)
        found = refine_poses(
            part,
            cubes[half - 1],
            poses.rotations[mine],
            poses.shifts_xyz_angstrom[mine],
            n_used,
            prior=poses.prior.take(mine),
            gain=gain,
            n_rounds=n_rounds,
        )
        result.rotations[mine] = found.rotations
        result.shifts_xyz_angstrom[mine] = found.shifts_xyz_angstrom
        result.log_likelihood[mine] = found.log_likelihood
        result.angle_sd_deg[mine] = found.angle_sd_deg
        result.shift_sd_angstrom[mine] = found.shift_sd_angstrom
        result.terms[mine] = found.terms
        insert_particles(
            part,
            result.halves[half - 1],
            np.arange(len(mine)),
            found.rotations,
            found.shifts_xyz_angstrom,
            gain=gain,
        )
    return result


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
        np.zeros((n_tilts, box // 2, 2)),
        (Insertion(box, insert_to), Insertion(box, insert_to)),
    )


def _take(images: ParticleImages, index: NDArray[np.int64]) -> ParticleImages:
    return ParticleImages(
        images.plane,
        images.matrices,
        images.acquisition,
        images.data[index],
        images.weights[index],
        images.visible[index],
    )
