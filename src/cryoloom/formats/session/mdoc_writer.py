"""Writing mdoc files as SerialEM and Tomo5 do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

__all__ = ["MdocTilt", "write_serialem_mdoc", "write_tomo5_mdoc"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class MdocTilt:
    """One exposure as the acquisition program gives it."""

    tilt_deg: float
    file_name: str
    n_frames: int
    dose_per_angstrom2: float
    prior_dose_per_angstrom2: float
    target_defocus_angstrom: float
    measured_defocus_angstrom: float
    minimum: float
    maximum: float
    mean: float
    acquired_at: datetime


def write_serialem_mdoc(
    path: Path,
    tilts: Sequence[MdocTilt],
    *,
    pixel_size_angstrom: float,
    voltage_kv: float,
    image_shape_yx: tuple[int, int],
    tilt_axis_deg: float,
) -> None:
    """Write a series' mdoc as SerialEM 4: sections in the given order, Windows paths, 2-digit years."""
    n_y, n_x = image_shape_yx
    began = min(tilt.acquired_at for tilt in tilts)
    lines = [
        f"PixelSpacing = {pixel_size_angstrom:g}",
        f"Voltage = {voltage_kv:g}",
        f"ImageFile = {path.name.removesuffix('.mdoc')}",
        f"ImageSize = {n_x} {n_y}",
        "DataMode = 1",
        "",
        f"[T = SerialEM: Simulated by cryoloom                         {_date(began, 2)}]",
        "",
        f"[T =     Tilt axis angle = {tilt_axis_deg:.1f}, binning = 1  spot = 8  camera = 1]",
        "",
    ]
    for section, tilt in enumerate(tilts):
        lines += [
            f"[ZValue = {section}]",
            f"TiltAngle = {tilt.tilt_deg:.6g}",
            "StagePosition = 20.7936 155.287",
            "StageZ = 63.803",
            "Magnification = 64000",
            "Intensity = 0.186771",
            f"ExposureDose = {tilt.dose_per_angstrom2:.6g}",
            f"PixelSpacing = {pixel_size_angstrom:g}",
            "SpotSize = 8",
            f"Defocus = {-tilt.measured_defocus_angstrom * 1e-4:.6g}",
            "ImageShift = 0 0",
            f"RotationAngle = {_within_half_turn(tilt_axis_deg + 90.0):.5g}",
            "ExposureTime = 1.2",
            "Binning = 1",
            "CameraIndex = 1",
            "DividedBy2 = 0",
            "OperatingMode = 1",
            "MagIndex = 28",
            "CountsPerElectron = 1",
            f"MinMaxMean = {tilt.minimum:g} {tilt.maximum:g} {tilt.mean:.6g}",
            f"TargetDefocus = {-tilt.target_defocus_angstrom * 1e-4:g}",
            f"PriorRecordDose = {tilt.prior_dose_per_angstrom2:.6g}",
            f"SubFramePath = X:\\cryoloom\\frames\\{tilt.file_name}",
            f"NumSubFrames = {tilt.n_frames}",
            f"FrameDosesAndNumber = {tilt.dose_per_angstrom2 / tilt.n_frames:.6g} {tilt.n_frames}",
            f"DateTime = {_date(tilt.acquired_at, 2)}",
            "FilterSlitAndLoss = 20 0",
            "",
        ]
    path.write_text("\n".join(lines), encoding="utf-8")


def write_tomo5_mdoc(
    path: Path,
    tilts: Sequence[MdocTilt],
    *,
    pixel_size_angstrom: float,
    voltage_kv: float,
    image_shape_yx: tuple[int, int],
    tilt_axis_deg: float,
    rotation_sign: Literal[1, -1] = 1,
) -> None:
    """Write a series' mdoc as Tomo5: two decimals, network paths, 4-digit years, one sub-frame file each.

    TiltAxisAngle is counted from +x, clockwise (`session.tilt_axis`). RotationAngle is the axis, times
    ``rotation_sign``: versions differ in it.
    """
    n_y, n_x = image_shape_yx
    began = min(tilt.acquired_at for tilt in tilts)
    lines = [
        "DataMode = 6",
        f"ImageSize = {n_x} {n_y}",
        f"ImageFile = {path.name.removesuffix('.mdoc')}.mrc",
        f"PixelSpacing = {pixel_size_angstrom:.2f}",
        f"Voltage = {voltage_kv:.2f}",
        "",
        f"[T = Tomography: SIMULATED {_date(began, 4)}]",
        "",
        f"[T = TiltAxisAngle = {_within_half_turn(-tilt_axis_deg - 90.0):.2f} Binning = 1 SpotSize = 5]",
        "",
    ]
    for section, tilt in enumerate(tilts):
        lines += [
            f"[ZValue = {section}]",
            f"TiltAngle = {tilt.tilt_deg:.2f}",
            "StagePosition = -657.80 -200.38",
            "StageZ = -6.70",
            "Magnification = 64000",
            "Intensity = 0.00",
            f"ExposureDose = {tilt.dose_per_angstrom2:.2f}",
            f"PixelSpacing = {pixel_size_angstrom:.2f}",
            "SpotSize = 5",
            f"Defocus = {-tilt.measured_defocus_angstrom * 1e-4:.2f}",
            "ImageShift = 0.00 0.00",
            f"RotationAngle = {_within_half_turn(rotation_sign * tilt_axis_deg):.2f}",
            "ExposureTime = 1.58",
            "Binning = 1",
            "MagIndex = 28",
            "CountsPerElectron = 1.00",
            f"MinMaxMean = {tilt.minimum:.2f} {tilt.maximum:.2f} {tilt.mean:.2f}",
            f"TargetDefocus = {-tilt.target_defocus_angstrom * 1e-4:.2f}",
            f"PriorRecordDose = {tilt.prior_dose_per_angstrom2:.2f}",
            f"SubFramePath = \\\\192.168.0.1\\StorageServer\\{tilt.file_name}",
            "NumSubFrames = 1",
            f"FrameDosesAndNumber = {tilt.dose_per_angstrom2:.2f} 1",
            f"DateTime = {_date(tilt.acquired_at, 4)}",
            "FilterSlitAndLoss = 10.00 0.00",
            "ChannelName =",
            "CameraLength = NaN",
            "",
        ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _date(moment: datetime, year_digits: int) -> str:
    """Day, English month and year, for any locale; SerialEM puts two blanks before the time."""
    year = f"{moment.year:04d}"[-year_digits:]
    blanks = "  " if year_digits == 2 else " "
    return f"{moment.day:02d}-{_MONTHS[moment.month - 1]}-{year}{blanks}{moment:%H:%M:%S}"


def _within_half_turn(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0
