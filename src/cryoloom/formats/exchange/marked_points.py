"""Points that mark surfaces and filaments: CSV or text, IMOD models, Dynamo tables and models.

Text has one point a line, separated by commas, semicolons or blanks; a header may name the columns: x, y, z
in pixels of the tomogram from its first voxel (0), or x_angstrom, y_angstrom, z_angstrom from its centre; and
by choice model (a number), tomogram, shape. Without a header: x, y, z in pixels, and a fourth column for the
model. In an IMOD model every contour of the only object, or every object, is one model. In a Dynamo table (1
is the first voxel) column 21 numbers the models and column 20 the tomogram. Of a Dynamo model (``.omd``, a
file of MATLAB) what MATLAB stored as a structure with ``points`` is read; an object of Dynamo's own classes
is not, as only MATLAB knows what is in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from cryoloom.errors import UserInputError
from cryoloom.formats.imod.model import read_model

__all__ = ["MarkedPoints", "read_marked_points"]

_PIXELS, _ANGSTROM = ("x", "y", "z"), ("x_angstrom", "y_angstrom", "z_angstrom")
_IMOD_SUFFIXES = (".mod", ".fid", ".seed")


@dataclass(frozen=True, slots=True)
class MarkedPoints:
    """Points of one model, in the order of the file."""

    model: int
    points: NDArray[np.float64]
    """``(n, 3)`` as x, y, z."""
    in_angstrom: bool
    """In angstrom from the tomogram's centre; else in pixels, the first voxel's centre being 0."""
    tomogram: str = ""
    """Name or number if the file contains it, else ""."""
    shape: str = ""
    pixel_size_angstrom: float | None = None
    """Pixel size of the volume in which they were picked, if the file contains it."""


def read_marked_points(path: Path) -> tuple[MarkedPoints, ...]:
    """Read a file of points. Raises UserInputError with the line that cannot be right."""
    if not path.is_file():
        raise UserInputError(f"the file of points {path} does not exist; correct its name")
    if path.suffix.lower() in _IMOD_SUFFIXES:
        return _of_imod(path)
    if path.suffix.lower() == ".tbl":
        return _of_dynamo(path)
    if path.suffix.lower() == ".omd":
        return read_dynamo_models(path)
    return _of_text(path)


def _of_imod(path: Path) -> tuple[MarkedPoints, ...]:
    model = read_model(path)
    if len(model.objects) == 1:
        parts = list(model.objects[0].contours)
    else:
        parts = [np.concatenate([np.zeros((0, 3)), *one.contours]) for one in model.objects]
    # IMOD counts x and y from the corner, z from the middle of the first section.
    corner = np.array([0.5, 0.5, 0.0])
    return tuple(
        MarkedPoints(i + 1, points - corner, False, pixel_size_angstrom=model.pixel_size_angstrom)
        for i, points in enumerate(parts)
        if len(points)
    )


def read_dynamo_models(path: Path) -> tuple[MarkedPoints, ...]:
    """Models of a file of MATLAB: every structure in it that has ``points``, counted from the first voxel 1.

    Raises UserInputError if there is none, with what to do in Dynamo.
    """
    try:
        variables = loadmat(path, squeeze_me=True, struct_as_record=False)
    except (OSError, ValueError, NotImplementedError, TypeError, MatReadError) as error:
        raise UserInputError(f"{path} cannot be read as a file of MATLAB: {error}") from error
    found = [
        _dynamo_points(one, path)
        for name, value in sorted(variables.items())
        if not name.startswith("__")
        for one in np.atleast_1d(np.asarray(value, dtype=object)).ravel()
        if hasattr(one, "points")
    ]
    if not found:
        raise UserInputError(
            f"{path} holds no points that can be read without Dynamo: its models are objects of MATLAB. "
            f"In Dynamo, m = dread('{path.name}'); dwrite(m.grepTable(), '{path.stem}.tbl'), and import that"
        )
    return tuple(MarkedPoints(i, points, False) for i, points in enumerate(found, start=1))


def _dynamo_points(model: Any, path: Path) -> NDArray[np.float64]:
    points = np.atleast_2d(np.asarray(model.points, dtype=np.float64))
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise UserInputError(f"{path} has points of the shape {points.shape}, expected (n, 3), all finite")
    return points - 1.0


def _of_dynamo(path: Path) -> tuple[MarkedPoints, ...]:
    rows = np.loadtxt(path, ndmin=2)
    if rows.shape[1] < 26:
        raise UserInputError(f"{path} has {rows.shape[1]} columns, expected 26 or more of a Dynamo table")
    places = rows[:, 23:26] + rows[:, 3:6] - 1.0
    keys = rows[:, [19, 20]].astype(int)
    return tuple(
        MarkedPoints(int(key[1]), places[(keys == key).all(axis=1)], False, tomogram=str(key[0]))
        for key in np.unique(keys, axis=0)
    )


def _of_text(path: Path) -> tuple[MarkedPoints, ...]:
    lines = [
        (number, re.split(r"\s*[,;]\s*|\s+", text.strip()))
        for number, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1)
        if text.strip() and not text.lstrip().startswith("#")
    ]
    if not lines:
        raise UserInputError(f"{path} has no points")
    names = [*_PIXELS, "model"]
    if any(re.search("[A-Za-z]", word) and not _is_number(word) for word in lines[0][1]):
        names = [word.strip("\"'").lower() for word in lines.pop(0)[1]]
    columns = _ANGSTROM if all(name in names for name in _ANGSTROM) else _PIXELS
    if missing := [name for name in columns if name not in names]:
        raise UserInputError(
            f"{path} lacks the columns {missing}; it has {names}, expected x, y, z or x_angstrom, "
            "y_angstrom, z_angstrom"
        )
    found: dict[tuple[str, int, str], list[list[float]]] = {}
    for number, words in lines:
        row = dict(zip(names, words, strict=False))
        try:
            place = [float(row[name]) for name in columns]
            key = (row.get("tomogram", ""), int(float(row.get("model", "1"))), row.get("shape", ""))
        except (KeyError, ValueError) as error:
            raise UserInputError(
                f"line {number} of {path} is {' '.join(words)!r}; expected numbers for {', '.join(columns)}"
            ) from error
        if not np.isfinite(place).all():
            raise UserInputError(f"line {number} of {path} has a coordinate that is not finite")
        found.setdefault(key, []).append(place)
    return tuple(
        MarkedPoints(model, np.array(points), columns is _ANGSTROM, tomogram=tomogram, shape=shape)
        for (tomogram, model, shape), points in found.items()
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
