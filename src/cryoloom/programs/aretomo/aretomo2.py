"""The program AreTomo 2, and the file of angles that it reads."""

from __future__ import annotations

from cryoloom.contract.program import Program, text_of
from cryoloom.errors import DataUnfitError
from cryoloom.model import TiltSeries

__all__ = ["ARETOMO2", "angle_file", "axis_arguments", "even_px"]

ARETOMO2 = Program(
    name="AreTomo2",
    suite="AreTomo",
    executables=("AreTomo2", "aretomo2", "AreTomo"),
    purpose="alignment without markers, CTF and reconstruction",
    versions=("1.0", "1.1"),
    version_pattern=r"(?i)AreTomo\d? version (\d+(?:\.\d+)+)",
    needs_gpu=True,
    citation="Zheng, S. et al. (2022) AreTomo: an integrated software package for automated marker-free, "
    "motion-corrected cryo-electron tomographic alignment and reconstruction. J. Struct. Biol. X 6, 100068, "
    "doi:10.1016/j.yjsbx.2022.100068",
    homepage="https://github.com/czimaginginstitute/AreTomo2",
)


def angle_file(series: TiltSeries) -> str:
    """Nominal tilt, order of acquisition from 1 and dose of every section."""
    tilts = sorted(series.tilts, key=lambda tilt: tilt.section or 0)
    return "".join(
        f"{tilt.nominal_tilt_deg:8.2f} {tilt.acquisition_index + 1:4d} {tilt.dose_per_angstrom2:8.3f}\n"
        for tilt in tilts
    )


def axis_arguments(series: TiltSeries, axis_deg: float | None, refine_axis: bool) -> list[str]:
    """Tilt axis and whether it is refined; nothing if the axis is unknown, so that AreTomo searches it.

    axis_deg : replaces that of the series. Raises DataUnfitError if it is unknown and is not refined.
    """
    axis = series.tilt_axis_deg.applied if axis_deg is None else axis_deg
    if axis is not None:
        return ["-TiltAxis", *text_of(axis), "1" if refine_axis else "-1"]
    if not refine_axis:
        raise DataUnfitError(
            f"the tilt axis of {series.name} is unknown and refine_axis is off; give the axis at import"
        )
    return []


def even_px(length_angstrom: float, pixel_size_angstrom: float) -> int:
    """A length in whole pixels, an even number, at least 2."""
    return max(2, 2 * round(length_angstrom / pixel_size_angstrom / 2))
