"""Movies under short names in a scratch folder, and the sums and shifts that come back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.model import GainReference, Movie
from cryoloom.programs.motion.movie_folder import (
    MovedTilt,
    movie_name,
    place_movies,
    series_with_sums,
    sums_beside,
)
from makers.context import MemoryContext
from makers.made_series import make_series

SHAPE = (32, 48)


@pytest.fixture
def series(tmp_path):
    """Three tilts with movies whose names have spaces."""
    made = make_series(n_tilts=3, shape_yx=SHAPE)
    folder = tmp_path / "raw data"
    folder.mkdir()
    movies = {}
    for tilt in made.tilts:
        path = folder / f"tilt {tilt.acquisition_index}.TIFF"
        path.write_bytes(b"frames of %d" % tilt.acquisition_index)
        movies[tilt.acquisition_index] = {"movie": Movie(path, 4, SHAPE)}
    return replace(made.with_tilts(movies), stack=None)


def moved(folder, i, shifts=None, shape_yx=SHAPE, roles=("images",), **more):
    sums = {}
    for role in roles:
        sums[role] = folder / f"{role}_{i}.mrc"
        write_mrc(
            sums[role],
            np.full((1, *shape_yx), 10.0 * i + roles.index(role), np.float32)
            + np.eye(*shape_yx, dtype=np.float32),
            2.0,
        )
    return MovedTilt(sums, None if shifts is None else np.array(shifts, float), **more)


def test_movies_are_linked_under_their_acquisition_index(series, tmp_path):
    place_movies(series, tmp_path)
    for tilt in series.tilts:
        link = tmp_path / movie_name(tilt, series)
        assert link.name == f"{tilt.acquisition_index:04d}.tif"  # .tiff is not known to every program
        assert link.read_bytes() == b"frames of %d" % tilt.acquisition_index


def test_a_missing_movie_is_named(series, tmp_path):
    series.tilts[1].movie.path.unlink()
    with pytest.raises(DataUnfitError, match="is missing; bring it back, or exclude the tilt"):
        place_movies(series, tmp_path)
    without = series.with_tilts({series.tilts[0].acquisition_index: {"movie": None}})
    with pytest.raises(DataUnfitError, match="has no movie to align"):
        place_movies(without, tmp_path / "raw data")


@pytest.mark.parametrize("divide", [False, True])
def test_the_gain_is_written_as_the_program_applies_it(series, tmp_path, divide, rng):
    gain = rng.uniform(0.5, 2.0, SHAPE).astype(np.float32)
    gain[3, 4] = 0.0  # a defect stays 0, also where a program divides
    write_mrc(tmp_path / "g.mrc", gain[None], 2.0)
    place_movies(replace(series, gain=GainReference(tmp_path / "g.mrc")), tmp_path, divide_by_gain=divide)
    written = MrcPixels(tmp_path / "gain.mrc", as_image=True)[:]
    ratio = written * gain if divide else np.divide(written, gain, out=np.zeros_like(gain), where=gain > 0)
    good = gain > 0
    assert np.ptp(ratio[good]) < 1e-3 * ratio[good].mean()  # the same but for one factor
    assert written[3, 4] == 0


def test_sums_by_section_and_positions_against_the_shifts(series, tmp_path):
    context = MemoryContext()
    roles = ("images", "even", "odd", "weighted_images")
    shifts = [[0.0, 0.0], [0.0, 3.0], [4.0, 3.0]]  # y, x: a path of 3 and 4 pixels
    results = [moved(tmp_path, i, shifts, roles=roles) for i in range(3)]
    made = series_with_sums(series, results, 1.0, [None, 1, 2], context)
    for section, tilt in enumerate(made.tilts):
        assert tilt.section == section
        assert tilt.frames_per_fraction == [None, 1, 2][section]
        assert made.stack.images[section].min() == 10.0 * section
        assert made.stack.even[section].min() == 10.0 * section + 1
        assert made.weighted.images[section].min() == 10.0 * section + 3
        # What moves a frame back is minus its place, about the mean of the movie; 2 A a pixel.
        np.testing.assert_allclose(
            tilt.frame_shifts_yx_angstrom, -2.0 * (np.array(shifts) - np.mean(shifts, axis=0))
        )
    assert context.figures["motion_median_angstrom"] == pytest.approx(14.0)


def test_a_program_without_shifts_tells_the_length(series, tmp_path):
    context = MemoryContext()
    results = [moved(tmp_path, i, path_angstrom=3.0 + i) for i in range(3)]
    made = series_with_sums(series, results, 1.0, [None] * 3, context)
    assert context.figures == {"motion_median_angstrom": 4.0, "motion_max_angstrom": 5.0}
    assert all(tilt.frame_shifts_yx_angstrom == () for tilt in made.tilts)


def test_images_of_another_size_are_not_taken(series, tmp_path):
    results = [moved(tmp_path, i, shape_yx=SHAPE) for i in range(3)]
    with pytest.raises(
        DataUnfitError, match=r"made images of 48 x 32 pixels from movies of 48 x 32 at binning 2"
    ):
        series_with_sums(series, results, 2.0, [None] * 3, MemoryContext())
    results[2] = moved(tmp_path, 7, shape_yx=(32, 40))
    with pytest.raises(DataUnfitError, match=r"images_7\.mrc has another size than the first image"):
        series_with_sums(series, results, 1.0, [None] * 3, MemoryContext())


def test_the_first_frame_is_in_the_half_called_even():
    sums = sums_beside(Path("out/0003"), halves=True)
    assert {role: path.name for role, path in sums.items()} == {
        "images": "0003.mrc",
        "even": "0003_ODD.mrc",
        "odd": "0003_EVN.mrc",
    }
    assert set(sums_beside(Path("out/0003"), halves=False)) == {"images"}
