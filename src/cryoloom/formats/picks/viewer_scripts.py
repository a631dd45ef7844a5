"""Scripts and tables with which ChimeraX and napari open particles in a volume.

Coordinates are xyz in angstrom from the centre of the file's first voxel, as both programs place an MRC file
without an origin. BILD: ChimeraX user guide, "BILD format".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bild_arrows", "chimerax_script", "napari_script", "positions_csv"]

Array = NDArray[np.float64]


def bild_arrows(corner_xyz_angstrom: Array, directions: Array, length_angstrom: float) -> str:
    """Arrows from positions ``(n, 3)`` along unit vectors ``(n, 3)``."""
    lines = [".color 1.0 0.75 0.2"]
    shaft, head = 0.04 * length_angstrom, 0.1 * length_angstrom
    for start, end in zip(
        corner_xyz_angstrom, corner_xyz_angstrom + length_angstrom * directions, strict=True
    ):
        numbers = " ".join(f"{value:.2f}" for value in (*start, *end))
        lines.append(f".arrow {numbers} {shaft:.2f} {head:.2f} 0.7")
    return "\n".join(lines) + "\n"


def positions_csv(particle: NDArray[np.int64], corner_xyz_angstrom: Array, rotations: Array) -> str:
    """Number, position and rotation (row by row, from the average to the volume) of every particle."""
    names = ["particle", *(f"{axis}_angstrom" for axis in "xyz")]
    names += [f"r{i}{j}" for i in range(3) for j in range(3)]
    lines = [",".join(names)]
    for number, place, rotation in zip(particle, corner_xyz_angstrom, rotations, strict=True):
        values = [f"{value:.3f}" for value in place] + [f"{value:.6f}" for value in rotation.ravel()]
        lines.append(",".join([str(int(number)), *values]))
    return "\n".join(lines) + "\n"


def chimerax_script(volume: str, arrows: str, level: float, tomogram: str = "") -> str:
    """Commands that open a volume as a surface, arrows, and the tomogram as planes if there is one."""
    lines = [
        "# Open this file in ChimeraX: File, Open.",
        f"open {volume}",
        f"volume #1 style surface level {level:.6g} color cornflowerblue",
        f"open {arrows}",
    ]
    if tomogram:
        lines += [f'open "{tomogram}"', "volume #3 style image", "volume #3 plane z"]
    return "\n".join([*lines, "view"]) + "\n"


def napari_script(
    volume: str,
    positions: str,
    voxel_angstrom: float,
    level: float,
    length_angstrom: float,
    tomogram: str = "",
) -> str:
    """A Python program that shows a volume, positions and directions in napari; it needs mrcfile."""
    return f'''"""Shows the average at the poses of its particles. Needs napari and mrcfile."""

from pathlib import Path

import mrcfile
import napari
import numpy as np

HERE = Path(__file__).parent
VOXEL_ANGSTROM = {voxel_angstrom!r}
TOMOGRAM = {tomogram!r}

viewer = napari.Viewer(ndisplay=3)
if TOMOGRAM and Path(TOMOGRAM).is_file():
    with mrcfile.open(TOMOGRAM, permissive=True) as opened:
        size = float(opened.voxel_size.x) or VOXEL_ANGSTROM
        viewer.add_image(opened.data.copy(), name="tomogram", scale=[size] * 3, visible=False)
with mrcfile.open(HERE / {volume!r}, permissive=True) as opened:
    viewer.add_image(
        opened.data.copy(), name="average at its particles", scale=[VOXEL_ANGSTROM] * 3, rendering="iso",
        iso_threshold={level!r}, colormap="cyan",
    )
table = np.atleast_1d(np.genfromtxt(HERE / {positions!r}, delimiter=",", names=True))
zyx = np.stack([table["z_angstrom"], table["y_angstrom"], table["x_angstrom"]], axis=-1)
axis = np.stack([table["r22"], table["r12"], table["r02"]], axis=-1)
viewer.add_points(zyx, name="positions", size=4 * VOXEL_ANGSTROM, face_color="orange")
viewer.add_vectors(np.stack([zyx, {length_angstrom!r} * axis], axis=1), name="z axes", edge_color="orange")
napari.run()
'''
