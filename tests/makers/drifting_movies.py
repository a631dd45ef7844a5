"""Small movies of drifting spots whose motion is known, as files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoloom.formats.pixels.movie import describe_movie
from cryoloom.formats.pixels.movie_writer import write_gain_mrc, write_movie_mrc, write_movie_tiff
from cryoloom.model import GainReference, Microscope, Tilt, TiltSeries

__all__ = ["drifting_series"]

PIXEL_ANGSTROM = 4.0


def drifting_series(folder, rng, *, n_frames=8, shape_yx=(256, 320), suffix=".tif", with_gain=True):
    """A series of three movies, and by acquisition index the true positions (frame, y x) in angstrom.

    The gain has a quarter turn and a flip to undo, so that a program gets it wrong if it is not turned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    response = 1 + 0.1 * rng.normal(size=shape_yx) if with_gain else np.ones(shape_yx)
    tilts, truth = [], {}
    for index, angle in enumerate((0.0, 3.0, -3.0)):
        frames, positions_px = _frames(rng, n_frames, shape_yx)
        counts = rng.poisson(np.clip(20 * frames / response, 0, 250)).astype(np.uint8)
        path = folder / f"a movie {index}{suffix}"
        if suffix == ".tif":
            write_movie_tiff(path, counts)
        else:
            write_movie_mrc(path, counts.astype(np.float32), PIXEL_ANGSTROM)
        truth[index] = (positions_px - positions_px.mean(axis=0)) * PIXEL_ANGSTROM
        tilts.append(Tilt(index, angle, 3.0 * index, 3.0 * index + 3.0, describe_movie(path)))
    tilts.sort(key=lambda tilt: tilt.nominal_tilt_deg)
    series = TiltSeries("TS_01", Microscope(), PIXEL_ANGSTROM, tuple(tilts))
    if not with_gain:
        return series, truth
    # Turned counter-clockwise once and then flipped upside down it is `response`.
    stored = np.rot90(response[::-1], 1)
    write_gain_mrc(folder / "gain.mrc", stored.astype(np.float32), PIXEL_ANGSTROM)
    return replace(series, gain=GainReference(folder / "gain.mrc", 1, "upside_down", "user")), truth


def _frames(rng, n_frames, shape_yx):
    """Bright ice with dark spots that drift, ``(frame, y, x)``, and how far, (frame, y x) in pixels."""
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]].astype(np.float32)
    centres = rng.uniform(0, np.array(shape_yx), (60, 2))
    t = (np.arange(n_frames) + 0.5) / n_frames
    positions = np.outer(1 - np.exp(-3 * t), rng.normal(0, 4.0, 2))
    frames = []
    for shift in positions:
        dark = sum(np.exp(-((y - cy - shift[0]) ** 2 + (x - cx - shift[1]) ** 2) / 8) for cy, cx in centres)
        frames.append(np.clip(1 - 0.8 * dark, 0.1, 1))
    return np.array(frames), positions
