"""Local motion: cubic B-splines in y, x and time fitted to the motion of patches.

The model is Warp's and torch-motion-correction's; here patches are measured by the same likelihood as whole
frames (`motion`), and the grid is the linear least-squares fit weighted by the information of each patch.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.motion.frame_motion import MotionSettings, phase_ramps, refine_shifts
from cryoloom.algorithms.motion.trajectory_prior import ShiftMeasurement, TrajectoryPrior
from cryoloom.geometry.spline_basis import clamped_spline_basis
from cryoloom.kernels.images.sample_displaced import sample_displaced

__all__ = ["LocalMotion", "add_undistorted", "estimate_local_motion"]

_Array = NDArray[np.float64]

# Patches overlap by half both ways, so every pixel is counted four times.
_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class LocalMotion:
    """Displacement in frame pixels besides the motion of the whole frame.

    control_yx_px : (time, y, x, 2) coefficients of clamped cubic B-splines over the exposure and the
    padded field.
    """

    control_yx_px: _Array

    def displacement(self, n_frames: int, i_frame: int, y: _Array, x: _Array) -> _Array:
        """Displacement (y, x, 2) of a frame at positions ``y`` by ``x``, each 0 to 1 over the field."""
        n_t, n_y, n_x, _ = self.control_yx_px.shape
        time = _time_basis(n_frames, n_t)[i_frame]
        control = np.tensordot(time, self.control_yx_px, axes=1)
        along_y, along_x = clamped_spline_basis(y, n_y), clamped_spline_basis(x, n_x)
        return np.einsum("ya,xb,abc->yxc", along_y, along_x, control, optimize=True)


def _time_basis(n_frames: int, n_control: int) -> _Array:
    """Basis over the frames, (frame, control), less its mean: displacements are relative to their mean."""
    basis = clamped_spline_basis((np.arange(n_frames) + 0.5) / n_frames, n_control)
    return basis - basis.mean(axis=0)


def estimate_local_motion(
    low: NDArray[np.complex64],
    full_shape_yx: tuple[int, int],
    shifts_yx_px: _Array,
    grid_xyt: tuple[int, int, int],
    prior: TrajectoryPrior,
    settings: MotionSettings,
    pool: Executor,
) -> LocalMotion:
    """Fit the grid to patches of frames that were moved by their whole motion.

    low : (frame, y, x // 2 + 1), low frequencies of frames of ``full_shape_yx``. grid_xyt : controls along
    x, y, time.
    """
    n = len(low)
    shape = (low.shape[1], 2 * (low.shape[2] - 1))
    ramps_y, ramps_x = phase_ramps(-shifts_yx_px, full_shape_yx, shape)
    scale = np.array(full_shape_yx) / shape
    moved = low * ramps_y[:, :, None] * ramps_x[:, None, :]
    images = scipy.fft.irfft2(moved, s=shape)
    n_x, n_y, _ = grid_xyt
    centres, spectra, patch = _patches(images, 2 * n_y - 1, 2 * n_x - 1)
    coarse = float(scale.mean())
    coarsest = min(settings.coarsest_px / coarse, min(patch) / 2)
    local = replace(settings, finest_px=max(2.0, settings.finest_px / coarse), coarsest_px=coarsest)
    # Local drift is a part of the whole: half of it is a wide prior.
    narrow = TrajectoryPrior(
        prior.drift_px / 2 / coarse, prior.walk_px / 2 / coarse, prior.jitter_px / 2 / coarse
    )

    def measure(spectrum: NDArray[np.complex64]) -> ShiftMeasurement:
        return refine_shifts(spectrum, patch, np.zeros((n, 2)), narrow, local).measurement

    found = list(pool.map(measure, spectra))
    return LocalMotion(_fit(centres, found, grid_xyt, narrow.drift_px + narrow.walk_px) * scale)


def _patches(
    images: NDArray[np.float32], n_y: int, n_x: int
) -> tuple[_Array, list[NDArray[np.complex64]], tuple[int, int]]:
    """Half-overlapping tapered patches: centres (patch, 2), y and x 0 to 1, spectra, and their shape."""
    size = tuple(2 * (full // (count + 1)) for full, count in zip(images.shape[1:], (n_y, n_x), strict=True))
    window = np.outer(np.hanning(size[0] + 2)[1:-1], np.hanning(size[1] + 2)[1:-1]).astype(np.float32)
    starts = [
        np.linspace(0, full - extent, count).astype(int)
        for full, extent, count in zip(images.shape[1:], size, (n_y, n_x), strict=True)
    ]
    centres, spectra = [], []
    for top in starts[0]:
        for left in starts[1]:
            patch = images[:, top : top + size[0], left : left + size[1]]
            patch = (patch - patch.mean()) * window
            spectra.append(scipy.fft.rfft2(patch).astype(np.complex64))
            centres.append(((top + size[0] / 2) / images.shape[1], (left + size[1] / 2) / images.shape[2]))
    return np.array(centres), spectra, (size[0], size[1])


def _fit(
    centres: _Array, found: list[ShiftMeasurement], grid_xyt: tuple[int, int, int], widest_px: float
) -> _Array:
    """Most probable controls ``(time, y, x, 2)`` given patches' shifts and a prior about 0.

    The width of the prior is the most probable one, up to ``widest_px``: without local motion it is almost
    zero, and so are the controls.
    """
    n_x, n_y, n_t = grid_xyt
    n_frames = len(found[0].shifts_yx_px)
    time = _time_basis(n_frames, n_t)
    along_y, along_x = clamped_spline_basis(centres[:, 0], n_y), clamped_spline_basis(centres[:, 1], n_x)
    space = np.einsum("na,nb->nab", along_y, along_x).reshape(len(centres), -1)
    # The normal matrix is (time' time) x (space' information space): its eigenvectors are products.
    of_time, in_time = np.linalg.eigh(time.T @ time)
    spectra, seen, spaces = [], [], []
    for axis in (0, 1):
        information = _OVERLAP * n_frames * np.array([one.information_per_px2[axis] for one in found])
        of_space, in_space = np.linalg.eigh(space.T @ (information[:, None] * space))
        shifts = np.array([one.shifts_yx_px[:, axis] for one in found])
        right = time.T @ (shifts * information[:, None]).T @ space
        spectra.append(np.maximum(np.outer(of_time, of_space), 0.0))
        seen.append(in_time.T @ right @ in_space)
        spaces.append(in_space)

    def log_evidence(spread_px: float) -> float:
        return sum(
            float(np.sum(0.5 * b**2 / (a + spread_px**-2) - 0.5 * np.log1p(spread_px**2 * a)))
            for a, b in zip(spectra, seen, strict=True)
        )

    spread = max(np.geomspace(1e-3, 1.0, 25) * max(widest_px, 1e-6), key=log_evidence)
    controls = [
        in_time @ (b / (a + spread**-2)) @ in_space.T
        for a, b, in_space in zip(spectra, seen, spaces, strict=True)
    ]
    return np.stack(controls, axis=-1).reshape(n_t, n_y, n_x, 2)


def add_undistorted(
    total: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    local: LocalMotion,
    n_frames: int,
    i_frame: int,
    binning_yx: tuple[float, float],
    pool: Executor,
) -> None:
    """Add a frame ``(y, x)``, already moved as a whole, to ``total`` with its local displacement undone.

    coefficients : weights of the cubic B-splines of the frame, periodic.
    """
    n_y, n_x = total.shape
    basis_y, basis_x = (
        clamped_spline_basis((np.arange(n) + 0.5) / n, m).astype(np.float32)
        for n, m in zip((n_y, n_x), local.control_yx_px.shape[1:3], strict=True)
    )
    time = _time_basis(n_frames, local.control_yx_px.shape[0])[i_frame]
    control = (np.tensordot(time, local.control_yx_px, axes=1) / np.array(binning_yx)).astype(np.float32)
    arrays = (coefficients, basis_y, basis_x, control)
    splines, along_y, along_x, controls = (torch.from_numpy(array) for array in arrays)
    rows = 64

    def slab(top: int) -> None:
        part = total[top : top + rows]
        sampled = np.empty_like(part)
        inside = slice(top, top + len(part))
        sample_displaced(splines, (top, 0), along_y[inside], along_x, controls, torch.from_numpy(sampled))
        part += sampled

    list(pool.map(slab, range(0, n_y, rows)))
