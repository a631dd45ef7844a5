"""Image formation: the specimen in layers along the beam, each with the transfer of its own depth.

Weak-phase approximation with amplitude contrast: intensity is ``1 - 2 phase * ctf``, with
``ctf = sin(chi + phase shift + asin(amplitude contrast))`` and
``chi = pi lambda defocus k^2 - pi / 2 Cs lambda^3 k^4``; the phase shift is a phase plate's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import frequencies_rfft, good_fft_size
from cryoloom.geometry.spline_basis import cubic_spline_transfer
from cryoloom.kernels.projection.specimen_layers import slab_in_layer, stamp_clouds
from cryoloom.model import Microscope
from cryoloom.simulate.ice_crystals import crystal_contrast
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.particles import REFERENCE_VOXEL_ANGSTROM
from cryoloom.simulate.specimen import Specimen
from cryoloom.simulate.truth import TiltTruth

__all__ = ["ExposedContrast", "Optics", "exposed_contrast", "remaining_after_dose"]

#: Chosen: size and disorder of atoms, as a B factor on everything built of points.
_B_FACTOR_ANGSTROM2 = 80.0
_LAYERS_AT_ONCE_BYTES = 100 << 20
"""Chosen: bounds memory."""


class Optics:
    """Frequencies and transfer on the padded canvas on which images are formed.

    The canvas is larger than the image by what the defocus spreads out, so nothing wraps around.
    """

    def __init__(self, params: SimulationParams) -> None:
        self.pixel = params.pixel_size_angstrom
        self.microscope = Microscope(
            params.voltage_kv, params.spherical_aberration_mm, params.amplitude_contrast
        )
        spread = self.microscope.wavelength_angstrom * params.defocus_angstrom / (2 * self.pixel)
        margin = math.ceil((min(abs(spread), 400.0) + 60.0) / self.pixel)
        self.image_shape = params.image_shape_yx
        n_y, n_x = (good_fft_size(n + 2 * margin) for n in self.image_shape)
        self.shape = (n_y, n_x)
        frequency_y, frequency_x = (f / self.pixel for f in frequencies_rfft(self.shape))
        self.k_y, self.k_x = frequency_y, frequency_x
        self.k2 = frequency_x**2 + frequency_y**2
        self._twice_angle_cos = (frequency_x**2 - frequency_y**2) / self.k2.clamp(min=1e-12)
        self._twice_angle_sin = 2 * frequency_x * frequency_y / self.k2.clamp(min=1e-12)
        # Correction for the transfer of a cubic B-spline on the pixel grid, and the size of the atoms.
        cubic_y, cubic_x = (torch.from_numpy(cubic_spline_transfer(n)).to(self.k2) for n in self.shape)
        self.cubic_spline_transfer = cubic_y[:, None] * cubic_x[None, : self.k2.shape[1]]
        """Spectrum of an image over that of its cubic B-splines' weights."""
        spline = torch.sinc(frequency_y * self.pixel) * torch.sinc(frequency_x * self.pixel)
        self.point_transfer = torch.exp(-0.25 * _B_FACTOR_ANGSTROM2 * self.k2) / spline**4

    def ctf(self, tilt: TiltTruth, less_defocus_angstrom: float = 0.0) -> torch.Tensor:
        """``sin(chi + phase shift + asin(A))`` on the canvas; positive at low frequency under focus."""
        wavelength = self.microscope.wavelength_angstrom
        half_astigmatism = 0.5 * (tilt.defocus_u_angstrom - tilt.defocus_v_angstrom)
        twice = math.radians(2 * tilt.astigmatism_angle_deg)
        defocus = (tilt.defocus_angstrom - less_defocus_angstrom) + half_astigmatism * (
            math.cos(twice) * self._twice_angle_cos + math.sin(twice) * self._twice_angle_sin
        )
        aberration = 0.5 * math.pi * self.microscope.spherical_aberration_mm * 1e7 * wavelength**3
        chi = self.k2 * (math.pi * wavelength * defocus - aberration * self.k2)
        constant = math.asin(self.microscope.amplitude_contrast) + math.radians(tilt.phase_shift_deg)
        return torch.sin(chi + constant)

    @property
    def crop_origin_yx(self) -> tuple[int, int]:
        """First row and column of the image on the canvas."""
        (n_y, n_x), (m_y, m_x) = self.shape, self.image_shape
        return n_y // 2 - m_y // 2, n_x // 2 - m_x // 2

    def crop(self, canvas: torch.Tensor) -> torch.Tensor:
        """The image's part of a canvas ``(..., y, x)``; centre index ``n // 2`` on centre index."""
        m_y, m_x = self.image_shape
        y, x = self.crop_origin_yx
        return canvas[..., y : y + m_y, x : x + m_x]


@dataclass(frozen=True, slots=True)
class ExposedContrast:
    """Spectra, on the canvas, of the contrast of the specimen: the intensity is ``1 - contrast``."""

    damaged_rfft: torch.Tensor
    """Projection of everything that dose damages, as if it were undamaged."""
    lasting_rfft: torch.Tensor
    """Projection of gold, ice and the crystals on it."""


def remaining_after_dose(
    k2: torch.Tensor, dose_start: float, dose_end: float, voltage_kv: float
) -> torch.Tensor:
    """Mean amplitude left over an exposure, by frequency squared in 1 / A^2. Grant & Grigorieff 2015."""
    # 0.245, -1.665, 2.81: fitted critical exposure at 300 kV; 0.8 of it at 200 kV.
    scale = 1.0 if voltage_kv >= 300 else 0.8 + 0.002 * (max(voltage_kv, 200.0) - 200.0)
    critical = scale * (0.245 * k2.clamp(min=1e-8) ** (-1.665 / 2) + 2.81)
    return (
        2
        * critical
        * (torch.exp(-0.5 * dose_start / critical) - torch.exp(-0.5 * dose_end / critical))
        / max(dose_end - dose_start, 1e-9)
    )


def exposed_contrast(
    specimen: Specimen, tilt: TiltTruth, params: SimulationParams, optics: Optics, rng: np.random.Generator
) -> ExposedContrast:
    """Contrast of one tilt at the specimen's mean position.

    The ice is drawn anew (its molecules move between exposures); everything else is the specimen's own.
    """
    view = _View(specimen, tilt, params, optics)
    damaged = torch.zeros(optics.k2.shape, dtype=torch.complex64)
    lasting = torch.zeros_like(damaged)
    at_once = max(1, int(_LAYERS_AT_ONCE_BYTES // (4 * math.prod(optics.shape))))
    for first in range(0, view.n_layers, at_once):
        n_here = min(at_once, view.n_layers - first)
        layers = np.zeros((n_here, *optics.shape), dtype=np.float32)
        view.stamp(layers, first)
        for i in range(n_here):
            layer = first + i
            depth = view.lowest + (layer + 0.5) * view.layer_thickness
            # Handedness +1: defocus falls towards larger beam coordinate (conventions, "Defocus").
            ctf = optics.ctf(tilt, params.handedness * depth)
            damaged += ctf * torch.fft.rfft2(torch.from_numpy(layers[i]))
            solid = view.ice(layer, rng)
            view.add_beads(solid, layer)
            lasting += ctf * torch.fft.rfft2(torch.from_numpy(solid))
    lasting *= 2.0
    if params.n_ice_crystals:
        # Electrons taken out of the image: no transfer function.
        dark = crystal_contrast(specimen.crystals, tilt, params, optics.shape, rng)
        lasting += torch.fft.rfft2(torch.from_numpy(dark))
    per_pixel = 2.0 / optics.pixel**2
    return ExposedContrast(damaged * optics.point_transfer * per_pixel, lasting)


class _View:
    """The specimen turned into the image frame of one tilt, cut into layers along the beam."""

    def __init__(self, specimen: Specimen, tilt: TiltTruth, params: SimulationParams, optics: Optics) -> None:
        matrix = tilt.pose.matrix
        shift = np.append(tilt.shift_xy_angstrom, 0.0)
        clouds = specimen.clouds
        self.clouds, self.params, self.pixel, self.shape = clouds, params, optics.pixel, optics.shape
        self.rotations = (matrix @ clouds.rotations).astype(np.float32)
        self.centres = (clouds.centres @ matrix.T + shift).astype(np.float32)
        self.beads = specimen.beads_xyz_angstrom @ matrix.T + shift
        n_y, n_x = optics.shape
        # The ice's middle plane is normal . position = height, solved for the beam coordinate.
        normal = matrix @ specimen.normal
        self.half_path = 0.5 * params.thickness_angstrom / abs(float(normal[2]))
        self.height = specimen.height_angstrom / float(normal[2])
        self.slope = (float(-normal[0] / normal[2] * self.pixel), float(-normal[1] / normal[2] * self.pixel))
        self.origin = (float(n_x // 2 + shift[0] / self.pixel), float(n_y // 2 + shift[1] / self.pixel))
        corners = [
            self.height + self.slope[0] * (x - self.origin[0]) + self.slope[1] * (y - self.origin[1])
            for x in (0, n_x - 1)
            for y in (0, n_y - 1)
        ]
        self.lowest = min(corners) - self.half_path
        depth = max(corners) + self.half_path - self.lowest
        self.n_layers = max(1, round(depth / params.layer_thickness_angstrom))
        self.layer_thickness = depth / self.n_layers

    def stamp(self, layers: NDArray[np.float32], first: int) -> None:
        """Add all point scatterers to layers ``first`` and on."""
        clouds = self.clouds
        stamp_clouds(
            torch.from_numpy(layers),
            torch.from_numpy(clouds.points),
            torch.from_numpy(clouds.weights),
            torch.from_numpy(clouds.spans),
            torch.from_numpy(clouds.radii),
            torch.from_numpy(self.rotations),
            torch.from_numpy(self.centres),
            self.lowest,
            self.layer_thickness,
            self.pixel,
            first,
            self.n_layers,
        )

    def ice(self, layer: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """White phase noise of the ice inside one layer, ``(y, x)`` in rad."""
        low = self.lowest + layer * self.layer_thickness
        phase = np.empty(self.shape, dtype=np.float32)
        n = slab_in_layer(
            torch.from_numpy(phase),
            self.origin,
            self.slope,
            self.height,
            self.half_path,
            low,
            low + self.layer_thickness,
        )
        # Variance grows with the path and falls with the pixel's area.
        rms = self.params.ice_phase_rad * REFERENCE_VOXEL_ANGSTROM**0.5 / self.pixel
        phase[phase > 0] *= rng.standard_normal(n, dtype=np.float32) * np.float32(rms)
        return phase

    def add_beads(self, layer_phase: NDArray[np.float32], layer: int) -> None:
        """Add the projections of the gold spheres whose centre lies in the layer."""
        index = np.floor((self.beads[:, 2] - self.lowest) / self.layer_thickness)
        index = np.clip(index, 0, self.n_layers - 1)
        radius = 0.5 * self.params.bead_diameter_angstrom
        reach = math.ceil(radius / self.pixel) + 2
        n_y, n_x = self.shape
        fine = (np.arange(4) + 0.5) / 4 - 0.5
        for x, y, _ in self.beads[index == layer]:
            column, row = x / self.pixel + n_x // 2, y / self.pixel + n_y // 2
            i_x, i_y = round(column), round(row)
            if not (reach < i_x < n_x - reach - 1 and reach < i_y < n_y - reach - 1):
                continue
            window = np.arange(-reach, reach + 1)
            at_x = ((i_x + window)[:, None] + fine - column).ravel() * self.pixel
            at_y = ((i_y + window)[:, None] + fine - row).ravel() * self.pixel
            chord = 2 * np.sqrt(np.maximum(radius**2 - at_x**2 - at_y[:, None] ** 2, 0.0))
            size = len(window)
            mean_chord = chord.reshape(size, 4, size, 4).mean(axis=(1, 3))
            phase = mean_chord * self.params.gold_phase_rad / REFERENCE_VOXEL_ANGSTROM
            layer_phase[i_y - reach : i_y + reach + 1, i_x - reach : i_x + reach + 1] += phase
