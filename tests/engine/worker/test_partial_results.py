"""Parts of a growing item's work: found under the same facts, never half, never of another file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cryoloom.engine.worker.partial_results import PartialResults, forget_partial_results
from cryoloom.errors import TransientError
from cryoloom.model import Movie


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "raw" / "a.tif"
    path.parent.mkdir()
    path.write_bytes(b"frames")
    return Movie(path, 8, (4, 5))


@pytest.fixture
def parts(tmp_path):
    return PartialResults(tmp_path, "align_frames", 2, "TS_01")


ARRAYS = {"even": np.arange(20, dtype=np.float32).reshape(4, 5), "error_px": np.float64(0.25)}


def kept_file(project: Path) -> Path:
    (path,) = (project / "cache").rglob("*.npz")
    return path


def test_what_is_kept_comes_back_to_the_bit(parts, movie):
    assert parts.find((movie, {"binning": 2.0})) is None
    parts.keep(ARRAYS, (movie, {"binning": 2.0}))
    found = parts.find((movie, {"binning": 2.0}))
    assert set(found) == {"even", "error_px"}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_other_facts_find_nothing(tmp_path, parts, movie):
    parts.keep(ARRAYS, (movie, {"binning": 2.0}))
    assert parts.find((movie, {"binning": 1.0})) is None
    assert PartialResults(tmp_path, "align_frames", 3, "TS_01").find((movie, {"binning": 2.0})) is None
    os.utime(movie.path, ns=(1, 1))  # written again
    assert parts.find((movie, {"binning": 2.0})) is None


def test_a_cut_file_is_not_found(tmp_path, parts, movie):
    parts.keep(ARRAYS, (movie,))
    path = kept_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    assert parts.find((movie,)) is None
    parts.keep(ARRAYS, (movie,))
    np.testing.assert_array_equal(parts.find((movie,))["even"], ARRAYS["even"])


def test_a_damaged_file_is_named(tmp_path, parts, movie):
    parts.keep(ARRAYS, (movie,))
    path = kept_file(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[250] ^= 255
    path.write_bytes(raw)
    with pytest.raises(TransientError, match=r"npz cannot be read .*; delete it"):
        [parts.find((movie,))[name] for name in ARRAYS]


def test_nothing_is_left_when_the_item_is_whole(tmp_path, parts, movie):
    parts.keep(ARRAYS, (movie,))
    forget_partial_results(tmp_path, "align_frames", "TS_01")
    forget_partial_results(tmp_path, "align_frames", "TS_02")
    assert not list((tmp_path / "cache").rglob("*.npz"))
