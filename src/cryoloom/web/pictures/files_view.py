"""Files shown without a project, by `cryoloom view`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.movie import describe_movie, open_movie
from cryoloom.model import MovieFrames
from cryoloom.model.pixels import Index
from cryoloom.web.pictures.beside import (
    SIDE_SUFFIXES,
    PointSet,
    beside,
    placements_of,
    point_sets_of,
    tilt_angles_of,
)
from cryoloom.web.pictures.images import FileOnly, Image, ImageShelf, content_key, open_pixels
from cryoloom.web.pictures.levels import Kind

__all__ = ["FilesView", "ViewedFile"]

_STACK_SUFFIXES = {".st", ".mrcs", ".ali", ".preali"}
_MOVIE_SUFFIXES = {".tif", ".tiff", ".eer"}
#: Chosen for viewing: raw EER frames summed into one; a single frame has a few electrons per 1000 pixels.
_EER_GROUP = 40


@dataclass(frozen=True, slots=True)
class ViewedFile:
    """A file of the command line, and its side files."""

    path: Path
    kind: Kind
    tilt_deg: tuple[float, ...] = ()
    """Angle of every section, from a file beside a stack."""
    note: str = ""
    placements: tuple[tuple[float, float, float], ...] = ()
    """Axis in degrees and shift (x, y) in pixels of every section, from an .xf."""
    points: tuple[PointSet, ...] = ()


class FilesView:
    """The files of the command line. The browser refers to them by number and sends no paths."""

    slug = "files"
    name = "Files"

    def __init__(self, paths: Sequence[Path], shelf: ImageShelf) -> None:
        self._shelf = shelf
        sides = [path for path in paths if path.suffix in SIDE_SUFFIXES]
        images = [path for path in paths if path.suffix not in SIDE_SUFFIXES]
        if not images:
            raise UserInputError("no image was given; name the stack or tomogram that the files belong to")
        self.files = tuple(_examined(path, sides) for path in images)

    def image(self, item_id: int, role: str = "image") -> Image:
        """Image of a file. Raises UserInputError for an unknown number."""
        if not 0 <= item_id < len(self.files):
            raise UserInputError(f"{len(self.files)} files were given; there is no number {item_id}")
        file = self.files[item_id]
        if file.path.suffix.lower() not in _MOVIE_SUFFIXES:
            return self._shelf.image(FileOnly(file.path), file.kind, file.path.name)
        key = content_key(file.path)
        found = self._shelf.opened(key)
        if found is not None:
            return found
        pixels, folder = FramePixels(file.path), self._shelf.levels_folder(key, None)
        return self._shelf.keep(Image(key, file.path.name, pixels, 0.0, "stack", folder))


class FramePixels:
    """Frames of a movie as sections ``(frame, y, x)``; raw EER frames are summed in groups."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._movie: MovieFrames = open_movie(describe_movie(path))
        self._group = _EER_GROUP if path.suffix.lower() == ".eer" else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """``(frame, y, x)``."""
        return (-(-self._movie.n_frames // self._group), *self._movie.shape_yx)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the counts when read."""
        return np.dtype(np.float32)

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if not isinstance(first, int):
            raise NotImplementedError("frames of a movie are read one at a time")
        start = first * self._group
        stop = min(start + self._group, self._movie.n_frames)
        frame = np.asarray(self._movie.read_sum(start, stop), dtype=np.float32)
        return frame[tuple(rest)] if rest else frame


def _examined(path: Path, given: Sequence[Path]) -> ViewedFile:
    """Kind of a file, and its side files. Raises DataUnfitError if it cannot be read as an image."""
    path = path.absolute()
    suffix = path.suffix.lower()
    if suffix in _MOVIE_SUFFIXES:
        return ViewedFile(path, "stack", note=f"{describe_movie(path).n_frames} frames")
    pixels, size = open_pixels(path)
    files = beside(path, given)
    n_z, n_y, n_x = pixels.shape
    angles = tilt_angles_of(files, n_z)
    is_stack = suffix in _STACK_SUFFIXES or bool(angles) or (suffix == ".mrc" and _says_stack(path))
    placements = placements_of(files, angles, (n_y, n_x)) if is_stack else []
    points = point_sets_of(files, (n_z, n_y, n_x), size)
    return ViewedFile(path, "stack" if is_stack else "volume", angles, "", tuple(placements), points)


def _says_stack(path: Path) -> bool:
    """Whether an MRC header declares separate images (space group 0)."""
    with path.open("rb") as file:
        header = file.read(92)
    return len(header) == 92 and int.from_bytes(header[88:92], "little") == 0
