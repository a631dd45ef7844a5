"""Likelihood gradients of frame shifts, and shifted sums, on the CPU: numba loops over rows of spectra."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from cryoloom.kernels.compile import parallel_and_serial

__all__ = [
    "add_moved_numba",
    "likelihood_gradient_numba",
    "likelihood_gradient_numba_serial",
    "ring_powers_numba",
    "ring_powers_numba_serial",
]

_CHUNKS = 16
"""Partial sums, added in their order: results do not depend on the number of threads. Chosen: more than usual
numbers of cores."""


def _likelihood_gradient(
    spectra: NDArray[np.complex64],
    ramps_y: NDArray[np.complex64],
    ramps_x: NDArray[np.complex64],
    ring: NDArray[np.int16],
    reach: NDArray[np.int64],
    signal_to_noise: NDArray[np.float32],
    pattern_to_noise: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> NDArray[np.float64]:
    """See `cryoloom.kernels.movies.frame_shifts.likelihood_gradient`."""
    rows = np.zeros((ring.shape[0], ramps_y.shape[0], 2))
    for y in prange(ring.shape[0]):
        _row_gradient(
            spectra, ramps_y, ramps_x, ring, reach, signal_to_noise, pattern_to_noise, weight, y, rows[y]
        )
    return _collect(rows)


likelihood_gradient_numba, likelihood_gradient_numba_serial = parallel_and_serial(_likelihood_gradient)


@njit(nogil=True, cache=True)
def _row_gradient(
    spectra: NDArray[np.complex64],
    ramps_y: NDArray[np.complex64],
    ramps_x: NDArray[np.complex64],
    ring: NDArray[np.int16],
    reach: NDArray[np.int64],
    signal_to_noise: NDArray[np.float32],
    pattern_to_noise: NDArray[np.float32],
    weight: NDArray[np.float32],
    y: int,
    out: NDArray[np.float64],
) -> None:
    """One row's part of the gradient, ``(frame, 2)``."""
    n = ramps_y.shape[0]
    n_x = reach[y]
    moved = np.empty((n, n_x), np.complex64)
    total = np.zeros(n_x, np.complex64)
    for i in range(n):
        ramp_y = ramps_y[i, y]
        for x in range(n_x):
            value = spectra[i, y, x] * (ramp_y * ramps_x[i, x])
            moved[i, x] = value
            total[x] += value
    estimate = np.empty(n_x, np.complex64)
    crossed = np.zeros(n_x, np.complex64)
    for x in range(n_x):
        r = ring[y, x]
        if r < 0:
            estimate[x] = 0.0
            continue
        alpha, beta, scale = signal_to_noise[r], pattern_to_noise[r], weight[r]
        if x == 0:
            scale *= np.float32(0.5)  # both members of a conjugate pair are in this column
        if beta == 0.0:
            estimate[x] = np.conj(total[x]) * (scale * alpha / (1 + n * alpha))
            continue
        still = np.complex64(0)
        overlap = np.complex64(0)
        for i in range(n):
            still += spectra[i, y, x]
            overlap += ramps_y[i, y] * ramps_x[i, x]
        a, b = 1 + n * alpha, 1 + n * beta
        determinant = a * b - alpha * beta * (overlap.real**2 + overlap.imag**2)
        specimen = (b * total[x] - beta * overlap * still) * (alpha / determinant)
        pattern = (a * still - alpha * np.conj(overlap) * total[x]) * (beta / determinant)
        covariance = -overlap * (alpha * beta / determinant)
        estimate[x] = np.conj(specimen) * scale
        # Noise power is 1 / scale (0.5 for a pair counted twice cancels): covariance comes in units of
        # it.
        noise = np.float32(1.0) / weight[r]
        crossed[x] = (pattern * np.conj(specimen) + np.conj(covariance) * noise) * scale
    for i in range(n):
        ramp_y = ramps_y[i, y]
        sum_y = np.float32(0)
        sum_x = np.float32(0)
        for x in range(n_x):
            product = moved[i, x] * estimate[x] - (ramp_y * ramps_x[i, x]) * crossed[x]
            sum_y += product.imag
            sum_x += product.imag * x
        out[i, 0] = sum_y
        out[i, 1] = sum_x


@njit(nogil=True, cache=True)
def _collect(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum rows with their frequency index in y: (y, frame, 2) to (frame, 2), indices not yet frequencies."""
    n_y, n, _ = rows.shape
    gradient = np.zeros((n, 2))
    for y in range(n_y):
        index = y if y < (n_y + 1) // 2 else y - n_y
        for i in range(n):
            gradient[i, 0] += rows[y, i, 0] * index
            gradient[i, 1] += rows[y, i, 1]
    return gradient


def _ring_powers(
    spectra: NDArray[np.complex64],
    ramps_y: NDArray[np.complex64],
    ramps_x: NDArray[np.complex64],
    ring: NDArray[np.int16],
    reach: NDArray[np.int64],
    n_rings: int,
) -> NDArray[np.float64]:
    """See `cryoloom.kernels.movies.frame_shifts.ring_powers`."""
    chunks = np.zeros((_CHUNKS, 5, n_rings))
    for chunk in prange(_CHUNKS):
        _chunk_powers(spectra, ramps_y, ramps_x, ring, reach, chunk, chunks[chunk])
    powers = chunks[0]
    for chunk in range(1, _CHUNKS):
        for i in range(5):
            for ring_index in range(n_rings):
                powers[i, ring_index] += chunks[chunk, i, ring_index]
    return powers


ring_powers_numba, ring_powers_numba_serial = parallel_and_serial(_ring_powers)


@njit(nogil=True, cache=True)
def _chunk_powers(
    spectra: NDArray[np.complex64],
    ramps_y: NDArray[np.complex64],
    ramps_x: NDArray[np.complex64],
    ring: NDArray[np.int16],
    reach: NDArray[np.int64],
    chunk: int,
    out: NDArray[np.float64],
) -> None:
    """Sums over every 16th row, from row ``chunk`` on."""
    n, n_y = ramps_y.shape[0], ring.shape[0]
    for y in range(chunk, n_y, _CHUNKS):
        n_x = reach[y]
        total = np.zeros(n_x, np.complex64)
        still = np.zeros(n_x, np.complex64)
        overlap = np.zeros(n_x, np.complex64)
        power = np.zeros(n_x, np.float32)
        for i in range(n):
            ramp_y = ramps_y[i, y]
            for x in range(n_x):
                value = spectra[i, y, x]
                ramp = ramp_y * ramps_x[i, x]
                total[x] += value * ramp
                still[x] += value
                overlap[x] += ramp
                power[x] += value.real**2 + value.imag**2
        for x in range(n_x):
            r = ring[y, x]
            if r >= 0:
                out[0, r] += 1
                out[1, r] += power[x] / n
                out[2, r] += total[x].real ** 2 + total[x].imag ** 2
                out[3, r] += still[x].real ** 2 + still[x].imag ** 2
                out[4, r] += overlap[x].real ** 2 + overlap[x].imag ** 2


@njit(parallel=True, cache=True)
def add_moved_numba(
    sums: NDArray[np.complex64],
    spectra: NDArray[np.complex64],
    ramps_y: NDArray[np.complex64],
    ramps_x: NDArray[np.complex64],
    first_half: int,
) -> None:
    """See `cryoloom.kernels.movies.frame_shifts.add_moved`."""
    n, n_y, n_x = ramps_y.shape[0], sums.shape[1], sums.shape[2]
    from_end = spectra.shape[1] - n_y
    half_y = n_y // 2
    for y in prange(n_y):
        row = np.int64(y)
        source = row if row < half_y else row + from_end
        for i in range(n):
            half = (first_half + i) % 2
            ramp_y = ramps_y[i, row]
            for x in range(n_x):
                sums[half, row, x] += spectra[i, source, x] * (ramp_y * ramps_x[i, x])
