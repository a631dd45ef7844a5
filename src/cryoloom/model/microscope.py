"""The microscope as far as image formation needs it."""

from __future__ import annotations

from dataclasses import dataclass

from cryoloom.model.limits import require

__all__ = ["Microscope"]


@dataclass(frozen=True, slots=True)
class Microscope:
    """Constants of the instrument; one for all tilt series of a session."""

    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what no instrument has (`limits`)."""
        require("voltage", self.voltage_kv)
        require("spherical aberration", self.spherical_aberration_mm)

    @property
    def wavelength_angstrom(self) -> float:
        """Relativistic electron wavelength, ``h / sqrt(2 m e V (1 + e V / 2 m c^2))``."""
        volt = self.voltage_kv * 1e3
        # 12.2643 and 0.978466e-6: h / sqrt(2 m e) in A sqrt(V) and e / (2 m c^2) in 1/V, CODATA.
        return float(12.2642598 / (volt * (1.0 + 0.97847538e-6 * volt)) ** 0.5)
