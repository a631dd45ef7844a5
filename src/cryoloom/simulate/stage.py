"""The stage: in which order it tilts, where it goes wrong, how it drifts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.projection import projection_matrices
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import TiltTruth

__all__ = ["frame_positions_yx_angstrom", "nominal_tilts_deg", "tilt_truths"]


def nominal_tilts_deg(params: SimulationParams) -> NDArray[np.float64]:
    """Nominal tilts in order of acquisition."""
    step = params.tilt_step_deg
    ascending = np.arange(params.tilt_min_deg, params.tilt_max_deg + 0.01 * step, step)
    if params.scheme == "continuous":
        return ascending
    zero = int(np.argmin(np.abs(ascending)))
    if params.scheme == "bidirectional":
        return np.concatenate([ascending[zero:], ascending[:zero][::-1]])
    # Hagen, Wan & Briggs 2017: 0, +1, -1, -2, +2, +3, -3, ...: each side is left only every second time.
    order = [zero]
    for distance in range(1, len(ascending)):
        pair = (zero + distance, zero - distance) if distance % 2 else (zero - distance, zero + distance)
        order += [i for i in pair if 0 <= i < len(ascending)]
    return ascending[order]


def frame_positions_yx_angstrom(params: SimulationParams, rng: np.random.Generator) -> NDArray[np.float64]:
    """Specimen's position at the middle of each frame, ``(n_frames, 2)``, relative to the mean over them.

    A drift that dies away within the exposure, and a jitter: what RELION measures on real tilts.
    """
    time = (np.arange(params.n_frames) + 0.5) / params.n_frames
    direction = rng.normal(0.0, params.motion_angstrom / np.sqrt(2.0), 2)
    drift = -direction * np.exp(-time / params.motion_decay_fraction)[:, None]
    positions = drift + rng.normal(0.0, params.jitter_angstrom, (params.n_frames, 2))
    return positions - positions.mean(axis=0)


def tilt_truths(params: SimulationParams, rng: np.random.Generator) -> tuple[TiltTruth, ...]:
    """Pose, defocus, motion and dose of every exposure, in order of acquisition."""
    nominal = nominal_tilts_deg(params)
    n = len(nominal)
    tilt = nominal + rng.normal(0.0, params.tilt_error_rms_deg, n)
    span = max(float(np.ptp(nominal)), 1e-6)
    along = (nominal - nominal.mean()) / span
    axis = params.tilt_axis_deg + params.axis_drift_deg * along
    heading = rng.uniform(0, 2 * np.pi)
    trend = params.shift_trend_angstrom * np.outer(along, [np.cos(heading), np.sin(heading)])
    # Tracking keeps the middle of the ice in the field, so its height moves no image.
    matrices = projection_matrices(axis, tilt, np.zeros(n))
    height = matrices[:, :2, 2] * params.z_offset_angstrom
    shift = trend - height + rng.normal(0.0, params.shift_rms_angstrom, (n, 2))
    # Autofocus is repeated now and then: half of the error wanders, half is new in every tilt.
    wander = np.cumsum(rng.normal(0.0, 1.0, n))
    wander = (wander - wander.mean()) / max(float(wander.std()), 1e-9)
    focus_error = params.defocus_rms_angstrom * np.sqrt(0.5) * (wander + rng.normal(0.0, 1.0, n))
    slab = _cosine_through_ice(params, matrices)
    transmission = np.exp(-params.thickness_angstrom / slab / params.inelastic_mean_free_path_angstrom)
    field = min(params.image_shape_yx) * params.pixel_size_angstrom
    truths = []
    for i in range(n):
        flaw = _flaw(params, i)
        motion = frame_positions_yx_angstrom(params, rng)
        if flaw == "blurred":
            jump = np.where(np.arange(params.n_frames)[:, None] < params.n_frames / 2, -50.0, 50.0)
            motion = motion + (jump - jump.mean(axis=0))
        lost = np.array([0.4 * field, 0.2 * field]) if flaw == "shifted" else np.zeros(2)
        defocus = params.defocus_angstrom + focus_error[i]
        truths.append(
            TiltTruth(
                acquisition_index=i,
                nominal_tilt_deg=float(nominal[i]),
                tilt_deg=float(tilt[i]),
                axis_deg=float(axis[i]),
                shift_xy_angstrom=(float(shift[i, 0] + lost[0]), float(shift[i, 1] + lost[1])),
                defocus_u_angstrom=float(defocus + 0.5 * params.astigmatism_angstrom),
                defocus_v_angstrom=float(defocus - 0.5 * params.astigmatism_angstrom),
                astigmatism_angle_deg=params.astigmatism_angle_deg,
                frame_shifts_yx_angstrom=tuple((float(y), float(x)) for y, x in motion),
                dose_start_per_angstrom2=i * params.dose_per_tilt_per_angstrom2,
                dose_end_per_angstrom2=(i + 1) * params.dose_per_tilt_per_angstrom2,
                transmission=float(transmission[i]),
                flaw=flaw,
            )
        )
    return tuple(truths)


def _cosine_through_ice(params: SimulationParams, matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine between beam and the ice's normal, ``(n_tilts,)``; the path is the thickness over it."""
    from cryoloom.geometry.rotations import rotation_x, rotation_y

    normal = (rotation_y(params.pretilt_y_deg) @ rotation_x(params.pretilt_x_deg))[:, 2]
    return np.abs(matrices[:, 2] @ normal)


def _flaw(params: SimulationParams, acquisition_index: int) -> str:
    """What is wrong with this exposure, "" for nothing."""
    for name, indices in (
        ("dark", params.dark_tilts),
        ("shifted", params.shifted_tilts),
        ("blurred", params.blurred_tilts),
    ):
        if acquisition_index in indices:
            return name
    return ""
