"""Pixel size of the images that an alignment of another program was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.foreign_alignment import scaled_pixel_size

SOURCE, SHAPE = Path("TS_01.xf"), (4092, 5760)


@pytest.mark.parametrize(
    ("source_yx", "expected"),
    [(None, 1.35), (SHAPE, 1.35), ((1023, 1440), 5.4), ((1022, 1440), 5.4), ((8184, 11520), 0.675)],
)
def test_images_are_taken_for_ours_binned(source_yx, expected):
    assert scaled_pixel_size(SOURCE, source_yx, SHAPE, 1.35) == pytest.approx(expected)


def test_images_of_other_proportions_are_refused():
    with pytest.raises(DataUnfitError, match=r"TS_01.xf is of images of 4096 x 4096 pixels, the series has"):
        scaled_pixel_size(SOURCE, (4096, 4096), SHAPE, 1.35)
