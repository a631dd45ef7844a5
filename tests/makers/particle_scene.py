"""Tilt series of particles at known poses, made fast: projections of points with CTF, damage and shot noise.

Everything is written out here once more (projection, CTF, damage), so that an error of sign or scale in the
code under test shows. No movies, no motion: geometry and contrast transfer are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from cryoloom.model import Ctf, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from cryoloom.simulate.particles import ParticleModel


@dataclass(frozen=True)
class Scene:
    """One series and the truth of its particles."""

    series: TiltSeries
    positions_xyz_angstrom: np.ndarray
    rotations: np.ndarray


def make_scene(
    model: ParticleModel,
    n_particles: int,
    rng: np.random.Generator,
    *,
    name: str = "TS_1",
    shape_yx: tuple[int, int] = (768, 768),
    pixel: float = 2.7,
    tilts_deg: np.ndarray | None = None,
    defocus: float = 30000.0,
    thickness: float = 900.0,
    dose: float = 3.0,
    handedness: int = 1,
    axis_deg: float = 85.0,
    noise: float = 1.0,
    b_factor: float = 60.0,
    rotations: np.ndarray | None = None,
    positions: np.ndarray | None = None,
    box_px: int = 160,
) -> Scene:
    """``noise`` is over shot noise; 0 makes images without any."""
    tilts_deg = np.arange(-60.0, 61.0, 3.0) if tilts_deg is None else tilts_deg
    if positions is None:
        positions = scattered(n_particles, shape_yx, pixel, thickness, 2 * model.radius_angstrom, rng)
    if rotations is None:
        rotations = Rotation.random(len(positions), rng).as_matrix()
    microscope = Microscope()
    order = np.argsort(np.argsort(np.abs(tilts_deg), kind="stable"))
    images = np.zeros((len(tilts_deg), *shape_yx), np.float32)
    made = []
    for i, tilt_deg in enumerate(tilts_deg):
        shift = rng.normal(0, 15.0, 2)
        u, v, angle = defocus + 200.0, defocus - 200.0, 30.0
        turn = Rotation.from_euler("ZY", [axis_deg, tilt_deg], degrees=True).as_matrix()
        contrast = _contrast(
            model, positions, rotations, turn, shift, shape_yx, pixel, (u, v, angle), handedness, microscope,
            dose * order[i], dose, b_factor, box_px,
        )  # fmt: skip
        passed = np.exp(-thickness / (3000.0 * np.cos(np.deg2rad(tilt_deg))))
        counts = dose * pixel**2 * passed
        sigma = noise / np.sqrt(counts)
        images[i] = 100.0 * passed * (1.0 + contrast + sigma * rng.standard_normal(shape_yx))
        made.append(
            Tilt(
                acquisition_index=int(order[i]),
                nominal_tilt_deg=float(tilt_deg),
                dose_start_per_angstrom2=float(dose * order[i]),
                dose_end_per_angstrom2=float(dose * (order[i] + 1)),
                section=i,
                ctf=Ctf(u, v, angle),
                pose=Pose(axis_deg, float(tilt_deg), 0.0, (float(shift[0]), float(shift[1]))),
            )
        )
    series = TiltSeries(
        name,
        microscope,
        pixel,
        tuple(made),
        handedness=Sourced.from_told(float(handedness), "truth"),
        stack=Stack(images, pixel),
    )
    return Scene(series, positions, rotations)


def scattered(n, shape_yx, pixel, thickness, apart, rng):
    """Places in the ice, no two nearer than they are large."""
    half = 0.5 * np.array([shape_yx[1] * pixel, shape_yx[0] * pixel, thickness]) - 0.75 * apart
    half = np.maximum(half, [apart, apart, 0.0])
    places = np.zeros((0, 3))
    for _ in range(4000):
        if len(places) >= n:
            break
        trial = rng.uniform(-half, half, (64, 3))
        for place in trial:
            if len(places) < n and (
                not len(places) or np.linalg.norm(places - place, axis=1).min() > 0.95 * apart
            ):
                places = np.concatenate([places, place[None]])
    return places


def true_map(model: ParticleModel, n: int, voxel: float, b_factor: float = 60.0) -> np.ndarray:
    """Density ``(n, n, n)`` of the points, blurred as in the images."""
    fine = 2
    density = np.zeros((fine * n,) * 3)
    place = model.points_xyz_angstrom / (voxel / fine) + fine * n // 2
    _splat(density, place[:, ::-1], model.weights)
    spectrum = np.fft.fftn(np.fft.ifftshift(density))
    k = np.fft.fftfreq(fine * n, voxel / fine)
    squared = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None] ** 2
    line = np.sinc(k * voxel / fine) ** 2
    spectrum *= np.exp(-b_factor * squared / 4) / (
        line[:, None, None] * line[None, :, None] * line[None, None]
    )
    keep = np.r_[0 : n // 2, fine * n - n // 2 : fine * n]
    small = spectrum[np.ix_(keep, keep, keep)]
    return np.fft.fftshift(np.fft.ifftn(small).real).astype(np.float32) / voxel**2


def _contrast(
    model, positions, rotations, turn, shift, shape_yx, pixel, focus, handedness, microscope,
    dose_before, dose, b_factor, box,
):  # fmt: skip
    contrast = np.zeros((shape_yx[0] + 2 * box, shape_yx[1] + 2 * box))
    fine = 2
    k_fine = np.fft.fftfreq(fine * box, pixel / fine)
    keep = np.r_[0 : box // 2, fine * box - box // 2 : fine * box]
    ky, kx = k_fine[keep][:, None], k_fine[: box // 2 + 1][None]
    squared = ky**2 + kx**2
    blunt = np.sinc(ky * pixel / fine) ** 2 * np.sinc(kx * pixel / fine) ** 2
    envelope = np.exp(-b_factor * squared / 4) / blunt
    k = np.sqrt(np.maximum(squared, 1e-12))
    critical = 0.24499 * k**-1.6649 + 2.8141
    envelope *= np.exp(-(dose_before + dose / 2) / (2 * critical))
    u, v, angle = focus
    wavelength, cs = microscope.wavelength_angstrom, microscope.spherical_aberration_mm * 1e7
    direction = np.arctan2(ky, kx) - np.deg2rad(angle)
    focus_at = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * direction)
    for position, rotation in zip(positions, rotations, strict=True):
        seen = turn @ position
        x, y = (seen[:2] + shift) / pixel + np.array([shape_yx[1] // 2, shape_yx[0] // 2])
        ix, iy = round(x), round(y)
        if not (-box // 2 < ix < shape_yx[1] + box // 2 and -box // 2 < iy < shape_yx[0] + box // 2):
            continue
        points = model.points_xyz_angstrom @ (turn @ rotation).T
        image = np.zeros((fine * box, fine * box))
        place = points[:, 1::-1] / (pixel / fine) + fine * box // 2
        place += fine * np.array([y - iy, x - ix])
        _splat(image, place, model.weights)
        spectrum = np.fft.rfft2(image)[keep][:, : box // 2 + 1]
        defocus = focus_at - handedness * seen[2]
        chi = np.pi * wavelength * defocus * squared - 0.5 * np.pi * cs * wavelength**3 * squared**2
        ctf = np.sin(chi + np.arcsin(microscope.amplitude_contrast))
        spectrum = -2.0 * ctf * envelope * spectrum / pixel**2
        patch = np.fft.irfft2(spectrum, s=(box, box))
        y0, x0 = iy + box - box // 2, ix + box - box // 2
        if y0 < 0 or x0 < 0:
            continue
        target = contrast[y0 : y0 + box, x0 : x0 + box]
        target += patch[: target.shape[0], : target.shape[1]]
    return contrast[box:-box, box:-box]


def _splat(grid, place, weights):
    """Share points linearly among the cells about them."""
    low = np.floor(place).astype(int)
    part = place - low
    flat = grid.reshape(-1)
    for corner in np.ndindex(*(2,) * grid.ndim):
        share = np.prod(np.where(corner, part, 1 - part), axis=1)
        index = np.ravel_multi_index(tuple((low + corner).T), grid.shape, mode="clip")
        flat += np.bincount(index, share * weights, minlength=flat.size)
