"""Motive lists of STOPGAP (STAR) and of cryoCAT, TOM and AV3 (EM files of 20 rows).

A particle lies at coordinate plus shift, in voxels of the tomogram, the first voxel being 1. Its rotation
from reference to tomogram is ``Rz(psi) Rx(theta) Rz(phi)``. Against Dynamo phi is -narot, theta -tilt and psi
-tdrot, as cryoCAT converts them, which the test holds both readers to.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.volumes import Volumes, name_of_number, numbers_of_names, volume_of
from cryoloom.formats.relion.star_tables import read_blocks, write_blocks
from cryoloom.geometry.rotations import euler_zxz_deg, rotation_x, rotation_z
from cryoloom.model import ParticleRows

__all__ = [
    "motive_angles_deg",
    "motive_rotations",
    "read_em_motive_list",
    "read_stopgap",
    "write_em_motive_list",
    "write_stopgap",
]

Array = NDArray[np.float64]

STOPGAP_BLOCK = "stopgap_motivelist"
_EM_ROWS = 20
_EM_HEADER = 512
"""Rows of a motive list (AV3), and bytes of an EM file's header."""


def motive_rotations(phi_psi_theta_deg: ArrayLike) -> Array:
    """Rotations from reference to tomogram ``(n, 3, 3)`` of (phi, psi, theta) ``(n, 3)``."""
    phi, psi, theta = np.moveaxis(np.asarray(phi_psi_theta_deg, dtype=np.float64), -1, 0)
    return rotation_z(psi) @ rotation_x(theta) @ rotation_z(phi)


def motive_angles_deg(rotations: ArrayLike) -> Array:
    """(phi, psi, theta) ``(n, 3)`` of rotations ``(n, 3, 3)``; at theta 0 and 180 phi is 0."""
    # A rotation is Rz(psi) Rx(theta) Rz(phi).
    angles = euler_zxz_deg(np.asarray(rotations, dtype=np.float64).reshape(-1, 3, 3))
    return angles[:, [0, 2, 1]]


def read_stopgap(path: Path, volumes: Volumes) -> ParticleRows:
    """Particles of a STOPGAP motive list, in its order."""
    rows = read_blocks(path).get(STOPGAP_BLOCK)
    if not rows or "orig_x" not in rows[0]:
        raise DataUnfitError(f"{path} is not a motive list of STOPGAP: it lacks data_{STOPGAP_BLOCK}")
    table = {name: np.array([row.get(name, 0) for row in rows]) for name in rows[0]}
    halves = {"A": 1, "B": 2}
    return _particles(
        volumes,
        numbers=table["subtomo_num"].astype(int),
        tomograms=table["tomo_num"].astype(int),
        places=np.stack([table[f"orig_{a}"] + table[f"{a}_shift"] for a in "xyz"], axis=-1),
        angles=np.stack([table["phi"], table["psi"], table["the"]], axis=-1),
        objects=table["object"].astype(int),
        score=table["score"].astype(float),
        classes=table["class"].astype(int),
        half=np.array([halves.get(str(one), 0) for one in table["halfset"]]),
    )


def write_stopgap(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``motive_list.star``, and ``tomograms.txt`` with the name of each number."""
    values = _values(rows, volumes)
    halves = {1: "A", 2: "B"}
    star = [
        {
            "motl_idx": i + 1,
            "tomo_num": int(values["tomogram"][i]),
            "object": int(values["object"][i]),
            "subtomo_num": int(values["number"][i]),
            "halfset": halves.get(0 if rows.half is None else int(rows.half[i]), "A" if i % 2 else "B"),
            **{f"orig_{a}": float(values["place"][i, k]) for k, a in enumerate("xyz")},
            "score": float(values["score"][i]),
            **{f"{a}_shift": float(values["shift"][i, k]) for k, a in enumerate("xyz")},
            "phi": float(values["angles"][i, 0]),
            "psi": float(values["angles"][i, 1]),
            "the": float(values["angles"][i, 2]),
            "class": int(values["class"][i]),
        }
        for i in range(rows.n)
    ]
    path = write_blocks(directory / "motive_list.star", {STOPGAP_BLOCK: star})
    return [path, write_tomogram_numbers(directory / "tomograms.txt", rows.tomogram.tolist())]


def read_em_motive_list(path: Path, volumes: Volumes) -> ParticleRows:
    """Particles of an EM motive list. Raises DataUnfitError for an EM file that is none."""
    raw = path.read_bytes()
    if len(raw) < _EM_HEADER:
        raise DataUnfitError(f"{path} is not an EM file: {len(raw)} bytes, expected {_EM_HEADER} at least")
    order = ">" if raw[0] in (0, 3, 5) else "<"  # OS-9, SGI and Mac are big-endian, PC is 6
    n_rows, n, n_z = struct.unpack(f"{order}3i", raw[4:16])
    if n_rows != _EM_ROWS or n_z > 1 or raw[3] != 5:
        raise DataUnfitError(
            f"{path} has the shape {n_rows} x {n} x {n_z} and type {raw[3]}; a motive list has {_EM_ROWS} "
            "rows of 32-bit floats (type 5)"
        )
    t = np.frombuffer(raw, dtype=f"{order}f4", count=n_rows * n, offset=_EM_HEADER).reshape(n, n_rows).T
    t = t.astype(np.float64)
    return _particles(
        volumes,
        numbers=t[3].astype(int),
        tomograms=t[4].astype(int),
        places=(t[7:10] + t[10:13]).T,
        angles=t[16:19].T,
        objects=t[5].astype(int),
        score=t[0],
        classes=t[19].astype(int),
        half=None,
    )


def write_em_motive_list(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``motive_list.em``, and ``tomograms.txt`` with the name of each number."""
    values = _values(rows, volumes)
    table = np.zeros((_EM_ROWS, rows.n), dtype="<f4")
    table[0], table[3], table[4] = values["score"], values["number"], values["tomogram"]
    table[5], table[19] = values["object"], values["class"]
    table[7:10], table[10:13], table[16:19] = values["place"].T, values["shift"].T, values["angles"].T
    header = bytearray(_EM_HEADER)
    header[0], header[3] = 6, 5
    header[4:16] = struct.pack("<3i", _EM_ROWS, rows.n, 1)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "motive_list.em"
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(bytes(header) + table.T.tobytes())
    os.replace(part, path)
    return [path, write_tomogram_numbers(directory / "tomograms.txt", rows.tomogram.tolist())]


def write_tomogram_numbers(path: Path, names: Sequence[str]) -> Path:
    """One line "number name" for each tomogram."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{number} {name}\n" for name, number in numbers_of_names(names).items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _particles(
    volumes: Volumes,
    *,
    numbers: NDArray[np.int64],
    tomograms: NDArray[np.int64],
    places: Array,
    angles: Array,
    objects: NDArray[np.int64],
    score: Array,
    classes: NDArray[np.int64],
    half: NDArray[np.int64] | None,
) -> ParticleRows:
    names = [name_of_number(int(number), volumes) for number in tomograms]
    # Positions in tomograms that are not requested stay unknown.
    positions = np.full((len(names), 3), np.nan)
    for name in set(names):
        mine = np.array([one == name for one in names])
        if name in volumes:
            positions[mine] = volumes[name].positions(places[mine], first=1.0)
    return ParticleRows(
        tomogram=np.array(names, dtype=np.str_),
        particle=numbers,
        positions_xyz_angstrom=positions,
        rotations=motive_rotations(angles),
        surface=objects,
        score=score,
        half=half,
        class_number=classes,
    )


def _values(rows: ParticleRows, volumes: Volumes) -> dict[str, Array]:
    """Columns that both kinds of motive list have."""
    number_of = numbers_of_names(rows.tomogram.tolist())
    places = np.zeros((rows.n, 3))
    for name in np.unique(rows.tomogram):
        mine = rows.tomogram == name
        volume = volume_of(volumes, str(name), "a motive list")
        places[mine] = volume.pixels(rows.positions_xyz_angstrom[mine], first=1.0)
    unique = len(set(rows.particle.tolist())) == rows.n
    whole = np.rint(places)
    return {
        "number": (rows.particle if unique else np.arange(1, rows.n + 1)).astype(float),
        "tomogram": np.array([float(number_of[name]) for name in rows.tomogram.tolist()]),
        "place": whole,
        "shift": places - whole,
        "angles": motive_angles_deg(rows.rotations).reshape(-1, 3),
        "object": np.zeros(rows.n) if rows.surface is None else np.maximum(rows.surface, 0).astype(float),
        "score": np.zeros(rows.n) if rows.score is None else rows.score,
        "class": np.ones(rows.n) if rows.class_number is None else rows.class_number.astype(float),
    }
