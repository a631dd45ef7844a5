"""The camera: frames that drift, a response that differs from pixel to pixel, counts, and what is broken.

The expectation of a frame is filtered by the detector's MTF and then counted pixel by pixel (Poisson): that
is what becomes of electrons that are counted once, but not always where they fell, and leaves noise white.
Coincidence takes away electrons where many fell, and with them noise at low frequencies, as the measured
curves of counting cameras show. Electrons the camera misses are left out of the dose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from cryoloom.kernels.images.sample_displaced import sample_displaced
from cryoloom.simulate.microscope import ExposedContrast, Optics, remaining_after_dose
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import GainTruth, LocalMotionTruth, TiltTruth

__all__ = [
    "Camera",
    "count",
    "count_events",
    "counted",
    "detective_quantum_efficiency",
    "frame_expectations",
    "gain_as_filed",
    "make_camera",
    "modulation_transfer",
    "noise_transfer",
    "sum_expectation",
]

#: Chosen: least transmission. Not even gold stops all electrons; it also keeps fringes of the weak-phase
#: model above zero.
_DARKEST = 0.03
_HOT_COUNTS_PER_FRAME = 40.0
"""Chosen: far above any real count."""


def modulation_transfer(frequency_per_px: torch.Tensor, at_nyquist: float) -> torch.Tensor:
    """Detector's MTF, Gaussian in frequency: within 0.04 of the K2's measured curve with 0.46 at Nyquist."""
    return torch.exp(math.log(at_nyquist) * (frequency_per_px / 0.5) ** 2)


def noise_transfer(frequency_per_px: torch.Tensor, coincidence_loss: float) -> torch.Tensor:
    """Noise power of `counted` over that of as many independent counts, along an axis of the sensor.

    To first order in the loss: an event is lost with another in its 3 x 3 pixels, whose transform is W, so
    fluctuations are damped by the loss times W on both sides of the square.
    """
    window = (1 + 2 * torch.cos(2 * math.pi * frequency_per_px)) / 3
    return 1 - 2 * coincidence_loss * window


def detective_quantum_efficiency(
    frequency_per_px: torch.Tensor, mtf_at_nyquist: float, coincidence_loss: float
) -> torch.Tensor:
    """Signal over noise, squared, that is left of that of the counted electrons: ``gain^2 MTF^2 / NPS``."""
    window = (1 + 2 * torch.cos(2 * math.pi * frequency_per_px)) / 3
    gain = 1 - coincidence_loss * window  # coincidence flattens the image as it flattens noise
    transfer = modulation_transfer(frequency_per_px, mtf_at_nyquist)
    return (gain * transfer) ** 2 / noise_transfer(frequency_per_px, coincidence_loss)


@dataclass(frozen=True, slots=True)
class Camera:
    """Response of each pixel: ``counts = response * electrons``, 0 where dead; and what is broken."""

    response: NDArray[np.float32]
    gain: NDArray[np.float32]
    """Reference that corrects it, ``(y, x)`` in the movie's orientation; 0 marks a defect."""
    truth: GainTruth


def make_camera(params: SimulationParams, rng: np.random.Generator) -> Camera:
    """A sensor of pixels, sectors and a slow slope that all respond differently."""
    n_y, n_x = params.image_shape_yx
    spread = params.gain_rms
    response = 1.0 + rng.normal(0.0, spread, (n_y, n_x))
    # Read-out sectors side by side differ a little, and sensitivity slopes over the sensor.
    sectors = 1.0 + rng.normal(0.0, 0.3 * spread, 8)
    response *= np.repeat(sectors, math.ceil(n_x / 8))[:n_x]
    slope = rng.normal(0.0, 0.6 * spread, 2)
    response *= 1.0 + slope[0] * np.linspace(-1, 1, n_y)[:, None] + slope[1] * np.linspace(-1, 1, n_x)
    response = np.clip(response / response.mean(), 0.4, 1.8)

    def places(n: int) -> tuple[tuple[int, int], ...]:
        rows, columns = rng.integers(0, n_y, n), rng.integers(0, n_x, n)
        return tuple((int(y), int(x)) for y, x in zip(rows, columns, strict=True))

    dead, hot = places(params.n_dead_pixels), places(params.n_hot_pixels)
    columns = tuple(int(x) for x in rng.integers(0, n_x, params.n_dead_columns))
    gain = 1.0 / response
    for array in (response, gain):
        array[:, list(columns)] = 0.0
        for y, x in dead:
            array[y, x] = 0.0
    return Camera(
        response.astype(np.float32),
        gain.astype(np.float32),
        GainTruth(
            # An EER camera writes its gain in the orientation of the movies.
            quarter_turns=0 if params.camera == "falcon_eer" else params.gain_quarter_turns,
            flip="none" if params.camera == "falcon_eer" else params.gain_flip,
            dead_pixels_yx=dead,
            hot_pixels_yx=hot,
            dead_columns_x=columns,
        ),
    )


def gain_as_filed(camera: Camera) -> NDArray[np.float32]:
    """The gain as its file holds it: undone are the flip and then the turns that orient it."""
    gain = camera.gain
    if camera.truth.flip == "upside_down":
        gain = gain[::-1]
    elif camera.truth.flip == "left_right":
        gain = gain[:, ::-1]
    # Counter-clockwise with row 0 at the bottom is numpy's negative turn; undone by the positive.
    return np.ascontiguousarray(np.rot90(gain, camera.truth.quarter_turns))


def sum_expectation(
    contrast: ExposedContrast, tilt: TiltTruth, params: SimulationParams, optics: Optics
) -> NDArray[np.float32]:
    """Expected electrons per pixel of the whole exposure, ``(y, x)``, motion between frames undone.

    What moves within a frame stays smeared: nobody can undo that.
    """
    remaining = remaining_after_dose(
        optics.k2, tilt.dose_start_per_angstrom2, tilt.dose_end_per_angstrom2, params.voltage_kv
    )
    mtf = modulation_transfer(torch.sqrt(optics.k2) * optics.pixel, params.mtf_at_nyquist)
    smears = [_smear(tilt, i, optics) for i in range(len(tilt.frame_travel_yx_angstrom))]
    smear = torch.stack(smears).mean(dim=0) if smears else torch.ones(())
    spectrum = (contrast.lasting_rfft + remaining * contrast.damaged_rfft) * mtf * smear
    return _electrons(_image(spectrum, optics), 1.0, tilt, params)


def frame_expectations(
    contrast: ExposedContrast, tilt: TiltTruth, params: SimulationParams, optics: Optics
) -> Iterator[NDArray[np.float32]]:
    """Expected electrons per pixel of each frame, ``(y, x)``: drifted, smeared by its own motion, damaged."""
    mtf = modulation_transfer(torch.sqrt(optics.k2) * optics.pixel, params.mtf_at_nyquist)
    dose = tilt.dose_end_per_angstrom2 - tilt.dose_start_per_angstrom2
    n = params.n_frames
    for i, (y, x) in enumerate(tilt.frame_shifts_yx_angstrom):
        start = tilt.dose_start_per_angstrom2 + dose * i / n
        remaining = remaining_after_dose(optics.k2, start, start + dose / n, params.voltage_kv)
        ramp_y = torch.exp(-2j * math.pi * optics.k_y * float(y))
        ramp_x = torch.exp(-2j * math.pi * optics.k_x * float(x))
        spectrum = (contrast.lasting_rfft + remaining * contrast.damaged_rfft) * mtf * ramp_y * ramp_x
        spectrum = spectrum * _smear(tilt, i, optics)
        if tilt.local_motion is None:
            yield _electrons(_image(spectrum, optics), 1.0 / n, tilt, params)
        else:
            moved = _moved_locally(spectrum, tilt.local_motion, i, optics)
            yield _electrons(moved, 1.0 / n, tilt, params)


def _smear(tilt: TiltTruth, i_frame: int, optics: Optics) -> torch.Tensor:
    """Transfer of the motion within a frame: the mean of the image over the path it takes.

    At steady speed over a distance d that mean is ``sinc(k . d)``; over whole swings of amplitude a, whose
    positions are arcsine distributed, it is ``J0(2 pi k . a)``.
    """
    transfer = torch.ones(())
    if tilt.frame_travel_yx_angstrom:
        y, x = tilt.frame_travel_yx_angstrom[i_frame]
        transfer = torch.sinc(optics.k_y * y + optics.k_x * x)
    y, x = tilt.vibration_yx_angstrom
    if y or x:
        transfer = transfer * torch.special.bessel_j0(2 * math.pi * (optics.k_y * y + optics.k_x * x))
    return transfer


def _image(spectrum: torch.Tensor, optics: Optics) -> torch.Tensor:
    """Contrast over the image, ``(y, x)``."""
    return optics.crop(torch.fft.irfft2(spectrum, s=optics.shape))


def _moved_locally(
    spectrum: torch.Tensor, motion: LocalMotionTruth, i_frame: int, optics: Optics
) -> torch.Tensor:
    """The same, displaced by a smooth field u: a point r moves to r + u(r), and p comes from p - u(p)."""
    coefficients = torch.fft.irfft2(spectrum / optics.cubic_spline_transfer, s=optics.shape)
    powers = []
    for n in optics.image_shape:
        position = ((np.arange(n) + 0.5) / n * 2 - 1).astype(np.float32)
        powers.append(np.stack([np.ones_like(position), position, position**2], axis=1))
    control = -motion.course[i_frame] / optics.pixel * motion.control_yx_angstrom
    moved = torch.empty(optics.image_shape)
    along_y, along_x, controls = (torch.from_numpy(a) for a in (*powers, control.astype(np.float32)))
    sample_displaced(coefficients, optics.crop_origin_yx, along_y, along_x, controls, moved)
    return moved


def _electrons(
    contrast: torch.Tensor, fraction: float, tilt: TiltTruth, params: SimulationParams
) -> NDArray[np.float32]:
    """Electrons per pixel from the contrast over the image, for a fraction of the tilt's dose."""
    electrons = (
        fraction
        * (tilt.dose_end_per_angstrom2 - tilt.dose_start_per_angstrom2)
        * params.pixel_size_angstrom**2
        * tilt.transmission
    )
    if tilt.flaw == "dark":
        electrons *= 0.05
    return (electrons * torch.clamp(1.0 - contrast, min=_DARKEST)).numpy()


def counted(
    expectation: NDArray[np.float32], rng: np.random.Generator, coincidence_loss: float
) -> NDArray[np.int64]:
    """Counts ``(y, x)`` of an expectation of counted electrons.

    Each electron is lost with the probability that another fell within one pixel of it in the same readout,
    which is proportional to the number that fell there during the frame.
    """
    if coincidence_loss == 0:
        return rng.poisson(expectation)
    arrived = rng.poisson(expectation / np.float32(1 - coincidence_loss))
    others = 9 * uniform_filter(arrived.astype(np.float32), 3, mode="reflect") - 1
    usual = 9 * max(float(arrived.mean()), 1e-9)
    lost = np.clip(coincidence_loss / usual * others, 0.0, 0.5)
    return np.asarray(rng.binomial(arrived, 1 - lost))


def count(
    expectations: list[NDArray[np.float32]], camera: Camera, params: SimulationParams, seed: list[int]
) -> tuple[NDArray[np.uint8], tuple[tuple[int, int, int], ...]]:
    """Raw frames ``(frame, y, x)`` as the camera writes them, and the X-ray hits (frame, row, column)."""
    hot = np.array(camera.truth.hot_pixels_yx, dtype=int).reshape(-1, 2)

    frames, xrays = [], []
    for i, expectation in enumerate(expectations):
        rng = np.random.default_rng([*seed, i])
        raw = counted(expectation * camera.response, rng, params.coincidence_loss)
        raw[hot[:, 0], hot[:, 1]] += rng.poisson(_HOT_COUNTS_PER_FRAME, len(hot))
        hits = _strike(raw, rng, rng.poisson(params.xrays_per_frame))
        frames.append(np.minimum(raw, 255).astype(np.uint8))
        xrays += [(i, y, x) for y, x in hits]
    return np.stack(frames), tuple(xrays)


def count_events(
    expectations: list[NDArray[np.float32]], camera: Camera, params: SimulationParams, seed: list[int]
) -> Iterator[NDArray[np.int32]]:
    """Electron events of each EER raw frame, ``(n, 2)`` rows and columns on the grid of quarter pixels.

    The specimen stands still over the raw frames of one expectation. Where within its pixel an electron
    falls is left to chance: the finer grid has more pixels, not more resolution.
    """
    n_y, n_x = params.image_shape_yx
    hot = np.array(camera.truth.hot_pixels_yx, dtype=int).reshape(-1, 2)
    edges = np.linspace(0, params.eer_raw_frames, len(expectations) + 1).round().astype(int)
    for i, (expectation, n_raw) in enumerate(zip(expectations, np.diff(edges), strict=True)):
        rng = np.random.default_rng([*seed, i])
        counts = rng.poisson(expectation * camera.response)
        counts[hot[:, 0], hot[:, 1]] += n_raw
        pixel = np.repeat(np.arange(n_y * n_x, dtype=np.int32), counts.ravel())
        raw_frame = rng.integers(0, n_raw, len(pixel), dtype=np.int32)
        places = np.column_stack([pixel // n_x, pixel % n_x]) * 4
        places += rng.integers(0, 4, places.shape, dtype=np.int32)
        for frame in range(n_raw):
            yield places[raw_frame == frame]


def _strike(raw: NDArray[Any], rng: np.random.Generator, n: int) -> list[tuple[int, int]]:
    """Add X-ray hits, a pixel or two wide each, to a frame."""
    n_y, n_x = raw.shape
    hits = []
    for _ in range(n):
        y, x = int(rng.integers(0, n_y)), int(rng.integers(0, n_x))
        strength = rng.uniform(40.0, 250.0)
        for dy, dx, part in ((0, 0, 1.0), (0, 1, 0.4), (1, 0, 0.3)):
            if y + dy < n_y and x + dx < n_x:
                raw[y + dy, x + dx] += round(strength * part)
        hits.append((y, x))
    return hits
