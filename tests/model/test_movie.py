"""Movies and gain references: what a reader may rely on if a file says nothing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from cryoloom.model import GainReference, Movie


def test_a_movie_is_read_on_its_own_grid_and_never_changed():
    movie = Movie(Path("a.tiff"), 8, (4092, 5760))
    assert movie.eer_sampling == 1
    with pytest.raises(FrozenInstanceError):
        movie.n_frames = 7


def test_a_gain_reference_multiplies_and_has_no_orientation_until_one_is_found():
    gain = GainReference(Path("gain.mrc"))
    assert (gain.quarter_turns, gain.flip, gain.orientation_by, gain.divides) == (0, "none", "", False)
