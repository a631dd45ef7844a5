"""Movies of every camera, distinguished by their suffix, read as counts with row 0 at the bottom."""

from __future__ import annotations

import os
from pathlib import Path

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.eer import EerMovie, describe_eer
from cryoloom.formats.pixels.mrc_movie import MrcMovie, describe_mrc
from cryoloom.formats.pixels.tiff_movie import TiffMovie, describe_tiff
from cryoloom.model import Movie, MovieFrames

__all__ = ["MOVIE_SUFFIXES", "describe_movie", "open_movie"]

MOVIE_SUFFIXES = (".eer", ".tif", ".tiff", ".mrc", ".mrcs", ".st")
_MRC_SUFFIXES = (".mrc", ".mrcs", ".st", ".rec", ".map")


def describe_movie(path: str | os.PathLike[str], eer_sampling: int = 1) -> Movie:
    """Frame count and shape of a movie, from its header alone.

    Raises DataUnfitError if it is missing, truncated, empty or of no known format.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".eer":
        return describe_eer(path, eer_sampling)
    return describe_mrc(path) if suffix in _MRC_SUFFIXES else describe_tiff(_known(path))


def open_movie(movie: Movie) -> MovieFrames:
    """Open a movie; raises DataUnfitError if it is missing, truncated or changed since the import."""
    suffix = movie.path.suffix.lower()
    opened: MovieFrames
    if suffix == ".eer":
        opened = EerMovie(movie.path, movie.eer_sampling)
    elif suffix in _MRC_SUFFIXES:
        opened = MrcMovie(movie.path)
    else:
        opened = TiffMovie(_known(movie.path))
    if (opened.n_frames, opened.shape_yx) != (movie.n_frames, movie.shape_yx):
        raise DataUnfitError(
            f"{movie.path.name} has changed since the import; import the series again",
            got_frames=opened.n_frames,
            expected_frames=movie.n_frames,
            got_yx=opened.shape_yx,
            expected_yx=movie.shape_yx,
        )
    return opened


def _known(path: Path) -> Path:
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise DataUnfitError(
            f"{path.name} is not a movie format that can be read; expected {', '.join(MOVIE_SUFFIXES)}"
        )
    return path
