"""RELION's tomography particles: ``particles.star`` and optimisation sets, read and written.

Orientation. RELION stores two sets of angles, ``rlnTomoSubtomogramRot/Tilt/Psi`` from picking and
``rlnAngleRot/Tilt/Psi`` from refinement. Each is the intrinsic ZYZ triple of a transposed matrix
(`geometry.rotations`), and a particle is turned by ``R = A_subtomogram A_particle``. For particles on
surfaces RELION writes ``A_subtomogram = N Ry(90)`` with N's z axis along the normal, and expects the
particle's angles near (0, 90, 0), which turn back: so its prior on the tilt angle is one on the angle between
R z and the normal.

Position. ``rlnCenteredCoordinate*Angst`` is relative to the tomogram's centre, index ``n // 2`` (RELION's
C++; its napari picker writes one pixel less, relion#1280). RELION 4 and WarpTools write ``rlnCoordinate*`` in
pixels from the corner. The position is the coordinate minus ``A_subtomogram`` times ``rlnOrigin*Angst``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.star_tables import Row, read_blocks, write_blocks
from cryoloom.geometry.rotations import euler_zyz_deg, matrix_from_euler_zyz_deg, rotation_y
from cryoloom.model import ParticleRows

__all__ = [
    "RelionImages",
    "RelionOptics",
    "not_carried",
    "read_relion_particles",
    "relion_particle_rows",
    "subtomogram_frames",
    "write_relion_particles",
]

Array = NDArray[np.float64]

_CENTRED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")
_CORNER = tuple(f"rlnCoordinate{axis}" for axis in "XYZ")
_ORIGIN = tuple(f"rlnOrigin{axis}Angst" for axis in "XYZ")
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_SUBTOMOGRAM = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
_SCORES = ("rlnLogLikeliContribution", "rlnAutopickFigureOfMerit", "rlnLCCmax")
# Columns that the model stores, and columns of extracted images or of a job, not of the particle.
_KNOWN = {
    *("rlnTomoName", "rlnMicrographName", "rlnTomoParticleName", "rlnTomoParticleId", "rlnOpticsGroup"),
    *("rlnAngleTiltPrior", "rlnAnglePsiPrior", "rlnRandomSubset", "rlnClassNumber", "rlnHelicalTubeID"),
    *("rlnTomoManifoldIndex", "rlnImageName", "rlnCtfImage", "rlnTomoVisibleFrames", "rlnGroupNumber"),
    *("rlnPixelSize", "rlnDetectorPixelSize", "rlnMagnification"),
}
# Width of the tilt prior if the file gives a prior without a width: RELION's tutorial.
_PRIOR_WIDTH_DEG = 10.0


@dataclass(frozen=True, slots=True)
class RelionOptics:
    """Content of an optics group: the microscope and the extracted images."""

    name: str
    voltage_kv: float
    spherical_aberration_mm: float
    amplitude_contrast: float
    image_pixel_angstrom: float


@dataclass(frozen=True, slots=True)
class RelionImages:
    """Metadata of extracted images for RELION, in the order of the particles."""

    columns: Mapping[str, Sequence[object]]
    """``rlnImageName`` and the like."""
    optics: Row
    """``rlnImageSize`` and the like, of every optics group."""
    cut_xyz_angstrom: Array
    """Centre of each extracted image, ``(n, 3)``: the remaining offset becomes ``rlnOrigin``."""
    frames: Array
    """Axes of the extracted volumes, ``(n, 3, 3)``, from `subtomogram_frames`."""
    are_stacks: bool


def subtomogram_frames(rows: ParticleRows) -> Array:
    """RELION's A_subtomogram of particles, ``(n, 3, 3)``: of their normals where all have one, else none."""
    if rows.prior_directions is None or not np.isfinite(rows.prior_directions).all():
        return np.broadcast_to(np.eye(3), (rows.n, 3, 3)).copy()
    return _normal_frames(rows.prior_directions) @ rotation_y(90.0)


def read_relion_particles(
    star: Path,
    *,
    tomogram_shapes_px: Mapping[str, tuple[int, int, int]] | None = None,
    tomogram_pixel_angstrom: float | None = None,
) -> ParticleRows:
    """Particles of a particles.star, an optimisation set, or an annotation of one tomogram.

    tomogram_shapes_px : (z, y, x) of each tomogram; without it it is taken from the ``tomograms.star`` of an
    optimisation set. tomogram_pixel_angstrom : of these shapes, and of corner coordinates where the file does
    not tell it; unset, shapes are in the file's pixels. Columns that the model has no place for are among the
    others, by RELION's names. Raises DataUnfitError if coordinates cannot be placed.
    """
    blocks = read_blocks(star)
    table = _table(blocks, "rlnTomoParticlesFile")
    if table is not None:
        row = table[0]
        particles = read_blocks(_beside(star, str(row["rlnTomoParticlesFile"])))
        if "rlnTomoTomogramsFile" in row:
            tomograms = read_blocks(_beside(star, str(row["rlnTomoTomogramsFile"])))
            return relion_particle_rows(
                particles, tomograms, tomogram_shapes_px, star, tomogram_pixel_angstrom
            )
        blocks = particles
    return relion_particle_rows(blocks, {}, tomogram_shapes_px, star, tomogram_pixel_angstrom)


def relion_particle_rows(
    blocks: Mapping[str, Sequence[Row]],
    tomograms: Mapping[str, Sequence[Row]],
    tomogram_shapes_px: Mapping[str, tuple[int, int, int]] | None,
    source: Path,
    tomogram_pixel_angstrom: float | None = None,
) -> ParticleRows:
    """Rows of the blocks of a particles file, in its order; arguments as of `read_relion_particles`."""
    rows = _table(blocks, _CENTRED[0]) or _table(blocks, _CORNER[0])
    if rows is None:
        raise DataUnfitError(
            f"{source} contains no particles: expected a table with {_CENTRED[0]} or {_CORNER[0]}; it has "
            f"the blocks {sorted(blocks)}"
        )
    broken = [i + 1 for i, row in enumerate(rows) if any(value != value for value in row.values())]
    if broken:
        raise DataUnfitError(
            f"{source} is cut off, or contains values that are not numbers: see the particles {broken[:5]}"
        )
    names = np.array([_tomogram_name(row) for row in rows])
    subtomogram = matrix_from_euler_zyz_deg(*_columns(rows, _SUBTOMOGRAM, 0.0).T)
    rotations = subtomogram @ matrix_from_euler_zyz_deg(*_columns(rows, _ANGLES, 0.0).T)
    if _CENTRED[0] in rows[0]:
        positions = _columns(rows, _CENTRED) + _halves_of_odd_sizes(names, tomograms)
    else:
        positions = _from_corner(
            rows, names, blocks, tomograms, tomogram_shapes_px, source, tomogram_pixel_angstrom
        )
    positions = positions - np.einsum("nij,nj->ni", subtomogram, _columns(rows, _ORIGIN, 0.0))
    more: dict[str, Any] = {}
    if "rlnAngleTiltPrior" in rows[0]:
        # N = A_subtomogram A(0, 90, 0): the normal is its z axis.
        prior = _columns(rows, ("rlnAngleTiltPrior", "rlnAnglePsiPrior"), 0.0)
        turned = matrix_from_euler_zyz_deg(np.zeros(len(rows)), prior[:, 0], prior[:, 1])
        more["prior_directions"] = (subtomogram @ turned)[:, :, 2]
        more["prior_width_deg"] = np.full(len(rows), _PRIOR_WIDTH_DEG)
    for column, name in (
        ("rlnRandomSubset", "half"),
        ("rlnClassNumber", "class_number"),
        ("rlnHelicalTubeID", "tube"),
        ("rlnTomoManifoldIndex", "surface"),
    ):
        if column in rows[0]:
            more[name] = np.array([int(row[column]) for row in rows], dtype=np.int64)
    for column in _SCORES:
        if column in rows[0] and "score" not in more:
            more["score"] = np.array([float(row[column]) for row in rows])
    if others := _others(rows):
        more["others"] = others
    return ParticleRows(
        tomogram=names,
        particle=_numbers(rows, names),
        positions_xyz_angstrom=positions,
        rotations=rotations,
        **more,
    )


def write_relion_particles(
    directory: Path,
    rows: ParticleRows,
    optics: Mapping[str, RelionOptics],
    *,
    tomograms_star: str = "tomograms.star",
    averages: Mapping[str, str] | None = None,
    images: RelionImages | None = None,
) -> tuple[Path, ...]:
    """Write ``particles.star`` and ``optimisation_set.star`` with ``directory`` as RELION's project folder.

    optics : by tomogram. averages : further entries of the optimisation set (reference, mask, trajectories).
    """
    groups = sorted({optics[name].name for name in set(rows.tomogram.tolist())})
    number = {name: i + 1 for i, name in enumerate(groups)}
    by_name = {optics[name].name: optics[name] for name in set(rows.tomogram.tolist())}
    optics_rows = [
        {
            "rlnOpticsGroup": number[name],
            "rlnOpticsGroupName": name,
            "rlnVoltage": by_name[name].voltage_kv,
            "rlnSphericalAberration": by_name[name].spherical_aberration_mm,
            "rlnAmplitudeContrast": by_name[name].amplitude_contrast,
            "rlnTomoTiltSeriesPixelSize": by_name[name].image_pixel_angstrom,
            **({} if images is None else images.optics),
        }
        for name in groups
    ]
    columns = _particle_columns(rows, images)
    columns["rlnOpticsGroup"] = np.array([number[optics[name].name] for name in rows.tomogram.tolist()])
    if images is not None:
        columns |= {name: np.asarray(values) for name, values in images.columns.items()}
    particle_rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    blocks: dict[str, Sequence[Row] | Row] = {}
    if images is not None:
        blocks["general"] = {"rlnTomoSubTomosAre2DStacks": int(images.are_stacks)}
    blocks |= {"optics": optics_rows, "particles": particle_rows}
    written = [write_blocks(directory / "particles.star", blocks)]
    sets: Row = {"rlnTomoParticlesFile": "particles.star", "rlnTomoTomogramsFile": tomograms_star}
    written.append(write_blocks(directory / "optimisation_set.star", {"": sets | dict(averages or {})}))
    return tuple(written)


def not_carried(rows: ParticleRows) -> list[str]:
    """Names of values that `write_relion_particles` omits: incomplete, or unknown to RELION."""
    words = []
    if rows.prior_directions is not None and not np.isfinite(rows.prior_directions).all():
        words.append("expected directions")
    numbers = {
        "halves": rows.half,
        "classes": rows.class_number,
        "filaments": rows.tube,
        "surfaces": rows.surface,
    }
    words += [
        word
        for word, values in numbers.items()
        if values is not None and (values > 0).any() and not (values > 0).all()
    ]
    if rows.score is not None and not np.isfinite(rows.score).all():
        words.append("scores")
    return words + sorted(name for name in rows.others or () if not name.startswith("rln"))


def _particle_columns(rows: ParticleRows, images: RelionImages | None) -> dict[str, NDArray[Any]]:
    names = rows.tomogram.tolist()
    columns: dict[str, NDArray[Any]] = {
        "rlnTomoName": rows.tomogram,
        "rlnTomoParticleName": np.array(
            [f"{name}/{number}" for name, number in zip(names, rows.particle.tolist(), strict=True)]
        ),
    }
    cut = rows.positions_xyz_angstrom if images is None else images.cut_xyz_angstrom
    columns |= dict(zip(_CENTRED, cut.T, strict=True))
    subtomogram = subtomogram_frames(rows) if images is None else images.frames
    if not np.allclose(subtomogram, np.eye(3)):
        columns |= dict(zip(_SUBTOMOGRAM, euler_zyz_deg(subtomogram).T, strict=True))
    if rows.prior_directions is not None and np.isfinite(rows.prior_directions).all():
        columns |= {"rlnAngleTiltPrior": np.full(rows.n, 90.0), "rlnAnglePsiPrior": np.zeros(rows.n)}
    inverse = np.swapaxes(subtomogram, 1, 2)
    columns |= dict(zip(_ANGLES, euler_zyz_deg(inverse @ rows.rotations).reshape(-1, 3).T, strict=True))
    # The position is the coordinate minus A_subtomogram times the origin.
    origins = np.einsum("nij,nj->ni", inverse, cut - rows.positions_xyz_angstrom)
    columns |= dict(zip(_ORIGIN, origins.T, strict=True))
    for name, values in (
        ("rlnRandomSubset", rows.half),
        ("rlnClassNumber", rows.class_number),
        ("rlnHelicalTubeID", rows.tube),
        ("rlnTomoManifoldIndex", rows.surface),
    ):
        if values is not None and (values > 0).all():
            columns[name] = values
    if rows.score is not None and np.isfinite(rows.score).all():
        columns["rlnAutopickFigureOfMerit"] = rows.score
    columns |= {name: values for name, values in (rows.others or {}).items() if name.startswith("rln")}
    return columns


def _normal_frames(directions: Array) -> Array:
    """Rotations ``(n, 3, 3)`` whose z axis is a direction: the shortest turn about z, then y."""
    z = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    azimuth = np.rad2deg(np.arctan2(z[:, 1], z[:, 0]))
    polar = np.rad2deg(np.arccos(np.clip(z[:, 2], -1.0, 1.0)))
    # R z = Rz(azimuth) Ry(polar) z.
    return matrix_from_euler_zyz_deg(np.zeros(len(z)), -polar, -azimuth)


def _halves_of_odd_sizes(names: NDArray[np.str_], tomograms: Mapping[str, Sequence[Row]]) -> Array:
    """Offset that RELION (5.0.1) adds to centred coordinates in tomograms of odd size, ``(n, 3)``, angstrom.

    It counts them from half the size, and projects about the whole part of it: half a pixel less.
    """
    halves = {}
    for row in _table(tomograms, "rlnTomoSizeX") or []:
        odd = np.array([int(row.get(f"rlnTomoSize{axis}", 0)) % 2 for axis in "XYZ"])
        halves[str(row["rlnTomoName"])] = 0.5 * odd * float(row.get("rlnTomoTiltSeriesPixelSize", 0.0))
    return np.array([halves.get(name, np.zeros(3)) for name in names.tolist()]).reshape(-1, 3)


def _from_corner(
    rows: Sequence[Row],
    names: NDArray[np.str_],
    blocks: Mapping[str, Sequence[Row]],
    tomograms: Mapping[str, Sequence[Row]],
    shapes_px: Mapping[str, tuple[int, int, int]] | None,
    source: Path,
    tomogram_pixel_angstrom: float | None,
) -> Array:
    """Positions in angstrom from the centre, of coordinates in pixels from the corner.

    They are in pixels of the extracted images if the file has any (WarpTools). Otherwise they are in pixels
    of the tilt series, or of the searched volume (rlnDetectorPixelSize of template matching, rlnPixelSize of
    older Warp).
    """
    corner = _columns(rows, _CORNER)
    pixel = np.zeros(len(rows))
    middle = np.zeros((len(rows), 3))
    optics = {int(row["rlnOpticsGroup"]): row for row in _table(blocks, "rlnTomoTiltSeriesPixelSize") or []}
    listed = {str(row["rlnTomoName"]): row for row in _table(tomograms, "rlnTomoSizeX") or []}
    for i, row in enumerate(rows):
        name = str(row.get("rlnTomoName", names[i]))
        group = optics.get(int(row.get("rlnOpticsGroup", 0)), {})
        tomogram = listed.get(name, {})
        series_pixel = group.get("rlnTomoTiltSeriesPixelSize", tomogram.get("rlnTomoTiltSeriesPixelSize"))
        pixel_here = group.get("rlnImagePixelSize", series_pixel)
        for column in ("rlnPixelSize", "rlnDetectorPixelSize"):
            pixel_here = row.get(column) if pixel_here is None else pixel_here
        pixel_here = tomogram_pixel_angstrom if pixel_here is None else pixel_here
        shape = (shapes_px or {}).get(names[i], (shapes_px or {}).get(name))
        if shape is None and not tomogram and shapes_px:
            middle[i] = np.nan  # a tomogram that was not requested
            pixel[i] = 1.0
            continue
        if pixel_here is None or (shape is None and not tomogram):
            raise DataUnfitError(
                f"{source} has coordinates in pixels from the corner of {name}, but its size is not known; "
                "give the optimisation set, or the tomogram's shape"
            )
        pixel[i] = float(pixel_here)
        if shape is not None:
            finer = (tomogram_pixel_angstrom or pixel[i]) / pixel[i]
            middle[i] = np.rint(np.array(shape[::-1]) * finer) // 2
        else:
            size = np.array([float(tomogram[f"rlnTomoSize{axis}"]) for axis in "XYZ"])
            middle[i] = size / 2.0 * float(series_pixel or pixel_here) / pixel[i]
    return (corner - middle) * pixel[:, None]


def _others(rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Columns the model has no place for, by RELION's names."""
    known = _KNOWN.union(_CENTRED, _CORNER, _ORIGIN, _ANGLES, _SUBTOMOGRAM, _SCORES)
    return {name: np.array([row[name] for row in rows]) for name in rows[0] if name not in known}


def _tomogram_name(row: Row) -> str:
    """Name of the series: WarpTools adds ``.tomostar``."""
    name = str(row.get("rlnTomoName", row.get("rlnMicrographName", "")))
    return name.removesuffix(".tomostar")


def _numbers(rows: Sequence[Row], names: NDArray[np.str_]) -> NDArray[np.int64]:
    """Numbers after the slash of the particles' names, or in order within each tomogram."""
    tails = [str(row.get("rlnTomoParticleName", "")).rpartition("/")[2] for row in rows]
    if all(tail.isdigit() for tail in tails):
        numbers = np.array([int(tail) for tail in tails], dtype=np.int64)
        if len(set(zip(names.tolist(), numbers.tolist(), strict=True))) == len(rows):
            return numbers
    count: dict[str, int] = {}
    counted = []
    for name in names.tolist():
        count[name] = count.get(name, 0) + 1
        counted.append(count[name])
    return np.array(counted, dtype=np.int64)


def _columns(rows: Sequence[Row], names: Sequence[str], missing: float | None = None) -> Array:
    """Columns ``(n, len(names))``; of those that are not there the given value."""
    if missing is None and (lacking := [name for name in names if name not in rows[0]]):
        raise DataUnfitError(f"the particle table lacks the columns {lacking}")
    return np.array([[float(row.get(name, missing or 0.0)) for name in names] for row in rows])


def _table(blocks: Mapping[str, Sequence[Row]], column: str) -> Sequence[Row] | None:
    for rows in blocks.values():
        if rows and column in rows[0]:
            return rows
    return None


def _beside(star: Path, name: str) -> Path:
    """A file listed in a STAR file: relative to RELION's project, which is a folder above."""
    for folder in (star.parent, *star.parents):
        if (folder / name).is_file():
            return folder / name
    raise DataUnfitError(
        f"{star} refers to {name}, which is neither beside it nor in a folder above; move the files together"
    )
