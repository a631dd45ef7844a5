"""Tile spectra made from the model of the rings itself, without images: what a fit must find exactly."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_fit import RingData, ring_template, whiten
from cryoloom.algorithms.ctf.phase import ctf_phase
from cryoloom.algorithms.ctf.series_model import TiltRings, defocus_slope
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, TileSpectra, tile_spectra
from cryoloom.model import Microscope

BAND = SpectrumBand(1 / 35, 1 / 5.7)
AXIS_DEG = 85.0
THICKNESS_ANGSTROM = 1000.0
ASTIGMATISM_ANGSTROM = (100.0, 50.0)


def modulation() -> NDArray[np.float64]:
    """Strong low rings that fade quickly, as those of a specimen full of protein, ``(ring,)``."""
    squared = BAND.squared_frequency
    scattered = 1.5 * np.exp(-400 * squared) + 0.1 * np.exp(-64 * squared)
    return scattered / (1 + scattered)


def exact_rings(
    defoci_angstrom: NDArray[np.float64],
    phase_shifts_deg: NDArray[np.float64],
    tilts_deg: tuple[float, ...],
    rng: np.random.Generator | None = None,
    damage_angstrom2: float = 0.0,
) -> list[tuple[TiltRings, TileSpectra]]:
    """Exposures, whitened as if nothing were known of their rings, and their spectra; noise with ``rng``.

    damage_angstrom2 : the last exposure's rings are weaker by exp(-damage k^2), those before by less.
    """
    layout = tile_spectra(torch.zeros((640, 640)), 2.7, BAND, 700.0)
    found = []
    for i, (defocus, shift, tilt) in enumerate(
        zip(defoci_angstrom, phase_shifts_deg, tilts_deg, strict=True)
    ):
        part = i / max(len(tilts_deg) - 1, 1)
        strength = modulation() * np.exp(-part * damage_angstrom2 * BAND.squared_frequency)
        spectra = replace(layout, power=_power(layout, defocus, shift, tilt, rng, strength))
        found.append((TiltRings(whiten(spectra, Microscope()), i, tilt, AXIS_DEG), spectra))
    return found


def _power(
    layout: TileSpectra,
    defocus: float,
    shift_deg: float,
    tilt_deg: float,
    rng: np.random.Generator | None,
    strength: NDArray[np.float64],
) -> NDArray[np.float32]:
    microscope, slope = Microscope(), defocus_slope(AXIS_DEG, tilt_deg, 0.0, 1)
    twice = 2 * BAND.sector_angle_rad
    axial, diagonal = ASTIGMATISM_ANGSTROM
    local = (layout.centres_xy_angstrom @ slope)[:, None] + axial * np.cos(twice) + diagonal * np.sin(twice)
    phase = 2 * ctf_phase(BAND.squared_frequency, defocus + local[..., None], microscope, shift_deg)
    depth = THICKNESS_ANGSTROM / math.cos(math.radians(tilt_deg))
    washed = np.sinc(microscope.wavelength_angstrom * BAND.squared_frequency * depth)
    nothing = RingData(
        BAND, microscope, torch.zeros(1), torch.zeros(1), layout.centres_xy_angstrom, layout.tile_angstrom,
        layout.noise_at_lag, np.ones(1),
    )  # fmt: skip
    kept = ring_template(nothing, strength * washed, defocus, slope).modulation.numpy()
    power = (1 - kept * np.cos(phase)) / (1 - modulation())
    if rng is not None:
        n = np.maximum(layout.counts * layout.independence, 0.1)
        power = power * rng.gamma(n, 1 / n, size=power.shape)
    return power.astype(np.float32)
