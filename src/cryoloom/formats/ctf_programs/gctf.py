"""CTFs in RELION's tables: Gctf's ``micrographs_all_gctf.star``, RELION's own, and a RELION-5 tilt series.

Angstrom and degrees, the angle that of DefocusU from x, phase shift in degrees. An image is named
``N@STACK``, or by its file; a table of a RELION-5 tilt series gives tilt and dose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import starfile

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, ForeignCtfView, ctf_of, ctfs_of_sections
from cryoloom.model import DefocusReference, TiltSeries

__all__ = ["read_star_ctf", "write_gctf"]

_NEEDED = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")


def read_star_ctf(path: Path) -> ForeignCtf:
    """CTFs of the first table that has any."""
    try:
        tables = starfile.read(path, always_dict=True)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataUnfitError(f"{path} is not a STAR file ({error})") from error
    for table in tables.values():
        rows = pd.DataFrame([table]) if isinstance(table, dict) else table
        if all(name in rows.columns for name in _NEEDED):
            views = tuple(_view(row, path) for row in rows.to_dict("records"))
            by_section = all(view.section is not None for view in views)
            # RELION takes the values of a table that has poses as those of their origin.
            reference: DefocusReference = "origin" if "rlnTomoYTilt" in rows.columns else "specimen"
            return ForeignCtf(path, views, len(views) if by_section else None, refers_to=reference)
    raise DataUnfitError(f"{path} has no table with {', '.join(_NEEDED)}; give the one of Gctf or RELION")


def _view(row: dict[Any, Any], path: Path) -> ForeignCtfView:
    resolution = row.get("rlnCtfMaxResolution", row.get("rlnFinalResolution"))
    score = row.get("rlnCtfFigureOfMerit")
    try:
        ctf = ctf_of(
            *(float(row[name]) for name in _NEEDED),
            phase_shift_deg=float(row.get("rlnPhaseShift", 0.0)),
            fit_resolution_angstrom=None if resolution is None else float(resolution),
            score=None if score is None else float(score),
            where=path.name,
        )
        if "rlnTomoNominalStageTiltAngle" in row:
            return ForeignCtfView(
                ctf,
                tilt_deg=float(row["rlnTomoNominalStageTiltAngle"]),
                dose_start_per_angstrom2=float(row.get("rlnMicrographPreExposure", 0.0)),
            )
        number, at, name = str(row["rlnMicrographName"]).rpartition("@")
        if at:
            return ForeignCtfView(ctf, section=int(number) - 1)
        return ForeignCtfView(ctf, image_name=name)
    except (KeyError, ValueError, TypeError) as error:
        raise DataUnfitError(
            f"a row of {path} does not give its image: expected rlnMicrographName or a tilt angle ({error})"
        ) from error


def write_gctf(path: Path, series: TiltSeries) -> None:
    """Write the series' CTFs as Gctf does for a stack, one a section; see `ctfs_of_sections`."""
    microscope = series.microscope
    stack_name = f"{series.name}.mrcs"
    table = pd.DataFrame(
        [
            {
                "rlnMicrographName": f"{i + 1:06d}@{stack_name}",
                "rlnDefocusU": ctf.defocus_u_angstrom,
                "rlnDefocusV": ctf.defocus_v_angstrom,
                "rlnDefocusAngle": ctf.astigmatism_angle_deg,
                "rlnPhaseShift": ctf.phase_shift_deg,
                "rlnVoltage": microscope.voltage_kv,
                "rlnSphericalAberration": microscope.spherical_aberration_mm,
                "rlnAmplitudeContrast": microscope.amplitude_contrast,
                "rlnMagnification": 10000.0,
                "rlnDetectorPixelSize": series.unweighted_stack.pixel_size_angstrom,
                "rlnCtfFigureOfMerit": ctf.score or 0.0,
                "rlnFinalResolution": ctf.fit_resolution_angstrom or 0.0,
            }
            for i, ctf in enumerate(ctfs_of_sections(series))
        ]
    )
    starfile.write({"": table}, path, float_format="%.6f")
