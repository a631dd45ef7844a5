"""WarpTools' motion and CTF: settings, sums, and CTFs of the tilts they belong to."""

from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.model import Movie
from cryoloom.programs.warp.warp_align_frames import (
    WarpAlignFramesParams,
    read_movie_ctf,
    warp_align_frames,
)
from makers.context import MemoryContext
from makers.made_series import make_series
from makers.warp_stand_ins import WARPTOOLS


@pytest.fixture
def series(tmp_path):
    made = make_series(n_tilts=3, shape_yx=(48, 64), pixel_size_angstrom=2.0)
    changes = {}
    for tilt in made.tilts:
        path = tmp_path / f"raw {tilt.acquisition_index}.mrc"
        write_mrc(path, np.zeros((4, 48, 64), np.float32), 2.0)
        changes[tilt.acquisition_index] = {"movie": Movie(path, 4, (48, 64)), "section": None}
    return replace(made.with_tilts(changes), stack=None)


@pytest.fixture
def warp(stand_in):
    stand_in("WarpTools", "SIZE = (64, 48)\n" + WARPTOOLS)


def test_sums_and_ctfs_by_tilt(series, warp):
    context = MemoryContext(device="cuda:1")
    params = WarpAlignFramesParams(binning=2.0, motion_grid=(1, 1, 3), ctf_grid=(2, 2, 8))
    found = warp_align_frames(series, params, context)
    assert found.stack.images.shape == (3, 24, 32)
    assert found.stack.pixel_size_angstrom == 4.0
    assert found.stack.odd.shape == (3, 24, 32)
    for tilt in found.tilts:
        # Micrometre, by the number of the movie, which is its acquisition index.
        assert tilt.ctf.defocus_u_angstrom == pytest.approx(1e4 * (2.1 + 0.1 * tilt.acquisition_index))
        assert tilt.ctf.astigmatism_angstrom == pytest.approx(2000.0)
        assert tilt.ctf.phase_shift_deg == pytest.approx(90.0)
        assert tilt.frame_shifts_yx_angstrom == ()  # a path's length is all that is taken over
    assert context.figures["motion_median_angstrom"] == pytest.approx(6.0)
    words = (context.scratch() / "words.txt").read_text()
    assert "--m_grid 1x1x3" in words
    assert "--c_grid 2x2x8" in words
    assert "--device_list 1" in words
    settings = ast.literal_eval((context.scratch() / "frameseries.settings").read_text())
    assert settings["--bin"] == "1"  # a power of 2
    assert settings["--extension"] == "*.mrc"


def test_a_movie_without_a_ctf(tmp_path):
    (tmp_path / "0000.xml").write_text("<Movie/>")
    with pytest.raises(DataUnfitError, match=r"0000\.xml has no CTF of a Warp movie"):
        read_movie_ctf(tmp_path / "0000.xml")
