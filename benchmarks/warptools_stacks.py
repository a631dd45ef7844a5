"""Particle stacks of WarpTools: our map of them, RELION's of the same images, and the map they come with.

``relion_reconstruct`` of RELION 3.1 gets every tilt image as a single particle with the Euler angles of
``P R``, its defocus at the particle's depth and the weight WarpTools wrote. The stored map is of the same
ribosomes, but of many more of them and with its hand turned (mirrored along z): what 40 particles can agree
on with it follows from their own halves, ``sqrt(2 F / (1 + F))``.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import mrcfile
import numpy as np
import torch

from cryoloom.algorithms.averaging.reconstruction import Insertion, insert_particles
from cryoloom.algorithms.averaging.shell_correlation import shell_correlation, soft_sphere
from cryoloom.algorithms.averaging.stack_images import images_of_stacks
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.formats.relion.star_tables import read_blocks, write_blocks
from cryoloom.formats.relion.tomograms4 import read_relion4_tomograms
from cryoloom.geometry.projection import beam_coordinate
from cryoloom.geometry.rotations import euler_zyz_deg

STEM, BOX_PX, PIXEL_ANGSTROM = "warptools_test_4-tomos_10-ptcls_box-32_angpix-12", 32, 12.0
OPTICS = {
    "rlnOpticsGroup": 1, "rlnOpticsGroupName": "one", "rlnSphericalAberration": 2.7, "rlnVoltage": 300,
    "rlnImagePixelSize": PIXEL_ANGSTROM, "rlnImageSize": BOX_PX, "rlnImageDimensionality": 2,
    "rlnAmplitudeContrast": 0.07, "rlnCtfDataAreCtfPremultiplied": 1,
}  # fmt: skip


def single_images(series, stacks, positions, rotations, scales):
    """Images of the tilts that show particles, and what RELION has to know of each."""
    images, rows = [], []
    tilts = [tilt for tilt in series.included if tilt.section is not None]
    matrices = np.array([tilt.pose.matrix for tilt in tilts])
    heights = beam_coordinate(positions, matrices) * series.handedness.applied
    for i, stack in enumerate(stacks):
        for t, tilt in enumerate(tilts):
            if not stack[tilt.section].any():
                continue
            angles = euler_zyz_deg((matrices[t] @ rotations[i])[None])[0]
            images.append(stack[tilt.section])
            rows.append(
                {
                    "rlnImageName": "", "rlnOpticsGroup": 1,
                    **dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), angles, strict=True)),
                    "rlnDefocusU": tilt.ctf.defocus_u_angstrom - heights[t, i],
                    "rlnDefocusV": tilt.ctf.defocus_v_angstrom - heights[t, i],
                    "rlnDefocusAngle": tilt.ctf.astigmatism_angle_deg,
                    "rlnCtfScalefactor": float(scales[tilt.section]),
                }
            )  # fmt: skip
    return images, rows


def relion_map(images, rows) -> np.ndarray:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with mrcfile.new(folder / "stack.mrcs") as written:
            written.set_data(np.array(images, np.float32))
            written.voxel_size = PIXEL_ANGSTROM
        named = [row | {"rlnImageName": f"{i + 1:06d}@stack.mrcs"} for i, row in enumerate(rows)]
        write_blocks(folder / "particles.star", {"optics": [OPTICS], "particles": named})
        command = ["relion_reconstruct", "--i", "particles.star", "--o", "map.mrc", "--ctf"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return mrcfile.read(folder / "map.mrc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="shared/data/sta/warptools")
    folder = parser.parse_args().folder
    rows = read_relion_particles(folder / f"{STEM}_optimisation_set.star")
    series = read_relion4_tomograms(folder / f"{STEM}_tomograms.star")
    blocks = read_blocks(folder / f"{STEM}_tomograms.star")
    names = [row["rlnImageName"] for row in read_blocks(folder / f"{STEM}.star")["particles"]]
    halves = [Insertion(BOX_PX, BOX_PX / 2 - 0.5) for _ in range(2)]
    singles, single_rows = [], []
    for name in sorted(series):
        mine = np.flatnonzero(rows.tomogram == name)
        stacks = [np.asarray(MrcPixels(folder / names[i])[...], np.float32) for i in mine]
        positions, rotations = rows.positions_xyz_angstrom[mine], rows.rotations[mine]
        images = images_of_stacks(
            series[name], stacks, positions, PIXEL_ANGSTROM, premultiplied=True, bright=True
        )
        for half, into in enumerate(halves):
            some = np.flatnonzero(np.arange(len(mine)) % 2 == half)
            insert_particles(images, into, some, rotations[some], np.zeros((len(some), 3)))
        scales = [float(row["rlnCtfScalefactor"]) for row in blocks[f"{name}.tomostar"]]
        more, more_rows = single_images(series[name], stacks, positions, rotations, scales)
        singles += more
        single_rows += more_rows
    mask = soft_sphere(BOX_PX, 12, 3)
    between = np.clip(shell_correlation(*(into.sums().map() * mask for into in halves)), 0, 1)
    halves[0].add(halves[1])
    ours = halves[0].sums().map() * mask
    relion = torch.tensor(relion_map(singles, single_rows)) * mask
    stored = torch.tensor(
        np.asarray(MrcPixels(folder / "warptools_test_box-32_angpix-12_reconstruct.mrc")[...], np.float32)
    )
    mirrored = torch.roll(torch.flip(stored, (0,)), 1, 0) * mask
    print("   A  ours-RELION  ours-stored(z turned)  RELION-stored(z turned)  possible  ours-stored")
    curves = [
        shell_correlation(ours, relion), shell_correlation(ours, mirrored),
        shell_correlation(relion, mirrored),
        np.sqrt(2 * between / (1 + between)), shell_correlation(ours, stored * mask),
    ]  # fmt: skip
    for shell in range(1, BOX_PX // 2):
        values = "  ".join(f"{curve[shell]:12.3f}" for curve in curves)
        print(f"{BOX_PX * PIXEL_ANGSTROM / shell:6.1f} {values}")


if __name__ == "__main__":
    main()
