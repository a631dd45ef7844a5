"""Common properties of the Thon rings of a tilt series, and the geometry of each tilt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, RingData, RingTemplate, ring_template
from cryoloom.geometry.depth import defocus_change
from cryoloom.geometry.projection import projection_matrices
from cryoloom.geometry.slab_path import slab_path

__all__ = [
    "ASTIGMATISM_SD_ANGSTROM",
    "CERTAIN_GAIN",
    "GRID_STEP_ANGSTROM",
    "STRONGEST_RINGS",
    "SeriesModel",
    "TiltRings",
    "at_origin",
    "defocus_slope",
    "is_seen",
]

GRID_STEP_ANGSTROM = 100.0
"""Chosen: of the search in defocus; the median error of a simulated series is 56 A after refinement."""
ASTIGMATISM_SD_ANGSTROM = 600.0  # chosen: of each component before it is measured from the series
# Rings are accepted at 4 standard deviations: half the square, in nats.
CERTAIN_GAIN = 8.0
#: Chosen: largest modulation. At 1 the power is zero.
STRONGEST_RINGS = 0.9
# The dependence of the amplitude is relative to the middle of a typical series.
MIDDLE_EXPOSURE, USUAL_EXPOSURES, MIDDLE_LENGTHENING = 20.0, 40.0, 1.3


@dataclass(frozen=True, slots=True)
class TiltRings:
    """Rings of one tilt, and the geometry of the specimen."""

    data: RingData
    acquisition_index: int
    tilt_deg: float
    axis_deg: float
    x_tilt_deg: float = 0.0
    shift_xy_angstrom: tuple[float, float] = (0.0, 0.0)
    """Position of the specimen's origin in the image: the defocus refers to it."""


@dataclass(frozen=True, slots=True)
class SeriesModel:
    """Common properties of the tilts of a series."""

    handedness: int
    spectrum: NDArray[np.float64]
    """Modulation s(k) at zero tilt without the thickness' sinc, ``(ring,)``."""
    thickness_angstrom: float = 0.0
    decay: float = 0.0
    """The modulation falls as exp(-decay (1 / cos tilt - 1))."""
    inclination_deg: tuple[float, float] = (0.0, 0.0)
    """Slope of the specimen about the tilt axis and across it, added to tilt and x tilt."""
    astigmatism_angstrom: tuple[float, float] = (0.0, 0.0)
    astigmatism_sd_angstrom: float = ASTIGMATISM_SD_ANGSTROM
    strength_change: NDArray[np.float64] | None = None
    """Added to the spectrum for each of `strength_terms`, ``(2, ring)``."""

    def strength(self, tilt: TiltRings) -> NDArray[np.float64]:
        """Modulation of a tilt without thickness and decay, ``(ring,)``."""
        if self.strength_change is None:
            return self.spectrum
        changed = self.spectrum + self.strength_terms(tilt) @ self.strength_change
        return np.asarray(np.clip(changed, 0.0, STRONGEST_RINGS))

    def strength_terms(self, tilt: TiltRings) -> NDArray[np.float64]:
        """Variables of the amplitude, ``(2,)``: dose, as the place in the order, and the path length.

        Dose removes fine detail first, and a longer path adds to the noise as to the rings.
        """
        dose = (tilt.acquisition_index - MIDDLE_EXPOSURE) / USUAL_EXPOSURES
        return np.array([dose, self._lengthening(tilt) - MIDDLE_LENGTHENING])

    def modulation(self, tilt: TiltRings) -> NDArray[np.float64]:
        """Expected modulation of the rings of a tilt, ``(ring,)``.

        Scatterers evenly distributed over the thickness attenuate the rings by sinc(lambda k^2 thickness /
        cos tilt).
        """
        lengthening = self._lengthening(tilt)
        wavelength = tilt.data.microscope.wavelength_angstrom
        washed = np.sinc(
            wavelength * tilt.data.band.squared_frequency * self.thickness_angstrom * lengthening
        )
        return self.strength(tilt) * washed * math.exp(-self.decay * (lengthening - 1.0))

    def modulations(self, tilts: Sequence[TiltRings]) -> NDArray[np.float64]:
        """The same of several tilts of one microscope and band, ``(tilt, ring)``."""
        lengthening = [self._lengthening(tilt) for tilt in tilts]
        wavelength = tilts[0].data.microscope.wavelength_angstrom
        squared = wavelength * tilts[0].data.band.squared_frequency * self.thickness_angstrom
        washed = np.sinc(squared * np.array(lengthening)[:, None])
        decayed = [math.exp(-self.decay * (length - 1.0)) for length in lengthening]
        strengths = np.array([self.strength(tilt) for tilt in tilts])
        return np.asarray(strengths * washed * np.array(decayed)[:, None])

    def _lengthening(self, tilt: TiltRings) -> float:
        """Path through the specimen over its thickness."""
        return float(slab_path(math.radians(min(abs(tilt.tilt_deg + self.inclination_deg[0]), 80.0))))

    def nodes_per_angstrom(self, tilt: TiltRings) -> list[float]:
        """Frequencies in the band at which the rings of a tilt vanish because of the thickness."""
        path = self.thickness_angstrom * self._lengthening(tilt)
        if path <= 0:
            return []
        first = 1.0 / (tilt.data.microscope.wavelength_angstrom * path)
        n_nodes = int(tilt.data.band.high_per_angstrom**2 / first)
        nodes = [math.sqrt(n * first) for n in range(1, n_nodes + 1)]
        return [node for node in nodes if node >= tilt.data.band.low_per_angstrom]

    def slope(self, tilt: TiltRings) -> NDArray[np.float64]:
        """Change of defocus with image x and y, ``(2,)``."""
        return defocus_slope(
            tilt.axis_deg,
            tilt.tilt_deg + self.inclination_deg[0],
            tilt.x_tilt_deg + self.inclination_deg[1],
            self.handedness,
        )

    def template(self, tilt: TiltRings, defocus_angstrom: NDArray[np.float64] | float) -> RingTemplate:
        """Expected rings of a tilt at a defocus or at each of a grid."""
        return ring_template(tilt.data, self.modulation(tilt), defocus_angstrom, self.slope(tilt))


def defocus_slope(
    axis_deg: float, tilt_deg: float, x_tilt_deg: float, handedness: int
) -> NDArray[np.float64]:
    """Change of defocus with image x and y, ``(2,)``, of a specimen that is the plane z = 0 of its own frame.

    For image p = M[:2, :2] (x, y) the height along the beam is M[2, :2] (x, y); handedness +1 lowers the
    defocus by it.
    """
    matrix = projection_matrices(axis_deg, tilt_deg, x_tilt_deg)
    return np.asarray(defocus_change(matrix[2, :2], handedness) @ np.linalg.inv(matrix[:2, :2]))


def at_origin(tilt: TiltRings) -> RingData:
    """The data with tile positions from the specimen's origin instead of the image's centre."""
    return replace(
        tilt.data, centres_xy_angstrom=tilt.data.centres_xy_angstrom - np.asarray(tilt.shift_xy_angstrom)
    )


def is_seen(fit: DefocusFit) -> bool:
    """Whether a tilt's own rings are visible: at 2.8 standard deviations of their amplitude.

    Of tilts without rings less than one in fifty passes, even though each may choose its defocus.
    """
    return fit.gain > 0.5 * CERTAIN_GAIN
