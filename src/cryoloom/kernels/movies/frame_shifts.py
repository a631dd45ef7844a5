"""Likelihood gradients of frame shifts, powers by ring, and sums of moved frames: numba or, on CUDA, torch.

Spectra are ``(frame, y, x // 2 + 1)`` complex64. ``ramps_y`` ``(frame, y)`` and ``ramps_x`` ``(frame, x // 2
+ 1)``, complex64, are the two factors of the phase ramp that moves each frame's specimen back to the origin.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.movies.frame_shifts_cpu import (
    add_moved_numba,
    likelihood_gradient_numba,
    likelihood_gradient_numba_serial,
    ring_powers_numba,
    ring_powers_numba_serial,
)
from cryoloom.kernels.movies.frame_shifts_torch import (
    add_moved_torch,
    likelihood_gradient_torch,
    ring_powers_torch,
)
from cryoloom.kernels.tensors import on_cpu

__all__ = ["add_moved", "likelihood_gradient", "ring_powers"]


def likelihood_gradient(
    spectra: torch.Tensor,
    ramps_y: torch.Tensor,
    ramps_x: torch.Tensor,
    ring: torch.Tensor,
    reach: torch.Tensor,
    signal_to_noise: torch.Tensor,
    pattern_to_noise: torch.Tensor,
    weight: torch.Tensor,
    *,
    serial: bool = False,
) -> torch.Tensor:
    """Gradient of the log likelihood by shift over ``-4 pi / n``, ``(frame, 2)`` float64 as (y, x).

    Model of a frame: ``F_i = X ramp_i* + G + noise``; specimen X moves, pattern G (gain residue) stands,
    both Gaussian with the power ratios to the noise given by ring; X and G are integrated out exactly.

    ring : (y, x // 2 + 1) int16, -1 where unused. reach : (y,) int64, columns that can be used.
    signal_to_noise, pattern_to_noise : (ring,) float32. weight : (ring,) float32, 1 / noise power, 0 where a
    ring is not used. serial : on the CPU, work on the calling thread only; the bits are the same.
    """
    _check(spectra, ramps_y, ramps_x)
    tensors = (spectra, ramps_y, ramps_x, ring, reach, signal_to_noise, pattern_to_noise, weight)
    if not on_cpu(*tensors):
        return likelihood_gradient_torch(*tensors)
    gradient = likelihood_gradient_numba_serial if serial else likelihood_gradient_numba
    return torch.from_numpy(gradient(*(tensor.numpy() for tensor in tensors)))


def ring_powers(
    spectra: torch.Tensor,
    ramps_y: torch.Tensor,
    ramps_x: torch.Tensor,
    ring: torch.Tensor,
    reach: torch.Tensor,
    n_rings: int,
    *,
    serial: bool = False,
) -> torch.Tensor:
    """Sums over each ring, ``(5, ring)`` float64.

    Count, mean frame power, powers of the sums of moved frames, of unmoved ones, and of ramps. ring, reach,
    serial : as in `likelihood_gradient`.
    """
    _check(spectra, ramps_y, ramps_x)
    tensors = (spectra, ramps_y, ramps_x, ring, reach)
    if not on_cpu(*tensors):
        return ring_powers_torch(*tensors, n_rings)
    powers = ring_powers_numba_serial if serial else ring_powers_numba
    return torch.from_numpy(powers(*(tensor.numpy() for tensor in tensors), n_rings))


def add_moved(
    sums: torch.Tensor, spectra: torch.Tensor, ramps_y: torch.Tensor, ramps_x: torch.Tensor, first_half: int
) -> None:
    """Add frames, moved by their phase ramps, to two sums in turn, beginning with ``sums[first_half]``.

    sums : (2, y, x // 2 + 1) complex64, of the spectra's shape or a smaller even one; the ramps are of that
    shape.
    """
    if tuple(sums.shape) != (2, ramps_y.shape[1], ramps_x.shape[1]) or first_half not in (0, 1):
        raise ValueError(
            f"ramps {tuple(ramps_y.shape)}, {tuple(ramps_x.shape)} do not fit {tuple(sums.shape)}"
        )
    if spectra.shape[1] < sums.shape[1] or spectra.shape[2] < sums.shape[2] or len(spectra) < len(ramps_y):
        raise ValueError(f"spectra {tuple(spectra.shape)} are smaller than the sums {tuple(sums.shape)}")
    if on_cpu(sums, spectra, ramps_y, ramps_x):
        add_moved_numba(sums.numpy(), spectra.numpy(), ramps_y.numpy(), ramps_x.numpy(), first_half)
    else:
        add_moved_torch(sums, spectra, ramps_y, ramps_x, first_half)


def _check(spectra: torch.Tensor, ramps_y: torch.Tensor, ramps_x: torch.Tensor) -> None:
    if (
        spectra.dtype != torch.complex64
        or ramps_y.dtype != torch.complex64
        or ramps_x.dtype != torch.complex64
    ):
        raise TypeError(f"expected complex64, got {spectra.dtype}, {ramps_y.dtype} and {ramps_x.dtype}")
    if ramps_y.shape[1] != spectra.shape[1] or ramps_x.shape[1] != spectra.shape[2]:
        raise ValueError(
            f"ramps {tuple(ramps_y.shape)}, {tuple(ramps_x.shape)} do not fit spectra {tuple(spectra.shape)}"
        )
