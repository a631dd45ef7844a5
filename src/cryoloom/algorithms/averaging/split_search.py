"""Search of particles by half of their tilts, judged by the other half, and compared with simulated twins.

Even tilts find an orientation among all, and odd tilts are compared with the reference there and at other
orientations, each with its own shifts; then their roles change. Noise of even and odd tilts is independent,
so particles that do not determine an orientation gain nothing. The missing wedge prefers some orientations in
all tilts. Particles that may have any are therefore compared with the orientations of others of the same
series. Those of known direction are compared with all azimuths, and with twins: simulated images of the part
of the reference that does not depend on the azimuth. Twins of the whole reference show what particles like it
would gain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.directed_search import DirectedGrid
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.passes import Poses, SearchGrid, searched_together
from cryoloom.algorithms.averaging.pose_search import frames_of, marginal_likelihoods, shift_phases
from cryoloom.kernels.slices.fourier_slices import take_slices

__all__ = ["split_search_pass"]

Array = NDArray[np.float64]

_MOST_SCALE = 3.0
"""Chosen: largest amplitude of a twin; an amplitude beyond this is an error of its measurement."""


def split_search_pass(
    images: ParticleImages,
    cubes: tuple[torch.Tensor, torch.Tensor],
    plain_cubes: tuple[torch.Tensor, torch.Tensor],
    poses: Poses,
    grid: SearchGrid | DirectedGrid,
    n_used: int,
    rng: np.random.Generator,
    *,
    gain: NDArray[np.float32] | None = None,
) -> Array:
    """Gains in nats of particles, of twins without and of twins with what depends on the pose, ``(n, 3)``.

    A gain is the log-likelihood of left-out tilts at the orientation found, less its mean over others. cubes,
    plain_cubes : reference of each half, and its part that does not depend on the azimuth. Twins without
    detail are made with a `DirectedGrid` only; their gain is 0 otherwise, as for particles in no half.
    """
    gains = np.zeros((images.n, 3))
    factor = np.float32(1) if gain is None else gain[:, :n_used]
    is_odd = np.argsort(np.argsort(images.acquisition)) % 2 == 1
    for half, mine, local in searched_together(poses, grid):
        part = images.take(mine)
        part = replace(
            part, data=part.data[..., :n_used] * factor, weights=part.weights[..., :n_used] * factor
        )
        rotations, shifts = poses.rotations[mine], poses.shifts_xyz_angstrom[mine]
        kinds = {0: part, 2: _twins(part, cubes[half], rotations, shifts, n_used, rng, fits_scale=False)}
        n_azimuths = None
        if isinstance(grid, DirectedGrid):
            n_azimuths = grid.n_azimuths
            kinds[1] = _twins(part, plain_cubes[half], rotations, shifts, n_used, rng, fits_scale=True)
        # Particles and twins are scored together, with the same slices of the reference.
        shown = replace(
            part,
            data=np.concatenate([kind.data for kind in kinds.values()]),
            weights=np.concatenate([part.weights] * len(kinds)),
        )
        even, odd = (
            _likelihoods(
                _of_tilts(shown, tilts),
                cubes[half],
                local,
                np.tile(shifts, (len(kinds), 1)),
                n_used,
                n_azimuths,
            ).reshape(len(kinds), len(mine), -1)
            for tilts in (~is_odd, is_odd)
        )
        for kind, one, other in zip(kinds, even, odd, strict=True):
            gained = [
                _gained(chosen, tested, exchanges=n_azimuths is None)
                for chosen, tested in ((one, other), (other, one))
            ]
            gains[mine, kind] = np.mean(gained, axis=0)
    return gains


def _of_tilts(images: ParticleImages, tilts: NDArray[np.bool_]) -> ParticleImages:
    """Images of some tilts."""
    seen = np.flatnonzero(tilts)
    return replace(
        images,
        matrices=images.matrices[seen],
        data=images.data[:, seen],
        weights=images.weights[:, seen],
    )


def _likelihoods(
    images: ParticleImages,
    cube: torch.Tensor,
    grid: SearchGrid,
    centres: Array,
    n_used: int,
    n_azimuths: int | None,
) -> Array:
    """Log-likelihood at the rotations of a grid, or at its azimuths, ``(particle, rotation)``."""
    found = marginal_likelihoods(
        images, cube, grid.rotations, grid.shifts_xyz_angstrom, n_used, centres_xyz_angstrom=centres
    ).astype(np.float64)
    if n_azimuths is None:
        return found
    by_azimuth = found.reshape(len(found), -1, n_azimuths)
    return np.asarray(np.logaddexp.reduce(by_azimuth, axis=1))


def _gained(chosen: Array, tested: Array, *, exchanges: bool) -> Array:
    """Tested log-likelihood at each particle's best of the chosen ones, less the mean over other rotations.

    exchanges : the other rotations are the best ones of the other particles, otherwise all.
    """
    best, every = chosen.argmax(axis=1), np.arange(len(chosen))
    own = tested[every, best]
    if not exchanges or len(best) < 2:
        return np.asarray(own - tested.mean(axis=1))
    at_others = tested[:, best]
    return np.asarray(own - (at_others.sum(axis=1) - own) / (len(best) - 1))


def _twins(
    part: ParticleImages,
    cube: torch.Tensor,
    rotations: Array,
    shifts: Array,
    n_used: int,
    rng: np.random.Generator,
    *,
    fits_scale: bool,
) -> ParticleImages:
    """Simulated images of a reference at the poses, with the particles' weights and noise of their variance.

    fits_scale : with each particle's amplitude of this reference, otherwise 1.
    """
    samples = part.plane.samples[:n_used].contiguous()
    frames = frames_of(part.matrices, rotations)
    model = take_slices(cube, frames.reshape(-1, 2, 3), samples).reshape(*frames.shape[:2], n_used).numpy()
    model = model * shift_phases(part, shifts, n_used).numpy().conj()
    if fits_scale:
        cross = (part.data * model.conj()).real.sum(axis=(1, 2))
        quadratic = (part.weights * np.abs(model) ** 2).sum(axis=(1, 2))
        scale = np.clip(cross / np.maximum(quadratic, 1e-12), 0.0, _MOST_SCALE)
        model = model * scale.astype(np.float32)[:, None, None]
    # D = W A + n, and |n|^2 has the mean 2 W.
    real, imaginary = rng.standard_normal((2, *part.data.shape), dtype=np.float32)
    noise = np.sqrt(part.weights) * (real + np.complex64(1j) * imaginary)
    return replace(part, data=(part.weights * model + noise).astype(np.complex64))
