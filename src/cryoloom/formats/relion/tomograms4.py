"""RELION 4's tomograms, as WarpTools writes them: projection matrices, CTFs and doses in one STAR file.

Rows ``rlnTomoProjX/Y/Z`` of a tilt are those of its matrix from specimen to image in pixels; WarpTools leaves
out the shifts, because it extracts the particles itself. ``rlnCtfScalefactor`` 0 marks an excluded tilt.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.star_tables import Row, read_blocks
from cryoloom.geometry.projection import angles_of_projection
from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Sourced, Tilt, TiltSeries

__all__ = ["read_relion4_tomograms"]


def read_relion4_tomograms(star: Path) -> dict[str, TiltSeries]:
    """Tilt series without images, by name without ``.tomostar``; a tilt's section is its row."""
    blocks = read_blocks(star)
    found: dict[str, TiltSeries] = {}
    for row in blocks.get("global", []):
        name = str(row["rlnTomoName"])
        tilts = blocks.get(name)
        if tilts is None:
            raise DataUnfitError(
                f"{star} lists {name}, but not its tilts; it has the blocks {sorted(blocks)}"
            )
        short = name.removesuffix(".tomostar")
        hand = row.get("rlnTomoHand")
        found[short] = TiltSeries(
            name=short,
            microscope=Microscope(
                float(row["rlnVoltage"]),
                float(row["rlnSphericalAberration"]),
                float(row["rlnAmplitudeContrast"]),
            ),
            pixel_size_angstrom=float(row["rlnTomoTiltSeriesPixelSize"]),
            tilts=_tilts(tilts, float(row.get("rlnTomoImportFractionalDose", 0.0)), star.name),
            handedness=Sourced.from_told(None if hand is None else -float(hand), by=star.name),
        )
    if not found:
        raise DataUnfitError(f"{star} lists no tomogram in a block 'global'; its blocks are {sorted(blocks)}")
    return found


def _tilts(rows: list[Row], dose_per_angstrom2: float, source: str) -> tuple[Tilt, ...]:
    doses = np.array([float(row["rlnMicrographPreExposure"]) for row in rows])
    order = np.argsort(np.argsort(doses, kind="stable"))
    made = []
    for i, row in enumerate(rows):
        matrix = np.array([_vector(row[f"rlnTomoProj{axis}"]) for axis in "XYZ"])
        axis, tilt, x_tilt = (float(angle) for angle in angles_of_projection(matrix[:, :3]))
        excluded = float(row.get("rlnCtfScalefactor", 1.0)) == 0.0
        made.append(
            Tilt(
                acquisition_index=int(order[i]),
                nominal_tilt_deg=tilt,
                dose_start_per_angstrom2=float(doses[i]),
                dose_end_per_angstrom2=float(doses[i]) + dose_per_angstrom2,
                section=i,
                exclusion=Exclusion.by_step("weight 0 in the file", source) if excluded else None,
                ctf=Ctf(
                    float(row["rlnDefocusU"]),
                    float(row["rlnDefocusV"]),
                    float(row["rlnDefocusAngle"]),
                    float(row.get("rlnPhaseShift", 0.0)),
                ),
                pose=Pose(axis, tilt, x_tilt),
            )
        )
    return tuple(made)


def _vector(text: object) -> list[float]:
    """``[a,b,c,d]``."""
    values = ast.literal_eval(str(text))
    return [float(value) for value in values]
