"""RELION's motion correction: its calls, and the real program on movies whose motion is known."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from cryoloom.contract.program import Workplace
from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.gain import load_gain
from cryoloom.model import Movie
from cryoloom.programs.motion.relion_align_frames import RelionAlignFramesParams, calls, relion_align_frames
from cryoloom.steps.align_frames import AlignFramesParams, align_frames
from makers.drifting_movies import drifting_series

needs_relion = pytest.mark.skipif(
    shutil.which("relion_run_motioncorr") is None, reason="relion_run_motioncorr is not installed"
)


def best_correlation(a, b):
    spectra = [np.fft.rfft2((image - image.mean()) / image.std()) for image in (a, b)]
    return np.fft.irfft2(spectra[0].conj() * spectra[1], s=a.shape).max() / a.size


@needs_relion
@pytest.mark.parametrize("suffix", [".tif", ".mrc"])
def test_relion_finds_the_true_motion_and_sums_the_frames_where_they_belong(rng, context, tmp_path, suffix):
    series, truth = drifting_series(tmp_path / "raw data", rng, suffix=suffix)
    found = relion_align_frames(series, RelionAlignFramesParams(), context)
    for tilt in found.tilts:
        missed = np.array(tilt.frame_shifts_yx_angstrom) - truth[tilt.acquisition_index]
        # Spots of 2 px in frames of 20 electrons: RELION finds them to a third of a pixel.
        assert np.sqrt((missed**2).mean()) < 1.3
    native = align_frames(series, AlignFramesParams(), context)
    for section in range(3):
        # RELION's sums lie as the first frame did, native ones as the mean.
        assert best_correlation(found.stack.images[section], native.stack.images[section]) > 0.9
    assert found.stack.pixel_size_angstrom == 4.0
    assert context.figures["motion_max_angstrom"] > context.figures["motion_median_angstrom"] > 0
    assert context.records["programs"]["relion_run_motioncorr"]["version"].startswith(("3.1", "4.", "5."))


@needs_relion
def test_binned_sums_have_the_pixel_size_of_the_binning(rng, context, tmp_path):
    series, _ = drifting_series(tmp_path, rng, n_frames=3)
    found = relion_align_frames(series, RelionAlignFramesParams(binning=2.0), context)
    assert found.stack.images.shape == (3, 128, 160)
    assert found.stack.pixel_size_angstrom == 8.0


def test_eer_movies_of_different_lengths_are_grouped_each_by_its_own_dose(rng, tmp_path):
    series, _ = drifting_series(tmp_path, rng, n_frames=2, shape_yx=(16, 16))
    lengths = {0: 308, 1: 350, 2: 308}
    series = series.with_tilts(
        {i: {"movie": Movie(tmp_path / f"{i}.eer", n, (16, 16), 2)} for i, n in lengths.items()}
    )
    made = calls(series, RelionAlignFramesParams(eer_dose_per_fraction=0.1), Workplace(4))
    grouped = {call.words_of("--eer_grouping"): "\n".join(call.files.values()) for call in made}
    assert set(grouped) == {("--eer_grouping", "10"), ("--eer_grouping", "12")}
    assert "movies/0001.eer" in grouped["--eer_grouping", "12"]
    assert "movies/0000.eer" not in grouped["--eer_grouping", "12"]
    assert all(call.words_of("--eer_upsampling") == ("--eer_upsampling", "2") for call in made)


def test_a_missing_movie_is_named(rng, context, tmp_path):
    series, _ = drifting_series(tmp_path, rng, n_frames=2, shape_yx=(16, 16))
    (tmp_path / "a movie 1.tif").unlink()
    with pytest.raises(DataUnfitError, match=r"the movie .*a movie 1\.tif is missing"):
        relion_align_frames(series, RelionAlignFramesParams(), context)


def test_the_makers_gain_is_turned_as_it_says(rng, tmp_path):
    series, _ = drifting_series(tmp_path, rng, n_frames=2, shape_yx=(16, 24))
    assert load_gain(series.gain, (16, 24)).shape == (16, 24)
    assert replace(series, gain=None).gain is None
