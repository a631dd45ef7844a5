"""The stage: in which order it tilts, where it goes wrong, how it drifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.projection import projection_matrices
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import LocalMotionTruth, TiltTruth

__all__ = ["FrameMotion", "frame_motion", "local_motion", "nominal_tilts_deg", "tilt_truths"]


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


@dataclass(frozen=True, slots=True)
class FrameMotion:
    """Motion of the specimen during one exposure, in angstrom, as (y, x)."""

    positions_yx_angstrom: NDArray[np.float64]
    """At the middle of each frame, ``(n_frames, 2)``, relative to the mean over them."""
    travel_yx_angstrom: NDArray[np.float64]
    """From the beginning to the end of each frame, ``(n_frames, 2)``."""
    vibration_yx_angstrom: NDArray[np.float64]
    """Amplitude of an oscillation faster than the frames, ``(2,)``."""


def frame_motion(params: SimulationParams, rng: np.random.Generator, *, blurred: bool = False) -> FrameMotion:
    """A drift that dies away within the exposure, and a jitter: what RELION measures on real tilts.

    A blurred exposure smears every frame along one direction as well.
    """
    n = params.n_frames
    edges = np.arange(n + 1) / n
    direction = rng.normal(0.0, params.motion_angstrom / np.sqrt(2.0), 2)
    drift, at_edges = (
        -direction * np.exp(-time / params.motion_decay_fraction)[:, None]
        for time in (edges[:-1] + 0.5 / n, edges)
    )
    positions = drift + rng.normal(0.0, params.jitter_angstrom, (n, 2))
    travel = np.diff(at_edges, axis=0)
    vibration = np.zeros(2)
    if blurred:
        angle = rng.uniform(0.0, np.pi)
        smear = params.blur_angstrom * np.array([np.sin(angle), np.cos(angle)])
        if params.blur_kind == "vibration":
            vibration = 0.5 * smear
        else:
            positions = positions + np.arange(n)[:, None] * smear
            travel = travel + smear
    return FrameMotion(positions - positions.mean(axis=0), travel, vibration)


def local_motion(
    params: SimulationParams, rng: np.random.Generator, dose_start_per_angstrom2: float
) -> LocalMotionTruth | None:
    """Doming of the ice under the beam: a smooth field that decays within an exposure and with the dose."""
    if params.local_motion_angstrom == 0 or params.n_frames < 2:
        return None
    # Rms over the field of x, y, x^2 - 1/3, x y, y^2 - 1/3.
    spread = np.sqrt([1 / 3, 1 / 3, 4 / 45, 1 / 9, 4 / 45])
    coefficients = rng.normal(size=(5, 2)) * np.array([0.6, 0.6, 1.0, 1.0, 1.0])[:, None]
    rms = np.sqrt(((coefficients * spread[:, None]) ** 2).sum())
    settled = (1 + 2 * np.exp(-dose_start_per_angstrom2 / 10.0)) / 3
    coefficients *= params.local_motion_angstrom * settled / rms
    time = (np.arange(params.n_frames) + 0.5) / params.n_frames
    fade = np.exp(-1 / params.motion_decay_fraction)
    course = -np.exp(-time / params.motion_decay_fraction) / (1 - fade)
    return LocalMotionTruth(
        coefficients_yx_angstrom=_pairs(coefficients),
        course=tuple(float(value) for value in course - course.mean()),
    )


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
        motion = frame_motion(params, rng, blurred=flaw == "blurred")
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
                phase_shift_deg=params.phase_shift_deg + params.phase_shift_drift_deg * i / max(n - 1, 1),
                frame_shifts_yx_angstrom=_pairs(motion.positions_yx_angstrom),
                frame_travel_yx_angstrom=_pairs(motion.travel_yx_angstrom),
                vibration_yx_angstrom=_pairs(motion.vibration_yx_angstrom[None])[0],
                dose_start_per_angstrom2=i * params.dose_per_tilt_per_angstrom2,
                dose_end_per_angstrom2=(i + 1) * params.dose_per_tilt_per_angstrom2,
                transmission=float(transmission[i]),
                flaw=flaw,
            )
        )
    return tuple(
        truth.model_copy(update={"local_motion": local_motion(params, rng, truth.dose_start_per_angstrom2)})
        for truth in truths
    )


def _pairs(values: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((float(y), float(x)) for y, x in values)


def _cosine_through_ice(params: SimulationParams, matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine between beam and the ice's normal, ``(n_tilts,)``; the path is the thickness over it."""
    from cryoloom.geometry.rotations import rotation_x, rotation_y

    normal = (rotation_y(params.pretilt_y_deg) @ rotation_x(params.pretilt_x_deg))[:, 2]
    return np.abs(matrices[:, 2] @ normal)


def _flaw(params: SimulationParams, acquisition_index: int) -> str:
    """Fault of this exposure, "" for none."""
    for name, indices in (
        ("dark", params.dark_tilts),
        ("shifted", params.shifted_tilts),
        ("blurred", params.blurred_tilts),
    ):
        if acquisition_index in indices:
            return name
    return ""
