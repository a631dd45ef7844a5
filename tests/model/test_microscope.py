"""Electron wavelengths, and voltages no instrument has."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Microscope


@pytest.mark.parametrize(
    ("voltage_kv", "wavelength_angstrom"),
    # Relativistic wavelengths of Williams & Carter, Transmission Electron Microscopy, table 1.2.
    [(100.0, 0.0370), (200.0, 0.0251), (300.0, 0.0197)],
)
def test_wavelengths_are_those_of_the_textbook(voltage_kv, wavelength_angstrom):
    assert Microscope(voltage_kv).wavelength_angstrom == pytest.approx(wavelength_angstrom, abs=5e-5)


def test_volts_taken_for_kilovolts_are_refused():
    with pytest.raises(DataUnfitError, match="the voltage is 300000; expected 1 to 3000 kV"):
        Microscope(300_000.0)
    with pytest.raises(DataUnfitError, match="the spherical aberration is 2700"):
        Microscope(300.0, 2700.0)
