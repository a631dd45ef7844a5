"""emClarity's template-matching results (``..._bin6.csv``): 26 numbers a particle, one file a tomogram.

Columns from 1: 1 correlation, 2 binning, 4 number, 11-13 x y z in unbinned voxels, the first being 1 (IMOD's
lower left), 14-16 ZXZ angles, which emClarity does not use, 17-25 the rotation from reference to tomogram,
column after column, 26 class (emClarity's wiki, "Conventions"). Coordinates count in the part of the tomogram
that emClarity reconstructs: give its size and place by `picked_pixel_angstrom` and by a trimmed tomogram.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.motive_list import motive_angles_deg
from cryoloom.formats.picks.volumes import Volumes, tomogram_of_file, volume_of
from cryoloom.model import ParticleRows

__all__ = ["is_emclarity", "read_emclarity", "write_emclarity"]

_N_COLUMNS = 26
"""emClarity's convention of a table."""


def is_emclarity(path: Path) -> bool:
    """Whether the first line has 26 numbers."""
    try:
        with path.open(encoding="utf-8") as file:
            return len([float(word) for word in file.readline().replace(",", " ").split()]) == _N_COLUMNS
    except (ValueError, UnicodeDecodeError):
        return False


def read_emclarity(path: Path, volumes: Volumes) -> ParticleRows:
    """Particles of one tomogram: that whose name the file's begins with, or the only one.

    The tomogram's volume is in the pixels of the series, as the coordinates are.
    """
    text = path.read_text(encoding="utf-8").replace(",", " ")
    values = np.array([[float(word) for word in line.split()] for line in text.splitlines() if line.strip()])
    if values.ndim != 2 or values.shape[1] != _N_COLUMNS:
        raise DataUnfitError(f"{path} is not a table of emClarity: expected {_N_COLUMNS} numbers a line")
    name = tomogram_of_file(path, volumes)
    volume = volume_of(volumes, name, "emClarity")
    return ParticleRows(
        tomogram=np.full(len(values), name),
        particle=values[:, 3].astype(np.int64),
        positions_xyz_angstrom=volume.positions(values[:, 10:13], first=1.0),
        rotations=values[:, 16:25].reshape(-1, 3, 3).transpose(0, 2, 1),
        score=values[:, 0],
        class_number=values[:, 25].astype(np.int64),
    )


def write_emclarity(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``<tomogram>_1_bin1.csv`` of every tomogram."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name in np.unique(rows.tomogram).tolist():
        own = rows.take(np.flatnonzero(rows.tomogram == name))
        values = np.zeros((own.n, _N_COLUMNS))
        values[:, 0] = 1.0 if own.score is None else own.score
        values[:, 1] = 1
        values[:, 3] = own.particle
        values[:, 4:9] = 1
        values[:, 10:13] = volume_of(volumes, name, "emClarity").pixels(own.positions_xyz_angstrom, first=1.0)
        phi, psi, theta = motive_angles_deg(own.rotations).T
        values[:, 13:16] = np.stack([psi, theta, phi], axis=-1)  # intrinsic ZXZ: the outer turn first
        values[:, 16:25] = own.rotations.transpose(0, 2, 1).reshape(-1, 9)
        values[:, 25] = 1 if own.class_number is None else own.class_number
        path = directory / f"{name}_1_bin1.csv"
        np.savetxt(path, values, fmt="%.10g")
        files.append(path)
    return files
