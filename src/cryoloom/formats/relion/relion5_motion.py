"""RELION's motion STAR of a movie: the output of its motion correction, made from our frame shifts.

RELION's shift moves a frame onto the others (``MotioncorrRunner::alignPatch``, ``shiftNonSquareImageInFourier
Transform``), in pixels of the movie, frames counted from 1; ours is the position of the specimen, so it is
minus that. RELION counts from the first frame, ours from their mean, as our images do, which these shifts
fit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from cryoloom.model import GainReference, Movie, Tilt, TiltSeries

__all__ = ["gain_note", "motion_columns", "motion_of_row", "read_motion_shifts"]

_NOT_OBSERVED = 9000.0
"""RELION writes -9999 px for a frame that it left out."""


def motion_columns(series: TiltSeries, tilt: Tilt, directory: Path) -> tuple[dict[str, Any], list[Path]]:
    """Columns of a tilt with its movie and motion STAR, and the file written; empty without a movie.

    Movies are linked under ``movies/`` of ``directory``, RELION's project folder, so that paths are relative.
    """
    if tilt.movie is None or not tilt.frame_shifts_yx_angstrom:
        return {}, []
    movie_name = _linked(tilt.movie.path, directory / "movies" / series.name)
    path = directory / "motion" / series.name / f"{series.name}_{tilt.acquisition_index:03d}.star"
    path.parent.mkdir(parents=True, exist_ok=True)
    shifts_px = -np.array(tilt.frame_shifts_yx_angstrom) / series.pixel_size_angstrom
    per_fraction = tilt.frames_per_fraction or 1
    start_frame = 1 + tilt.first_frame // per_fraction
    n_frames = max(round(tilt.movie.n_frames / per_fraction), start_frame - 1 + len(shifts_px))
    table = pd.DataFrame(
        {
            "rlnMicrographFrameNumber": start_frame + np.arange(len(shifts_px)),
            "rlnMicrographShiftX": shifts_px[:, 1],
            "rlnMicrographShiftY": shifts_px[:, 0],
        }
    )
    general = _general(series, tilt, tilt.movie, _name_of(movie_name, directory), n_frames)
    general["rlnMicrographStartFrame"] = start_frame
    part = path.with_name(f".{path.name}.part")
    starfile.write({"general": general, "global_shift": table}, part, float_format="%.6f")
    columns = {
        "rlnMicrographMovieName": _name_of(movie_name, directory),
        "rlnTomoTiltMovieFrameCount": n_frames,
        "rlnMicrographMetadata": path.relative_to(directory).as_posix(),
    }
    return columns, [part.replace(path)]


def read_motion_shifts(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Shifts ``(frame, 2)`` of a motion STAR as (y, x) in pixels of the movie, as RELION means them."""
    table = starfile.read(path, always_dict=True)["global_shift"]
    return np.array(table[["rlnMicrographShiftY", "rlnMicrographShiftX"]], dtype=np.float64)


def motion_of_row(row: Mapping[str, Any], folder: Path, pixel_size_angstrom: float) -> dict[str, Any]:
    """Content of the motion STAR of a tilt: positions of the specimen, and the first frame used.

    folder : the project's folder or one below it. Nothing where the row names no file, or one that is gone.
    """
    name = row.get("rlnMicrographMetadata")
    places = [place / str(name) for place in (folder, *folder.parents)] if name else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}
    blocks = starfile.read(path, always_dict=True)
    general = blocks.get("general", {})
    group = int(general.get("rlnMicrographEERGrouping", 1))
    shifts = read_motion_shifts(path)
    used = shifts[(np.abs(shifts) < _NOT_OBSERVED).all(axis=1)]
    # RELION's shift moves the frame; ours is where the specimen is.
    return {
        "frame_shifts_yx_angstrom": tuple((float(-y), float(-x)) for y, x in used * pixel_size_angstrom),
        "first_frame": (int(general.get("rlnMicrographStartFrame", 1)) - 1) * group,
        "frames_per_fraction": group,
    }


def gain_note(series: TiltSeries) -> str | None:
    """Note on the gain reference, if it must be changed before RELION reads the movies."""
    if series.gain is None or _fits_relion(series.gain):
        return None
    return (
        f"{series.name}: the gain reference {series.gain.path.name} must be rotated or inverted to fit the "
        "movies, which RELION does not do; give RELION a fitting gain reference before it reads the movies."
    )


def _fits_relion(gain: GainReference) -> bool:
    return gain.quarter_turns == 0 and gain.flip == "none" and not gain.divides


def _general(
    series: TiltSeries, tilt: Tilt, movie: Movie, movie_name: str, n_frames: int
) -> dict[str, str | int | float]:
    n_y, n_x = movie.shape_yx
    general: dict[str, str | int | float] = {
        "rlnImageSizeX": n_x,
        "rlnImageSizeY": n_y,
        "rlnImageSizeZ": n_frames,
        "rlnMicrographMovieName": movie_name,
    }
    if series.gain is not None and _fits_relion(series.gain):
        general["rlnMicrographGainName"] = str(series.gain.path)
    general |= {
        "rlnMicrographBinning": series.unweighted_stack.pixel_size_angstrom / series.pixel_size_angstrom,
        "rlnMicrographOriginalPixelSize": series.pixel_size_angstrom,
        "rlnMicrographDoseRate": tilt.dose_per_angstrom2 / n_frames,
        "rlnMicrographPreExposure": tilt.dose_start_per_angstrom2,
        "rlnVoltage": series.microscope.voltage_kv,
        "rlnMicrographStartFrame": 1,
    }
    if movie.path.suffix.lower() == ".eer":
        general["rlnMicrographEERUpsampling"] = movie.eer_sampling
        general["rlnMicrographEERGrouping"] = tilt.frames_per_fraction or 1
    general["rlnMotionModelVersion"] = 0
    return general


def _linked(movie: Path, folder: Path) -> Path:
    """A symbolic link to the movie in ``folder``; the movie itself where the disk has no such links."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / movie.name
    target = movie.absolute()
    with contextlib.suppress(FileNotFoundError):
        if link.is_symlink():
            link.unlink()
    try:
        os.symlink(target, link)
    except OSError:
        return target
    return link


def _name_of(path: Path, directory: Path) -> str:
    return path.relative_to(directory).as_posix() if path.is_relative_to(directory) else str(path)
