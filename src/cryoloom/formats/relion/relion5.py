"""RELION 5's tomography STAR files: tilt series and tomograms, written, checked by content, and read.

A pose is RELION 5's own model, so poses are renamed, not converted: ``rlnTomoXTilt``, ``rlnTomoYTilt``,
``rlnTomoZRot`` are x_tilt, tilt and axis, and the shifts are in angstrom from the image's centre, which
RELION too takes at index ``n // 2`` (``Tomogram::setProjectionMatrix``, RELION 5.0). ``rlnTomoHand`` is minus
our handedness. RELION stores neither an exclusion nor a magnification per tilt: excluded tilts are left out,
and a series whose tilts differ in magnification is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.placement import (
    exportable,
    place_pixels,
    require_one_magnification,
    write_notes,
)
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.relion5_motion import gain_note, motion_columns, motion_of_row
from cryoloom.geometry.tilt_axis import column_slopes
from cryoloom.model import Ctf, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries, Tomogram

__all__ = ["lists_series", "read_relion5_tilt_series", "verify_relion5", "write_relion5"]

_Row = dict[str, Any]
_STACK_ROLES = {"rlnMicrographName": "", "rlnMicrographNameEven": "_even", "rlnMicrographNameOdd": "_odd"}
_VOLUME_ROLES = {
    "rlnTomoReconstructedTomogram": "",
    "rlnTomoReconstructedTomogramHalf1": "_half1",
    "rlnTomoReconstructedTomogramHalf2": "_half2",
}


def write_relion5(
    items: Sequence[tuple[TiltSeries, Tomogram | None]], directory: Path, *, link: bool = True
) -> tuple[Path, ...]:
    """Files of a RELION 5 project, to be used with ``directory`` as the project's folder.

    ``tilt_series.star`` lists every series, ``tomograms.star`` those with a tomogram; ``tilt_series/`` and
    ``tomograms/`` contain their tables and pixels, ``motion/`` the motion of each movie (`relion5_motion`).
    All paths are relative to ``directory``, and all files are opened again afterwards (`verify_relion5`). A
    series that RELION cannot describe is left out, with a note in ``NOTES.txt``; DataUnfitError if none is
    left. ``link`` as in `place_pixels`.
    """
    fit, notes = exportable(items, check_exportable)
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    series_rows, tomogram_rows = [], []
    for series, tomogram in fit:
        written += _write_tilt_series(series, directory, link=link)
        row = _series_row(series)
        series_rows.append({**row, **_even_size(series)})
        if series.handedness.applied is None:
            notes.append(
                f"{series.name}: defocus handedness was not determined; rlnTomoHand is set to -1, as in "
                "RELION's own tutorial data. Check it before any 3D-CTF correction."
            )
        if series.included[0].ctf is None:
            notes.append(f"{series.name}: no CTF was estimated; do it in RELION before extracting particles.")
        if (note := gain_note(series)) is not None and series.included[0].movie is not None:
            notes.append(note)
        if tomogram is not None:
            columns, files = _place_tomogram(series, tomogram, directory, link=link)
            tomogram_rows.append({**row, **columns})
            written += files
    written.append(_write_table(directory / "tilt_series.star", "global", series_rows))
    if tomogram_rows:
        written.append(_write_table(directory / "tomograms.star", "global", tomogram_rows))
    verify_relion5(directory)
    return (*written, *write_notes(directory, notes))


def verify_relion5(directory: Path) -> int:
    """Number of files opened: every one the tables name exists and has the size and pixel size they give.

    Raises DataUnfitError at the first file that does not. Wrong paths are a frequent error when data move to
    RELION (relion#1333).
    """
    opened: set[Path] = set()
    for table in ("tilt_series.star", "tomograms.star"):
        if not (directory / table).is_file():
            continue
        for row in _read_rows(directory / table):
            opened |= _verify_series(directory, row)
            opened |= _verify_volumes(directory, row)
    if not opened:
        raise DataUnfitError(f"{directory} has no tilt_series.star that lists a file; export again")
    return len(opened)


def read_relion5_tilt_series(star: Path, name: str | None = None) -> TiltSeries:
    """Tilt series, with poses, CTFs and motion, from a table that lists tilt series or tomograms.

    Images are those of ``rlnMicrographName`` when they are sections of one stack that exists (relative to
    the folder of ``star``). ``name`` chooses among several series.
    """
    rows = {str(row["rlnTomoName"]): row for row in _read_rows(star)}
    if name is None and len(rows) == 1:
        name = next(iter(rows))
    if name is None or name not in rows:
        raise UserInputError(
            f"{star} contains the series {sorted(rows)}; give the name of one of them, got {name!r}"
        )
    row = rows[name]
    tilt_table = _find(star.parent, str(row["rlnTomoTiltSeriesStarFile"]))
    tilt_rows = _read_rows(tilt_table)
    original_pixel_size = float(row["rlnMicrographOriginalPixelSize"])
    pixel_size = float(row.get("rlnTomoTiltSeriesPixelSize", original_pixel_size))
    by_dose = np.argsort([float(r.get("rlnMicrographPreExposure", 0.0)) for r in tilt_rows], kind="stable")
    rank = np.argsort(by_dose)
    dose = _dose_per_tilt([float(r.get("rlnMicrographPreExposure", 0.0)) for r in tilt_rows])
    stack, sections = _referenced_stack(star.parent, tilt_rows, pixel_size)
    tilts = [
        replace(
            _read_tilt(r, int(rank[i]), dose, sections[i] if sections else None),
            **motion_of_row(r, star.parent, original_pixel_size),
        )
        for i, r in enumerate(tilt_rows)
    ]
    axis = tilt_rows[0].get("rlnTomoNominalTiltAxisAngle")
    hand = row.get("rlnTomoHand")
    return TiltSeries(
        name=name,
        microscope=Microscope(
            float(row["rlnVoltage"]), float(row["rlnSphericalAberration"]), float(row["rlnAmplitudeContrast"])
        ),
        pixel_size_angstrom=original_pixel_size,
        tilts=tuple(sorted(tilts, key=lambda t: (t.nominal_tilt_deg, t.acquisition_index))),
        tilt_axis_deg=Sourced.from_told(None if axis is None else float(axis), by=star.name),
        handedness=Sourced.from_told(None if hand is None else -float(hand), by=star.name),
        stack=stack,
    )


def lists_series(star: Path, name: str) -> bool:
    """Whether a file is a table of tilt series or tomograms with one of this name."""
    try:
        return any(str(row.get("rlnTomoName")) == name for row in _read_rows(star))
    except DataUnfitError:
        return False


def check_exportable(series: TiltSeries) -> None:
    """Refuse a series that RELION cannot describe."""
    tilts = series.included
    if not tilts:
        raise DataUnfitError("every tilt is excluded; include some before exporting", series=series.name)
    without_pose = [t.acquisition_index for t in tilts if t.pose is None]
    if without_pose:
        raise DataUnfitError(
            f"RELION 5 needs an alignment, but tilts {without_pose} of {series.name} have none; "
            "run align_series first or exclude them"
        )
    require_one_magnification(series, [t.pose for t in tilts if t.pose is not None], "RELION 5")
    with_ctf = sum(t.ctf is not None for t in tilts)
    if 0 < with_ctf < len(tilts):
        raise DataUnfitError(
            f"{with_ctf} of {len(tilts)} tilts of {series.name} have a CTF; RELION 5 expects all or none. "
            "Run estimate_ctf again or exclude the others"
        )


def _write_tilt_series(series: TiltSeries, directory: Path, *, link: bool) -> list[Path]:
    """Stacks and per-tilt table of one series."""
    stack = series.unweighted_stack
    folder = directory / "tilt_series"
    files, names = [], {}
    for column, suffix in _STACK_ROLES.items():
        pixels = {"": stack.images, "_even": stack.even, "_odd": stack.odd}[suffix]
        if pixels is None:
            continue
        # RELION reads sections of a stack only from a file that ends in .mrcs.
        path = folder / f"{series.name}{suffix}.mrcs"
        files.append(place_pixels(pixels, path, stack.pixel_size_angstrom, link=link, reads_float16=True))
        names[column] = path.relative_to(directory).as_posix()
    rows = []
    for tilt in series.included:
        columns, motion_files = motion_columns(series, tilt, directory)
        rows.append({**columns, **_tilt_row(series, tilt, names)})
        files += motion_files
    files.append(_write_table(folder / f"{series.name}.star", series.name, _common_columns(rows)))
    return files


def _tilt_row(series: TiltSeries, tilt: Tilt, names: dict[str, str]) -> _Row:
    """RELION's metadata of one tilt; unknown values are missing keys."""
    if tilt.section is None or tilt.pose is None:
        raise DataUnfitError(
            f"tilt {tilt.acquisition_index} of {series.name} has no image or no pose; "
            "exclude it or align again"
        )
    row: _Row = {
        "rlnTomoNominalStageTiltAngle": tilt.nominal_tilt_deg,
        "rlnTomoNominalTiltAxisAngle": tilt.pose.axis_deg
        if series.tilt_axis_deg.told is None
        else series.tilt_axis_deg.told,
        "rlnMicrographPreExposure": tilt.dose_start_per_angstrom2,
    }
    if tilt.nominal_defocus_angstrom is not None:
        row["rlnTomoNominalDefocus"] = (
            -tilt.nominal_defocus_angstrom * 1e-4
        )  # micrometre, underfocus negative
    row |= {column: f"{tilt.section + 1:06d}@{name}" for column, name in names.items()}
    if tilt.frame_shifts_yx_angstrom:
        steps = np.diff(np.array(tilt.frame_shifts_yx_angstrom), axis=0)
        path_angstrom = np.hypot(steps[:, 0], steps[:, 1])
        row["rlnAccumMotionTotal"] = float(path_angstrom.sum())
    if tilt.ctf is not None:
        row |= _ctf_columns(tilt.ctf)
    row |= {
        "rlnTomoXTilt": tilt.pose.x_tilt_deg,
        "rlnTomoYTilt": tilt.pose.tilt_deg,
        "rlnTomoZRot": tilt.pose.axis_deg,
        "rlnTomoXShiftAngst": tilt.pose.shift_xy_angstrom[0],
        "rlnTomoYShiftAngst": tilt.pose.shift_xy_angstrom[1],
        # Images of tilted ice are weaker: RELION's own first guess of the scale.
        "rlnCtfScalefactor": float(column_slopes(tilt.pose.tilt_deg)[0]),
    }
    return row


def _ctf_columns(ctf: Ctf) -> _Row:
    columns: _Row = {
        "rlnDefocusU": ctf.defocus_u_angstrom,
        "rlnDefocusV": ctf.defocus_v_angstrom,
        "rlnCtfAstigmatism": abs(ctf.astigmatism_angstrom),
        "rlnDefocusAngle": ctf.astigmatism_angle_deg,
        "rlnPhaseShift": ctf.phase_shift_deg,
    }
    if ctf.score is not None:
        columns["rlnCtfFigureOfMerit"] = ctf.score
    if ctf.fit_resolution_angstrom is not None:
        columns["rlnCtfMaxResolution"] = ctf.fit_resolution_angstrom
    return columns


def _series_row(series: TiltSeries) -> _Row:
    """The series' row of the global table."""
    hand = series.handedness.applied
    return {
        "rlnTomoName": series.name,
        "rlnVoltage": series.microscope.voltage_kv,
        "rlnSphericalAberration": series.microscope.spherical_aberration_mm,
        "rlnAmplitudeContrast": series.microscope.amplitude_contrast,
        "rlnMicrographOriginalPixelSize": series.pixel_size_angstrom,
        "rlnTomoHand": -1.0 if hand is None else -float(hand),
        "rlnOpticsGroupName": "optics1",
        "rlnTomoTiltSeriesPixelSize": series.unweighted_stack.pixel_size_angstrom,
        "rlnTomoTiltSeriesStarFile": f"tilt_series/{series.name}.star",
    }


def _even_size(series: TiltSeries) -> _Row:
    """Size of a tomogram of the whole field, for a series without one.

    RELION (5.0.1) takes centred coordinates relative to half the size, but projects about its whole part: an
    odd size, or none (read as -999), displaces every particle by half a pixel along each axis.
    """
    n_y, n_x = (n + n % 2 for n in series.unweighted_stack.images.shape[1:])
    return {"rlnTomoSizeX": n_x, "rlnTomoSizeY": n_y, "rlnTomoSizeZ": min(n_x, n_y)}


def _place_tomogram(
    series: TiltSeries, tomogram: Tomogram, directory: Path, *, link: bool
) -> tuple[_Row, list[Path]]:
    """Columns of the tomogram, and its files. Sizes are in pixels of the tilt series, rounded to even."""
    binning = tomogram.voxel_size_angstrom / series.unweighted_stack.pixel_size_angstrom
    n_z, n_y, n_x = (2 * round(n * binning / 2) for n in tomogram.volume.shape)
    columns: _Row = {
        "rlnTomoTomogramBinning": binning,
        "rlnTomoSizeX": n_x,
        "rlnTomoSizeY": n_y,
        "rlnTomoSizeZ": n_z,
    }
    files = []
    for column, suffix in _VOLUME_ROLES.items():
        pixels = {"": tomogram.volume, "_half1": tomogram.even, "_half2": tomogram.odd}[suffix]
        if pixels is None:
            continue
        path = directory / "tomograms" / f"{series.name}{suffix}.mrc"
        files.append(
            place_pixels(
                pixels, path, tomogram.voxel_size_angstrom, link=link, kind="volume", reads_float16=True
            )
        )
        columns[column] = path.relative_to(directory).as_posix()
    return columns, files


def _common_columns(rows: list[_Row]) -> list[_Row]:
    """Rows without the columns that some of them lack: a STAR loop has no gaps."""
    common = set(rows[0]).intersection(*rows[1:])
    return [{name: value for name, value in row.items() if name in common} for row in rows]


def _write_table(path: Path, name: str, rows: list[_Row]) -> Path:
    table = pd.DataFrame(_common_columns(rows))
    part = path.with_name(f".{path.name}.part")
    starfile.write({name: table}, part, float_format="%.6f")
    return part.replace(path)


def _read_rows(path: Path) -> list[_Row]:
    """Rows of the first loop of a STAR file."""
    try:
        blocks = starfile.read(path, always_dict=True)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise DataUnfitError(f"{path} cannot be read as a STAR file: {error}") from error
    tables = [block for block in blocks.values() if isinstance(block, pd.DataFrame)]
    singles = [dict(block) for block in blocks.values() if isinstance(block, dict)]
    rows = tables[0].to_dict("records") if tables else singles[:1]
    if not rows:
        raise DataUnfitError(f"{path} contains no table; expected tilt series or tilts")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _verify_series(directory: Path, row: _Row) -> set[Path]:
    """Open the images of a series."""
    expected = float(row["rlnTomoTiltSeriesPixelSize"])
    opened: dict[Path, MrcPixels] = {}
    table = directory / str(row["rlnTomoTiltSeriesStarFile"])
    for tilt in _read_rows(table):
        for column in _STACK_ROLES.keys() & tilt.keys():
            section, _, name = str(tilt[column]).rpartition("@")
            path = directory / name
            pixels = opened.setdefault(path, MrcPixels(path))
            if not 1 <= int(section or 1) <= pixels.shape[0]:
                raise DataUnfitError(
                    f"{table} refers to section {section} of {path}, which has {pixels.shape[0]} sections; "
                    "export again"
                )
            _verify_pixel_size(path, pixels, expected)
    if len({pixels.shape[1:] for pixels in opened.values()}) > 1:
        raise DataUnfitError(f"the images listed in {table} differ in size; export again")
    return set(opened)


def _verify_volumes(directory: Path, row: _Row) -> set[Path]:
    """Open the volumes of a tomogram and compare their size with the table's."""
    opened = set()
    for column in _VOLUME_ROLES.keys() & row.keys():
        path = directory / str(row[column])
        pixels = MrcPixels(path)
        binning = float(row["rlnTomoTomogramBinning"])
        expected = np.array([row["rlnTomoSizeZ"], row["rlnTomoSizeY"], row["rlnTomoSizeX"]], dtype=float)
        if np.abs(np.array(pixels.shape) * binning - expected).max() > 1.0:
            raise DataUnfitError(
                f"{path} has shape {pixels.shape}, but the table gives {expected / binning} voxels; "
                "export again"
            )
        _verify_pixel_size(path, pixels, float(row["rlnTomoTiltSeriesPixelSize"]) * binning)
        opened.add(path)
    return opened


def _verify_pixel_size(path: Path, pixels: MrcPixels, expected_angstrom: float) -> None:
    # Headers hold a cell in float32, and tables six decimals.
    if abs(pixels.pixel_size_angstrom - expected_angstrom) > 1e-3 * expected_angstrom:
        raise DataUnfitError(
            f"{path} has a pixel size of {pixels.pixel_size_angstrom:.4f} angstrom, but the table gives "
            f"{expected_angstrom:.4f}; export again"
        )


def _find(folder: Path, name: str) -> Path:
    """File named relative to a project's folder, which is ``folder`` or one above it."""
    for candidate in (folder, *folder.parents):
        if (candidate / name).is_file():
            return candidate / name
    raise DataUnfitError(
        f"{name} was not found from {folder} upwards; read the table inside its RELION project"
    )


def _dose_per_tilt(pre_exposures: Iterable[float]) -> float:
    """Median step of dose between tilts: RELION stores only the dose before each tilt."""
    steps = np.diff(sorted(pre_exposures))
    return float(np.median(steps)) if len(steps) else 0.0


def _referenced_stack(
    folder: Path, rows: list[_Row], pixel_size_angstrom: float
) -> tuple[Stack | None, list[int]]:
    """The stack that contains the rows' images, and the section of each; (None, []) if there is none."""
    names = [str(row.get("rlnMicrographName", "")).rpartition("@") for row in rows]
    files = {name for _, _, name in names}
    if len(files) != 1 or not all(section for section, _, _ in names):
        return None, []
    try:
        path = _find(folder, files.pop())
    except DataUnfitError:
        return None, []
    return Stack(MrcPixels(path), pixel_size_angstrom), [int(section) - 1 for section, _, _ in names]


def _read_tilt(row: _Row, acquisition_index: int, dose_per_angstrom2: float, section: int | None) -> Tilt:
    """One tilt of RELION's table."""
    start = float(row.get("rlnMicrographPreExposure", 0.0))
    ctf = pose = None
    if "rlnDefocusU" in row:
        ctf = _read_ctf(row)
    if "rlnTomoYTilt" in row:
        pose = Pose(
            axis_deg=float(row["rlnTomoZRot"]),
            tilt_deg=float(row["rlnTomoYTilt"]),
            x_tilt_deg=float(row.get("rlnTomoXTilt", 0.0)),
            shift_xy_angstrom=(float(row["rlnTomoXShiftAngst"]), float(row["rlnTomoYShiftAngst"])),
        )
    defocus = row.get("rlnTomoNominalDefocus")
    return Tilt(
        acquisition_index=acquisition_index,
        nominal_tilt_deg=float(row["rlnTomoNominalStageTiltAngle"]),
        dose_start_per_angstrom2=start,
        dose_end_per_angstrom2=start + dose_per_angstrom2,
        nominal_defocus_angstrom=None if defocus is None else -float(defocus) * 1e4,
        section=section,
        ctf=ctf,
        pose=pose,
    )


def _read_ctf(row: _Row) -> Ctf:
    """CTF with the larger defocus first; RELION orders them freely, and its angle is U's."""
    u, v, angle = (float(row[name]) for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"))
    if u < v:
        u, v, angle = v, u, angle + 90.0
    return Ctf(
        u,
        v,
        angle,
        phase_shift_deg=float(row.get("rlnPhaseShift", 0.0)),
        fit_resolution_angstrom=float(row["rlnCtfMaxResolution"]) if "rlnCtfMaxResolution" in row else None,
        score=float(row["rlnCtfFigureOfMerit"]) if "rlnCtfFigureOfMerit" in row else None,
        # RELION takes the defocus of a tilt that has a pose as that of the pose's origin.
        refers_to="origin" if "rlnTomoYTilt" in row else "specimen",
    )
