"""The matched-filter tomogram, with which templates are compared, and its point spread.

For white noise the log-likelihood of a density A at a place and rotation is ``a S - a^2 E / 2`` with
``S = sum over tilts and frequencies of Re(C X* A_t) / sigma^2`` and ``E`` the same of ``C^2 |A_t|^2``: X the
image, C its transfer function at the place's depth times the amplitude left by the dose, sigma^2 the noise
power, A_t the density's projection. S is linear in X, and back-projection is the transpose of projection:
after back-projecting ``C X / sigma^2``, without a ramp, S is the correlation of that tomogram with the
density itself. Templates need no missing wedge and no filter. ``S / sqrt(E)`` is in standard deviations of
noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from cryoloom.algorithms.ctf.correction import Correction
from cryoloom.algorithms.ctf.transfer import ctf_1d
from cryoloom.algorithms.images.fourier import good_fft_size, radial_frequency_rfft
from cryoloom.algorithms.images.radial_filter import RadialFilter
from cryoloom.algorithms.reconstruction.back_projection import plan_back_projection
from cryoloom.algorithms.reconstruction.depth_correction import (
    DepthCorrectedBackProjection,
    plan_depth_correction,
)
from cryoloom.algorithms.reconstruction.tomogram_grid import TomogramGrid
from cryoloom.algorithms.series.dose import mean_dose_weights
from cryoloom.geometry.depth import defocus_change
from cryoloom.geometry.frames import position_from_index
from cryoloom.geometry.projection import beam_coordinate, project
from cryoloom.model import Ctf, Microscope, Pose, Tilt

__all__ = [
    "MatchedFilter",
    "TiltFilter",
    "clear_part",
    "filter_image",
    "make_matched_filter",
    "plan_tilt_filter",
]

Array = NDArray[np.float64]

BAND_PER_VOXEL = 0.45  # chosen: just below Nyquist, where the edge of the band ends
_BAND_EDGE = 0.05
"""Chosen, in cycles per voxel: width of the soft edge of the band."""
_RINGS = 96
"""Chosen: of the noise's power, finer than it changes."""
_DEPTHS = 25  # chosen: depths of a tilt at which energies are computed, interpolated between
_COARSE_ANGSTROM = 120.0  # chosen: step of the grid on which energies are computed, interpolated between
_PSF_OVERSAMPLING = 4
"""Chosen: the point spread is then interpolated linearly."""
_LEAST_POWER = 1e-3
"""Chosen, of the median ring: a ring with less noise was filtered out before, and carries no information."""


@dataclass(frozen=True, slots=True)
class TiltFilter:
    """Factors of an image in the frame of its axis, and its information at each frequency."""

    frequency_per_voxel: Array
    """``(ring,)``, from 0 to 1/2."""
    weight: Array
    """``(ring,)``: dose weight and band over noise power, without the CTF."""
    information: Array
    """``(ring,)``: squared dose weight and band over noise power: E without CTF and density."""


@dataclass(frozen=True, slots=True)
class MatchedFilter:
    """Tomogram of matched-filtered images, and the data that turn correlations into likelihoods."""

    volume: torch.Tensor
    """``(z, y, x)`` float32: its correlation with a density, positive where there is matter, is S."""
    voxel_size_angstrom: float
    tilts: tuple[Tilt, ...]
    filters: tuple[TiltFilter, ...]
    microscope: Microscope
    handedness: float
    image_shape_yx: tuple[int, int]
    pixel_size_angstrom: float
    gold_xy_angstrom: tuple[Array, ...] = ()
    """Centres ``(n, 2)`` of opaque discs in each tilt, from the image's centre; empty for none."""
    gold_radius_angstrom: float = 0.0

    def energy(self, power: Array) -> NDArray[np.float32]:
        """E over the volume, ``(z, y, x)`` float32, for a density of radial power ``(ring,)``.

        power : mean squared transform on the rings of `TiltFilter`. Outside an image a tilt contributes
        nothing.
        """
        shape = tuple(int(n) for n in self.volume.shape)
        knots = [np.unique(np.linspace(0, n - 1, self._n_coarse(n)).round()) for n in shape]
        index = np.stack(np.meshgrid(*knots, indexing="ij"), axis=-1).reshape(-1, 3)
        places = position_from_index(index, shape, self.voxel_size_angstrom)
        coarse = self.tilt_energies(places, power, None).sum(axis=0).reshape([len(k) for k in knots])
        at = [np.interp(np.arange(n), k, np.arange(len(k))) for n, k in zip(shape, knots, strict=True)]
        full = np.empty(shape, dtype=np.float32)
        for z, height in enumerate(at[0]):
            grid = np.meshgrid([height], at[1], at[2], indexing="ij")
            full[z] = map_coordinates(coarse, grid, order=1)[0]
        return full

    def _n_coarse(self, n: int) -> int:
        return max(2, math.ceil(n * self.voxel_size_angstrom / _COARSE_ANGSTROM) + 1)

    def tilt_energies(self, places: Array, power: Array, radius_angstrom: float | None) -> Array:
        """E of every tilt at places ``(n, 3)``, in angstrom, of a density of radial power: ``(tilt, n)``.

        radius_angstrom : of the density: the part of it that gold hides in an image contributes nothing.
        None: gold is left aside.
        """
        matrices = np.stack([_pose(tilt).matrix for tilt in self.tilts])
        shifts = np.array([_pose(tilt).shift_xy_angstrom for tilt in self.tilts])
        seen = project(places, matrices, shifts)
        half = 0.5 * np.array(self.image_shape_yx[::-1]) * self.pixel_size_angstrom
        inside: NDArray[np.bool_] = np.all(np.abs(seen) < half, axis=-1)
        depth = beam_coordinate(places, matrices)
        energies = np.empty(inside.shape)
        for i, one in enumerate(self.filters):
            knots = np.linspace(depth[i].min(), depth[i].max() + 1e-6, _DEPTHS)
            values = [self.tilt_energy(i, one, float(height), power) for height in knots]
            energies[i] = inside[i] * np.interp(depth[i], knots, values)
            if radius_angstrom is not None and self.gold_xy_angstrom:
                energies[i] *= clear_part(
                    seen[i], radius_angstrom, self.gold_xy_angstrom[i], self.gold_radius_angstrom
                )
        return energies

    def tilt_groups(self, n_groups: int) -> list[NDArray[np.int64]]:
        """Indices of the tilts in groups of neighbouring angles."""
        order = np.argsort([_pose(tilt).tilt_deg for tilt in self.tilts], kind="stable")
        return np.array_split(order, min(n_groups, len(order)))

    def tilt_energy(self, i_tilt: int, one: TiltFilter, depth_angstrom: float, power: Array) -> float:
        """E of one tilt at a depth along its beam."""
        transfer = self._transfer(i_tilt, depth_angstrom)
        k = one.frequency_per_voxel
        return float(np.trapezoid(2 * math.pi * k * one.information * transfer**2 * power, k))

    def _transfer(self, i_tilt: int, depth_angstrom: float) -> Array:
        ctf = _ctf(self.tilts[i_tilt])
        defocus = ctf.defocus_angstrom + float(defocus_change(depth_angstrom, self.handedness))
        k = self.filters[i_tilt].frequency_per_voxel / self.voxel_size_angstrom
        return ctf_1d(k, defocus, self.microscope, ctf.phase_shift_deg)

    def point_spread(self, box: int, some: NDArray[np.int64] | None = None) -> Array:
        """Response of the volume to a point at its centre, ``(n, n, n)`` with n = 2 box, centre at ``box``.

        some : indices of tilts; None for all.
        ``E = sum over x, x' of A(x) PSF(x - x') A(x')``, exactly, also where the power is not radial.
        """
        n = 2 * box
        at = np.arange(n) - box
        z, y, x = np.meshgrid(at, at, at, indexing="ij")
        places = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float64)
        total = np.zeros(len(places))
        side = good_fft_size(4 * box)
        for i in range(len(self.tilts)) if some is None else some:
            image = _radial_image(self.filters[i], self._transfer(i, 0.0), side)
            seen = places @ _pose(self.tilts[i]).matrix[:2].T
            index = _PSF_OVERSAMPLING * seen[:, ::-1].T + len(image) // 2
            total += map_coordinates(image, index, order=1, mode="constant")
        return total.reshape(n, n, n)


def plan_tilt_filter(
    image: torch.Tensor, tilt: Tilt, voxel_size_angstrom: float, highpass_angstrom: float, voltage_kv: float
) -> TiltFilter:
    """Whitening filter of an aligned image ``(row, column)``, NaN outside the field, from its own power.

    Particles are a small part of an image's power; otherwise they are each other's noise.
    """
    inside = torch.isfinite(image)
    flat = torch.where(inside, image - image[inside].mean(), torch.zeros_like(image))
    shape = (good_fft_size(image.shape[0]), good_fft_size(image.shape[1]))
    spectrum = torch.fft.rfft2(flat, s=shape).abs().square() / int(inside.sum())
    radius = radial_frequency_rfft(shape).numpy()
    frequency = np.linspace(0.0, 0.5, _RINGS)
    power = _ring_means(spectrum.cpu().numpy(), radius, frequency)
    k = frequency / voxel_size_angstrom
    dose = mean_dose_weights(k, tilt.dose_start_per_angstrom2, tilt.dose_end_per_angstrom2, voltage_kv)
    band = 0.5 + 0.5 * np.cos(
        math.pi * np.clip((frequency - BAND_PER_VOXEL + _BAND_EDGE) / _BAND_EDGE, 0.0, 1.0)
    )
    band *= 1 - np.exp(-math.log(2) * (k * highpass_angstrom) ** 2)
    seen = power > _LEAST_POWER * np.median(power[frequency < BAND_PER_VOXEL])
    over_noise = np.where(seen, band / np.where(seen, power, 1.0), 0.0)
    return TiltFilter(frequency, dose * over_noise, dose**2 * over_noise)


def filter_image(image: torch.Tensor, one: TiltFilter) -> torch.Tensor:
    """Aligned image ``(row, column)`` whitened and weighted; matter becomes positive, and 0 outside."""
    inside = torch.isfinite(image)
    flat = torch.where(inside, image - image[inside].mean(), torch.zeros_like(image))
    n_rows, n_columns = image.shape
    shape = (good_fft_size(n_rows + n_rows // 4), good_fft_size(n_columns + n_columns // 4))
    radius = radial_frequency_rfft(shape)
    weight = np.interp(radius.numpy(), one.frequency_per_voxel, one.weight).astype(np.float32)
    spectrum = torch.fft.rfft2(flat, s=shape) * torch.from_numpy(weight).to(image.device)
    filtered = torch.fft.irfft2(spectrum, s=shape)[:n_rows, :n_columns]
    # Protein is dark in the images.
    return torch.where(inside, -filtered, torch.zeros_like(filtered))


def make_matched_filter(
    aligned: torch.Tensor,
    grid: TomogramGrid,
    ctfs: Sequence[Ctf],
    filters: Sequence[TiltFilter],
    microscope: Microscope,
    handedness: float,
) -> MatchedFilter:
    """Back-project filtered images, each voxel times the transfer function at its own depth.

    aligned : (tilt, row, column) as `filter_image` gives them; rows of the volume and as many more at both
    ends as `plan` says. handedness : +1 or -1; 0 where it is not known, then depth is ignored.
    """
    projection = _projection(grid, ctfs, microscope, handedness)
    halo = projection.halo_rows
    padded = torch.nn.functional.pad(aligned, (0, 0, halo, halo))
    n_z, n_y, n_x = grid.volume_shape
    volume = torch.empty((n_z, n_y, n_x), dtype=torch.float32, device=aligned.device)
    first = 0
    for strip in projection.strips(padded, 0):
        volume[:, first : first + strip.shape[1]] = strip
        first += strip.shape[1]
    return MatchedFilter(
        volume,
        grid.voxel_size_angstrom,
        grid.tilts,
        tuple(filters),
        microscope,
        handedness,
        grid.image_shape_yx,
        grid.pixel_size_angstrom,
    )


def clear_part(places_xy: Array, radius: float, hidden_xy: Array, hidden_radius: float) -> Array:
    """Part of the area of discs about ``(n, 2)`` that no hidden disc about ``(m, 2)`` covers, ``(n,)``.

    Hidden discs are taken as if they did not overlap each other.
    """
    if not len(hidden_xy):
        return np.ones(len(places_xy))
    apart = np.linalg.norm(places_xy[:, None] - hidden_xy, axis=-1)
    d = np.clip(apart, max(abs(hidden_radius - radius), 1e-6), hidden_radius + radius)
    # The lens of two circles: sector of each less the kite between their centres and crossings.
    first = np.arccos(np.clip((d**2 + radius**2 - hidden_radius**2) / (2 * d * radius), -1, 1))
    second = np.arccos(np.clip((d**2 + hidden_radius**2 - radius**2) / (2 * d * hidden_radius), -1, 1))
    lens = radius**2 * (first - 0.5 * np.sin(2 * first)) + hidden_radius**2 * (
        second - 0.5 * np.sin(2 * second)
    )
    return np.asarray(np.clip(1 - (lens / (np.pi * radius**2)).sum(axis=1), 0, 1))


class _Flat(RadialFilter):
    """No ramp: back-projection as the plain transpose of projection."""

    def of_tilts(self, tilt_deg: object, n_samples: int) -> torch.Tensor:
        """1 at every frequency."""
        return torch.ones((len(np.asarray(tilt_deg)), n_samples // 2 + 1))


def _projection(
    grid: TomogramGrid, ctfs: Sequence[Ctf], microscope: Microscope, handedness: float
) -> DepthCorrectedBackProjection:
    tilts, x_tilts = zip(*((pose.tilt_deg, pose.x_tilt_deg) for pose in grid.poses), strict=True)
    plain = plan_back_projection(grid.volume_shape, grid.n_columns, tilts, x_tilts, _Flat(0.5, 0.05))
    return plan_depth_correction(
        plain,
        grid.poses,
        ctfs,
        microscope,
        Correction("multiply"),
        handedness=handedness,
        voxel_size_angstrom=grid.voxel_size_angstrom,
        resolution_angstrom=grid.voxel_size_angstrom / BAND_PER_VOXEL,
        step_angstrom=None,
    )


def _radial_image(one: TiltFilter, transfer: Array, side: int) -> Array:
    """Response of a matched-filtered image to a point, on a finer grid, ``(n, n)``, centre at ``n // 2``."""
    radius = radial_frequency_rfft((side, side)).numpy()
    weight = np.interp(radius, one.frequency_per_voxel, one.information * transfer**2)
    n = _PSF_OVERSAMPLING * side
    padded = np.zeros((n, n // 2 + 1))
    half = side // 2
    padded[:half, : half + 1], padded[-half:, : half + 1] = weight[:half], weight[half:]
    image = np.fft.irfft2(padded, s=(n, n)) * _PSF_OVERSAMPLING**2
    return np.fft.fftshift(image)


def _ring_means(power: NDArray[np.float32], radius: NDArray[np.float32], frequency: Array) -> Array:
    """Mean power of an rfft2 about each frequency, ``(ring,)``; frequencies of the axes' centre left out."""
    step = frequency[1]
    ring = np.rint(radius / step).astype(int).ravel()
    kept = (ring > 0) & (ring < len(frequency))
    total = np.bincount(ring[kept], power.ravel()[kept], len(frequency))
    count = np.bincount(ring[kept], minlength=len(frequency))
    filled = count > 0
    means = np.interp(frequency, frequency[filled], total[filled] / count[filled])
    # A ring of the lowest frequencies holds few values: three are taken together.
    smooth = np.convolve(np.log(np.pad(np.maximum(means, 1e-30), 1, mode="edge")), np.ones(3) / 3, "valid")
    return np.asarray(np.exp(smooth))


def _pose(tilt: Tilt) -> Pose:
    if tilt.pose is None:
        raise ValueError("a tilt without a pose is in the grid")
    return tilt.pose


def _ctf(tilt: Tilt) -> Ctf:
    if tilt.ctf is None:
        raise ValueError("a tilt without a CTF passed the check")
    return tilt.ctf
