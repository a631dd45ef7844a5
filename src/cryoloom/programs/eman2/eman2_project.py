"""The programs of EMAN2, and the file that describes a tilt series to them.

``info/NAME_info.json`` holds for every image ``tx, ty`` in pixels, the turn of the tilt axis, the tilt and
the x-tilt (``tlt_params``). EMAN2 projects ``image = (tx, ty) + Rz(-turn) [cos(tilt) X - sin(tilt) Z, Y]``
about pixel ``n // 2`` of image and volume (``Transform`` of type xyz in its transform.cpp). With ``turn =
-axis`` that is our pose for ``(X, Y, Z) = (x, y, -z)``; with ``turn = -(axis + 180)`` for ``(-x, -y, z)``.
Its defocus falls towards larger ``X sin(tilt)``, which is the handedness -1 in the first frame and +1 in the
second, so the frame follows from the handedness. The x-tilt is the same in both. Read in the sources, not
settled with EMAN2 itself.
"""

from __future__ import annotations

import numpy as np

from cryoloom.contract.program import Program
from cryoloom.errors import DataUnfitError
from cryoloom.model import TiltSeries
from cryoloom.programs.handover import json_lines

__all__ = ["E2PROC3D", "E2SPT_TOMOCTF", "E2TOMOGRAM", "info_file", "info_name", "require_size", "stack_name"]

_LEAST_PX = 513
"""From EMAN2's sources: it ends without a word for images of 512 pixels or fewer."""


def _eman2(name: str, purpose: str) -> Program:
    return Program(
        name=name,
        suite="EMAN2",
        executables=(name,),
        purpose=purpose,
        versions=("2.91", "2.99"),
        version_arguments=("--version",),
        version_pattern=r"(?i)EMAN2? (\d+(?:\.\d+)+)",
        citation="Chen, M. et al. (2019) A complete data processing workflow for cryo-ET and subtomogram "
        "averaging. Nat. Methods 16, 1161-1168, doi:10.1038/s41592-019-0591-8",
        homepage="https://eman2.org",
        errors=(r"^Traceback", r"^\w*Error: ", r"Stopping reconstruction", r"^Cannot find "),
    )


E2TOMOGRAM = _eman2("e2tomogram.py", "tomograms of tilt series")
E2SPT_TOMOCTF = _eman2("e2spt_tomoctf.py", "CTF of a tilt series")
E2PROC3D = _eman2("e2proc3d.py", "volumes from HDF to MRC")


def stack_name(name: str) -> str:
    """Place where EMAN2 searches a stack: under this folder, files of one name belong together."""
    return f"tiltseries/{name}.mrc"


def info_name(name: str) -> str:
    """Path of its data on the stack, relative to its working folder."""
    return f"info/{name}_info.json"


def info_file(name: str, series: TiltSeries, *, upside_down: bool, binning: int, with_ctf: bool) -> str:
    """What EMAN2 reads of the stack NAME, whose sections are all in use.

    upside_down : z mirrored, the first frame above; else the second. binning : by which EMAN2 averages pixels
    before it looks at them: the middle of the first ``binning`` pixels is the centre of one, so that shifts
    are less by ``(binning - 1) / 2`` pixels. with_ctf : phases are flipped when a tomogram is made.
    """
    pixel = series.unweighted_stack.pixel_size_angstrom
    tilts = sorted(series.tilts, key=lambda tilt: tilt.section or 0)
    rows = []
    for tilt in tilts:
        if tilt.pose is None:
            raise DataUnfitError(
                f"tilt {tilt.acquisition_index} of {series.name} has no pose; align the series first"
            )
        x, y = np.array(tilt.pose.shift_xy_angstrom) / pixel - (binning - 1) / 2
        turn = -tilt.pose.axis_deg - (0.0 if upside_down else 180.0)
        row = (x, y, turn, tilt.pose.tilt_deg, tilt.pose.x_tilt_deg)
        rows.append([round(float(value), 4) for value in row])
    entries = {
        "tlt_params": rows,
        "tlt_file": stack_name(name),
        "ali_loss": [round(abs(row[3]) * 0.1, 3) for row in rows],
        "apix_unbin": pixel,
    }
    if with_ctf:
        microscope = series.microscope
        amplitude_deg = float(np.rad2deg(np.arcsin(microscope.amplitude_contrast)))
        ctfs = [tilt.ctf for tilt in tilts if tilt.ctf is not None]
        entries |= {
            "defocus": [round(ctf.defocus_angstrom / 1e4, 6) for ctf in ctfs],
            "phase": [round(amplitude_deg + ctf.phase_shift_deg, 4) for ctf in ctfs],
            "cs": microscope.spherical_aberration_mm,
            "voltage": microscope.voltage_kv,
        }
    return json_lines(entries)


def require_size(series: TiltSeries) -> None:
    """Raise DataUnfitError for images of 512 pixels or fewer, with which EMAN2 ends without a message."""
    least = min(series.unweighted_stack.shape_yx)
    if least < _LEAST_PX:
        raise DataUnfitError(
            f"the images of {series.name} are {least} pixels on their short side, and EMAN2 takes none below "
            f"{_LEAST_PX}; bin less"
        )
