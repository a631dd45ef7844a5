"""Fourier slices on the CPU: numba loops over slices, and over particles for the score of a pose."""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.slices.fourier_cell import FAST, ONE, cell_of

__all__ = ["insert_slices_numba", "score_poses_numba", "sum_equivalents_numba", "take_slices_numba"]


@numba.njit(parallel=True, fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def take_slices_numba(
    cube: NDArray[np.float32],
    frames: NDArray[np.float32],
    samples: NDArray[np.float32],
    slices: NDArray[np.float32],
) -> None:
    """As `fourier_slices.take_slices`; complex numbers are pairs along the last axis."""
    n, m = slices.shape[0], slices.shape[1]
    middle = np.float32(cube.shape[0] // 2)
    for i in prange(n):
        for j in range(m):
            kx, ky = samples[j, 0], samples[j, 1]
            x = kx * frames[i, 0, 0] + ky * frames[i, 1, 0]
            y = kx * frames[i, 0, 1] + ky * frames[i, 1, 1]
            z = kx * frames[i, 0, 2] + ky * frames[i, 1, 2]
            ix, iy, iz, fx, fy, fz, sign = cell_of(x, y, z, middle)
            real, imaginary = np.float32(0.0), np.float32(0.0)
            for dz in range(2):
                wz = fz if dz else np.float32(1.0) - fz
                jz = iz + np.uintp(dz)
                for dy in range(2):
                    jy = iy + np.uintp(dy)
                    wy = wz * (fy if dy else np.float32(1.0) - fy)
                    low, high = wy * (np.float32(1.0) - fx), wy * fx
                    real += low * cube[jz, jy, ix, 0] + high * cube[jz, jy, ix + ONE, 0]
                    imaginary += low * cube[jz, jy, ix, 1] + high * cube[jz, jy, ix + ONE, 1]
            slices[i, j, 0] = real
            slices[i, j, 1] = sign * imaginary


@numba.njit(parallel=True, fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def insert_slices_numba(
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    frames: NDArray[np.float32],
    samples: NDArray[np.float32],
    cubes: NDArray[np.float32],
    weight_cubes: NDArray[np.float32],
) -> None:
    """As `fourier_slices.insert_slices`, into several cubes: chunk c of the slices goes to cube c."""
    n, m = values.shape[0], values.shape[1]
    n_chunks = cubes.shape[0]
    middle = np.float32(cubes.shape[1] // 2)
    for chunk in prange(n_chunks):
        for i in range(chunk * n // n_chunks, (chunk + 1) * n // n_chunks):
            for j in range(m):
                weight = weights[i, j]
                real, imaginary = values[i, j, 0], values[i, j, 1]
                if weight == 0 and real == 0 and imaginary == 0:
                    continue
                kx, ky = samples[j, 0], samples[j, 1]
                x = kx * frames[i, 0, 0] + ky * frames[i, 1, 0]
                y = kx * frames[i, 0, 1] + ky * frames[i, 1, 1]
                z = kx * frames[i, 0, 2] + ky * frames[i, 1, 2]
                ix, iy, iz, fx, fy, fz, sign = cell_of(x, y, z, middle)
                imaginary *= sign
                for dz in range(2):
                    wz = fz if dz else np.float32(1.0) - fz
                    jz = iz + np.uintp(dz)
                    for dy in range(2):
                        jy = iy + np.uintp(dy)
                        wy = wz * (fy if dy else np.float32(1.0) - fy)
                        low, high = wy * (np.float32(1.0) - fx), wy * fx
                        cubes[chunk, jz, jy, ix, 0] += low * real
                        cubes[chunk, jz, jy, ix, 1] += low * imaginary
                        cubes[chunk, jz, jy, ix + ONE, 0] += high * real
                        cubes[chunk, jz, jy, ix + ONE, 1] += high * imaginary
                        weight_cubes[chunk, jz, jy, ix] += low * weight
                        weight_cubes[chunk, jz, jy, ix + ONE] += high * weight


@numba.njit(parallel=True, fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def score_poses_numba(
    cube: NDArray[np.float32],
    data: NDArray[np.float32],
    weights: NDArray[np.float32],
    frames: NDArray[np.float32],
    shifts: NDArray[np.float32],
    samples: NDArray[np.float32],
    n_used: int,
    terms: NDArray[np.float64],
    gradients: NDArray[np.float64],
    curvatures: NDArray[np.float64],
) -> None:
    """As `fourier_slices.score_poses`; complex numbers are pairs along the last axis."""
    n_particles, n_tilts = data.shape[0], data.shape[1]
    middle = np.float32(cube.shape[0] // 2)
    one, turn = np.float32(1.0), np.float32(2.0 * math.pi)
    reach = 0
    for j in range(n_used):
        reach = max(reach, int(abs(samples[j, 0])), int(abs(samples[j, 1])))
    for p in prange(n_particles):
        gradient = np.zeros(6)
        curvature = np.zeros((6, 6))
        jr, ji = np.zeros(6, np.float32), np.zeros(6, np.float32)
        sums = np.zeros(27, np.float32)
        phase_x = np.zeros((reach + 1, 2), np.float32)
        phase_y = np.zeros((2 * reach + 1, 2), np.float32)
        for t in range(n_tilts):
            # k . s is linear in kx and ky: the phase is a product of two short tables.
            per_x, per_y = np.float32(0.0), np.float32(0.0)
            for a in range(3):
                per_x += frames[p, t, 0, a] * shifts[p, a]
                per_y += frames[p, t, 1, a] * shifts[p, a]
            for k in range(reach + 1):
                phase_x[k, 0], phase_x[k, 1] = math.cos(turn * per_x * k), math.sin(turn * per_x * k)
            for k in range(-reach, reach + 1):
                phase_y[k + reach, 0] = math.cos(turn * per_y * k)
                phase_y[k + reach, 1] = math.sin(turn * per_y * k)
            cross, quadratic = 0.0, 0.0
            sums[:] = 0
            for j in range(n_used):
                weight = weights[p, t, j]
                if weight == 0:
                    continue
                kx, ky = samples[j, 0], samples[j, 1]
                x = kx * frames[p, t, 0, 0] + ky * frames[p, t, 1, 0]
                y = kx * frames[p, t, 0, 1] + ky * frames[p, t, 1, 1]
                z = kx * frames[p, t, 0, 2] + ky * frames[p, t, 1, 2]
                k0, k1, k2 = x, y, z
                ix, iy, iz, fx, fy, fz, sign = cell_of(x, y, z, middle)
                gx, gy, gz = one - fx, one - fy, one - fz
                ar = ai = br = bi = cr = ci = dr = di = np.float32(0.0)
                for part in range(2):
                    v000 = cube[iz, iy, ix, part]
                    v001 = cube[iz, iy, ix + ONE, part]
                    v010 = cube[iz, iy + ONE, ix, part]
                    v011 = cube[iz, iy + ONE, ix + ONE, part]
                    v100 = cube[iz + ONE, iy, ix, part]
                    v101 = cube[iz + ONE, iy, ix + ONE, part]
                    v110 = cube[iz + ONE, iy + ONE, ix, part]
                    v111 = cube[iz + ONE, iy + ONE, ix + ONE, part]
                    x00, x01 = gx * v000 + fx * v001, gx * v010 + fx * v011
                    x10, x11 = gx * v100 + fx * v101, gx * v110 + fx * v111
                    y0, y1 = gy * x00 + fy * x01, gy * x10 + fy * x11
                    value = gz * y0 + fz * y1
                    in_z = y1 - y0
                    in_y = gz * (x01 - x00) + fz * (x11 - x10)
                    in_x = gz * (gy * (v001 - v000) + fy * (v011 - v010)) + fz * (
                        gy * (v101 - v100) + fy * (v111 - v110)
                    )
                    if part == 0:
                        # Conjugate at -k: the real part keeps its value, so its slope changes sign.
                        ar, br, cr, dr = value, sign * in_x, sign * in_y, sign * in_z
                    else:
                        ai, bi, ci, di = sign * value, in_x, in_y, in_z
                ux, uy = int(kx), int(ky) + reach
                er = phase_x[ux, 0] * phase_y[uy, 0] - phase_x[ux, 1] * phase_y[uy, 1]
                ei = phase_x[ux, 0] * phase_y[uy, 1] + phase_x[ux, 1] * phase_y[uy, 0]
                sr = data[p, t, j, 0] * er - data[p, t, j, 1] * ei
                si = data[p, t, j, 0] * ei + data[p, t, j, 1] * er
                cross += sr * ar + si * ai
                quadratic += weight * (ar * ar + ai * ai)
                rr, ri = sr - weight * ar, si - weight * ai
                # Turning by w moves the sample by k x w: the change is w . (gradient x k).
                jr[0], ji[0] = cr * k2 - dr * k1, ci * k2 - di * k1
                jr[1], ji[1] = dr * k0 - br * k2, di * k0 - bi * k2
                jr[2], ji[2] = br * k1 - cr * k0, bi * k1 - ci * k0
                # Shifting by s multiplies by exp(-2 pi i k . s).
                jr[3], ji[3] = turn * k0 * ai, -turn * k0 * ar
                jr[4], ji[4] = turn * k1 * ai, -turn * k1 * ar
                jr[5], ji[5] = turn * k2 * ai, -turn * k2 * ar
                place = 6
                for a in range(6):
                    sums[a] += jr[a] * rr + ji[a] * ri
                    wr, wi = weight * jr[a], weight * ji[a]
                    for b in range(a, 6):
                        sums[place] += wr * jr[b] + wi * ji[b]
                        place += 1
            terms[p, t, 0], terms[p, t, 1] = cross, quadratic
            place = 6
            for a in range(6):
                gradient[a] += sums[a]
                for b in range(a, 6):
                    curvature[a, b] += sums[place]
                    place += 1
        for a in range(6):
            gradients[p, a] = gradient[a]
            for b in range(a, 6):
                curvatures[p, a, b] = curvature[a, b]
                curvatures[p, b, a] = curvature[a, b]


@numba.njit(parallel=True, fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def sum_equivalents_numba(
    cube: NDArray[np.float32], matrices: NDArray[np.float32], highest: float, summed: NDArray[np.float32]
) -> None:
    """As `fourier_slices.sum_equivalents`; ``(z, y, x, channel)``; channel 1 changes sign at -k."""
    n_z, n_y, n_x, n_channels = cube.shape
    middle = n_z // 2
    for i in prange(n_z):
        for j in range(n_y):
            for k in range(n_x):
                z0, y0, x0 = np.float32(i - middle), np.float32(j - middle), np.float32(k)
                if x0 * x0 + y0 * y0 + z0 * z0 > highest * highest:
                    continue
                for s in range(len(matrices)):
                    x = matrices[s, 0, 0] * x0 + matrices[s, 0, 1] * y0 + matrices[s, 0, 2] * z0
                    y = matrices[s, 1, 0] * x0 + matrices[s, 1, 1] * y0 + matrices[s, 1, 2] * z0
                    z = matrices[s, 2, 0] * x0 + matrices[s, 2, 1] * y0 + matrices[s, 2, 2] * z0
                    sign = np.float32(1.0)
                    if x < 0:
                        x, y, z, sign = -x, -y, -z, np.float32(-1.0)
                    ix, iy, iz = int(x), math.floor(y), math.floor(z)
                    fx, fy, fz = x - np.float32(ix), y - np.float32(iy), z - np.float32(iz)
                    iy += middle
                    iz += middle
                    for dz in range(2):
                        wz = fz if dz else np.float32(1.0) - fz
                        if wz == 0:
                            continue
                        for dy in range(2):
                            wy = wz * (fy if dy else np.float32(1.0) - fy)
                            if wy == 0:
                                continue
                            low, high = wy * (np.float32(1.0) - fx), wy * fx
                            for c in range(n_channels):
                                value = low * cube[iz + dz, iy + dy, ix, c]
                                if high != 0:
                                    value += high * cube[iz + dz, iy + dy, ix + 1, c]
                                summed[i, j, k, c] += sign * value if c == 1 else value
