"""The formats of particles: how each is recognised, read and written, and what it cannot carry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.dynamo.table import read_dynamo_columns, read_dynamo_table, write_dynamo_table
from cryoloom.formats.exchange.marked_points import read_marked_points
from cryoloom.formats.picks.cets import read_cets, write_cets
from cryoloom.formats.picks.copick import read_copick, write_copick
from cryoloom.formats.picks.eman2 import read_eman2, write_eman2
from cryoloom.formats.picks.emclarity import is_emclarity, read_emclarity, write_emclarity
from cryoloom.formats.picks.motive_list import (
    STOPGAP_BLOCK,
    read_em_motive_list,
    read_stopgap,
    write_em_motive_list,
    write_stopgap,
    write_tomogram_numbers,
)
from cryoloom.formats.picks.particle_csv import is_particle_csv, read_particle_csv, write_particle_csv
from cryoloom.formats.picks.scipion_coordinates import read_scipion, write_scipion
from cryoloom.formats.picks.volumes import Volumes, numbers_of_names, volume_of
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.formats.relion.star_tables import write_blocks
from cryoloom.geometry.rotations import euler_zyz_deg
from cryoloom.model import ParticleRows

__all__ = ["PARTICLE_FORMATS", "ParticleFormat", "format_of_file", "lost_in"]

_FIELDS = ("rotations", "prior_directions", "surface", "tube", "score", "half", "class_number", "others")


@dataclass(frozen=True, slots=True)
class ParticleFormat:
    """One program's files of particles."""

    label: str
    read: Callable[[Path, Volumes], ParticleRows]
    write: Callable[[Path, ParticleRows, Volumes], list[Path]] | None
    """Into a folder, all tomograms; None if only reading makes sense."""
    carries: frozenset[str]
    """Fields of `ParticleRows` besides tomogram, number and position that the files hold."""
    counts_in_series_pixels: bool = False
    """Whether coordinates are in pixels of the unbinned series instead of the tomogram's voxels."""


def _read_relion(path: Path, volumes: Volumes) -> ParticleRows:
    shapes = {name: volume.shape_zyx for name, volume in volumes.items()}
    sizes = {volume.voxel_angstrom for volume in volumes.values()}
    if len(sizes) > 1:
        raise DataUnfitError(f"the tomograms have different voxels ({sorted(sizes)} A); read them one by one")
    return read_relion_particles(
        path, tomogram_shapes_px=shapes, tomogram_pixel_angstrom=next(iter(sizes), None)
    )


def _write_corner_star(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """RELION 4's and Warp's ``particles.star``: pixels from the corner, the first voxel being 0."""
    angles = euler_zyz_deg(rows.rotations).reshape(-1, 3)
    star = []
    for i in range(rows.n):
        name = str(rows.tomogram[i])
        volume = volume_of(volumes, name, "RELION 4")
        place = volume.pixels(rows.positions_xyz_angstrom[i])[0]
        row: dict[str, object] = {
            "rlnTomoName": name,
            "rlnMicrographName": f"{name}.tomostar",
            "rlnTomoParticleName": f"{name}/{rows.particle[i]}",
            **{f"rlnCoordinate{axis}": float(place[k]) for k, axis in enumerate("XYZ")},
            "rlnAngleRot": float(angles[i, 0]),
            "rlnAngleTilt": float(angles[i, 1]),
            "rlnAnglePsi": float(angles[i, 2]),
            "rlnPixelSize": volume.voxel_angstrom,
        }
        for values, column in (
            (rows.score, "rlnAutopickFigureOfMerit"),
            (rows.half, "rlnRandomSubset"),
            (rows.class_number, "rlnClassNumber"),
        ):
            if values is not None:
                row[column] = values[i].item()
        star.append(row)
    return [write_blocks(directory / "particles.star", {"particles": star})]


def _read_dynamo(path: Path, volumes: Volumes) -> ParticleRows:
    """Particles of the tomograms that are known; a table of one tomogram and of one volume fit anyway."""
    sizes = {volume.voxel_angstrom for volume in volumes.values()}
    if len(sizes) != 1:
        raise DataUnfitError(
            f"Dynamo's table has one pixel size; the tomograms have {sorted(sizes)} A. Choose those of one"
        )
    names = {number: name for name, number in numbers_of_names(volumes).items()}
    tags = read_dynamo_columns(path)[:, 19].astype(int)
    if len(set(tags.tolist())) == 1 and len(volumes) == 1:
        names = {int(tags[0]): next(iter(volumes))}
    shapes = {number: volumes[name].shape_zyx for number, name in names.items()}
    # Of other tomograms only the number is known; their positions are not used.
    shapes |= {number: (0, 0, 0) for number in set(tags.tolist()) - set(shapes)}
    return read_dynamo_table(path, sizes.pop(), shapes, names)


def _write_dynamo(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``particles.tbl``, and ``tomograms.doc``, Dynamo's map of tomograms, to be completed with paths."""
    used = sorted(set(rows.tomogram.tolist()))
    sizes = {volume_of(volumes, name, "Dynamo").voxel_angstrom for name in used}
    if len(sizes) > 1:
        raise DataUnfitError(f"Dynamo's table has one pixel size; the tomograms have {sorted(sizes)} A")
    path = directory / "particles.tbl"
    shapes = {name: volumes[name].shape_zyx for name in used}
    write_dynamo_table(path, rows, sizes.pop() if sizes else 1.0, shapes, numbers_of_names(used))
    return [path, write_tomogram_numbers(directory / "tomograms.doc", used)]


def _read_points(path: Path, volumes: Volumes) -> ParticleRows:
    """Points of text and IMOD models; a file that names no tomogram is of the only one."""
    parts = []
    for one in read_marked_points(path):
        name = one.tomogram or (next(iter(volumes)) if len(volumes) == 1 else path.stem)
        in_angstrom = one.points if one.in_angstrom or name not in volumes else None
        places = volumes[name].positions(one.points) if in_angstrom is None else in_angstrom
        parts.append(ParticleRows.of(name, places, surface=np.full(len(places), one.model)))
    return ParticleRows.joined(parts)


def _write_text(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``<tomogram>.txt``: x y z in voxels, the first being 0."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name in np.unique(rows.tomogram).tolist():
        places = volume_of(volumes, name, "text").pixels(rows.positions_xyz_angstrom[rows.tomogram == name])
        path = directory / f"{name}.txt"
        np.savetxt(path, places, fmt="%.4f")
        files.append(path)
    return files


_ALL = frozenset(_FIELDS)
_TABLE = frozenset({"rotations", "surface", "score", "class_number"})

PARTICLE_FORMATS: Mapping[str, ParticleFormat] = {
    "relion": ParticleFormat("RELION 5, RELION 4 or Warp STAR", _read_relion, None, _ALL),
    "relion4": ParticleFormat(
        "RELION 4 and Warp STAR in pixels",
        _read_relion,
        _write_corner_star,
        frozenset({"rotations", "score", "half", "class_number"}),
    ),
    "dynamo": ParticleFormat("Dynamo table", _read_dynamo, _write_dynamo, _TABLE),
    "stopgap": ParticleFormat("STOPGAP motive list", read_stopgap, write_stopgap, _TABLE | {"half"}),
    "motl": ParticleFormat(
        "EM motive list of cryoCAT, TOM, AV3", read_em_motive_list, write_em_motive_list, _TABLE
    ),
    "emclarity": ParticleFormat(
        "emClarity table",
        read_emclarity,
        write_emclarity,
        frozenset({"rotations", "score", "class_number"}),
        counts_in_series_pixels=True,
    ),
    "eman2": ParticleFormat("EMAN2 JSON", read_eman2, write_eman2, frozenset({"score", "class_number"})),
    "copick": ParticleFormat("copick JSON", read_copick, write_copick, frozenset({"rotations", "score"})),
    "cets": ParticleFormat("CETS JSON", read_cets, write_cets, frozenset({"rotations"})),
    "scipion": ParticleFormat(
        "Scipion sqlite", read_scipion, write_scipion, frozenset({"rotations", "surface", "score"})
    ),
    "csv": ParticleFormat("CSV with rotations", read_particle_csv, write_particle_csv, _ALL),
    "text": ParticleFormat("text, IMOD or Dynamo model", _read_points, _write_text, frozenset()),
}


def format_of_file(path: Path) -> str:
    """Name of the format that a file is in, by its suffix and its beginning.

    Raises UserInputError for a JSON file of none of the programs.
    """
    suffix = path.suffix.lower()
    if suffix == ".star":
        with path.open(encoding="utf-8", errors="replace") as file:
            return "stopgap" if f"data_{STOPGAP_BLOCK}" in file.read(4000) else "relion"
    if suffix == ".csv":
        return "emclarity" if is_emclarity(path) else "csv" if is_particle_csv(path) else "text"
    if suffix == ".json":
        data = json.loads(path.read_text(encoding="utf-8"))
        keys = set(data) if isinstance(data, dict) else set()
        if "boxes_3d" in keys:
            return "eman2"
        if "pickable_object_name" in keys:
            return "copick"
        if "origin3D" in path.read_text(encoding="utf-8"):
            return "cets"
        raise UserInputError(
            f"{path} has {sorted(keys)[:6]}; expected EMAN2's boxes_3d, copick's points or CETS's origin3D"
        )
    by_suffix = {".tbl": "dynamo", ".em": "motl", ".sqlite": "scipion", ".db": "scipion"}
    return by_suffix.get(suffix, "text")


def lost_in(name: str, rows: ParticleRows) -> list[str]:
    """Properties of the particles that a format cannot store, in words."""
    words = {
        "rotations": "rotations",
        "prior_directions": "expected directions (priors)",
        "surface": "numbers of surfaces",
        "tube": "numbers of filaments",
        "score": "scores",
        "half": "halves",
        "class_number": "classes",
    }
    carries = PARTICLE_FORMATS[name].carries
    lost = [
        word
        for field, word in words.items()
        if field not in carries
        and getattr(rows, field) is not None
        and not (field == "rotations" and np.allclose(rows.rotations, np.eye(3)))
    ]
    if "others" not in carries:
        lost += sorted(rows.others or ())
    return lost
