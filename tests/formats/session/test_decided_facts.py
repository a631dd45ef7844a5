"""Which of several sources counts, and what is said of those that disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.decided_facts import (
    movie_pixel_size,
    number_of_frames,
    stack_pixel_size,
    voltage,
)
from cryoloom.formats.session.mdoc import read_mdoc
from cryoloom.model import Movie

MOVIE = Movie(Path("a.tif"), 8, (4092, 5760))
SUPER = Movie(Path("a.tif"), 8, (8184, 11520))


def mdoc_with(folder, spacing, size="5760 4092", kv=300):
    path = folder / f"{spacing}.mdoc"
    path.write_text(
        f"PixelSpacing = {spacing}\nVoltage = {kv}\nImageSize = {size}\n\n[ZValue = 0]\nTiltAngle = 0.0\n"
        f"PixelSpacing = {spacing}\nSubFramePath = X:\\a.tif\n"
    )
    return read_mdoc(path)


def test_the_user_counts_before_the_mdoc_and_the_mdoc_before_the_header(tmp_path):
    mdoc = mdoc_with(tmp_path, 1.35)
    size, evidence = movie_pixel_size(MOVIE, 2.0, [mdoc], 1.5)
    assert (size, evidence.used) == (1.5, "user")
    size, evidence = movie_pixel_size(MOVIE, 2.0, [mdoc], None)
    assert (size, evidence.used) == (1.35, "mdoc PixelSpacing")
    assert "their header 2 A; the mdoc is used" in evidence.note
    size, evidence = movie_pixel_size(MOVIE, 1.36, [mdoc], None)
    assert evidence.note == ""
    assert movie_pixel_size(MOVIE, 2.0, [], None)[0] == 2.0


def test_a_size_of_one_angstrom_in_a_header_is_not_known():
    with pytest.raises(DataUnfitError, match="no pixel size is given"):
        movie_pixel_size(MOVIE, 1.0, [], None)


def test_the_mdoc_of_binned_images_is_scaled_to_the_movies(tmp_path):
    size, _ = movie_pixel_size(SUPER, None, [mdoc_with(tmp_path, 1.35)], None)
    assert size == pytest.approx(0.675)
    odd = Movie(Path("a.tif"), 8, (4092, 8640))
    with pytest.raises(DataUnfitError, match="not a whole binning of the movies"):
        movie_pixel_size(odd, None, [mdoc_with(tmp_path, 1.35)], None)


def test_an_unusual_size_is_said():
    _, evidence = movie_pixel_size(MOVIE, None, [], 135.0)
    assert "a pixel size of 135 A is unusual, expected 0.2 to 60" in evidence.note


def test_a_stack_s_header_counts_before_its_mdoc(tmp_path):
    mdoc = mdoc_with(tmp_path, 1.35)
    size, evidence = stack_pixel_size(5.4, (1023, 1440), mdoc, None, "a.st")
    assert (size, evidence.used, evidence.note) == (5.4, "stack header", "")
    # The images were binned by 4 after the mdoc was written.
    assert stack_pixel_size(1.0, (1023, 1440), mdoc, None, "a.st")[0] == pytest.approx(5.4)
    _, evidence = stack_pixel_size(9.0, (1023, 1440), mdoc, None, "a.st")
    assert "the header of a.st gives pixels of 9 A, the mdoc 5.4 A" in evidence.note
    with pytest.raises(DataUnfitError, match=r"the header of a\.st gives no pixel size"):
        stack_pixel_size(0.0, (1023, 1440), None, None, "a.st")


def test_the_voltage_is_the_user_s_the_mdoc_s_or_300(tmp_path):
    mdoc = mdoc_with(tmp_path, 1.35, kv=200)
    assert voltage(mdoc, 120.0)[0] == 120.0
    assert voltage(mdoc, None)[0] == 200.0
    kv, evidence = voltage(None, None)
    assert kv == 300.0
    assert "no voltage is given" in evidence.note


def test_movies_with_other_frames_than_the_mdoc_gives_are_named_but_not_eer():
    short = Movie(Path("b.tif"), 5, (10, 10))
    evidence = number_of_frames([MOVIE, short], [8, 8])
    assert evidence.value == "5 to 8"
    assert (
        "1 movies have another number of frames than the mdoc gives (b.tif: 5 frames, expected 8)"
        in evidence.note
    )
    eer = Movie(Path("c.eer"), 500, (10, 10))
    assert number_of_frames([eer], [1]).note == ""
