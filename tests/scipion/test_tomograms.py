"""Rules of tomograms: lengths in pixels and nanometres, and choices."""

from __future__ import annotations

import pytest

from cryoloom.scipion.rule import NotTranslatedError
from cryoloom.scipion.tomograms import TOMOGRAM_RULES
from makers.scipion_rules import converted


@pytest.mark.parametrize(
    ("protocol", "theirs", "value", "pixel", "expected"),
    [
        ("ProtImodTomoReconstruction", "tomoThickness", 300, 5.4, 1620.0),
        ("ProtNovaCtf", "defocusStep", 15, None, 150.0),
        ("ProtAreTomoAlignRecon", "refineTiltAxis", 0, None, "fixed"),
    ],
)
def test_units_and_choices(protocol, theirs, value, pixel, expected):
    found = converted(TOMOGRAM_RULES, protocol, theirs, value, pixel)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_pixels_without_a_pixel_size_are_named():
    with pytest.raises(NotTranslatedError, match="300 pixels: the pixel size is known from the mdoc only"):
        converted(TOMOGRAM_RULES, "ProtImodTomoReconstruction", "tomoThickness", 300)
