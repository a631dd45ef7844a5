"""align_frames: a small simulated series with known motion, and what makes a series unfit."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydantic import ValidationError

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.model import Microscope, Movie, Tilt, TiltSeries
from cryoloom.steps.align_frames import AlignFramesParams, align_frames

SHAPE = (160, 192)
PIXEL_ANGSTROM = 4.0


@dataclass
class ArrayFrames:
    frames: np.ndarray

    @property
    def n_frames(self):
        return len(self.frames)

    @property
    def shape_yx(self):
        return self.frames.shape[1:]

    def sum_dtype(self, n_frames):
        return np.dtype(np.float32)

    def read_sum(self, start, stop, into=None):
        return self.frames[start:stop].sum(axis=0, dtype=np.float32, out=into)


def exposure(rng, n_frames):
    """Drifting dark spots with Poisson noise, and where they were."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centres = rng.uniform(0, np.array(SHAPE), (40, 2))
    t = (np.arange(n_frames) + 0.5) / n_frames
    shifts = np.outer(1 - np.exp(-3 * t), rng.normal(0, 2.0, 2)) + rng.normal(0, 0.1, (n_frames, 2))
    shifts -= shifts.mean(axis=0)
    frames = [
        12.0
        * np.clip(
            1 - 0.8 * sum(np.exp(-((y - cy - s[0]) ** 2 + (x - cx - s[1]) ** 2) / 8) for cy, cx in centres),
            0.1,
            1,
        )
        for s in shifts
    ]
    return rng.poisson(frames).astype(np.float32), shifts


@pytest.fixture
def exposed(rng, context):
    """A series of three movies in the context, and the true shifts in angstrom by acquisition index."""

    def make(suffix=".tif", n_frames=8):
        tilts, truth = [], {}
        for index, angle in enumerate((0.0, 3.0, -3.0)):
            frames, shifts = exposure(rng, n_frames)
            path = Path(f"TS_{index}{suffix}")
            context.movies[str(path)] = ArrayFrames(frames)
            truth[index] = shifts * PIXEL_ANGSTROM
            tilts.append(Tilt(index, angle, 3.0 * index, 3.0 * index + 3.0, Movie(path, n_frames, SHAPE)))
        tilts.sort(key=lambda tilt: tilt.nominal_tilt_deg)
        return TiltSeries("TS", Microscope(), PIXEL_ANGSTROM, tuple(tilts)), truth

    return make


def test_motion_is_found_and_kept_on_the_tilts(exposed, context):
    series, truth = exposed()
    after = align_frames(series, AlignFramesParams(binning=2.0, finest_angstrom=10.0), context)
    for section, tilt in enumerate(after.tilts):
        # 0.6 A is 0.15 pixels: what eight frames of 12 counts a pixel and this contrast allow, with margin.
        assert_allclose(tilt.frame_shifts_yx_angstrom, truth[tilt.acquisition_index], atol=0.6)
        assert tilt.section == section
        assert tilt.frames_per_fraction == 1
    assert after.stack.images.shape == (3, 80, 96)
    assert after.stack.pixel_size_angstrom == 8.0
    assert np.isfinite(after.stack.images).all()
    assert_allclose(
        after.stack.images[...], after.stack.even[...] + after.stack.odd[...], rtol=1e-3
    )  # 16 bits
    assert_allclose(
        np.mean(after.stack.images), 8 * 12.0 * 4 * 0.97, rtol=0.03
    )  # frames, counts, binned pixels, spots
    assert context.dtypes == {"images": "float16", "even": "float16"}
    assert after.weighted is None
    assert context.figures["motion_median_angstrom"] > 1.0
    assert context.last_progress == (3, 3)


def test_weighted_frames_go_to_the_weighted_stack(exposed, context):
    series, _ = exposed()
    after = align_frames(series, AlignFramesParams(dose_weight_frames=True, finest_angstrom=10.0), context)
    assert after.weighted.images.shape == after.stack.images.shape
    assert not np.allclose(after.weighted.images, after.stack.images)


def test_eer_frames_are_grouped_by_their_own_dose(exposed, context):
    series, _ = exposed(".eer", n_frames=18)
    after = align_frames(series, AlignFramesParams(eer_dose_per_fraction=0.5, finest_angstrom=10.0), context)
    assert {tilt.frames_per_fraction for tilt in after.tilts} == {3}
    assert {len(tilt.frame_shifts_yx_angstrom) for tilt in after.tilts} == {6}


def test_frames_outside_the_range_are_left_out(exposed, context):
    series, _ = exposed(n_frames=9)
    params = AlignFramesParams(first_frame=2, last_frame=6, finest_angstrom=10.0, hot_pixel_sigma=50.0)
    after = align_frames(series, params, context)
    for tilt in after.tilts:
        frames = context.movies[str(tilt.movie.path)].frames[1:6]
        assert len(tilt.frame_shifts_yx_angstrom) == 5
        assert tilt.first_frame == 1
        # Moved frames lose nothing but what leaves at the borders.
        assert_allclose(np.mean(after.stack.images[tilt.section]), frames.sum(0).mean(), rtol=2e-3)


@pytest.mark.parametrize(("suffix", "first"), [(".tif", 7), (".eer", 9)])
def test_a_movie_without_the_first_frame_is_named(exposed, context, suffix, first):
    series, _ = exposed(suffix, n_frames=6)
    with pytest.raises(DataUnfitError, match=r"TS_\d\.\S+ has no frame from"):
        align_frames(series, AlignFramesParams(first_frame=first), context)


def test_a_range_in_the_wrong_order_is_refused():
    with pytest.raises(ValidationError, match="got frames 3 to 2"):
        AlignFramesParams(first_frame=3, last_frame=2)


def test_a_dark_reference_is_subtracted_before_the_gain(exposed, context, rng, tmp_path):
    series, _ = exposed()
    params = AlignFramesParams(finest_angstrom=10.0)
    bright = align_frames(series, params, context)
    dark = rng.integers(3, 9, SHAPE).astype(np.float32)
    write_mrc(tmp_path / "dark.mrc", dark, PIXEL_ANGSTROM)
    for movie in context.movies.values():
        movie.frames = movie.frames + dark
    after = align_frames(replace(series, dark_path=tmp_path / "dark.mrc"), params, context)
    assert_allclose(after.stack.images, bright.stack.images, atol=0.02)  # of 96 counts: single precision


def test_movies_of_another_size_are_named(exposed, context):
    series, _ = exposed()
    odd = Movie(Path("other.tif"), 8, (100, 100))
    with pytest.raises(DataUnfitError, match=r"other\.tif differs in size"):
        align_frames(series.with_tilts({1: {"movie": odd}}), AlignFramesParams(), context)


def test_a_missing_movie_is_named(exposed, context):
    series, _ = exposed()
    gone = Movie(Path("gone.tif"), 8, SHAPE)
    with pytest.raises(DataUnfitError, match=r"gone\.tif"):
        align_frames(series.with_tilts({2: {"movie": gone}}), AlignFramesParams(), context)


def test_a_series_without_movies_is_refused(exposed, context):
    series, _ = exposed()
    with pytest.raises(DataUnfitError, match="no movie"):
        align_frames(series.with_tilts({0: {"movie": None}}), AlignFramesParams(), context)


def test_unknown_dose_of_eer_is_refused(exposed, context):
    series, _ = exposed(".eer")
    undosed = series.with_tilts({0: {"dose_end_per_angstrom2": 0.0}})
    with pytest.raises(DataUnfitError, match="dose"):
        align_frames(undosed, AlignFramesParams(), context)


@pytest.mark.parametrize(
    ("arrivals", "weigh"),
    [([(0,), (0, 1), (0, 1, 2)], True), ([(0, 2), (0, 1, 2)], False), ([(2,)], False)],
    ids=["in order", "late", "gap"],
)
def test_movies_aligned_while_the_series_grows_are_those_of_the_whole_series(
    exposed, context, arrivals, weigh
):
    series, _ = exposed()
    params = AlignFramesParams(finest_angstrom=10.0, dose_weight_frames=weigh)
    whole = align_frames(series, params, context)
    expected = dict(context.pixels)
    context.grows = True
    for there in arrivals:
        so_far = tuple(tilt for tilt in series.tilts if tilt.acquisition_index in there)
        ahead = align_frames.declaration.ahead(replace(series, tilts=so_far), params, context)
        assert len(ahead.tilts) == ahead.stack.images.shape[0] == len(there)
    context.grows = False
    n_opened = len(context.opened)
    again = align_frames(series, params, context)
    assert len(context.opened) - n_opened == (0 if 1 in arrivals[-1] else 3)
    for role, pixels in expected.items():
        np.testing.assert_array_equal(context.pixels[role], pixels)
    assert again.tilts == whole.tilts


def test_what_was_kept_serves_no_other_parameters(exposed, context):
    series, _ = exposed()
    context.grows = True
    align_frames.declaration.ahead(series, AlignFramesParams(finest_angstrom=10.0), context)
    context.grows = False
    n_opened = len(context.opened)
    align_frames(series, AlignFramesParams(finest_angstrom=10.0, binning=2.0), context)
    assert len(context.opened) - n_opened == 3


def test_threads_do_not_change_the_result(exposed, context):
    series, _ = exposed()
    made = []
    for n_threads in (1, 2):
        context.n_threads = n_threads
        align_frames(series, AlignFramesParams(finest_angstrom=10.0), context)
        made.append(dict(context.pixels))
    for role in made[0]:
        np.testing.assert_array_equal(made[0][role], made[1][role])


def test_movies_of_one_frame_are_summed_without_halves(exposed, context):
    series, _ = exposed(n_frames=1)
    made = align_frames(series, AlignFramesParams(), context)
    assert (made.stack.even, made.stack.odd) == (None, None)
    assert set(context.pixels) == {"images"}
    assert not any(tilt.has_halves for tilt in made.tilts)
    assert any("a single frame each" in warning for warning in context.warnings)


def test_one_movie_of_one_frame_takes_no_part_in_halves(exposed, context):
    series, _ = exposed()
    tilt = series.tilts[1]
    path = str(tilt.movie.path)
    context.movies[path] = ArrayFrames(context.movies[path].frames.sum(axis=0, keepdims=True))
    series = series.with_tilts({tilt.acquisition_index: {"movie": replace(tilt.movie, n_frames=1)}})
    made = align_frames(series, AlignFramesParams(dtype="float32"), context)
    assert [t.has_halves for t in made.tilts] == [True, False, True]
    for section in range(3):
        even, odd = made.stack.even[section], made.stack.odd[section]
        assert_allclose(even + odd, made.stack.images[section], rtol=1e-4, atol=1e-3)
        assert np.array_equal(even, odd) is (section == 1)
    text = f"{series.name}: the movies at {tilt.nominal_tilt_deg:.1f} deg have a single frame"
    assert any(text in warning for warning in context.warnings)
